//! Requests, raw.

use std::net::Ipv4Addr;

use super::words::{HEADERS, HOSTS, METHODS, PATHS, SOURCES, VALUES};
use super::{Dice, Features, connections, tokens};
use crate::oracle::world::{Reply, Sent};

const SEGMENTS: &[&str] = &[
    "a", "b", "ab", "A", "%61", "%2F", "%2f", "..", ".", "%2e%2e", "%2E", "..;", ";x", "a;v=1", "",
    "c", "x.txt", "%5C", "a%2Fb", "%20", "%zz", "%3b", "open", "...", "a^b", "%7Ea", "a+b", "a%",
    "a\\b", "{a}", "a|b", "a\"b", "<", "*", "a:b", "@", "a,b", "%00", "%252f", "~a",
];

const QUERIES: &[&str] = &[
    "q=1", "q=a", "q", "r=1&q=2", "q=%31", "", "q=1?x", "a/../b", "q=on&q=1",
];

pub(super) fn sent(dice: &mut Dice, features: &Features) -> Sent {
    let odd = features.on("odd-requests");
    let port = if features.on("tcp") && dice.percent(8) {
        9000
    } else if features.on("tls") && dice.percent(40) {
        8443
    } else if dice.percent(65) {
        8080
    } else {
        8081
    };
    let authority = authority(dice, odd);
    let tls = connections::tls(dice, features, port, &authority);
    let mut headers = headers(dice, odd);
    if features.on("proxies") && dice.percent(50) {
        for _ in 0..dice.up_to(2) {
            headers.push(("x-forwarded-for".into(), connections::forwarded(dice)));
        }
    }
    if features.on("settings") && dice.percent(10) {
        headers.push((dice.pick(&["x_a", "a_b"]).into(), "1".into()));
    }
    let tokens = if features.on("tokens") {
        tokens::sent(dice, &mut headers)
    } else {
        Vec::new()
    };
    Sent {
        port,
        method: if dice.percent(60) {
            "GET"
        } else {
            dice.pick(METHODS)
        }
        .to_owned(),
        authority,
        target: target(dice, odd),
        headers,
        source: {
            let index = dice.below(SOURCES.len());
            SOURCES
                .get(index)
                .copied()
                .map_or(Ipv4Addr::LOCALHOST, Ipv4Addr::from)
        },
        checker: reply(dice),
        tls,
        tokens,
    }
}

fn authority(dice: &mut Dice, odd: bool) -> String {
    let host = dice.pick(HOSTS);
    if !odd {
        return host.to_owned();
    }
    match dice.below(20) {
        0 => format!("{host}:8080"),
        1 => format!("{host}:80"),
        2 => host.to_uppercase(),
        3 => format!("{host}."),
        4 => format!("u@{host}"),
        5 => "unknown.test".into(),
        6 => format!("z.{host}"),
        7 => format!("A{}", host.trim_start_matches('a')),
        8 => format!("{host}:"),
        9 => format!("{host}:x"),
        _ => host.to_owned(),
    }
}

fn target(dice: &mut Dice, odd: bool) -> String {
    let mut target = dice.pick(PATHS).to_owned();
    if odd && dice.percent(45) {
        for _ in 0..dice.up_to(3) {
            if dice.percent(70) && !target.ends_with('/') {
                target.push('/');
            }
            target.push_str(dice.pick(SEGMENTS));
        }
    }
    if odd && dice.percent(5) {
        target.insert(0, '/');
    }
    if dice.percent(20) {
        target = format!("{target}?{}", dice.pick(QUERIES));
    }
    if odd && dice.percent(3) {
        target.push_str("#frag");
    }
    if odd && dice.percent(2) {
        return format!("http://{}{target}", dice.pick(HOSTS));
    }
    if odd && dice.percent(2) {
        return dice
            .pick(&[
                "/pkg.Svc/Get",
                "/pkg.Svc/Set",
                "/pkg.Other/Get",
                "/pkg.Svc/Get/x",
            ])
            .to_owned();
    }
    target
}

fn headers(dice: &mut Dice, odd: bool) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    if odd && dice.percent(5) {
        let origin = dice.pick(&[
            "https://page.example.com",
            "http://page.example.com",
            "null",
        ]);
        headers.push(("origin".to_owned(), origin.to_owned()));
        if dice.percent(60) {
            let method = dice.pick(&["GET", "PUT"]);
            headers.push((
                "access-control-request-method".to_owned(),
                method.to_owned(),
            ));
        }
    }
    if odd && dice.percent(4) {
        headers.push(("content-type".to_owned(), "application/grpc".to_owned()));
    }
    if odd && dice.percent(4) {
        let name = dice.pick(&[
            "x_a",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-envoy-original-path",
            "X-Envoy-Internal",
            "x-forwarded-for",
        ]);
        headers.push((
            name.to_owned(),
            dice.pick(&["https", "1", "10.0.0.1", "/open"]).to_owned(),
        ));
    }
    for _ in 0..dice.below(4) {
        let mut name = dice.pick(HEADERS).to_owned();
        if odd && dice.percent(10) {
            name = name.to_uppercase();
        }
        let value = match name.as_str() {
            "authorization" => dice.pick(&["Basic x", "Bearer", "bearer x", ""]),
            "cookie" => dice.pick(&["s=1", "s=2", "s=1; t=2"]),
            _ => dice.pick(VALUES),
        };
        let repeated = headers
            .iter()
            .any(|(known, _): &(String, String)| known.eq_ignore_ascii_case(&name));
        let list = name.to_ascii_lowercase().starts_with("x-") || dice.percent(10);
        if !repeated || odd && list {
            headers.push((name, value.to_owned()));
        }
    }
    headers
}

fn reply(dice: &mut Dice) -> Reply {
    let status = [200, 200, 200, 200, 200, 200, 403, 302, 401, 503, 201, 404];
    let status = dice.number(&status);
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    if status == 302 {
        add("location", "http://login.example.com/?rd=x");
    }
    if dice.percent(40) {
        add("kubeflow-userid", "user@example.com");
    }
    if dice.percent(30) {
        add("x-set-a", "checked");
    }
    if dice.percent(20) {
        add("x-user", "checked");
    }
    if dice.percent(20) {
        add("x-reason", "because");
    }
    if dice.percent(8) {
        add("x-envoy-auth-headers-to-remove", "x-a, x-b");
    }
    Reply { status, headers }
}
