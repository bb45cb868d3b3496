//! `sidegate explain`: the trace of one decision, made by the decision itself.

use std::net::{Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use policy::{
    Answers, Caller, Check, CheckAnswer, CheckResponse, Destination, Entrance, Permit, Person,
    Question, RequestHead, Scheme, ServiceAccount, Settings, Snapshot, Stage, Step, TokenError,
    TokenHolder, Verdict, Workload,
};
use resources::Cluster;
use serde_json::{Value, json};

use crate::cli::{ExplainArgs, Output};
use crate::inputs::Inputs;
use crate::live;
use crate::output::{self, BadInput, Style};

pub(crate) fn run(args: ExplainArgs) -> anyhow::Result<std::process::ExitCode> {
    let (method, url, paths) = split(&args.arguments)?;
    let inputs = Inputs::new(paths.iter().map(Into::into).collect(), &args.cluster)?;
    let cluster = inputs.read()?;
    let settings = live::settings(&cluster, args.cluster.istio_version.as_deref())?;
    let snapshot = live::compile(&cluster, &settings)?;
    let head = head(&args, &cluster, &snapshot, method, url)?;
    let who = args.identity.as_deref().map(identity).transpose()?;
    let (steps, verdict) = walk(&snapshot, &settings, &head, who.as_ref());
    match args.output {
        Output::Json => output::data(&serde_json::to_string_pretty(&as_json(
            &head, &steps, &verdict,
        ))?)?,
        Output::Text => {
            for warning in snapshot.warnings() {
                output::note(&Style::Warning, &warning.to_string());
            }
            output::data(as_text(&head, &steps, &verdict).trim_end())?;
        }
    }
    Ok(std::process::ExitCode::SUCCESS)
}

fn bad(message: impl Into<String>) -> anyhow::Error {
    BadInput(vec![message.into()]).into()
}

/// The last two arguments are method and URL.
fn split(arguments: &[String]) -> anyhow::Result<(Method, Uri, &[String])> {
    let [paths @ .., method, url] = arguments else {
        return Err(bad("expected METHOD and URL"));
    };
    let parsed = Method::from_bytes(method.as_bytes())
        .ok()
        .filter(|_| method.chars().all(|c| c.is_ascii_uppercase()));
    let Some(method) = parsed else {
        return Err(bad(format!(
            "`{method}` is not a method, expected for example GET, then the URL"
        )));
    };
    let uri: Uri = url
        .parse()
        .map_err(|error| bad(format!("`{url}` is not a URL: {error}")))?;
    if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad(format!(
            "`{url}` has no host, expected a form like `http://host/path`"
        )));
    }
    Ok((method, uri, paths))
}

fn head(
    args: &ExplainArgs,
    cluster: &Cluster,
    snapshot: &Snapshot,
    method: Method,
    url: Uri,
) -> anyhow::Result<RequestHead> {
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    let in_cluster = url
        .host()
        .is_some_and(|h| h.ends_with(".svc.cluster.local"));
    let (entrance, workload) = match args.from.as_deref() {
        Some("outside") => (Entrance::External, None),
        Some(from) => (Entrance::Local, Some(pod(cluster, from)?)),
        None if in_cluster => (Entrance::Local, None),
        None => (Entrance::External, None),
    };
    let target = url.path_and_query().map_or("/", |p| p.as_str());
    let (path, query) = snapshot
        .split_target(target)
        .map_err(|error| bad(error.to_string()))?;
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| bad(format!("header `{line}`: expected `Name: value`")))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| bad(format!("`{name}` is not a header name")))?;
        let value = HeaderValue::from_str(value.trim())
            .map_err(|_| bad(format!("header `{line}` has a bad value")))?;
        if snapshot.enforces() && policy::is_identity_header(&name) {
            output::note(
                &Style::Plain,
                &format!("`{name}` claims an identity: removed before anything looks at it"),
            );
            continue;
        }
        headers.append(name, value);
    }
    Ok(RequestHead {
        entrance,
        method,
        scheme: if url.scheme_str() == Some("https") {
            Scheme::Https
        } else {
            Scheme::Http
        },
        authority,
        path,
        query,
        headers,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        connection: policy::Connection::default(),
        workload,
    })
}

fn pod(cluster: &Cluster, from: &str) -> anyhow::Result<Workload> {
    let mut parts = from.split('/');
    let (Some("pod"), Some(namespace), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad(format!(
            "`--from {from}`: expected `outside` or `pod/NAMESPACE/NAME`"
        )));
    };
    live::pods(cluster)
        .find(|pod| *pod.service_account.namespace == *namespace && *pod.pod == *name)
        .ok_or_else(|| bad(format!("no pod `{namespace}/{name}` in the YAML")))
}

fn identity(text: &str) -> anyhow::Result<Caller> {
    match text.split_once(':') {
        Some(("user", email)) if !email.is_empty() => Ok(Caller::Session(Person {
            email: email.into(),
            subject: "".into(),
            groups: Vec::new().into(),
        })),
        Some(("serviceaccount", account)) => {
            let (namespace, name) = account.split_once('/').ok_or_else(|| {
                bad(format!(
                    "`--as {text}`: expected `serviceaccount:NAMESPACE/NAME`"
                ))
            })?;
            let account = ServiceAccount {
                namespace: namespace.into(),
                name: name.into(),
            };
            Ok(Caller::Token(TokenHolder::ServiceAccount(account)))
        }
        _ => Err(bad(format!(
            "`--as {text}`: expected `user:EMAIL` or `serviceaccount:NAMESPACE/NAME`"
        ))),
    }
}

/// Decides with the assumed identity; the last round's trace is the whole one.
fn walk(
    snapshot: &Snapshot,
    settings: &Settings,
    head: &RequestHead,
    who: Option<&Caller>,
) -> (Vec<Step>, Verdict) {
    let mut answers = Answers::new();
    loop {
        let mut steps = Vec::new();
        match policy::decide(snapshot, head, &answers, &mut steps) {
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(caller(head, who)),
            Verdict::Ask(Question::Check(check)) => {
                let answer = assumed_check(&check, settings, who);
                answers.check_is(check.id, answer);
            }
            verdict => return (steps, verdict),
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
fn assumed_check(check: &Check, settings: &Settings, who: Option<&Caller>) -> CheckAnswer {
    let open = settings.provider_paths.iter().chain(&settings.login_paths);
    let path = check.path_and_query.split('?').next().unwrap_or_default();
    let person = who.and_then(Caller::person);
    let (status, headers) =
        if person.is_some() || open.into_iter().any(|p| p == path) || path.starts_with("/dex/") {
            let user = person.and_then(|p| HeaderValue::from_str(&p.email).ok());
            (
                StatusCode::OK,
                user.map(|u| (HeaderName::from_static("kubeflow-userid"), u))
                    .into_iter()
                    .collect(),
            )
        } else {
            (
                StatusCode::FOUND,
                vec![(
                    http::header::LOCATION,
                    HeaderValue::from_static("/dex/auth"),
                )],
            )
        };
    CheckAnswer::Response(CheckResponse {
        status,
        headers,
        body: bytes::Bytes::new(),
    })
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

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Listener => "listener",
        Stage::VirtualHost => "host",
        Stage::Filter => "filter",
        Stage::Policy => "policy",
        Stage::Check => "check",
        Stage::Route => "route",
        Stage::Access => "access",
        Stage::Forward => "forward",
        Stage::Answer => "answer",
    }
}

fn entrance(entrance: Entrance) -> &'static str {
    match entrance {
        Entrance::External => "external",
        Entrance::Local => "cluster-local",
    }
}

fn as_text(head: &RequestHead, steps: &[Step], verdict: &Verdict) -> String {
    use std::fmt::Write as _;

    let mut out = String::new();
    let from = match (&head.workload, head.entrance) {
        (Some(workload), _) => format!(
            "pod {}/{}",
            workload.service_account.namespace, workload.pod
        ),
        (None, Entrance::External) => "outside".to_owned(),
        (None, Entrance::Local) => "a workload in the cluster".to_owned(),
    };
    let written = writeln!(
        out,
        "{} http://{}{} from {from}, on the {} listener\n",
        head.method,
        head.authority,
        head.path_and_query(),
        entrance(head.entrance)
    );
    debug_assert!(written.is_ok());
    let mut hop = None;
    for step in steps.iter().filter(|step| step.stage != Stage::Answer) {
        if hop.is_some_and(|hop| hop != step.hop) {
            out.push('\n');
        }
        hop = Some(step.hop);
        let object = step
            .object
            .as_ref()
            .map(|(object, source)| format!("\n            {object}  {source}"));
        out.push_str(&format!(
            "  {:<9} {}{}\n",
            stage(step.stage),
            step.text,
            object.unwrap_or_default()
        ));
    }
    out.push_str(&format!("\nanswer: {}\n", answer(head, verdict)));
    out
}

fn as_json(head: &RequestHead, steps: &[Step], verdict: &Verdict) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            json!({
                "hop": step.hop,
                "stage": stage(step.stage),
                "text": step.text,
                "object": step.object.as_ref().map(|(object, _)| object),
                "source": step.object.as_ref().map(|(_, source)| source),
            })
        })
        .collect();
    let (outcome, status) = match verdict {
        Verdict::Permit(_) => ("permit", None),
        Verdict::Denial(denial) => ("denial", Some(denial.refusal.status().as_u16())),
        Verdict::Ask(_) => ("undecided", None),
    };
    json!({
        "request": { "method": head.method.as_str(), "host": head.authority, "path": head.path_and_query(), "listener": entrance(head.entrance) },
        "steps": steps,
        "outcome": outcome,
        "status": status,
        "answer": answer(head, verdict),
    })
}
