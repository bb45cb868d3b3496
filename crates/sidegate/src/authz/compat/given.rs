//! The configuration of the other program, as its files and the environment have it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use compat::{Around, Imported};

use super::{Compat, CompatArgs};
use crate::output::BadInput;

/// The configuration, and files that it names, also one that cannot be used.
pub(super) fn read(
    args: &CompatArgs,
    whose: Compat,
    from: &str,
) -> (anyhow::Result<Imported>, Vec<PathBuf>) {
    let named = RefCell::default();
    let imported = imported(args, whose, from, &named);
    (imported, named.into_inner())
}

fn imported(
    args: &CompatArgs,
    whose: Compat,
    from: &str,
    named: &RefCell<Vec<PathBuf>>,
) -> anyhow::Result<Imported> {
    let wrong = |why: String| BadInput(vec![format!("{from}: {why}")]);
    let text = |path: &PathBuf| {
        std::fs::read_to_string(path)
            .map_err(|error| BadInput(vec![format!("`{}`: {error}", path.display())]))
    };
    let file = args
        .config
        .as_ref()
        .map(text)
        .transpose()?
        .unwrap_or_default();
    let alpha = args.alpha_config.as_ref().map(text).transpose()?;
    let mut environment: Vec<(String, String)> = Vec::new();
    if whose == Compat::Authservice {
        for (number, line) in (1..).zip(file.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let pair = line.split_once('=');
            let (name, value) =
                pair.ok_or_else(|| wrong(format!("line {number}: expected NAME=VALUE")))?;
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    environment.extend(
        std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }),
    );
    let around = Around {
        environment: &environment,
        file: &|path| {
            named.borrow_mut().push(PathBuf::from(path));
            std::fs::read_to_string(path).map_err(|error| error.to_string())
        },
        known_secrets: args.allow_known_secrets,
    };
    Ok(match whose {
        Compat::Authservice => compat::authservice(around),
        Compat::Oauth2Proxy => {
            compat::oauth2_proxy(&file, alpha.as_deref(), around).map_err(wrong)?
        }
    })
}

/// Files of the configuration: those of the command line, and those that it names itself.
pub(super) struct Files {
    given: Vec<PathBuf>,
    named: Mutex<Vec<PathBuf>>,
}

impl Files {
    pub(super) fn new(args: &CompatArgs, named: Vec<PathBuf>) -> Self {
        let given = [args.config.clone(), args.alpha_config.clone()];
        Self {
            given: given.into_iter().flatten().collect(),
            named: Mutex::new(named),
        }
    }

    pub(super) fn all(&self) -> Vec<PathBuf> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        [&*self.given, &named].concat()
    }

    pub(super) fn names(&self, named: Vec<PathBuf>) {
        *self.named.lock().unwrap_or_else(PoisonError::into_inner) = named;
    }
}
