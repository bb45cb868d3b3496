//! From a set to one request that is in it, confirmed by the decision itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use policy::{
    Carrier, Certificate, Claims, ClientTls, Entrance, ListenerView, NoTrace, RequestHead, Scheme,
    Snapshot, Step, TestValue, TokenHolder, Workload, normalise,
};

use crate::analysis::Flow;
use crate::callers::{Asker, BEARER, HELD_GOOD, HELD_NONE, account, somebody};
use crate::cells::Partition;
use crate::classes::Example;
use crate::curl::cost;
use crate::decided::{DecidedRequest, decided, decision_as};
use crate::engine::Engine;
use crate::language::{Patterns, as_set, holds_for};
use crate::mdd::{Dim, Set};
use crate::paths::Cell;
use crate::standins;
use crate::tokens;
use crate::universe::{AUTHORITY, IDENTITY, Kind};

/// A request, and what was decided about it.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The request.
    pub head: RequestHead,
    /// Who it is from.
    pub asker: Asker,
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
) -> Option<Found> {
    let mut path = |engine: &Engine, tail: u16, tests: PathTests<'_>| {
        path(engine, snapshot, cell, partition, tail, tests)
    };
    search(engine, snapshot, listener, flow, &mut path, known)
}

/// The same with a given path, where the set holds for just that path.
pub(crate) fn find_at(
    engine: &mut Engine,
    snapshot: &Snapshot,
    listener: ListenerView<'_>,
    flow: &Flow<'_>,
    path: &str,
) -> Option<Found> {
    let mut given = |_: &Engine, _: u16, _: PathTests<'_>| Some(path.to_owned());
    search(engine, snapshot, listener, flow, &mut given, None)
}

/// A request, and who it is from.
pub(crate) type Found = (RequestHead, Asker);

/// Path tests, and whether each has to hold.
type PathTests<'t> = &'t [(TestValue, bool)];

/// A path with this tail that satisfies these tests.
type MakePath<'p> = &'p mut dyn FnMut(&Engine, u16, PathTests<'_>) -> Option<String>;

fn search(
    engine: &mut Engine,
    snapshot: &Snapshot,
    listener: ListenerView<'_>,
    flow: &Flow<'_>,
    path: MakePath<'_>,
    known: Option<&RequestHead>,
) -> Option<Found> {
    let mut left = flow.set;
    for _ in 0..TRIES {
        let point = engine.sets.first(left)?;
        if let Some((head, asker)) = request(engine, listener, flow, path, &point) {
            if known.is_some_and(|known| cost(known) <= cost(&head)) {
                return None;
            }
            let confirmed = confirm(snapshot, head, asker, flow);
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
    engine: &Engine,
    listener: ListenerView<'_>,
    flow: &Flow<'_>,
    path: MakePath<'_>,
    point: &[(Dim, u16)],
) -> Option<Found> {
    let mut asker = Asker::default();
    let mut caller = None;
    let mut held = HELD_NONE;
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
    let mut claims = serde_json::Map::new();
    let carried = carried(engine, point);
    let names = |wanted: fn(&Carrier) -> Option<&str>| -> Vec<&str> {
        carried.iter().filter_map(|(c, _)| wanted(c)).collect()
    };
    let taken = names(|carrier| match carrier {
        Carrier::Header { name, .. } => Some(name),
        Carrier::Cookie(_) => Some("cookie"),
        Carrier::Parameter(_) => None,
    });
    let in_query = names(|carrier| match carrier {
        Carrier::Parameter(name) => Some(name),
        Carrier::Header { .. } | Carrier::Cookie(_) => None,
    });
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
            (Kind::Held, _) => held = *class,
            (Kind::Account, _) => {
                let known = usize::from(*class).checked_sub(1);
                caller = known.and_then(|i| engine.universe.callers.accounts.get(i));
            }
            (Kind::Person, _) => {
                let known = usize::from(*class).checked_sub(1);
                let person = known.and_then(|i| engine.universe.callers.persons.get(i));
                asker.session = person.cloned();
            }
            (Kind::Claim(path), Some(example)) => standins::insert(&mut claims, path, example),
            (Kind::Header(name), _) if taken.contains(&&**name) => {}
            (Kind::Query(name), _) if in_query.contains(&&**name) => {}
            (Kind::Header(name), Some(Example::Lines(lines))) => {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                for line in lines {
                    let token = match line.ends_with(BEARER) {
                        true => standins::BAD_TOKEN,
                        false => "",
                    };
                    let value = HeaderValue::from_str(&format!("{line}{token}")).ok()?;
                    head.headers.append(&name, value);
                }
            }
            (Kind::Query(name), Some(Example::Text(value))) => {
                query.push(format!("{name}={value}"))
            }
            (Kind::Tail, _) => tail = *class,
            (Kind::Path(test), _) => tests.push((test.value.clone(), *class == 1)),
            _ => {}
        }
    }
    if let Some(remote) = remote {
        forwarded(&mut head, remote, listener.trusted_proxies())?;
    }
    if !query.is_empty() {
        head.query = Some(query.join("&"));
    }
    head.path = path(engine, tail, &tests)?;
    if held == HELD_GOOD {
        let holder = caller.cloned();
        let holder = holder.unwrap_or_else(|| account("elsewhere", "somebody"));
        asker.token = Some(TokenHolder::ServiceAccount(holder));
    }
    if listener.side() == Entrance::Local
        && let Some(account) = caller
    {
        head.workload = Some(Workload {
            pod: "some-pod".into(),
            service_account: account.clone(),
        });
    }
    let head = with_tokens(engine, head, &carried, &claims, point)?;
    Some((head, asker))
}

/// The places where there is something, and whether it is good.
fn carried(engine: &Engine, point: &[(Dim, u16)]) -> Vec<(Carrier, bool)> {
    let there = point.iter().filter(|(_, class)| *class != tokens::NONE);
    let carriers = there.filter_map(|(dim, class)| {
        let carriers = engine.universe.tokens.carriers.iter();
        let mut found = carriers.filter(|(_, known)| known == dim);
        let (carrier, _) = found.next()?;
        Some((carrier.clone(), *class == tokens::GOOD))
    });
    carriers.collect()
}

/// The request with its tokens, if it then still is what the point says.
fn with_tokens(
    engine: &Engine,
    head: RequestHead,
    carried: &[(Carrier, bool)],
    claims: &serde_json::Map<String, serde_json::Value>,
    point: &[(Dim, u16)],
) -> Option<RequestHead> {
    if carried.is_empty() {
        return Some(head);
    }
    let universe = &engine.universe;
    let fits = |head: &RequestHead| {
        point.iter().all(|(dim, class)| {
            let kind = universe.dimension(*dim).map(|d| &d.kind);
            let told = matches!(
                kind,
                Some(Kind::Carrier(_) | Kind::Claim(_) | Kind::Header(_) | Kind::Query(_))
            );
            !told || universe.class_of(*dim, head) == Some(*class)
        })
    };
    // As it is, after something else, and a parameter by another spelling.
    let ways = ["", "Basic x, "].map(|before| {
        let mut head = head.clone();
        for (carrier, good) in carried {
            let token = match good {
                true => standins::text(claims),
                false => standins::BAD_TOKEN.to_owned(),
            };
            let (carrier, before) = match carrier {
                Carrier::Parameter(name) if !before.is_empty() => {
                    (Carrier::Parameter(spelled(name)), "")
                }
                other => (other.clone(), before),
            };
            standins::put(&mut head, &carrier, before, &token)?;
        }
        Some(head)
    });
    ways.into_iter().flatten().find(fits)
}

/// A name with its first character percent-encoded.
fn spelled(name: &str) -> String {
    match name.split_at_checked(1) {
        Some((first, rest)) => {
            let first = first.bytes().map(|b| format!("%{b:02X}"));
            format!("{}{rest}", first.collect::<String>())
        }
        None => name.to_owned(),
    }
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

/// The request, if the decision agrees with the flow.
fn confirm(snapshot: &Snapshot, head: RequestHead, asker: Asker, flow: &Flow<'_>) -> Option<Found> {
    let agrees = |asker: &Asker| {
        let decided = decided(snapshot, &head, asker, || NoTrace, |_| Vec::new());
        decided.verdict.is(flow.outcome) && (!flow.forges || decided.keeps(&head, IDENTITY))
    };
    let mut asker = asker;
    if flow.session {
        asker.session.get_or_insert_with(somebody);
        asker.login_token = login_tokens(snapshot).find(|token| {
            let login_token = token.clone();
            agrees(&Asker {
                login_token,
                ..asker.clone()
            })
        })?;
        return Some((head, asker));
    }
    agrees(&asker).then_some((head, asker))
}

/// None, and tokens that a login may put on the requests of somebody.
fn login_tokens(snapshot: &Snapshot) -> impl Iterator<Item = Option<Claims>> {
    let rules = snapshot.listeners().flat_map(|listener| {
        let rules = listener.token_rules();
        let rules = rules.map(|rule| (rule.keys().issuer.as_str(), rule.audiences()));
        rules.collect::<Vec<_>>()
    });
    let distinct: BTreeSet<_> = rules.collect();
    let tokens = distinct.into_iter().map(|(issuer, audiences)| {
        let person = somebody();
        let claims = serde_json::json!({
            "iss": issuer, "aud": audiences, "sub": &*person.subject, "email": &*person.email,
        });
        Claims::parse(claims.to_string().as_bytes())
    });
    std::iter::once(None).chain(tokens)
}

impl Witness {
    /// A request with what decides it.
    pub(crate) fn of(snapshot: &Snapshot, (head, asker): Found) -> Self {
        let DecidedRequest { steps, answer, .. } = decision_as(snapshot, &head, &asker);
        Self {
            head,
            asker,
            steps,
            answer,
        }
    }
}
