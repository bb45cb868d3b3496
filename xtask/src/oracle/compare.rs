//! Where two observations of one request part.

use super::world::{Arrived, Observed};

/// The first difference between what Envoy did and what was decided.
pub(crate) fn difference(envoy: &Observed, decided: &Observed) -> Option<String> {
    let shown =
        |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("Envoy {a:?}, decided {b:?}");
    let asked = |observed: &Observed| -> Vec<String> {
        observed
            .checks
            .iter()
            .map(|check| check.at.clone())
            .collect()
    };
    if asked(envoy) != asked(decided) {
        return Some(format!(
            "authorizers asked: {}",
            shown(&asked(envoy), &asked(decided))
        ));
    }
    if envoy.status != decided.status {
        return Some(format!("status: {}", shown(&envoy.status, &decided.status)));
    }
    if envoy.grpc != decided.grpc {
        return Some(format!(
            "status of gRPC: {}",
            shown(&envoy.grpc, &decided.grpc)
        ));
    }
    for (theirs, ours) in envoy.checks.iter().zip(&decided.checks) {
        if let Some(what) = arrived(theirs, ours) {
            return Some(format!("check: {what}"));
        }
    }
    if envoy.location != decided.location {
        return Some(format!(
            "location: {}",
            shown(&envoy.location, &decided.location)
        ));
    }
    match (&envoy.upstream, &decided.upstream) {
        (Some(theirs), Some(ours)) => {
            if let Some(what) = arrived(theirs, ours) {
                return Some(format!("upstream: {what}"));
            }
        }
        (None, None) => {}
        (theirs, ours) => {
            let at = |arrived: &Option<Arrived>| arrived.as_ref().map(|a| a.at.clone());
            return Some(format!("upstream: {}", shown(&at(theirs), &at(ours))));
        }
    }
    // Envoy puts the route's headers on refusals too, which say nothing here, on
    // early ones where the request says what protocol was spoken (envoy
    // `RouteMatcher::route`); and what goes in circles is refused by the peers.
    let refused = envoy.upstream.is_none()
        && (matches!(envoy.status, Some(400 | 401 | 403 | 404 | 503 | 508))
            || envoy.grpc.is_some()
            || !envoy.checks.is_empty());
    let same = if refused {
        decided.headers.iter().all(|h| envoy.headers.contains(h))
    } else {
        envoy.headers == decided.headers
    };
    (!same).then(|| {
        format!(
            "headers of the answer: {}",
            shown(&envoy.headers, &decided.headers)
        )
    })
}

/// What disagreements of one cause have in common.
pub(crate) fn kind(what: &str) -> String {
    let mut words = what.splitn(3, ": ");
    let first = words.next().unwrap_or_default();
    match first {
        "status" | "authorizers asked" => what.to_owned(),
        "check" | "upstream" => format!("{first} {}", words.next().unwrap_or_default()),
        _ => first.to_owned(),
    }
}

fn arrived(theirs: &Arrived, ours: &Arrived) -> Option<String> {
    let fields = [
        ("service", &theirs.at, &ours.at),
        ("method", &theirs.method, &ours.method),
        ("path", &theirs.target, &ours.target),
        ("host", &theirs.host, &ours.host),
    ];
    for (name, a, b) in fields {
        if a != b {
            return Some(format!("{name}: Envoy `{a}`, decided `{b}`"));
        }
    }
    (theirs.headers != ours.headers).then(|| {
        let only = |a: &Arrived, b: &Arrived| -> Vec<(String, String)> {
            let missing = a.headers.iter().filter(|h| !b.headers.contains(h));
            missing.cloned().collect()
        };
        format!(
            "headers: only Envoy {:?}, only decided {:?}",
            only(theirs, ours),
            only(ours, theirs)
        )
    })
}
