//! Requests of every kind, decided over compiled configurations.

use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy::{
    Answers, Caller, CheckAnswer, CheckResponse, Claims, Entrance, IstioVersion, NoTrace, Question,
    RequestHead, Scheme, Settings, Snapshot, Step, TokenAnswer, TokenContent, Verdict,
};

use super::Target;
use super::random::Random;

pub(crate) struct Decide {
    snapshots: Vec<Snapshot>,
}

impl Decide {
    /// Compiles the corpus, each file alone and for several versions.
    pub(crate) fn new(corpus: &[String]) -> Result<Self> {
        let mut snapshots = Vec::new();
        for text in corpus {
            let Ok(cluster) = resources::parse(&[("corpus.yaml".into(), text.clone())]) else {
                continue;
            };
            for minor in [11, 18, 20, 31] {
                let settings = Settings {
                    istio_version: Some(IstioVersion::minor(minor)),
                    ..Settings::default()
                };
                snapshots.extend(Snapshot::compile(&cluster, &settings));
            }
        }
        if snapshots.is_empty() {
            return Err(anyhow!("no file of the corpus compiles"));
        }
        Ok(Self { snapshots })
    }
}

impl Target for Decide {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let Some(snapshot) = random.of(&self.snapshots) else {
            return Ok("nothing to decide with");
        };
        decide(snapshot, random)
    }

    fn input(&self, random: &mut Random) -> String {
        match random.of(&self.snapshots) {
            Some(snapshot) => format!("{:?}", head(snapshot, random)),
            None => String::new(),
        }
    }
}

/// No request asks more often than this.
const MAX_QUESTIONS: usize = 64;

/// Decides one random request; what does not end, or not twice the same way,
/// is wrong.
pub(crate) fn decide(snapshot: &Snapshot, random: &mut Random) -> Result<&'static str, String> {
    let Some(head) = head(snapshot, random) else {
        return Ok("no single reading");
    };
    let again = snapshot.split_target(&head.path).map_err(|e| e.to_string());
    if let Err(error) = again {
        return Err(format!(
            "normalised path `{}` is refused: {error}",
            head.path
        ));
    }
    let mut answers = Answers::new();
    for _ in 0..MAX_QUESTIONS {
        let verdict = policy::decide(snapshot, &head, &answers, &mut NoTrace);
        let mut steps: Vec<Step> = Vec::new();
        let traced = policy::decide(snapshot, &head, &answers, &mut steps);
        let (plain, traced) = (format!("{verdict:?}"), format!("{traced:?}"));
        if plain != traced {
            return Err(format!("with a trace {traced}, without one {plain}"));
        }
        match verdict {
            Verdict::Permit(_) => return Ok("permitted"),
            Verdict::Denial(_) => return Ok("denied"),
            Verdict::Ask(Question::Access(check)) => {
                answers.access_is(*check, policy::AccessAnswer::NoServer);
            }
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(Caller::Anonymous),
            Verdict::Ask(Question::Tokens { hop, checks }) => {
                for check in &checks {
                    answers.token_is(hop, check, token(random));
                }
            }
            Verdict::Ask(Question::Check(check)) => {
                let answer = if random.one_in(8) {
                    CheckAnswer::Failed("down".into())
                } else {
                    let status = [200, 200, 302, 403, 500].get(random.below(5));
                    CheckAnswer::Response(CheckResponse {
                        status: status
                            .and_then(|s| StatusCode::from_u16(*s).ok())
                            .unwrap_or(StatusCode::OK),
                        headers: headers(random)
                            .iter()
                            .map(|(n, v)| (n.clone(), v.clone()))
                            .collect(),
                        body: bytes::Bytes::new(),
                    })
                };
                answers.check_is(check.id, answer);
            }
        }
    }
    Err(format!("asks more than {MAX_QUESTIONS} questions"))
}

/// Any answer: what is asked about is no token.
fn token(random: &mut Random) -> TokenAnswer {
    if random.one_in(4) {
        return TokenAnswer::Malformed("no token".into());
    }
    let issuer = ["https://iss1", "https://login.example", ""].get(random.below(3));
    let claims = format!(
        r#"{{"iss": {:?}, "sub": "u", "groups": ["a", "b"], "n": {{"a": 1}}}}"#,
        issuer.unwrap_or(&"x")
    );
    let fault = |random: &mut Random| random.one_in(5).then(|| "bad".into());
    TokenAnswer::Read(Box::new(TokenContent {
        claims: Claims::parse(claims.as_bytes()).unwrap_or_default(),
        payload: "e30".into(),
        time: fault(random),
        signature: fault(random),
    }))
}

const HOSTS: [&str; 14] = [
    "a.example.com",
    "A.Example.COM:8080",
    "a.example.com.",
    "longer.example.com",
    "c.example.com",
    "b.example.org",
    "kf.example.com",
    "shop.example.com",
    "sklearn-iris.kserve-test.svc.cluster.local",
    "sklearn-iris.kserve-test.example.com",
    "u@a.example.com",
    "",
    "[::1]:80",
    "x.example.com:99999",
];

const PATHS: [&str; 22] = [
    "/",
    "/open",
    "/open/deny",
    "/deny",
    "/v1",
    "/v2",
    "/dex",
    "/dex/auth",
    "/oauth2",
    "/items/12",
    "/..",
    "/.",
    "/..;x",
    "/%2e%2e",
    "/%2f",
    "/%5c",
    "//",
    "/a;b",
    "/%00",
    "/\\",
    "/healthz",
    "/t",
];

const NAMES: [&str; 14] = [
    "cookie",
    "authorization",
    "x-user",
    "x-deny",
    "kubeflow-userid",
    "x-role",
    "origin",
    "access-control-request-method",
    "accept",
    "sec-fetch-mode",
    "x-forwarded-for",
    "x-kind",
    "content-type",
    "x-envoy-auth-headers-to-remove",
];

const VALUES: [&str; 14] = [
    "",
    "x",
    "admin",
    "admin,user",
    "Bearer x.y.z",
    "Bearer",
    "Basic x",
    "https://page.example.com",
    "GET",
    "text/html",
    "navigate",
    "10.0.0.1, 1.2.3.4",
    "s=1; t",
    "\u{e4}",
];

fn head(snapshot: &Snapshot, random: &mut Random) -> Option<RequestHead> {
    let mut target = String::new();
    for _ in 0..=random.below(4) {
        target.push_str(random.word(&PATHS));
    }
    if random.one_in(6) {
        target.push_str("?q=1&q=2&access_token=x");
    }
    if random.one_in(16) {
        target = target.replace('/', "");
    }
    let (path, query) = snapshot.split_target(&target).ok()?;
    let method = random.word(&["GET", "POST", "OPTIONS", "HEAD", "get", "CONNECT"]);
    Some(RequestHead {
        entrance: if random.one_in(2) {
            Entrance::Local
        } else {
            Entrance::External
        },
        method: Method::from_bytes(method.as_bytes()).ok()?,
        scheme: if random.one_in(4) {
            Scheme::Https
        } else {
            Scheme::Http
        },
        authority: random.word(&HOSTS).to_owned(),
        path,
        query,
        headers: headers(random),
        peer: SocketAddr::from(([10, 0, 0, 1], 1)),
        connection: policy::Connection::default(),
        workload: None,
    })
}

fn headers(random: &mut Random) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..random.below(5) {
        let name = HeaderName::from_bytes(random.word(&NAMES).as_bytes());
        let value = HeaderValue::from_bytes(random.word(&VALUES).as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
