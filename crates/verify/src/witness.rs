//! From a set to one request that is in it, confirmed by the decision itself.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy::{
    Answers, Caller, Certificate, CheckAnswer, CheckResponse, ClientTls, Destination, Everything,
    ListenerView, NoTrace, Question, Refusal, RequestHead, Scheme, Snapshot, Step, TestValue,
    TokenError, Trace, Verdict, decide, normalise,
};

use crate::analysis::{Flow, Outcome};
use crate::cells::Partition;
use crate::classes::Example;
use crate::engine::Engine;
use crate::language::{Patterns, as_set, holds_for};
use crate::mdd::{Dim, Set};
use crate::paths::Cell;
use crate::universe::{AUTHORITY, Kind, TOKEN_INVALID, TOKEN_VALID};

/// A request, and what was decided about it.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The request.
    pub head: RequestHead,
    /// How it was decided.
    pub steps: Vec<Step>,
    /// The answer in one line.
    pub answer: String,
}

/// Points of a set that are tried before it counts as undecided.
const TRIES: usize = 24;

/// A request of a flow that the decision treats as the flow says; none if it is
/// not easier to read than what is `known`.
pub(crate) fn find(
    engine: &mut Engine,
    snapshot: &Snapshot,
    listener: ListenerView<'_>,
    flow: &Flow<'_>,
    cell: Cell<'_>,
    partition: Partition<'_>,
    known: Option<&RequestHead>,
) -> Option<RequestHead> {
    let mut left = flow.set;
    for _ in 0..TRIES {
        let point = engine.sets.first(left)?;
        if let Some(head) = request(engine, snapshot, listener, flow, cell, partition, &point) {
            if known.is_some_and(|known| cost(known) <= cost(&head)) {
                return None;
            }
            let confirmed = confirm(snapshot, head, flow.outcome);
            if confirmed.is_some() {
                return confirmed;
            }
        }
        let universe = &engine.universe;
        let authorities = flow.authorities.len();
        let width = |dim: Dim| {
            if dim == AUTHORITY {
                authorities
            } else {
                universe.width(dim)
            }
        };
        left = engine.sets.without(left, &point, width);
        if left == Set::NONE {
            return None;
        }
    }
    None
}

fn request(
    engine: &mut Engine,
    snapshot: &Snapshot,
    listener: ListenerView<'_>,
    flow: &Flow<'_>,
    cell: Cell<'_>,
    partition: Partition<'_>,
    point: &[(Dim, u16)],
) -> Option<RequestHead> {
    let mut head = RequestHead {
        entrance: listener.side(),
        method: Method::GET,
        scheme: Scheme::Http,
        authority: flow.authorities.first()?.clone(),
        path: String::new(),
        query: None,
        headers: HeaderMap::new(),
        peer: SocketAddr::from(([203, 0, 113, 7], 50_000)),
        connection: policy::Connection::default(),
        workload: None,
    };
    arrive(&mut head, listener);
    let mut query: Vec<String> = Vec::new();
    let mut tests: Vec<(TestValue, bool)> = Vec::new();
    let mut tail = 0;
    let mut remote = None;
    for (dim, class) in point {
        let dimension = engine.universe.dimension(*dim)?;
        let example = dimension.examples.get(usize::from(*class));
        match (&dimension.kind, example) {
            (Kind::Authority, _) => {
                head.authority = flow.authorities.get(usize::from(*class))?.clone();
            }
            (Kind::Method, Some(Example::Text(name))) => {
                head.method = Method::from_bytes(name.as_bytes()).ok()?;
            }
            (Kind::Scheme, Some(Example::Text(name))) if name == "https" => {
                head.scheme = Scheme::Https;
            }
            (Kind::Peer, Some(Example::Ip(ip))) => head.peer.set_ip(*ip),
            (Kind::Remote, Some(Example::Ip(ip))) => remote = Some(*ip),
            (Kind::Sni, Some(Example::Text(sni))) => {
                if let Some(tls) = &mut head.connection.tls {
                    tls.sni = Some(sni.as_str().into()).filter(|_| !sni.is_empty());
                }
            }
            (Kind::Identity, Some(Example::Lines(names))) => {
                if let Some(tls) = &mut head.connection.tls {
                    tls.certificate = Some(Certificate {
                        uris: names.iter().map(|name| name.as_str().into()).collect(),
                        ..Certificate::default()
                    });
                }
            }
            (Kind::Token, _) if *class == TOKEN_INVALID || *class == TOKEN_VALID => {
                head.headers.insert(
                    http::header::AUTHORIZATION,
                    HeaderValue::from_static("Bearer x.y.z"),
                );
            }
            (Kind::Header(name), Some(Example::Lines(lines))) => {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                if head.headers.contains_key(&name) {
                    continue;
                }
                for line in lines {
                    head.headers
                        .append(&name, HeaderValue::from_str(line).ok()?);
                }
            }
            (Kind::Query(name), Some(Example::Text(value))) => {
                query.push(format!("{name}={value}"))
            }
            (Kind::Tail, _) => tail = *class,
            (Kind::Path(test), _) => tests.push((test.clone(), *class == 1)),
            _ => {}
        }
    }
    if let Some(remote) = remote {
        forwarded(&mut head, remote, listener.trusted_proxies())?;
    }
    if !query.is_empty() {
        head.query = Some(query.join("&"));
    }
    head.path = path(engine, snapshot, cell, partition, tail, &tests)?;
    Some(head)
}

/// Lets a request arrive at a listener; at an entrance as at any.
pub(crate) fn arrive(head: &mut RequestHead, listener: ListenerView<'_>) {
    if let Some(entrance) = listener.entrance() {
        head.entrance = entrance;
        head.connection.listener = None;
    } else {
        head.arrive_at(&listener);
    }
    head.connection.tls = listener.tls().map(|_| ClientTls::default());
    if listener.tls().is_some() {
        head.scheme = Scheme::Https;
    }
}

/// What trusted proxies, and the gateway itself, write down about the client.
fn forwarded(head: &mut RequestHead, client: IpAddr, proxies: u32) -> Option<()> {
    let mut entries = vec![client.to_string()];
    for number in 1..proxies {
        entries.push(format!("198.51.100.{}", number.min(254)));
    }
    entries.push(head.peer.ip().to_string());
    let all = HeaderValue::from_str(&entries.join(", ")).ok()?;
    (proxies > 0).then(|| head.headers.insert("x-forwarded-for", all));
    Some(())
}

/// A path of a cell with this tail that satisfies just these conditions.
fn path(
    engine: &Engine,
    snapshot: &Snapshot,
    cell: Cell<'_>,
    partition: Partition<'_>,
    tail: u16,
    tests: &[(TestValue, bool)],
) -> Option<String> {
    let mode = snapshot.normalization();
    let fits = |path: &str| {
        let inside = if cell.region {
            path.len() > cell.text.len()
                && path.starts_with(cell.text)
                && !partition
                    .below(cell.text)
                    .any(|longer| path.starts_with(longer))
        } else {
            path == cell.text
        };
        inside
            && engine.universe.tail_class(path) == tail
            && tests
                .iter()
                .all(|(test, wanted)| holds_for(test, path) == *wanted)
            && normalise(path, mode).is_ok_and(|normal| normal == path)
    };
    if !cell.region {
        return fits(cell.text).then(|| cell.text.to_owned());
    }
    let suffix = usize::from(tail)
        .checked_sub(1)
        .and_then(|i| engine.universe.suffixes.get(i))
        .map_or("", String::as_str);
    let mut candidates: Vec<String> = ["", "x", "x/x", "anything", "0", "q7z", "/x", ":x"]
        .iter()
        .map(|filler| format!("{}{filler}{suffix}", cell.text))
        .collect();
    let named: Vec<&(TestValue, bool)> = tests.iter().collect();
    if !named.is_empty() {
        let patterns: Option<Vec<String>> = named.iter().map(|(test, _)| as_set(test)).collect();
        if let Some(patterns) = patterns.and_then(|p| Patterns::new(&p).ok())
            && let Ok(mut state) = patterns.start()
        {
            for byte in cell.text.bytes() {
                state = patterns.next(state, byte);
            }
            let found = patterns.classes_from(state, |_| true).unwrap_or_default();
            let wanted: Vec<bool> = named.iter().map(|(_, wanted)| *wanted).collect();
            for (_, rest) in found.into_iter().filter(|(holds, _)| *holds == wanted) {
                candidates.push(format!("{}{rest}", cell.text));
                candidates.push(format!("{}{rest}{suffix}", cell.text));
            }
        }
    }
    candidates.into_iter().find(|candidate| fits(candidate))
}

/// The request, if the decision agrees with the outcome.
fn confirm(snapshot: &Snapshot, head: RequestHead, outcome: Outcome<'_>) -> Option<RequestHead> {
    let decided = decided(snapshot, &head, || NoTrace, |_| Vec::new());
    decided.verdict.is(outcome).then_some(head)
}

impl Witness {
    /// A request with what decides it.
    pub(crate) fn of(snapshot: &Snapshot, head: RequestHead) -> Self {
        let DecidedRequest { steps, answer, .. } = decision(snapshot, &head);
        Self {
            head,
            steps,
            answer,
        }
    }
}

/// What the decision says about a request of somebody without session or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It reaches this destination.
    Reaches(Destination),
    /// Answered on the way.
    Answered,
    /// Asked to log in.
    Login,
    /// Asked for a token.
    Token,
    /// Another authorizer decides.
    Authorizer,
    /// 401 or 403.
    Denied,
    /// 404.
    NoRoute,
}

impl Decided {
    /// Whether it is what was expected.
    pub(crate) fn is(&self, outcome: Outcome<'_>) -> bool {
        match (self, outcome) {
            (Self::Reaches(destination), Outcome::Reaches(expected)) => destination == expected,
            (Self::Answered, Outcome::Answered)
            | (Self::Login, Outcome::Login)
            | (Self::Token, Outcome::Token)
            | (Self::Authorizer, Outcome::Authorizer)
            | (Self::Denied, Outcome::Denied)
            | (Self::NoRoute, Outcome::NoRoute) => true,
            _ => false,
        }
    }
}

/// A decision with its steps.
#[derive(Clone, Debug)]
pub struct DecidedRequest {
    /// What it is.
    pub verdict: Decided,
    /// How it came about.
    pub steps: Vec<Step>,
    /// In one line.
    pub answer: String,
}

/// Decides a request of somebody who has neither a session nor a valid token.
/// Login services are taken to send strangers to the login.
pub fn decision(snapshot: &Snapshot, head: &RequestHead) -> DecidedRequest {
    decided(snapshot, head, Vec::new, |steps| steps)
}

/// The same, with everything that was looked at on the way.
pub fn explained(snapshot: &Snapshot, head: &RequestHead) -> DecidedRequest {
    decided(snapshot, head, Everything::default, |trace| trace.0)
}

fn decided<T: Trace>(
    snapshot: &Snapshot,
    head: &RequestHead,
    begin: fn() -> T,
    steps_of: fn(T) -> Vec<Step>,
) -> DecidedRequest {
    let mut answers = Answers::new();
    let mut asked: Option<Decided> = None;
    loop {
        let mut trace = begin();
        let (verdict, answer) = match decide(snapshot, head, &answers, &mut trace) {
            Verdict::Ask(Question::Caller(_)) => {
                let bearer = head.headers.contains_key(http::header::AUTHORIZATION);
                answers.caller_is(if bearer {
                    Caller::BadToken(TokenError("not a token".into()))
                } else {
                    Caller::Anonymous
                });
                continue;
            }
            Verdict::Ask(Question::Check(check)) => {
                let login = snapshot.is_login(&check.provider);
                asked = Some(if login {
                    Decided::Login
                } else {
                    Decided::Authorizer
                });
                answers.check_is(check.id, CheckAnswer::Response(sent_away()));
                continue;
            }
            Verdict::Permit(permit) => match permit.destination() {
                Destination::Service { service, port } => (
                    Decided::Reaches(permit.destination().clone()),
                    format!("reaches {service}:{port}"),
                ),
                Destination::Host { host, port } => (
                    Decided::Reaches(permit.destination().clone()),
                    format!("reaches {host}:{port}"),
                ),
                Destination::Login => (Decided::Answered, "answered by the login".to_owned()),
                Destination::Reply(reply) => (
                    Decided::Answered,
                    format!("answered by the route: {}", reply.status),
                ),
            },
            Verdict::Denial(denial) => {
                let verdict = match (&denial.refusal, asked.take()) {
                    (Refusal::Answer(_), Some(asked)) => asked,
                    (Refusal::Login, _) => Decided::Login,
                    (Refusal::Token { .. }, _) if snapshot.enforces() => Decided::Token,
                    (Refusal::NoRoute, _) => Decided::NoRoute,
                    _ => Decided::Denied,
                };
                let status = match verdict {
                    Decided::Login => "302 to the login".to_owned(),
                    Decided::Authorizer => "decided by another authorizer".to_owned(),
                    _ => denial.refusal.status().to_string(),
                };
                (verdict, format!("{status} ({})", denial.reason))
            }
        };
        return DecidedRequest {
            verdict,
            steps: steps_of(trace),
            answer,
        };
    }
}

fn sent_away() -> CheckResponse {
    CheckResponse {
        status: StatusCode::FOUND,
        headers: vec![(
            http::header::LOCATION,
            HeaderValue::from_static("/dex/auth"),
        )],
        body: bytes::Bytes::new(),
    }
}

impl Witness {
    /// The request as a curl command line; `base` is where the listener is
    /// reached, for example `http://127.0.0.1:8080`.
    pub fn curl(&self, base: &str) -> String {
        let mut line = String::from("curl -si --path-as-is");
        if self.head.method == Method::HEAD {
            line.push_str(" --head");
        } else if self.head.method != Method::GET {
            line.push_str(&format!(" -X {}", self.head.method));
        }
        line.push_str(&format!(" -H 'Host: {}'", self.head.authority));
        for (name, value) in self.sent_headers() {
            // curl sends an empty header only when it is written with a semicolon.
            if value.is_empty() {
                line.push_str(&format!(" -H '{name};'"));
            } else {
                line.push_str(&format!(" -H '{name}: {}'", value.replace('\'', "'\\''")));
            }
        }
        let target = self.head.path_and_query().replace('\'', "'\\''");
        let origin = self.origin(base, &mut line);
        line.push_str(&format!(" '{origin}{target}'"));
        let tls = self.head.connection.tls.as_ref();
        if let Some(shown) = tls.and_then(|tls| tls.certificate.as_ref()) {
            line.push_str(&format!(
                " # with a certificate of {}",
                shown.uris.join(", ")
            ));
        }
        line
    }

    /// The headers as the client sends them: without itself in `x-forwarded-for`.
    pub fn sent_headers(&self) -> impl Iterator<Item = (&HeaderName, String)> {
        let own = format!(", {}", self.head.peer.ip());
        self.head.headers.iter().map(move |(name, value)| {
            let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if name == "x-forwarded-for" && value.ends_with(&own) {
                value.truncate(value.len() - own.len());
            }
            (name, value)
        })
    }

    /// Scheme and host of the URL; a listener that is no entrance is reached at
    /// its port of the same gateway.
    fn origin(&self, base: &str, line: &mut String) -> String {
        let connection = &self.head.connection;
        let Some(id) = &connection.listener else {
            return base.to_owned();
        };
        let address = base.split_once("://").map_or(base, |(_, rest)| rest);
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let Some(tls) = &connection.tls else {
            return format!("http://{host}:{}", id.port);
        };
        line.push_str(" -k");
        if tls.certificate.is_some() {
            line.push_str(" --cert client.pem --key client.key");
        }
        match &tls.sni {
            None => format!("https://{host}:{}", id.port),
            Some(sni) => {
                line.push_str(&format!(" --connect-to '::{host}:{}'", id.port));
                format!("https://{sni}")
            }
        }
    }

    /// How easy it is to read.
    pub(crate) fn cost(&self) -> (usize, usize, usize, &str) {
        cost(&self.head)
    }
}

/// Headers a reader has to look at, the length of the path, then oddness:
/// smaller is easier to read.
pub(crate) fn cost(head: &RequestHead) -> (usize, usize, usize, &str) {
    let odd_method = usize::from(head.method != Method::GET);
    (
        head.headers.len() + odd_method,
        head.authority.len(),
        head.path.len(),
        &head.path,
    )
}
