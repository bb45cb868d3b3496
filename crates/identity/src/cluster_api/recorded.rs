//! What Kubernetes' API server answered to each question, word for word (`cargo xtask record --cluster`): we ask so, and
//! make of the answers what is right.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderName, Response, StatusCode};
use policy::{AccessAnswer, AccessCheck, ModelKind, Person, RouteTarget, Service, TokenHolder};
use serde_json::Value;

use super::*;
use crate::cluster::{
    ClusterIssuer, ClusterIssuerConfig, ClusterKey, INGRESS_AUDIENCE, TokenRequest,
};
use crate::http_client::HttpError;

const GOLDEN: &str = include_str!("../../tests/golden/api-server.json");
const SERVER: &str = "https://10.96.0.1:443";
const KEYS: &str = "/openid/v1/jwks";
const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Answers as it was answered: by path, the name of the exchange that is next.
struct Recorded {
    golden: Value,
    next: Mutex<HashMap<&'static str, String>>,
    asked: Mutex<Vec<String>>,
}

impl Recorded {
    fn exchange(&self, name: &str) -> &Value {
        let mut all = self.golden["exchanges"].as_array().unwrap().iter();
        let found = all.find(|exchange| exchange["name"] == name);
        found.unwrap_or_else(|| panic!("`{name}` was not asked"))
    }

    fn answers(&self, path: &'static str, name: &str) {
        self.next.lock().unwrap().insert(path, name.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl HttpClient for Recorded {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        let address = request.uri().to_string();
        let path = address.strip_prefix(SERVER).unwrap().to_owned();
        let next = self.next.lock().unwrap();
        let name = next
            .get(&*path)
            .unwrap_or_else(|| panic!("{path} was asked"));
        let exchange = self.exchange(name);
        assert_eq!(exchange["path"], path);
        assert_eq!(exchange["method"], request.method().as_str());
        // As it was asked then.
        assert_eq!(
            exchange["accept"],
            request.headers()["accept"].to_str().unwrap()
        );
        let body = request.body();
        let sent = (!body.is_empty()).then(|| serde_json::from_slice::<Value>(body).unwrap());
        assert_eq!(sent.unwrap_or_default(), exchange["request"], "{name}");
        self.asked.lock().unwrap().push(name.clone());
        let body = exchange["response"].as_str().unwrap().to_owned();
        let mut response = Response::new(Bytes::from(body));
        let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in exchange["headers"].as_object().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            let value = value.as_str().unwrap().parse().unwrap();
            response.headers_mut().insert(name, value);
        }
        async { Ok(response) }.boxed()
    }
}

struct World {
    _folder: tempfile::TempDir,
    server: Arc<Recorded>,
    time: Arc<AtomicU64>,
    api: ClusterApi,
}

impl World {
    fn new(review: Review) -> Self {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, golden["own"].as_str().unwrap()).unwrap();
        let time = Arc::new(AtomicU64::new(golden["now"].as_u64().unwrap()));
        let server = Arc::new(Recorded {
            golden,
            next: Mutex::default(),
            asked: Mutex::default(),
        });
        server.answers(KEYS, "keys");
        let config = ClusterApiConfig {
            server: SERVER.to_owned(),
            token_file,
            audiences: vec![INGRESS_AUDIENCE.to_owned()],
            review,
        };
        let clock_time = Arc::clone(&time);
        let clock: Clock =
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(clock_time.load(Ordering::SeqCst)));
        let api = ClusterApi::new(config, Arc::clone(&server) as Arc<dyn HttpClient>, clock);
        Self {
            _folder: folder,
            server,
            time,
            api,
        }
    }

    fn token(&self, name: &str) -> &str {
        self.server.golden["tokens"][name].as_str().unwrap()
    }

    /// Whose a token is, or why it is refused.
    async fn verify(&self, name: &str) -> Result<String, String> {
        let text = self.token(name);
        let parsed = Unverified::parse(text, MAX_BEARER_BYTES).map_err(|e| e.to_string())?;
        match self.api.verify(text, &parsed).await {
            None => Err("another issuer".to_owned()),
            Some(Ok((account, _))) => Ok(account.user_name()),
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

/// By its keys alone the end of a pod or account is not seen; all else is refused that the API server refuses, and some of what
/// it takes.
#[tokio::test]
async fn tokens_are_taken_as_the_api_server_takes_them() {
    const CALLER: &str = "system:serviceaccount:team-a:caller";
    const GONE: &str = "system:serviceaccount:team-a:gone";
    const ANEW: &str = "system:serviceaccount:team-a:anew";
    let expected = [
        ("valid", Some(CALLER), Some(CALLER)),
        ("of several audiences", Some(CALLER), Some(CALLER)),
        ("of another audience", None, None),
        ("of no audience in particular", None, None),
        ("of a pod", Some(CALLER), Some(CALLER)),
        ("of a Secret", Some(CALLER), Some(CALLER)),
        ("that is extended", Some(CALLER), Some(CALLER)),
        ("of a pod that is gone", Some(CALLER), None),
        ("of an account that is gone", Some(GONE), None),
        ("of an account that was made anew", Some(ANEW), None),
        ("without an end", None, None),
        ("signed again", Some(CALLER), Some(CALLER)),
        ("that has ended", None, None),
        ("that has not begun", None, None),
        ("of another issuer", None, None),
        ("that never ends", None, None),
        ("with a number in a text", None, None),
        ("with one audience as a text", Some(CALLER), Some(CALLER)),
        ("without an audience", None, None),
        ("that says nothing of Kubernetes", None, None),
        ("that names another", None, None),
        ("that is of another namespace", None, None),
        ("that is of another account", None, None),
        ("that names nobody", None, None),
        ("of an account that never was", Some(CALLER), None),
        ("without a key", Some(CALLER), Some(CALLER)),
        ("of an unknown key", None, None),
        ("of another algorithm", None, None),
        ("of no algorithm", None, None),
        ("with another signature", None, None),
        ("without a signature", None, None),
        ("in two parts", None, None),
        ("that is a word", None, None),
    ];
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(golden["tokens"].as_object().unwrap().len(), expected.len());
    let mut wrong = Vec::new();
    for (name, by_keys, by_review) in expected {
        let world = World::new(Review::WithoutKeys);
        let found = world.verify(name).await;
        if found.as_deref().ok() != by_keys {
            wrong.push(format!("{name}, by keys: {found:?}"));
        }
        let world = World::new(Review::Always);
        world.server.answers(TOKEN_REVIEWS, name);
        let found = world.verify(name).await;
        if found.as_deref().ok() != by_review {
            wrong.push(format!("{name}, by review: {found:?}"));
        }
        // What it refuses never passes.
        let said: Value =
            serde_json::from_str(world.server.exchange(name)["response"].as_str().unwrap())
                .unwrap();
        let taken = said["status"]["authenticated"] == true;
        if found.is_ok() && !taken {
            wrong.push(format!("{name}: the API server refuses it"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn person(email: &str, groups: &[&str]) -> TokenHolder {
    TokenHolder::Person(Person {
        email: email.into(),
        subject: "1".into(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    })
}

fn account(namespace: &str) -> TokenHolder {
    TokenHolder::ServiceAccount(ServiceAccount {
        namespace: namespace.into(),
        name: "default".into(),
    })
}

fn check(holder: TokenHolder, kind: ModelKind, namespace: &str, name: &str) -> AccessCheck {
    AccessCheck {
        holder,
        target: RouteTarget {
            namespace: namespace.into(),
            kind,
            model: Some(name.into()),
        },
    }
}

fn iris(holder: TokenHolder) -> AccessCheck {
    check(holder, ModelKind::Service, "team-a", "iris")
}

#[tokio::test]
async fn who_may_call_a_model_is_read_as_it_is_said() {
    use AccessAnswer::{Allowed, Denied};
    let ada = || person("ada@example.com", &[]);
    let bob = |groups: &[&str]| person("bob@example.com", groups);
    let job = TokenHolder::Service(Service {
        name: "job".into(),
        groups: [].into(),
    });
    let other = |user| iris(person(user, &[]));
    for (name, check, expected) in [
        ("a person with a role", iris(ada()), Allowed),
        ("a person without one", iris(bob(&[])), Denied),
        ("a member of a group", iris(bob(&["data"])), Allowed),
        (
            "a member of groups of Kubernetes",
            iris(bob(&["system:masters", "system:nodes"])),
            Denied,
        ),
        ("a program", iris(job), Allowed),
        ("a ServiceAccount", iris(account("team-b")), Allowed),
        (
            "a ServiceAccount of another namespace",
            iris(account("team-a")),
            Denied,
        ),
        (
            "a graph",
            check(ada(), ModelKind::Graph, "team-a", "iris"),
            Denied,
        ),
        (
            "a model of another name",
            check(ada(), ModelKind::Service, "team-a", "other"),
            Denied,
        ),
        (
            "a model of another namespace",
            check(ada(), ModelKind::Service, "team-b", "iris"),
            Denied,
        ),
        (
            "allowed by another authorizer",
            other("allowed@webhook.example"),
            Allowed,
        ),
        (
            "denied by another authorizer",
            other("denied@webhook.example"),
            Denied,
        ),
        (
            "another authorizer says nothing",
            other("silent@webhook.example"),
            Denied,
        ),
    ] {
        let world = World::new(Review::WithoutKeys);
        world.server.answers(ACCESS_REVIEWS, name);
        assert_eq!(world.api.access(&check).await, expected, "{name}");
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_us_opens_nothing() {
    for who in ["nobody", "a bad token", "without rights"] {
        let world = World::new(Review::Always);
        world
            .server
            .answers(TOKEN_REVIEWS, &format!("a review for {who}"));
        let error = world.verify("valid").await.unwrap_err();
        assert!(error.contains("cannot be asked"), "{who}: {error}");
        world
            .server
            .answers(ACCESS_REVIEWS, &format!("an access for {who}"));
        let access = world
            .api
            .access(&iris(person("ada@example.com", &[])))
            .await;
        assert!(
            matches!(access, AccessAnswer::Unknown(_)),
            "{who}: {access:?}"
        );
    }
    // Where it gives no keys it is asked about each token.
    for who in ["nobody", "a bad token"] {
        let world = World::new(Review::WithoutKeys);
        world.server.answers(KEYS, &format!("keys for {who}"));
        world.server.answers(TOKEN_REVIEWS, "valid");
        assert!(world.verify("valid").await.is_ok(), "{who}");
        world.server.answers(TOKEN_REVIEWS, "of a pod that is gone");
        assert!(
            world.verify("of a pod that is gone").await.is_err(),
            "{who}"
        );
    }
}

#[tokio::test]
async fn an_api_server_with_enough_to_do_is_left_alone_for_as_long_as_it_says() {
    let world = World::new(Review::WithoutKeys);
    let ada = iris(person("ada@example.com", &[]));
    world.server.answers(ACCESS_REVIEWS, "too many questions");
    assert!(matches!(
        world.api.access(&ada).await,
        AccessAnswer::Unknown(_)
    ));
    let after = &world.server.exchange("too many questions")["headers"]["retry-after"];
    let after: u64 = after.as_str().unwrap().parse().unwrap();
    world.server.answers(ACCESS_REVIEWS, "a person with a role");
    assert!(matches!(
        world.api.access(&ada).await,
        AccessAnswer::Unknown(_)
    ));
    assert_eq!(world.server.asked(), 1);
    world.time.fetch_add(after, Ordering::SeqCst);
    assert_eq!(world.api.access(&ada).await, AccessAnswer::Allowed);
}

/// What the embedded issuer signs for a workload is what the API server signs.
#[test]
fn tokens_of_the_embedded_issuer_have_the_claims_of_the_api_servers() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let claims = |token: &str| -> Value {
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    };
    let theirs = claims(golden["tokens"]["of a pod"].as_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = ClusterIssuerConfig {
        issuer: golden["issuer"].as_str().unwrap().to_owned(),
        audiences: vec![INGRESS_AUDIENCE.to_owned()],
        key: ClusterKey::Es256,
    };
    let issuer = ClusterIssuer::open(folder.path(), config).unwrap();
    let request = TokenRequest {
        service_account: ServiceAccount {
            namespace: "team-a".into(),
            name: "caller".into(),
        },
        uid: Some("1".into()),
        audiences: vec![INGRESS_AUDIENCE.to_owned()],
        duration: Duration::from_secs(3600),
        pod: Some(crate::cluster::BoundPod {
            name: "worker".into(),
            uid: "2".into(),
        }),
    };
    let now = UNIX_EPOCH + Duration::from_secs(golden["now"].as_u64().unwrap());
    let ours = claims(issuer.issue(&request, now).unwrap().expose());
    fn form(value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), form(value)))
                .collect(),
            Value::Array(all) => all.iter().map(form).collect(),
            Value::String(_) => "text".into(),
            Value::Number(_) => "number".into(),
            other => other.clone(),
        }
    }
    assert_eq!(form(&ours), form(&theirs));
    for same in [
        "/iss",
        "/sub",
        "/aud",
        "/kubernetes.io/namespace",
        "/kubernetes.io/pod/name",
    ] {
        assert_eq!(ours.pointer(same), theirs.pointer(same), "{same}");
    }
}
