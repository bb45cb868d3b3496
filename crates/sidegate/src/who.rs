//! `sidegate who-reaches`: who gets to a Service, a host or routes of an owner.

use std::collections::BTreeSet;
use std::process::ExitCode;

use ::verify::{Asked, Claim, Intent, Report, Verdict};
use resources::Cluster;
use resources::intents::{self, Expect, From, Identity, Pods, Target};
use serde::Deserialize as _;
use serde::de::value::{Error, StrDeserializer};
use serde_json::json;

use self::straight::Straight;
use crate::cli::{Output, WhoArgs};
use crate::inputs::Inputs;
use crate::live;
use crate::output::{self, BadInput};

mod straight;

/// One caller, and what becomes of requests of theirs.
struct Row {
    from: From,
    name: String,
    /// By identity: none, login, token.
    answers: [Option<Answer>; 3],
}

#[derive(Clone, Copy)]
enum Answer {
    All,
    None,
    Some,
    Unknown,
    /// There is no such request.
    Nothing,
}

impl Answer {
    /// From whether all get through, and whether none does.
    fn of(all: Verdict, none: Verdict) -> Self {
        match (all, none) {
            (Verdict::Vacuous, _) | (_, Verdict::Vacuous) => Self::Nothing,
            (Verdict::NotDecided, _) | (_, Verdict::NotDecided) => Self::Unknown,
            (Verdict::Holds, _) => Self::All,
            (_, Verdict::Holds) => Self::None,
            _ => Self::Some,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::All => "yes",
            Self::None => "no",
            Self::Some => "some requests",
            Self::Unknown => "not decided",
            Self::Nothing => "-",
        }
    }
}

const IDENTITIES: [Identity; 3] = [Identity::None, Identity::Login, Identity::Token];

pub(crate) fn run(args: WhoArgs) -> anyhow::Result<ExitCode> {
    let target = target(&args.target)?;
    let cluster = Inputs::new(args.paths, &args.cluster)?.read_some()?;
    let settings = live::settings(&cluster, args.cluster.istio_version.as_deref())?;
    let snapshot = live::compile(&cluster, &settings)?;
    let mut rows = rows(&cluster);
    let mut written = Vec::new();
    for row in &rows {
        for identity in asked(row) {
            for expect in [Expect::Allow, Expect::Deny] {
                written.push(intents::Intent {
                    name: None,
                    from: row.from.clone(),
                    identity,
                    to: target.clone(),
                    expect,
                    source: None,
                });
            }
        }
    }
    let asked_all = Asked {
        intents: Intent::resolve(&cluster, &written),
        ..Asked::default()
    };
    let report = ::verify::verify_with(&snapshot, &asked_all);
    fill(&mut rows, &report);
    let straight = straight::ask(&cluster, &snapshot, &target);
    let nothing = |a: &Option<Answer>| matches!(a, None | Some(Answer::Nothing));
    if straight.is_empty() && rows.iter().all(|row| row.answers.iter().all(nothing)) {
        let why = format!("no route leads to `{}`", args.target);
        return Err(BadInput(vec![why]).into());
    }
    match args.output {
        Output::Json => {
            let through = rows.iter().map(|row| {
                let [none, login, token] = row.answers.map(|a| a.map(Answer::word));
                json!({ "from": row.from, "nobody": none, "loggedIn": login, "token": token })
            });
            let straight = straight.iter().flat_map(Straight::as_json);
            let all: Vec<_> = through.chain(straight).collect();
            output::data(&serde_json::to_string_pretty(&all)?)?;
        }
        Output::Text => {
            let mut text = as_text(&args.target, &rows);
            straight
                .iter()
                .for_each(|straight| text.push_str(&straight.as_text()));
            output::data(text.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn target(text: &str) -> anyhow::Result<Target> {
    if text.contains('/') {
        if intents::service(text).is_none() {
            let message = format!("`{text}`: expected NAMESPACE/SERVICE[:PORT]");
            return Err(BadInput(vec![message]).into());
        }
        return Ok(Target {
            service: Some(text.to_owned()),
            ..Target::default()
        });
    }
    let owner = intents::RouteOwner::deserialize(StrDeserializer::<Error>::new(text));
    Ok(match owner {
        Ok(owner) => Target {
            owner: Some(owner),
            ..Target::default()
        },
        Err(_) => Target {
            host: Some(text.to_owned()),
            ..Target::default()
        },
    })
}

/// Outside, inside, and each namespace that has pods.
fn rows(cluster: &Cluster) -> Vec<Row> {
    let workloads = cluster.workloads.iter();
    let namespaces: BTreeSet<&str> = workloads.map(|w| w.meta.namespace.as_str()).collect();
    let row = |from: From, name: &str| Row {
        from,
        name: name.to_owned(),
        answers: [None; 3],
    };
    let mut out = vec![
        row(From::Outside, "outside"),
        row(From::Inside, "inside, anybody"),
    ];
    for namespace in namespaces {
        let pods = Pods {
            namespace: namespace.to_owned(),
            ..Pods::default()
        };
        out.push(row(From::Pods(pods), &format!("pods of {namespace}")));
    }
    out
}

/// What a caller may bring along; pods are known by their channel.
fn asked(row: &Row) -> impl Iterator<Item = Identity> + use<> {
    let pods = matches!(row.from, From::Pods(_));
    IDENTITIES.into_iter().take(if pods { 1 } else { 3 })
}

fn fill(rows: &mut [Row], report: &Report) {
    let intents = report.claims.iter();
    let mut intents = intents.filter(|c| matches!(c, Claim::Intent(_)));
    for row in rows {
        let count = asked(row).count();
        for slot in row.answers.iter_mut().take(count) {
            if let (Some(all), Some(none)) = (intents.next(), intents.next()) {
                *slot = Some(Answer::of(report.verdict(all), report.verdict(none)));
            }
        }
    }
}

fn as_text(target: &str, rows: &[Row]) -> String {
    let mut out = format!("Who reaches {target}:\n\n");
    out.push_str(&format!(
        "{:<28}{:<16}{:<16}token\n",
        "", "nobody known", "logged in"
    ));
    for row in rows {
        let [none, login, token] = row.answers.map(|a| a.map_or("", Answer::word));
        let line = format!("{:<28}{none:<16}{login:<16}{token}", row.name);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str("\n-: no route leads there from there\n");
    out
}
