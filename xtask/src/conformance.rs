//! `conformance`: cases of Istio's behaviour on a gateway, each decided by
//! `policy::decide`, a line per case. The oracle asks Istio and Envoy about the
//! same files.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::oracle::{Case, Decider, read_cases};
use crate::shell;

/// How one case went.
#[derive(Debug)]
enum Outcome {
    Agrees,
    Differs(String),
    /// Needs something that is not decided here.
    NotCovered(String),
}

/// The project's own cases.
pub(crate) fn own() -> Vec<PathBuf> {
    let folder = shell::root().join("crates/policy/tests");
    [
        "conformance.yaml",
        "connections.yaml",
        "filters.yaml",
        "routes.yaml",
        "tokens.yaml",
        "workloads.yaml",
        "backends.yaml",
    ]
    .map(|name| folder.join(name))
    .to_vec()
}

/// Runs every case of a file.
pub(crate) fn run(file: Option<&Path>) -> Result<()> {
    let files = file.map_or_else(own, |file| vec![file.to_owned()]);
    let mut cases = Vec::new();
    for file in &files {
        cases.extend(read_cases(file)?);
    }
    let (mut agree, mut differ, mut open) = (0, 0, 0);
    for case in cases {
        let (word, detail) = match decide(&case) {
            Outcome::Agrees => {
                agree += 1;
                ("agrees", String::new())
            }
            Outcome::Differs(detail) => {
                differ += 1;
                ("DIFFERS", format!("({detail})"))
            }
            Outcome::NotCovered(detail) => {
                open += 1;
                ("not covered", format!("({detail})"))
            }
        };
        println!("{word:<12} {} {detail}", case.name);
    }
    println!("{agree} agree, {differ} differ, {open} not covered");
    if differ > 0 {
        bail!("{differ} cases differ");
    }
    Ok(())
}

fn decide(case: &Case) -> Outcome {
    let Some(sent) = case.job.requests.first() else {
        return Outcome::NotCovered("no request".into());
    };
    let found = Decider::new(&case.job.world).and_then(|decider| decider.observe(sent));
    match found {
        Err(why) => Outcome::NotCovered(why),
        Ok(observed) => match case.differs(&observed) {
            Some(what) => Outcome::Differs(what),
            None => Outcome::Agrees,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_cases_are_decided_as_istio_and_envoy_do() {
        for file in own() {
            let cases = read_cases(&file).unwrap();
            assert!(!cases.is_empty());
            for case in cases {
                let outcome = decide(&case);
                assert!(
                    matches!(outcome, Outcome::Agrees),
                    "{}: {outcome:?}",
                    case.name
                );
            }
        }
    }
}
