//! `sidegate explain`: the trace of one decision, made by the decision itself.

mod request;
mod token;

use http::{HeaderName, HeaderValue, StatusCode};
use policy::{
    Answers, Caller, Check, CheckAnswer, CheckResponse, Destination, Entrance, Everything, Permit,
    Question, RequestHead, Settings, Snapshot, Stage, Step, TokenError, Verdict,
};
use resources::Cluster;
use serde_json::{Value, json};

use self::token::AssumedToken;
use crate::cli::{ExplainArgs, Output};
use crate::inputs::Inputs;
use crate::live;
use crate::output::{self, Style};
use crate::paint::Paint;
use crate::steps;

pub(crate) fn run(args: ExplainArgs) -> anyhow::Result<std::process::ExitCode> {
    let (method, url, paths) = request::split(&args.arguments)?;
    let inputs = Inputs::new(paths.iter().map(Into::into).collect(), &args.cluster)?;
    let cluster = inputs.read_some()?;
    let settings = live::settings(&cluster, args.cluster.istio_version.as_deref())?;
    let snapshot = live::compile(&cluster, &settings)?;
    let mut head = request::head(&args, &cluster, &snapshot, method, url)?;
    let who = args
        .identity
        .as_deref()
        .map(request::identity)
        .transpose()?;
    let token = AssumedToken::read(args.token.as_deref())?;
    token.put(&snapshot, &mut head)?;
    let who = who.or_else(|| token.caller(&settings));
    let told = walk(&snapshot, &settings, &head, who.as_ref(), &token);
    match args.output {
        Output::Json => output::data(&serde_json::to_string_pretty(&as_json(&head, &told))?)?,
        Output::Text => {
            for warning in snapshot.warnings() {
                output::note(&Style::Warning, &warning.to_string());
            }
            let text = as_text(&head, &told, &cluster, args.all);
            output::data(text.trim_end())?;
        }
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// A decision, how it came about, and what had to be assumed for it.
struct Told {
    steps: Vec<Step>,
    verdict: Verdict,
    assumed: Vec<String>,
}

/// Decides with the assumed identity; the last round's trace is the whole one.
fn walk(
    snapshot: &Snapshot,
    settings: &Settings,
    head: &RequestHead,
    who: Option<&Caller>,
    token: &AssumedToken,
) -> Told {
    let mut answers = Answers::new();
    let mut assumed = Vec::new();
    loop {
        let mut trace = Everything::default();
        match policy::decide(snapshot, head, &answers, &mut trace) {
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(caller(head, who)),
            // Nobody is asked: the roles of the YAML are what can be explained.
            Verdict::Ask(Question::Access(check)) => {
                answers.access_is(*check, policy::AccessAnswer::NoServer);
            }
            Verdict::Ask(Question::Tokens { hop, checks }) => {
                for check in &checks {
                    answers.token_is(hop, check, token.answer(check));
                }
            }
            Verdict::Ask(Question::Check(check)) => {
                let (answer, why) = assumed_check(&check, settings, who);
                assumed.push(format!("`{}` {why}", check.provider));
                answers.check_is(check.id, answer);
            }
            verdict => {
                return Told {
                    steps: trace.0,
                    verdict,
                    assumed,
                };
            }
        }
    }
}

fn caller(head: &RequestHead, who: Option<&Caller>) -> Caller {
    match who {
        Some(caller) => caller.clone(),
        None if head.headers.contains_key(http::header::AUTHORIZATION) => Caller::BadToken(
            TokenError("explain does not check tokens; say who it is with `--as`".into()),
        ),
        None => Caller::Anonymous,
    }
}

/// What the login service answers to somebody with or without a session.
fn assumed_check(
    check: &Check,
    settings: &Settings,
    who: Option<&Caller>,
) -> (CheckAnswer, &'static str) {
    let open = settings.provider_paths.iter().chain(&settings.login_paths);
    let path = check.path_and_query.split('?').next().unwrap_or_default();
    let person = who.and_then(Caller::person);
    let login = open.into_iter().any(|p| p == path) || path.starts_with("/dex/");
    let (status, header, why) = match person {
        Some(person) => (
            StatusCode::OK,
            HeaderValue::from_str(&person.email)
                .ok()
                .map(|user| (HeaderName::from_static("kubeflow-userid"), user)),
            "knows the session and lets it through",
        ),
        None if login => (StatusCode::OK, None, "lets the paths of the login through"),
        None => (
            StatusCode::FOUND,
            Some((
                http::header::LOCATION,
                HeaderValue::from_static("/dex/auth"),
            )),
            "sends who has no session to the login; `--as user:EMAIL` assumes one",
        ),
    };
    let answer = CheckAnswer::Response(CheckResponse {
        status,
        headers: header.into_iter().collect(),
        body: bytes::Bytes::new(),
    });
    (answer, why)
}

/// The answer in one line.
fn answer(head: &RequestHead, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Permit(permit) => forwarded(permit),
        Verdict::Denial(denial) => {
            let status = denial.refusal.status();
            match &denial.refusal {
                policy::Refusal::Login
                    if head.is_navigation() && head.entrance == Entrance::External =>
                {
                    format!("302 to the login ({})", denial.reason)
                }
                _ => format!("{status} ({})", denial.reason),
            }
        }
        Verdict::Ask(_) => "not decided".to_owned(),
    }
}

fn forwarded(permit: &Permit) -> String {
    match permit.destination() {
        Destination::Service { service, port } => format!("forwarded to Service {service}:{port}"),
        Destination::Host { host, port } => format!("forwarded to {host}:{port}"),
        Destination::Login => "answered by the embedded login".to_owned(),
        Destination::Reply(reply) => format!("{}, answered by the route", reply.status),
    }
}

fn entrance(entrance: Entrance) -> &'static str {
    match entrance {
        Entrance::External => "external",
        Entrance::Local => "cluster-local",
    }
}

fn as_text(head: &RequestHead, told: &Told, cluster: &Cluster, all: bool) -> String {
    let paint = Paint::of_stdout();
    let from = match (&head.workload, head.entrance) {
        (Some(workload), _) => format!(
            "pod {}/{}",
            workload.service_account.namespace, workload.pod
        ),
        (None, Entrance::External) => "outside".to_owned(),
        (None, Entrance::Local) => "a workload in the cluster".to_owned(),
    };
    let mut out = format!(
        "{} {}://{}{} from {from}, on the {} listener\n\n",
        head.method,
        match head.scheme {
            policy::Scheme::Http => "http",
            policy::Scheme::Https => "https",
        },
        head.authority,
        head.path_and_query(),
        entrance(head.entrance)
    );
    let form = if all {
        steps::Form::All
    } else {
        steps::Form::Short
    };
    let text = steps::Text {
        form,
        indent: 2,
        paint,
        created: Some(cluster),
    };
    let way = text.steps(told.steps.iter().filter(|s| s.stage != Stage::Answer));
    if !way.is_empty() {
        out.push_str(&way);
        out.push('\n');
    }
    for assumed in &told.assumed {
        out.push_str(&paint.faint(format!("assumed: {assumed}\n")));
    }
    let verdict = answer(head, &told.verdict);
    out.push_str(&paint.strong(format!("answer: {verdict}\n")));
    out
}

fn as_json(head: &RequestHead, told: &Told) -> Value {
    let (outcome, status) = match &told.verdict {
        Verdict::Permit(_) => ("permit", None),
        Verdict::Denial(denial) => ("denial", Some(denial.refusal.status().as_u16())),
        Verdict::Ask(_) => ("undecided", None),
    };
    json!({
        "request": { "method": head.method.as_str(), "host": head.authority, "path": head.path_and_query(), "listener": entrance(head.entrance) },
        "steps": told.steps.iter().map(steps::as_json).collect::<Vec<_>>(),
        "assumed": told.assumed,
        "outcome": outcome,
        "status": status,
        "answer": answer(head, &told.verdict),
    })
}
