//! Checks of gateways, in every protocol and form: an answer that is one, and never leave where the access level of the same
//! request gives none.

mod messages;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use ext_authz::{Authorizer, Host, KeyRing, MARK, Settings};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use policy::{
    AccessAnswer, AccessCheck, Answers, Audience, Caller, Connection, Entrance, NoTrace, Person,
    Question, Refusal, Reply, RequestHead, Scheme, ServiceAccount, Snapshot, TokenError,
    TokenHolder, Tokens, Verdict, is_identity_header,
};
use wire::Decode as _;

use self::messages::{Asked, Said};
use self::words::{HOSTS, LIMITED, METHODS, MODEL, NAMES, PATHS, VALUES};
use super::Target;
use super::bytes::mutated;
use super::random::Random;
use crate::shell;

/// A model that not everybody may call, and a route of another team that sends on to a model.
const MORE: &str = "
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: limited
  namespace: kserve-test
  annotations: {sidegate.dev/allow-namespaces: kserve-test}
spec: {predictor: {sklearn: {storageUri: gs://a/b}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shortcut, namespace: shop}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [shortcut.example.com]
  http:
  - rewrite: {authority: sklearn-iris.kserve-test.svc.cluster.local}
    route:
    - destination:
        host: knative-local-gateway.istio-system.svc.cluster.local
        port: {number: 80}
";
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

pub(super) struct Checks {
    snapshot: Arc<Snapshot>,
    authorizer: Authorizer<World>,
    /// Marks of first crossings, with the entrance and the caller that they are about.
    marks: Vec<(String, Entrance, Caller)>,
}

/// Callers by what they send.
struct World(Arc<Snapshot>);

fn caller(headers: &HeaderMap, tokens: Tokens) -> Caller {
    let person = || Person {
        email: "ada@example.com".into(),
        subject: "1".into(),
        groups: ["ml".into()].into(),
    };
    let account = |namespace: &str| ServiceAccount {
        namespace: namespace.into(),
        name: "default".into(),
    };
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let session = tokens == Tokens::SessionOrBearer && cookies.any(|line| line == "session=ada");
    let mut tokens = headers.get_all(header::AUTHORIZATION).iter();
    let token = tokens.next();
    if tokens.next().is_some() {
        return Caller::BadToken(TokenError("two".into()));
    }
    match token.map(HeaderValue::as_bytes) {
        _ if session => Caller::Session(person()),
        None => Caller::Anonymous,
        Some(b"Bearer ada") => Caller::Token(TokenHolder::Person(person())),
        Some(b"Bearer pod") => Caller::Token(TokenHolder::ServiceAccount(account("kserve-test"))),
        Some(b"Bearer shop") => Caller::Token(TokenHolder::ServiceAccount(account("shop"))),
        Some(_) => Caller::BadToken(TokenError("it is none".into())),
    }
}

/// Host of a route of others that leads to a model.
const SHORTCUT: &str = "shortcut.example.com";

impl Host for World {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }

    fn caller<'a>(&'a self, head: &'a RequestHead, tokens: Tokens) -> BoxFuture<'a, Caller> {
        std::future::ready(caller(&head.headers, tokens)).boxed()
    }

    fn login(&self, _: &RequestHead) -> Reply {
        Reply {
            status: StatusCode::FOUND,
            headers: vec![(header::LOCATION, HeaderValue::from_static("/dex/auth"))],
            body: Bytes::new(),
        }
    }

    fn login_page<'a>(&'a self, head: &'a RequestHead) -> BoxFuture<'a, Option<Reply>> {
        let page = head.query.is_some().then(|| Reply {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: Bytes::from_static(b"a page"),
        });
        std::future::ready(page).boxed()
    }

    fn identity_headers(&self, _: &RequestHead, _: &Caller) -> Vec<(HeaderName, HeaderValue)> {
        Vec::new()
    }

    fn access<'a>(&'a self, _: &'a AccessCheck) -> BoxFuture<'a, AccessAnswer> {
        Box::pin(std::future::ready(AccessAnswer::NoServer))
    }

    fn signed_identity(&self, _: &Audience, _: &Caller) -> Option<(HeaderName, HeaderValue)> {
        None
    }

    fn now(&self) -> u64 {
        1_000
    }
}

/// How a check arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Grpc,
    Exact,
    Verdict,
    Answer,
    Forwarded,
}

const FORMS: [Form; 6] = [
    Form::Grpc,
    Form::Grpc,
    Form::Exact,
    Form::Verdict,
    Form::Answer,
    Form::Forwarded,
];

/// What is sent.
enum Sent {
    Message(Vec<u8>, Option<&'static str>),
    Head(Form, Request<()>),
}

impl Checks {
    pub(super) fn new() -> Result<Self> {
        let seed = shell::root().join("examples/seed");
        let read = |name: &str| {
            let text = std::fs::read_to_string(seed.join(name));
            text.with_context(|| format!("reading {name}"))
        };
        let layers: Vec<Vec<(Arc<str>, String)>> = vec![
            vec![("cluster.yaml".into(), read("cluster.yaml")?)],
            vec![("sidegate.yaml".into(), read("sidegate.yaml")?)],
            vec![("more.yaml".into(), MORE.to_owned())],
        ];
        let cluster = resources::parse_layers(&layers).map_err(|errors| anyhow!("{errors}"))?;
        let settings = policy::Settings {
            provider_paths: vec!["/dex/auth".into()],
            login_paths: vec!["/login/oidc".into()],
            ..policy::Settings::default()
        };
        let snapshot = Snapshot::compile(&cluster, &settings);
        let snapshot = Arc::new(snapshot.map_err(|problems| anyhow!("{problems:?}"))?);
        let settings = Settings {
            cookies: vec!["session".into()],
            passes: None,
        };
        let world = Arc::new(World(Arc::clone(&snapshot)));
        let mut checks = Self {
            snapshot,
            authorizer: Authorizer::new(world, settings, KeyRing::parse(KEY)?),
            marks: Vec::new(),
        };
        for (port, host, path, token) in [
            (8081, LIMITED, "/v1/models/limited:predict", "Bearer pod"),
            (
                8080,
                "shortcut.example.com",
                "/v1/models/sklearn-iris:predict",
                "Bearer pod",
            ),
            (8081, MODEL, "/v1/models/sklearn-iris:predict", ""),
        ] {
            let mut asked = Asked::of(port, "POST", host, path);
            if !token.is_empty() {
                asked.headers.push(("authorization".into(), token.into()));
            }
            let said = checks.said(asked.message(3), None)?;
            let mark = said.set.iter().find(|(name, _)| name == MARK);
            let (_, mark) = mark.with_context(|| format!("no mark for {host}: {said:?}"))?;
            let (head, _) = checks.head(&asked, None).context("a request")?;
            let caller = caller(&head.headers, Tokens::BearerOnly);
            checks.marks.push((mark.clone(), head.entrance, caller));
        }
        // What is changed has to be right to begin with.
        let dashboard = Asked::of(8080, "GET", "dash.example.com", "/");
        ensure!(
            !checks.said(dashboard.message(13), None)?.ok,
            "a stranger gets in"
        );
        Ok(checks)
    }

    /// The reply to a message.
    fn said(&self, message: Vec<u8>, authority: Option<&str>) -> Result<Said> {
        let reply = self
            .authorizer
            .check_message(message.into(), authority, peer());
        let reply = reply.now_or_never().context("it waits")?;
        let said = Said::decode(reply.to_message().into());
        let said = said.map_err(|_| anyhow!("the reply is no message"))?;
        ensure!(said.ok == reply.allows(), "{said:?}");
        Ok(said)
    }

    fn asked(&self, random: &mut Random) -> Asked {
        let port = *random.of(&[8080, 8080, 8081, 8081, 80, 0]).unwrap_or(&0);
        let mut path = random.word(&PATHS).to_owned();
        if random.one_in(4) {
            path.push_str(random.word(&PATHS));
        }
        if random.one_in(6) {
            path.push_str(random.word(&["?", "?a=/dex/auth", "#", "?access_token=x"]));
        }
        let mut asked = Asked::of(port, random.word(&METHODS), random.word(&HOSTS), &path);
        for _ in 0..random.below(5) {
            let name = random.word(&NAMES).to_owned();
            asked.headers.push((name, random.word(&VALUES).into()));
        }
        if random.one_in(4)
            && let Some((mark, ..)) = random.of(&self.marks)
        {
            let mark = match random.one_in(4) {
                true => mutated(random, &[mark.as_bytes().to_vec()]),
                false => mark.as_bytes().to_vec(),
            };
            asked.headers.push((MARK.to_owned(), mark.into()));
        }
        if random.one_in(6) {
            let places = ["external", "local", "local-8081", "external-8081", "x", ""];
            asked.place = Some(random.word(&places).to_owned());
        }
        if random.one_in(8) {
            let text = [
                asked.path.clone().into_bytes(),
                asked.host.clone().into_bytes(),
            ];
            asked.path = String::from_utf8_lossy(&mutated(random, &text)).into_owned();
        }
        asked
    }

    fn made(&self, random: &mut Random) -> (Asked, Form, Option<Sent>) {
        let asked = self.asked(random);
        let form = random.of(&FORMS).copied().unwrap_or(Form::Grpc);
        let sent = match form {
            Form::Grpc => {
                let number = if random.one_in(3) { 13 } else { 3 };
                let mut message = asked.message(number);
                if random.one_in(2) {
                    message = mutated(random, &[message]);
                }
                let names = [None, None, Some("sidegate-authz-local.sidegate.svc")];
                let authority = random.of(&names).copied().flatten();
                Some(Sent::Message(message, authority))
            }
            form => asked.head(form.prefix()).map(|head| Sent::Head(form, head)),
        };
        (asked, form, sent)
    }

    /// The request that a check is about, and whether it carries a mark that was made here.
    fn head(&self, asked: &Asked, authority: Option<&str>) -> Option<(RequestHead, Option<usize>)> {
        let side = match (&asked.place, asked.port, authority) {
            (Some(place), ..) => match place.as_str() {
                "external" => Entrance::External,
                "local" | "local-8081" => Entrance::Local,
                _ => return None,
            },
            (None, 8080, None) => Entrance::External,
            (None, 8081, _) => Entrance::Local,
            _ => return None,
        };
        let (path, query) = self.snapshot.split_target(&asked.path).ok()?;
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_maybe_shared(value.clone()).ok()?);
        }
        let marks: Vec<HeaderValue> = headers.get_all(MARK).iter().cloned().collect();
        let mark = match marks.as_slice() {
            [one] => self
                .marks
                .iter()
                .position(|(mark, ..)| one == mark.as_str()),
            _ => None,
        };
        let claimed: Vec<HeaderName> = headers
            .keys()
            .filter(|n| is_identity_header(n))
            .cloned()
            .collect();
        for name in claimed {
            headers.remove(name);
        }
        let head = RequestHead {
            entrance: side,
            method: Method::from_bytes(asked.method.as_bytes()).ok()?,
            scheme: Scheme::Http,
            authority: asked.host.clone(),
            path,
            query,
            headers,
            peer: peer(),
            connection: Connection::default(),
            workload: None,
        };
        Some((head, mark))
    }

    /// Whether the gateway that decides by itself would let the request pass its access level.
    fn reference(&self, asked: &Asked, authority: Option<&str>) -> Result<(), String> {
        let (mut head, mark) = self
            .head(asked, authority)
            .ok_or("it has no listener or no reading")?;
        // A route of others that leads back is theirs; what comes back is asked about by itself.
        if head.authority.to_ascii_lowercase().starts_with(SHORTCUT) {
            return Ok(());
        }
        let mut callers = vec![(head.entrance, None)];
        if let Some((_, entrance, caller)) = mark.and_then(|mark| self.marks.get(mark)) {
            callers.push((*entrance, Some(caller.clone())));
        }
        let mut why = String::new();
        for (entrance, known) in callers {
            head.entrance = entrance;
            match self.decided(&head, known) {
                None => return Ok(()),
                Some(denial) => why = denial,
            }
        }
        Err(why)
    }

    /// Why a request is denied by its access level.
    fn decided(&self, head: &RequestHead, known: Option<Caller>) -> Option<String> {
        let mut answers = Answers::new();
        for _ in 0..8 {
            match policy::decide(&self.snapshot, head, &answers, &mut NoTrace) {
                Verdict::Permit(_) => return None,
                // Of policies as written, which the gateway applies by itself, and of what is behind it.
                Verdict::Ask(
                    Question::Check(_) | Question::Tokens { .. } | Question::Access(_),
                ) => {
                    return None;
                }
                Verdict::Ask(Question::Caller(tokens)) => {
                    let found = known
                        .clone()
                        .unwrap_or_else(|| caller(&head.headers, tokens));
                    answers.caller_is(found);
                }
                Verdict::Denial(denial) => {
                    return match denial.refusal {
                        Refusal::Rbac
                        | Refusal::CheckFailed(_)
                        | Refusal::Loop
                        | Refusal::Closed
                        | Refusal::Unreachable => None,
                        _ => Some(denial.reason.clone()),
                    };
                }
            }
        }
        Some("it asks without end".to_owned())
    }
}

impl Form {
    fn prefix(self) -> &'static str {
        match self {
            Self::Grpc | Self::Exact => "",
            Self::Verdict => "/verdict",
            Self::Answer => "/answer",
            Self::Forwarded => "/forwarded",
        }
    }

    /// How a gateway reads the answer, if it may be given.
    fn read(self, answer: &Response<Bytes>) -> Result<bool, String> {
        let status = answer.status();
        let wrong = || Err(format!("{self:?}: {status}"));
        if status.is_informational() || matches!(status.as_u16(), 404 | 503) {
            return wrong();
        }
        match self {
            Self::Grpc => wrong(),
            Self::Exact => Ok(status == StatusCode::OK),
            Self::Verdict if !matches!(status.as_u16(), 200 | 400 | 401) => wrong(),
            Self::Verdict | Self::Forwarded => Ok(status.is_success()),
            Self::Answer if answer.headers().contains_key(MARK) => wrong(),
            Self::Answer => Ok(false),
        }
    }
}

impl Target for Checks {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let (asked, form, sent) = self.made(random);
        let (allows, asked, authority) = match sent {
            None => return Ok("no HTTP"),
            Some(Sent::Message(message, authority)) => {
                let asked = Asked::read(&message);
                let said = self
                    .said(message, authority)
                    .map_err(|error| error.to_string())?;
                said.judged()?;
                let Some(asked) = asked else {
                    return match said.ok {
                        true => Err("what is no check is let through".to_owned()),
                        false => Ok("no check"),
                    };
                };
                (said.ok, asked, authority)
            }
            Some(Sent::Head(form, head)) => {
                let (parts, ()) = head.into_parts();
                let answer = self.authorizer.check_head(parts, peer());
                let answer = answer.now_or_never().ok_or("it waits")?;
                let mut asked = asked;
                if form != Form::Forwarded {
                    // What reads the line of an HTTP request ends there.
                    let end = asked.path.find('#').unwrap_or(asked.path.len());
                    asked.path.truncate(end);
                }
                asked.place.get_or_insert_with(|| match asked.port {
                    8080 => "external".to_owned(),
                    8081 => "local".to_owned(),
                    _ => "x".to_owned(),
                });
                (form.read(&answer)?, asked, None)
            }
        };
        match (allows, self.reference(&asked, authority)) {
            (true, Err(why)) => Err(format!("let through, although: {why}; {asked:?}, {form:?}")),
            (true, Ok(())) => Ok("let through"),
            (false, Err(_)) => Ok("denied by both"),
            (false, Ok(())) => Ok("denied"),
        }
    }

    fn input(&self, random: &mut Random) -> String {
        let (asked, form, _) = self.made(random);
        format!("{form:?} {asked:?}")
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that lets everything through would find nothing.
    #[test]
    fn the_reference_tells_who_gets_in() {
        let checks = Checks::new().unwrap();
        let reference = |port, method, host, path, token: &str| {
            let mut asked = Asked::of(port, method, host, path);
            if !token.is_empty() {
                let token = Bytes::copy_from_slice(token.as_bytes());
                asked.headers.push(("authorization".into(), token));
            }
            checks.reference(&asked, None).is_ok()
        };
        let predict = "/v1/models/sklearn-iris:predict";
        assert!(reference(8081, "POST", MODEL, predict, ""));
        assert!(!reference(
            8080,
            "POST",
            "sklearn-iris.kserve-test.example.com",
            predict,
            ""
        ));
        assert!(!reference(8080, "GET", "dash.example.com", "/", ""));
        assert!(!reference(
            8080,
            "GET",
            "dash.example.com",
            "/v1anything",
            "Bearer pod"
        ));
        assert!(!reference(
            8081,
            "POST",
            LIMITED,
            "/v1/models/limited:predict",
            "Bearer shop"
        ));
        assert!(reference(
            8081,
            "POST",
            LIMITED,
            "/v1/models/limited:predict",
            "Bearer pod"
        ));
    }
}
