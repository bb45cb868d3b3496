//! `--intents`: statements of one's own, from files and from the Sidegate object.

use std::path::PathBuf;
use std::sync::Arc;

use ::verify::{Asked, Intent, Readings};
use resources::Cluster;
use resources::intents::Statements;

use crate::cli::IntentArgs;
use crate::output::BadInput;

/// Reads the files that the command line names.
///
/// # Errors
/// [`BadInput`] with every error at once.
pub(crate) fn read(args: &IntentArgs) -> anyhow::Result<Statements> {
    let mut all = Statements::default();
    let mut wrong = Vec::new();
    for path in &args.intents {
        match file(path) {
            Ok(mut found) => {
                all.intents.append(&mut found.intents);
                all.backends.append(&mut found.backends);
            }
            Err(errors) => wrong.extend(errors),
        }
    }
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(BadInput(wrong).into())
    }
}

fn file(path: &PathBuf) -> Result<Statements, Vec<String>> {
    let told = |errors: resources::LoadErrors| -> Vec<String> {
        errors.errors.iter().map(ToString::to_string).collect()
    };
    let files = resources::read_files(std::slice::from_ref(path)).map_err(told)?;
    let mut all = Statements::default();
    for (name, text) in files {
        let name: Arc<str> = name;
        let mut found = resources::parse_statements(&name, &text).map_err(told)?;
        all.intents.append(&mut found.intents);
        all.backends.append(&mut found.backends);
    }
    Ok(all)
}

/// What a configuration is asked: what its Sidegate object says, then others.
pub(crate) fn of(cluster: &Cluster, others: &Statements) -> Asked {
    asked_of(cluster, cluster, others)
}

/// What one configuration says, asked of another.
pub(crate) fn asked_of(cluster: &Cluster, says: &Cluster, others: &Statements) -> Asked {
    let own = says.sidegate.iter().flat_map(|s| &s.spec.intents);
    let intents: Vec<_> = own.chain(&others.intents).cloned().collect();
    let backends = says.sidegate.iter().flat_map(|s| &s.spec.backends);
    Asked {
        intents: Intent::resolve(cluster, &intents),
        readings: Readings::of(backends.chain(&others.backends)),
    }
}
