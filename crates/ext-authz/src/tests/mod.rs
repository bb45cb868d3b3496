//! Checks on the seed's cluster, in both protocols, without sockets.

mod by_header;
mod forms;
mod knative;
mod messages;
mod principals;
mod spellings;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use policy::{
    AccessAnswer, AccessCheck, Audience, Caller, Person, Reply, RequestHead, Scheme,
    ServiceAccount, Settings as Compiled, Snapshot, TokenHolder, Tokens,
};

use self::messages::{Read, read};
use crate::asked::Asked;
use crate::cookies::Cookies;
use crate::place::{Form, Place};
use crate::{Authorizer, CheckReply, Host, KeyRing, MARK, Mutations, Settings};

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const SIDEGATE: &str = include_str!("../../../../examples/seed/sidegate.yaml");
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const MODEL: &str = "sklearn-iris.kserve-test.svc.cluster.local";
const OUTSIDE: &str = "sklearn-iris.kserve-test.example.com";

/// People and accounts by what they send.
struct World {
    snapshot: Arc<Snapshot>,
}

impl World {
    fn of(more: &str) -> Self {
        Self::with(SIDEGATE, more)
    }

    fn with(sidegate: &str, more: &str) -> Self {
        let file = |name: &str, text: &str| (Arc::from(name), text.to_owned());
        let files = [
            file("cluster.yaml", CLUSTER),
            file("sidegate.yaml", sidegate),
            file("more.yaml", more),
        ];
        let layers: Vec<Vec<_>> = files.into_iter().map(|file| vec![file]).collect();
        let cluster = resources::parse_layers(&layers).unwrap();
        let settings = Compiled {
            provider_paths: vec!["/dex/auth".into()],
            login_paths: vec!["/login/oidc".into()],
            ..Compiled::default()
        };
        Self {
            snapshot: Arc::new(Snapshot::compile(&cluster, &settings).unwrap()),
        }
    }
}

fn ada() -> Person {
    Person {
        email: "ada@example.com".into(),
        subject: "1".into(),
        groups: ["ml".into()].into(),
    }
}

impl Host for World {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn caller<'a>(&'a self, head: &'a RequestHead, tokens: Tokens) -> BoxFuture<'a, Caller> {
        let session = tokens == Tokens::SessionOrBearer
            && head
                .header("cookie")
                .is_some_and(|c| c.contains("session=ada"));
        let caller = match head.header("authorization") {
            _ if session => Caller::Session(ada()),
            Some("Bearer ada") => Caller::Token(TokenHolder::Person(ada())),
            Some("Bearer pod") => Caller::Token(TokenHolder::ServiceAccount(ServiceAccount {
                namespace: "kserve-test".into(),
                name: "default".into(),
            })),
            Some(_) => Caller::BadToken(policy::TokenError("it is none".into())),
            None => Caller::Anonymous,
        };
        Box::pin(async { caller })
    }

    fn access<'a>(&'a self, check: &'a AccessCheck) -> BoxFuture<'a, AccessAnswer> {
        let answer = match check.holder.user_name().as_str() {
            "ada@example.com" => AccessAnswer::Allowed,
            _ => AccessAnswer::Unknown("it is away".into()),
        };
        Box::pin(async { answer })
    }

    fn login(&self, _: &RequestHead) -> Reply {
        Reply {
            status: StatusCode::FOUND,
            headers: vec![(header::LOCATION, HeaderValue::from_static("/dex/auth"))],
            body: Bytes::new(),
        }
    }

    fn login_page<'a>(&'a self, _: &'a RequestHead) -> BoxFuture<'a, Option<Reply>> {
        Box::pin(async {
            Some(Reply {
                status: StatusCode::OK,
                headers: Vec::new(),
                body: Bytes::from_static(b"a page"),
            })
        })
    }

    fn identity_headers(&self, _: &RequestHead, _: &Caller) -> Vec<(HeaderName, HeaderValue)> {
        Vec::new()
    }

    fn signed_identity(
        &self,
        audience: &Audience,
        caller: &Caller,
    ) -> Option<(HeaderName, HeaderValue)> {
        let who = match caller {
            Caller::Session(person) => person.email.to_string(),
            Caller::Token(holder) => holder.user_name(),
            _ => return None,
        };
        let value = format!("{who} for {audience}").parse().unwrap();
        Some((HeaderName::from_static("x-sidegate-identity"), value))
    }

    fn now(&self) -> u64 {
        1_000
    }
}

fn authorizer(more: &str) -> Authorizer<World> {
    let settings = Settings {
        cookies: vec!["session".into()],
        passes: None,
    };
    let host = Arc::new(World::of(more));
    Authorizer::new(host, settings, KeyRing::parse(KEY).unwrap())
}

impl Authorizer<World> {
    /// As Envoy asks.
    fn ask(&self, asked: Asked) -> impl Future<Output = CheckReply> {
        self.check(asked, Form::Exact)
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// `METHOD host/path` at a port, with headers.
fn asked(port: u16, line: &str, headers: &[(&str, &str)]) -> Asked {
    let (method, url) = line.split_once(' ').unwrap();
    let (host, path) = url.split_at(url.find('/').unwrap());
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    Asked {
        place: Place::Port {
            port,
            side: None,
            sni: None,
        },
        method: method.into(),
        authority: host.into(),
        target: path.into(),
        scheme: Scheme::Http,
        headers: map,
        peer: peer(),
        principal: None,
        listed: false,
    }
}

impl Read {
    fn sets(&self, name: &str) -> Option<&str> {
        let found = self.set.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).unwrap()
}

/// The status that a client gets: 200 is that the request goes on.
fn check(port: u16, line: &str, headers: &[(&str, &str)], expected: u16) -> Read {
    let reply = run(authorizer("").ask(asked(port, line, headers)));
    let status = reply.denial().map_or(200, |reply| reply.status.as_u16());
    assert_eq!(status, expected, "{line} {headers:?}");
    assert_eq!(reply.allows(), expected == 200, "{line} {headers:?}");
    read(&reply)
}

const BROWSER: (&str, &str) = ("accept", "text/html");

#[test]
fn what_a_request_needs_follows_from_port_and_owner() {
    let predict = format!("POST {MODEL}/v1/models/sklearn-iris:predict");
    check(8081, &predict, &[], 200);
    let outside = format!("POST {OUTSIDE}/v1/models/sklearn-iris:predict");
    check(8080, &outside, &[], 401);
    check(8080, &outside, &[BROWSER], 401);
    check(8080, &outside, &[("authorization", "Bearer pod")], 200);
    check(8080, &outside, &[("authorization", "Bearer x")], 401);
    // A session travels by itself.
    check(8080, &outside, &[("cookie", "session=ada")], 401);
    check(8080, "GET dash.example.com/", &[BROWSER], 302);
    check(8080, "GET dash.example.com/v1anything", &[BROWSER], 302);
    check(8080, "GET dash.example.com/", &[], 401);
    check(8080, "POST dash.example.com/", &[BROWSER], 401);
    check(
        8080,
        "GET dash.example.com/",
        &[("authorization", "Bearer pod")],
        403,
    );
    check(8080, "GET dash.example.com/dex/auth", &[], 200);
    check(8080, "GET dash.example.com/dex/other", &[], 401);
    check(8080, "GET shop.example.com/cart", &[], 200);
    // No such port, whatever is asked for.
    check(8443, &predict, &[], 403);
    check(0, &predict, &[], 403);
    // Never what probes of Knative wait on.
    check(8081, "GET nobody.example.com/", &[], 403);
}

#[test]
fn calls_are_refused_in_their_own_protocol() {
    let line = format!("POST {OUTSIDE}/inference.GRPCInferenceService/ModelInfer");
    let read = check(8080, &line, &[("content-type", "application/grpc")], 401);
    assert_eq!(read.sets("grpc-status"), Some("16"));
    assert_eq!(read.sets("content-type"), Some("application/grpc"));
    let preflight = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
    ];
    let line = format!("OPTIONS {OUTSIDE}/v1/models/sklearn-iris:predict");
    let read = check(8080, &line, &preflight, 204);
    assert_eq!(read.sets("access-control-allow-origin"), Some("*"));
}

#[test]
fn upstreams_see_who_it_is_and_not_who_somebody_says() {
    let sent = [
        ("cookie", "session=ada"),
        ("kubeflow-userid", "victim"),
        ("kubeflow_groups", "admins"),
        ("x-auth-request-email", "victim"),
        ("x_forwarded_user", "victim"),
        ("x-sidegate-anything", "x"),
        ("x-other", "kept"),
    ];
    let read = check(8080, "GET dash.example.com/", &sent, 200);
    assert_eq!(read.sets("kubeflow-userid"), Some("ada@example.com"));
    assert_eq!(read.sets("kubeflow-groups"), Some("ml"));
    let mut removed = read.remove.clone();
    removed.sort();
    let expected = [
        "kubeflow_groups",
        "x-auth-request-email",
        "x-sidegate-anything",
        "x_forwarded_user",
    ];
    assert_eq!(removed, expected);
    assert_eq!(
        read.sets("x-sidegate-identity"),
        Some("ada@example.com for kubeflow/centraldashboard")
    );
    // On other teams' routes too, and nothing else is touched there.
    let read = check(8080, "GET shop.example.com/cart", &sent, 200);
    assert_eq!(read.set, []);
    assert!(read.remove.contains(&"kubeflow-userid".to_owned()));
}

#[test]
fn a_session_does_not_reach_a_model() {
    let line = format!("POST {MODEL}/v1/models/sklearn-iris:predict");
    let read = check(8081, &line, &[("cookie", "a=1; session=ada; b=2")], 200);
    assert_eq!(read.sets("cookie"), Some("a=1; b=2"));
    let read = check(8081, &line, &[("cookie", "session=ada")], 200);
    assert_eq!(read.remove, ["cookie"]);
    let read = check(8081, &line, &[("cookie", "a=1")], 200);
    assert_eq!(read.sets("cookie"), None);
}

#[test]
fn cookies_are_told_apart_by_their_whole_name() {
    let settings = Settings {
        cookies: vec!["s".into()],
        passes: None,
    };
    for (sent, expected) in [
        ("", Cookies::Stay),
        ("xs=1; sx=2", Cookies::Stay),
        ("s=1", Cookies::Go),
        ("s=1; s=2", Cookies::Go),
        (
            "a=s=1; s =2;b",
            Cookies::Are(HeaderValue::from_static("a=s=1; b")),
        ),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static(sent));
        assert_eq!(settings.strip(&headers), expected, "{sent}");
    }
    assert_eq!(settings.strip(&HeaderMap::new()), Cookies::Stay);
}

#[test]
fn only_the_request_itself_says_what_is_asked_for() {
    for claim in [
        ("x-forwarded-uri", "/dex/auth"),
        ("x-forwarded-host", "shop.example.com"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-original-url", "/dex/auth"),
        ("x-envoy-original-path", "/dex/auth"),
        ("user-agent", "kube-probe/1.30"),
        ("host", "shop.example.com"),
    ] {
        check(8080, "GET dash.example.com/", &[claim], 401);
    }
}

#[test]
fn what_has_another_reading_is_refused() {
    for line in [
        "GET dash.example.com/a/../dex/auth",
        "GET dash.example.com/a/%2e%2e/b",
        "GET dash.example.com/a#b",
        "GET dash.example.com/a\\b",
        "GET dash.example.com/a%00b",
        "GET dash.example.com:080/",
        "GET a,b/",
        "GET u@dash.example.com/",
        "G@T dash.example.com/",
    ] {
        check(8080, line, &[], 400);
    }
}

/// Envoy asks about CONNECT without a path (CVE-2026-73547).
#[test]
fn a_check_that_lacks_a_part_is_denied() {
    for (method, host, path) in [
        ("CONNECT", "dash.example.com:443", ""),
        ("CONNECT", "", ""),
        ("GET", "dash.example.com", ""),
        ("GET", "", "/dex/auth"),
        ("", "dash.example.com", "/dex/auth"),
        ("GET", "dash.example.com", "*"),
    ] {
        let mut check = asked(8080, "GET a/", &[]);
        (check.method, check.authority, check.target) = (method.into(), host.into(), path.into());
        let reply = run(authorizer("").check(check, Form::Exact));
        let status = reply.denial().map(|reply| reply.status.as_u16());
        assert!(
            matches!(status, Some(400 | 401)),
            "{method} {host} {path}: {status:?}"
        );
    }
}

/// Path and query are one field of a check (CVE-2026-32811).
#[test]
fn a_query_is_no_part_of_the_path() {
    check(8080, "GET dash.example.com/dex/auth?a=b", &[], 200);
    check(8080, "GET dash.example.com/dex/other?/dex/auth", &[], 401);
    check(8080, "GET dash.example.com/dex/auth%3Fa=b", &[], 401);
    let limited = authorizer(LIMITED);
    let line = "POST limited.kserve-test.svc.cluster.local/v1/models/limited:predict?a=b";
    let reply = run(limited.check(asked(8081, line, &[]), Form::Exact));
    assert_eq!(reply.denial().unwrap().status, 401);
}

#[test]
fn an_api_key_goes_no_further() {
    let key = format!("sgk_{}", "a".repeat(60));
    let both = format!("x,{key}");
    let line = format!("POST {MODEL}/v1/models/sklearn-iris:predict");
    for (name, sent, removed) in [
        ("x-api-key", &*key, true),
        ("x_api_key", &*key, true),
        ("x-api_key", &*both, true),
        ("x-api-key", "of-the-model", false),
        ("x-other", &*key, false),
    ] {
        let read = check(8081, &line, &[(name, sent)], 200);
        assert_eq!(read.remove.contains(&name.to_owned()), removed, "{name}");
    }
    let read = check(
        8080,
        "GET shop.example.com/cart",
        &[("x-api-key", &key)],
        200,
    );
    assert_eq!(read.remove, Vec::<String>::new());
}

const LIMITED: &str = "
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

/// The second crossing of a call, with the mark of the first.
fn second(
    authorizer: &Authorizer<World>,
    first: Asked,
    second: &str,
    more: &[(&str, &str)],
) -> (u16, Read) {
    let read = read(&run(authorizer.ask(first)));
    assert!(read.ok, "{read:?}");
    let mark = read.sets(MARK).unwrap().to_owned();
    let mut headers = vec![(MARK, mark.as_str())];
    headers.extend(more);
    let reply = run(authorizer.ask(asked(8081, second, &headers)));
    let status = reply.denial().map_or(200, |reply| reply.status.as_u16());
    (status, self::read(&reply))
}

#[test]
fn limits_hold_over_both_crossings() {
    let authorizer = authorizer(LIMITED);
    let host = "limited.kserve-test.svc.cluster.local";
    let first = |headers: &[(&str, &str)]| {
        asked(
            8081,
            &format!("POST {host}/v1/models/limited:predict"),
            headers,
        )
    };
    let then = "POST limited-predictor.kserve-test.svc.cluster.local/v1/models/limited:predict";
    let denied = run(authorizer.ask(first(&[])));
    assert_eq!(denied.denial().unwrap().status, 401);
    let of_another = first(&[("authorization", "Bearer ada")]);
    let denied = run(authorizer.ask(of_another));
    assert_eq!(denied.denial().unwrap().status, 403);
    // The token is only seen by the first.
    let token = [("authorization", "Bearer pod")];
    let (status, read) = second(&authorizer, first(&token), then, &[]);
    assert_eq!(status, 200);
    assert_eq!(read.sets(MARK), None);
    assert!(read.remove.contains(&MARK.to_owned()), "{read:?}");
    let (status, _) = second(
        &authorizer,
        first(&token),
        "POST sklearn-iris-predictor.kserve-test.svc.cluster.local/",
        &[],
    );
    assert_eq!(
        status, 200,
        "a mark of another route is none, and this model is open"
    );
    // Without the mark the second crossing knows nobody.
    let bare = run(authorizer.ask(asked(8081, then, &[])));
    assert_eq!(bare.denial().unwrap().status, 401);
    // Two are none.
    let twice = [(MARK, "x")];
    let (status, _) = second(&authorizer, first(&token), then, &twice);
    assert_eq!(status, 401);
}

#[test]
fn where_a_request_first_arrived_counts_on_the_way() {
    let authorizer = authorizer(LIMITED);
    let line = "POST shortcut.example.com/v1/models/sklearn-iris:predict";
    let then = format!("POST {MODEL}/v1/models/sklearn-iris:predict");
    let (status, _) = second(&authorizer, asked(8080, line, &[]), &then, &[]);
    assert_eq!(status, 401);
    let token = [("authorization", "Bearer pod")];
    let (status, _) = second(&authorizer, asked(8080, line, &token), &then, &token);
    assert_eq!(status, 200);
}

#[test]
fn the_model_and_nobody_before_it_is_told_who_is_calling() {
    let authorizer = authorizer("");
    let line = format!("POST {OUTSIDE}/v1/models/sklearn-iris:predict");
    let sent = [
        ("authorization", "Bearer pod"),
        ("x-sidegate-identity", "root"),
        ("x_sidegate_identity", "root"),
    ];
    let on_the_way = read(&run(
        authorizer.check(asked(8080, &line, &sent), Form::Exact)
    ));
    let mark = on_the_way.sets(MARK).unwrap();
    assert_eq!(on_the_way.sets("x-sidegate-identity"), None);
    for spelling in ["x-sidegate-identity", "x_sidegate_identity"] {
        assert!(on_the_way.remove.contains(&spelling.to_owned()));
    }
    let then =
        "POST sklearn-iris-predictor.kserve-test.svc.cluster.local/v1/models/sklearn-iris:predict";
    let marked = [(MARK, mark), ("x-sidegate-identity", "root")];
    let last = read(&run(
        authorizer.check(asked(8081, then, &marked), Form::Exact)
    ));
    let told = "system:serviceaccount:kserve-test:default for kserve-test/sklearn-iris";
    assert_eq!(last.sets("x-sidegate-identity"), Some(told));
    // Nobody in particular.
    let last = read(&run(
        authorizer.check(asked(8081, then, &sent[1..]), Form::Exact)
    ));
    assert_eq!(last.sets("x-sidegate-identity"), None);
    assert_eq!(last.remove.len(), 2, "{:?}", last.remove);
}

const BY_CLAIM: &str = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  jwtRules: [{issuer: https://issuer.example.com, jwks: '{\"keys\": []}'}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: by-claim, namespace: kubeflow}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [mixed.example.com]
  http:
  - match: [{headers: {'@request.auth.claims.group': {exact: admin}}}]
    route: [{destination: {host: centraldashboard.kubeflow.svc.cluster.local, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: everybody, namespace: shop}
spec:
  gateways: [kubeflow/kubeflow-gateway]
  hosts: [mixed.example.com]
  http: [{route: [{destination: {host: storefront, port: {number: 80}}}]}]
";

#[test]
fn the_login_answers_its_own_paths() {
    let reply = run(authorizer("").ask(asked(8080, "GET dash.example.com/login/oidc?code=x", &[])));
    assert!(!reply.allows());
    let read = read(&reply);
    assert_eq!((read.code, read.status), (7, 200));
    // Over HTTP a status of 200 would be leave.
    assert_eq!(reply.into_response(Form::Exact, Vec::new()).status(), 203);
}

#[test]
fn what_is_set_is_not_removed() {
    let authorizer = authorizer("");
    let headers = [("cookie", "session=ada"), ("kubeflow-userid", "x")];
    let reply = run(authorizer.ask(asked(8080, "GET dash.example.com/", &headers)));
    let message = read(&reply);
    assert!(!message.remove.contains(&"kubeflow-userid".to_owned()));
    let response = reply.into_response(Form::Exact, Vec::new());
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers().get("kubeflow-userid").unwrap(),
        "ada@example.com"
    );
    drop(Mutations::default());
}
