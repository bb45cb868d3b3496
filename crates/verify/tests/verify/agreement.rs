//! Random clusters and random requests: what the engine says of a request is
//! what the decision says.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use policy::{Answers, Entrance, Everything, NoTrace, RequestHead, Scheme, decide};

use crate::clusters::BASE;
use crate::compile;

/// A small generator: the same seed, the same clusters.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    pub(crate) fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(list.len())]
    }

    pub(crate) fn some(&mut self, list: &[&str]) -> String {
        let count = 1 + self.roll(2);
        let all: Vec<String> = (0..count)
            .map(|_| format!("{:?}", self.pick(list)))
            .collect();
        format!("[{}]", all.join(", "))
    }
}

const HOSTS: [&str; 5] = ["a.test", "b.test", "*.test", "*", "x.b.test"];
const PATHS: [&str; 12] = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/ab",
    "/v1/x",
    "/v1/x/y",
    "/healthz",
    "/a/healthz",
    "/V1/x",
    "/v1/",
    "/q",
];
const PATH_RULES: [&str; 14] = [
    "/a*",
    "/a/*",
    "/a",
    "/v1*",
    "/v1/*",
    "*/healthz",
    "*x",
    "*",
    "/a/{*}",
    "/v1/{**}",
    "/a/**",
    "/",
    "/ab",
    "/*",
];
const HOST_RULES: [&str; 8] = [
    "a.test",
    "a.test:*",
    "*.test",
    "A.TEST",
    "*",
    "b.test:8080",
    "x*",
    "b.test",
];

pub(crate) fn policy(dice: &mut Dice, index: usize) -> String {
    let action = dice.pick(&["ALLOW", "ALLOW", "DENY", "CUSTOM"]);
    let provider = if action == "CUSTOM" {
        "\n  provider: {name: login}"
    } else {
        ""
    };
    let mut rules = String::new();
    for _ in 0..1 + dice.roll(2) {
        let mut operation = Vec::new();
        let fields: [(&str, &[&str]); 7] = [
            ("paths", &PATH_RULES),
            ("notPaths", &PATH_RULES),
            ("hosts", &HOST_RULES),
            ("notHosts", &HOST_RULES),
            ("methods", &["GET", "POST", "P*"]),
            ("notMethods", &["GET", "OPTIONS"]),
            ("ports", &["8080", "8081"]),
        ];
        for (name, values) in fields {
            if dice.roll(4) == 0 {
                operation.push(format!("{name}: {}", dice.some(values)));
            }
        }
        let to = if operation.is_empty() {
            String::new()
        } else {
            format!("to: [{{operation: {{{}}}}}]", operation.join(", "))
        };
        let mut when = Vec::new();
        for name in ["x-a", "x-b"] {
            if dice.roll(5) == 0 {
                let list = dice.pick(&["values", "notValues"]);
                when.push(format!(
                    "{{key: 'request.headers[{name}]', {list}: {}}}",
                    dice.some(&["*", "v", "v*", "*w"])
                ));
            }
        }
        if dice.roll(8) == 0 {
            when.push(format!(
                "{{key: source.ip, {}: [\"10.0.0.0/8\"]}}",
                dice.pick(&["values", "notValues"])
            ));
        }
        let when = if when.is_empty() {
            String::new()
        } else {
            format!("when: [{}]", when.join(", "))
        };
        let parts: Vec<String> = [to, when].into_iter().filter(|p| !p.is_empty()).collect();
        rules.push_str(&format!("\n  - {{{}}}", parts.join(", ")));
    }
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{index}, namespace: istio-system}}\nspec:\n  action: {action}{provider}\n  rules:{rules}\n"
    )
}

pub(crate) fn service(dice: &mut Dice, index: usize) -> String {
    let mut http = String::new();
    for _ in 0..1 + dice.roll(3) {
        let mut matches = Vec::new();
        for _ in 0..dice.roll(3) {
            let mut parts = vec![match dice.roll(4) {
                0 => format!("uri: {{exact: {:?}}}", dice.pick(&PATHS)),
                1 | 2 => format!("uri: {{prefix: {:?}}}", dice.pick(&PATHS)),
                _ => format!(
                    "uri: {{regex: {:?}}}",
                    dice.pick(&["/a/.*", "/v[0-9]/x.*", ".*healthz", "/(a|ab)"])
                ),
            }];
            if dice.roll(4) == 0 {
                parts.push("ignoreUriCase: true".into());
            }
            if dice.roll(4) == 0 {
                parts.push(format!(
                    "headers: {{x-a: {{exact: {}}}}}",
                    dice.pick(&["v", "vw"])
                ));
            }
            if dice.roll(6) == 0 {
                parts.push("withoutHeaders: {x-b: {}}".into());
            }
            if dice.roll(5) == 0 {
                parts.push(format!(
                    "method: {{exact: {}}}",
                    dice.pick(&["GET", "POST"])
                ));
            }
            if dice.roll(6) == 0 {
                parts.push("queryParams: {k: {exact: '1'}}".into());
            }
            if dice.roll(8) == 0 {
                parts.push(format!(
                    "authority: {{exact: {:?}}}",
                    dice.pick(&["a.test", "b.test:8080"])
                ));
            }
            matches.push(format!("{{{}}}", parts.join(", ")));
        }
        let matches = if matches.is_empty() {
            String::new()
        } else {
            format!("match: [{}], ", matches.join(", "))
        };
        let rewrite = match dice.roll(6) {
            0 => "rewrite: {uri: /a}, ",
            1 => "rewrite: {authority: b.test}, ",
            _ => "",
        };
        let headers = match dice.roll(5) {
            0 => "headers: {request: {set: {x-a: v}}}, ",
            1 => "headers: {request: {remove: [x-b]}}, ",
            _ => "",
        };
        let to = dice.pick(&[
            "one.apps.svc.cluster.local",
            "two.apps.svc.cluster.local",
            "local.istio-system.svc.cluster.local",
        ]);
        http.push_str(&format!("\n  - {{{matches}{rewrite}{headers}route: [{{destination: {{host: {to}, port: {{number: 80}}}}}}]}}"));
    }
    let gateways = dice.pick(&[
        "[istio-system/out]",
        "[istio-system/in]",
        "[istio-system/out, istio-system/in]",
    ]);
    let level = dice.pick(&["as-written", "login", "token", "public"]);
    let namespace = dice.pick(&["apps", "apps", "platform"]);
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{index}, namespace: {namespace}, annotations: {{sidegate.dev/access: {level}}}}}\nspec:\n  hosts: {}\n  gateways: {gateways}\n  http:{http}\n",
        dice.some(&HOSTS),
    )
}

pub(crate) fn request(dice: &mut Dice) -> RequestHead {
    let mut headers = HeaderMap::new();
    for name in ["x-a", "x-b"] {
        for _ in 0..[0, 0, 1, 1, 2][dice.roll(5)] {
            let value = dice.pick(&["", "v", "vw", "other", "w"]);
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
    }
    let host = dice.pick(&[
        "a.test",
        "b.test",
        "c.test",
        "x.b.test",
        "other.org",
        "A.test",
    ]);
    let port = dice.pick(&["", "", ":8080", ":1", ":x.b.test"]);
    let tail = dice.pick(&["", "", "x", "/healthz", "/y", "[z]"]);
    RequestHead {
        entrance: if dice.roll(2) == 0 {
            Entrance::External
        } else {
            Entrance::Local
        },
        method: Method::from_bytes(dice.pick(&["GET", "POST", "OPTIONS", "PUT"]).as_bytes())
            .unwrap(),
        scheme: Scheme::Http,
        authority: format!("{host}{port}"),
        path: format!("{}{tail}", dice.pick(&PATHS)),
        query: [None, Some("k=1".to_owned()), Some("k=2&k=1".to_owned())][dice.roll(3)].clone(),
        headers,
        peer: SocketAddr::from(([[10, 1, 2, 3], [203, 0, 113, 9]][dice.roll(2)], 1)),
        connection: policy::Connection::default(),
        workload: None,
    }
}

fn cluster(seed: u64) -> (String, Dice) {
    let mut dice = Dice(seed);
    let mut text = BASE.to_owned();
    if seed.is_multiple_of(3) {
        text = text.replace(
            "mode: as-written",
            "mode: enforce, platform: {namespaces: [platform]}",
        );
    }
    for index in 0..1 + dice.roll(4) {
        text.push_str(&service(&mut dice, index));
    }
    for index in 0..dice.roll(5) {
        text.push_str(&policy(&mut dice, index));
    }
    (text, dice)
}

/// A random cluster, the same for the same seed.
pub(crate) fn random_cluster(seed: u64) -> String {
    cluster(seed).0
}

#[test]
fn the_engine_says_what_the_decision_says() {
    let mut compared = 0;
    let mut reached = 0;
    for seed in 0..300 {
        let (text, mut dice) = cluster(seed);
        let snapshot = compile(&[&text]);
        let heads: Vec<RequestHead> = (0..100).map(|_| request(&mut dice)).collect();
        for (head, predicted) in heads.iter().zip(verify::predict(&snapshot, &heads)) {
            let decided = verify::decision(&snapshot, head);
            // With a trace everything is compared, without one what can match.
            assert_eq!(
                format!(
                    "{:?}",
                    decide(&snapshot, head, &Answers::new(), &mut NoTrace)
                ),
                format!(
                    "{:?}",
                    decide(&snapshot, head, &Answers::new(), &mut Everything::default())
                ),
                "seed {seed}: {head:?}\n{text}"
            );
            // A rewrite can bring a path that ends in a suffix only by its new
            // beginning; the engine then says that it does not know.
            let Some(predicted) = predicted else {
                continue;
            };
            compared += 1;
            reached += usize::from(matches!(predicted, verify::Decided::Reaches(_)));
            assert_eq!(
                predicted, decided.verdict,
                "seed {seed}: {head:?}\n{text}\n{:#?}",
                decided.steps
            );
        }
    }
    assert!(compared > 18_000, "only {compared} were compared");
    assert!(reached > 3_000, "only {reached} reached anything");
}

#[test]
fn a_difference_is_found_where_requests_show_one_and_nowhere_else() {
    let mut differing = 0;
    let mut silent = 0;
    for seed in 1_000..1_080 {
        let mut dice = Dice(seed);
        let mut base = BASE.to_owned();
        for index in 0..1 + dice.roll(3) {
            base.push_str(&service(&mut dice, index));
        }
        let more = if dice.roll(3) == 0 {
            service(&mut dice, 7)
        } else {
            policy(&mut dice, 7)
        };
        let (old, new) = (compile(&[&base]), compile(&[&format!("{base}{more}")]));
        let difference = verify::diff(&old, &new);
        for _ in 0..200 {
            let head = request(&mut dice);
            let before = verify::decision(&old, &head).verdict;
            let after = verify::decision(&new, &head).verdict;
            let nothing = |d: &verify::Decided| {
                matches!(d, verify::Decided::NoRoute | verify::Decided::Denied)
            };
            if before == after || nothing(&before) && nothing(&after) {
                continue;
            }
            differing += 1;
            assert!(
                !difference.changes.is_empty() || !difference.undecided.is_empty(),
                "seed {seed}: {head:?}: {before:?}, then {after:?}\n{base}{more}"
            );
        }
        silent += usize::from(difference.changes.is_empty());
        for change in &difference.changes {
            let head = &change.witness.head;
            assert_ne!(
                verify::decision(&old, head).verdict,
                verify::decision(&new, head).verdict,
                "seed {seed}: {change:?}"
            );
        }
    }
    assert!(differing > 500, "only {differing} requests differed");
    assert!(silent > 3, "only {silent} pairs were alike");
}
