use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use http::{Response, StatusCode};
use policy::AccessAnswer;
use serde_json::{Value, json};

use super::*;
use crate::cluster::{ClusterIssuer, ClusterIssuerConfig, ClusterKey, TokenRequest};
use crate::http_client::HttpError;

const START: u64 = 1_800_000_000;
const ISSUER: &str = "https://oidc.distribution.example/id/ABC";
const AUDIENCE: &str = "sidegate.example";
const SERVER: &str = "https://10.96.0.1:443";

/// An API server in memory.
struct ApiServer {
    issuer: ClusterIssuer,
    own: Secret,
    /// Status of `/openid/v1/jwks`.
    keys: Mutex<u16>,
    /// Status of TokenReviews.
    reviews: Mutex<u16>,
    /// What is asked of SubjectAccessReviews, and who may.
    accesses: Mutex<(Vec<Value>, Vec<String>)>,
    /// What a review says of audiences.
    audiences: Mutex<Option<Value>>,
    /// Names that are gone.
    gone: Mutex<Vec<String>>,
    asked: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl ApiServer {
    fn asked(&self, what: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|path| path.ends_with(what)).count()
    }

    fn access(&self, body: &[u8]) -> (u16, Value) {
        let review: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(review["apiVersion"], "authorization.k8s.io/v1");
        assert_eq!(review["kind"], "SubjectAccessReview");
        let mut accesses = self.accesses.lock().unwrap();
        accesses.0.push(review["spec"].clone());
        let user = review["spec"]["user"].as_str().unwrap().to_owned();
        let allowed = accesses.1.contains(&user);
        let denied = accesses.1.contains(&format!("not {user}"));
        let said = json!({"status": {"allowed": allowed, "denied": denied, "reason": ""}});
        (*self.reviews.lock().unwrap(), said)
    }

    fn review(&self, body: &[u8]) -> (u16, Value) {
        let status = *self.reviews.lock().unwrap();
        let review: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(review["spec"]["audiences"], json!([AUDIENCE]));
        let token = review["spec"]["token"].as_str().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(START);
        let account = self.issuer.verify(token, now).ok();
        let account = account.filter(|account| {
            !self
                .gone
                .lock()
                .unwrap()
                .contains(&account.name.to_string())
        });
        let said = match account {
            None => json!({"authenticated": false, "error": "invalid bearer token"}),
            Some(account) => json!({
                "authenticated": true,
                "user": {"username": account.user_name(), "groups": ["system:serviceaccounts"]},
                "audiences": self.audiences.lock().unwrap().clone().unwrap_or(json!([AUDIENCE])),
            }),
        };
        (status, json!({"kind": "TokenReview", "status": said}))
    }
}

impl HttpClient for ApiServer {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        async move {
            let address = request.uri().to_string();
            let path = address
                .strip_prefix(SERVER)
                .unwrap_or_else(|| panic!("{address}"));
            let own = format!("Bearer {}", self.own.expose());
            assert_eq!(request.headers()["authorization"], own.as_str());
            self.asked.lock().unwrap().push(path.to_owned());
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let (status, body) = match path {
                "/openid/v1/jwks" => {
                    let status = *self.keys.lock().unwrap();
                    (status, serde_json::from_str(self.issuer.jwks()).unwrap())
                }
                "/apis/authentication.k8s.io/v1/tokenreviews" => self.review(request.body()),
                "/apis/authorization.k8s.io/v1/subjectaccessreviews" => self.access(request.body()),
                other => panic!("`{other}` was asked"),
            };
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let mut response = Response::new(Bytes::from(body.to_string()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if status == 429 {
                response
                    .headers_mut()
                    .insert("retry-after", "7".parse().unwrap());
            }
            Ok(response)
        }
        .boxed()
    }
}

struct World {
    _folder: tempfile::TempDir,
    server: Arc<ApiServer>,
    time: Arc<AtomicU64>,
    api: ClusterApi,
}

fn issuer(folder: &std::path::Path, name: &str) -> ClusterIssuer {
    let config = ClusterIssuerConfig {
        issuer: name.to_owned(),
        audiences: vec![AUDIENCE.to_owned(), "another".to_owned()],
        key: ClusterKey::Es256,
    };
    ClusterIssuer::open(folder, config).unwrap()
}

impl World {
    fn new(review: Review) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = issuer(folder.path(), ISSUER);
        let time = Arc::new(AtomicU64::new(START));
        let own = token_of(&issuer, "sidegate", "https://kubernetes.default.svc");
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, own.expose()).unwrap();
        let server = Arc::new(ApiServer {
            issuer,
            own,
            keys: Mutex::new(200),
            reviews: Mutex::new(201),
            accesses: Mutex::default(),
            audiences: Mutex::new(None),
            gone: Mutex::default(),
            asked: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let config = ClusterApiConfig {
            server: SERVER.to_owned(),
            token_file,
            audiences: vec![AUDIENCE.to_owned()],
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

    fn token(&self, name: &str) -> Secret {
        token_of(&self.server.issuer, name, AUDIENCE)
    }

    async fn verify(&self, token: &Secret) -> Result<String, String> {
        let text = token.expose();
        let parsed = Unverified::parse(text, MAX_BEARER_BYTES).map_err(|e| e.to_string())?;
        match self.api.verify(text, &parsed).await {
            None => Err("another issuer".to_owned()),
            Some(Ok((account, until))) => {
                assert!(until > self.time.load(Ordering::SeqCst));
                Ok(account.user_name())
            }
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

fn request(name: &str, audience: &str) -> TokenRequest {
    TokenRequest {
        service_account: ServiceAccount {
            namespace: "team-a".into(),
            name: name.into(),
        },
        uid: Some("123".into()),
        audiences: vec![audience.to_owned()],
        duration: Duration::from_secs(3600),
        pod: None,
    }
}

fn token_of(issuer: &ClusterIssuer, name: &str, audience: &str) -> Secret {
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(START);
    issuer.issue(&request(name, audience), now).unwrap()
}

fn name(account: &str) -> Result<String, String> {
    Ok(format!("system:serviceaccount:team-a:{account}"))
}

#[tokio::test]
async fn tokens_are_verified_with_the_keys_of_the_api_server() {
    let world = World::new(Review::WithoutKeys);
    assert_eq!(world.api.issuer().await.unwrap(), ISSUER);
    assert_eq!(world.verify(&world.token("default")).await, name("default"));
    assert_eq!(world.verify(&world.token("editor")).await, name("editor"));
    assert_eq!(*world.server.asked.lock().unwrap(), ["/openid/v1/jwks"]);
}

#[tokio::test]
async fn tokens_of_others_or_for_others_are_refused_unasked() {
    for review in [Review::WithoutKeys, Review::Always] {
        let world = World::new(review);
        let other = tempfile::tempdir().unwrap();
        let stranger = issuer(other.path(), "https://other.example");
        let found = world
            .verify(&token_of(&stranger, "default", AUDIENCE))
            .await;
        assert_eq!(found, Err("another issuer".to_owned()));
        let audience = token_of(&world.server.issuer, "default", "another");
        let found = world.verify(&audience).await;
        assert_eq!(found, Err("the token is for another audience".to_owned()));
        let late = world.token("default");
        world.time.fetch_add(3600, Ordering::SeqCst);
        assert_eq!(
            world.verify(&late).await,
            Err("the token has expired".to_owned())
        );
        assert_eq!(
            world.server.asked("jwks") + world.server.asked("reviews"),
            0
        );
    }
    // Signed by somebody who says to be the cluster.
    let world = World::new(Review::WithoutKeys);
    let other = tempfile::tempdir().unwrap();
    let forger = issuer(other.path(), ISSUER);
    let found = world.verify(&token_of(&forger, "default", AUDIENCE)).await;
    assert!(found.unwrap_err().contains("does not publish"));
}

#[tokio::test]
async fn the_api_server_is_asked_where_it_gives_no_keys() {
    let world = World::new(Review::WithoutKeys);
    *world.server.keys.lock().unwrap() = 403;
    let token = world.token("default");
    for _ in 0..100 {
        assert_eq!(world.verify(&token).await, name("default"));
    }
    assert_eq!(world.server.asked("reviews"), 1);
    world.time.fetch_add(review::BELIEVED, Ordering::SeqCst);
    assert_eq!(world.verify(&token).await, name("default"));
    assert_eq!(world.server.asked("reviews"), 2);
    // Another token is another question.
    assert_eq!(world.verify(&world.token("editor")).await, name("editor"));
    assert_eq!(world.server.asked("reviews"), 3);
}

#[tokio::test]
async fn an_account_that_is_gone_is_seen_within_a_minute() {
    let world = World::new(Review::Always);
    let token = world.token("default");
    assert_eq!(world.verify(&token).await, name("default"));
    world.server.gone.lock().unwrap().push("default".to_owned());
    world.time.fetch_add(review::BELIEVED, Ordering::SeqCst);
    let refused = "the cluster does not know the token, or not for this audience";
    assert_eq!(world.verify(&token).await, Err(refused.to_owned()));
    assert_eq!(world.server.asked("jwks"), 0);
}

#[tokio::test]
async fn an_api_server_that_looks_at_no_audiences_is_not_believed() {
    for said in [
        json!([]),
        json!(null),
        json!(["https://kubernetes.default.svc"]),
    ] {
        let world = World::new(Review::Always);
        *world.server.audiences.lock().unwrap() = Some(said.clone());
        if said.is_null() {
            *world.server.audiences.lock().unwrap() = Some(json!([]));
        }
        let found = world.verify(&world.token("default")).await;
        assert!(found.is_err(), "{said}: {found:?}");
    }
}

#[tokio::test]
async fn a_thousand_requests_with_one_token_are_one_question() {
    let world = World::new(Review::Always);
    let token = world.token("default");
    let all = join_all((0..1000).map(|_| world.verify(&token))).await;
    assert!(all.iter().all(|found| *found == name("default")));
    assert_eq!(world.server.asked("reviews"), 1);
}

#[tokio::test]
async fn a_flood_of_tokens_asks_a_bounded_number_of_questions() {
    let world = World::new(Review::Always);
    let tokens: Vec<Secret> = (0..1000).map(|_| world.token("default")).collect();
    let all = join_all(tokens.iter().map(|token| world.verify(token))).await;
    let passed = all.iter().filter(|found| found.is_ok()).count();
    let asked = world.server.asked("reviews");
    assert_eq!(asked, usize::try_from(questions::BURST).unwrap());
    assert_eq!(passed, asked);
    assert!(world.server.most.load(Ordering::SeqCst) <= questions::AT_ONCE);
    // Known ones go on, others after a while.
    let known = all.iter().position(Result::is_ok).unwrap();
    assert!(world.verify(&tokens[known]).await.is_ok());
    world.time.fetch_add(1, Ordering::SeqCst);
    let refused = all.iter().position(Result::is_err).unwrap();
    assert!(world.verify(&tokens[refused]).await.is_ok());
}

#[tokio::test]
async fn nothing_is_asked_while_the_api_server_wants_a_pause() {
    let world = World::new(Review::Always);
    let known = world.token("known");
    assert!(world.verify(&known).await.is_ok());
    *world.server.reviews.lock().unwrap() = 429;
    let token = world.token("default");
    assert!(world.verify(&token).await.unwrap_err().contains("429"));
    *world.server.reviews.lock().unwrap() = 201;
    for _ in 0..100 {
        let error = world.verify(&token).await.unwrap_err();
        assert!(error.contains("asked for a pause"), "{error}");
        assert!(world.verify(&known).await.is_ok());
    }
    assert_eq!(world.server.asked("reviews"), 2);
    world.time.fetch_add(7, Ordering::SeqCst);
    assert!(world.verify(&token).await.is_ok());
}

#[tokio::test]
async fn our_own_token_is_read_again_when_it_is_renewed() {
    let world = World::new(Review::WithoutKeys);
    let token = world.token("default");
    assert!(world.verify(&token).await.is_ok());
    std::fs::remove_file(&world.api.config.token_file).unwrap();
    world.time.fetch_add(READ_AGAIN, Ordering::SeqCst);
    assert!(world.verify(&token).await.is_ok(), "the one before is used");
    let error = {
        let fresh = World::new(Review::WithoutKeys);
        std::fs::remove_file(&fresh.api.config.token_file).unwrap();
        fresh.verify(&fresh.token("default")).await.unwrap_err()
    };
    assert!(error.contains("own token"), "{error}");
    assert!(!format!("{:?}", world.api).contains(world.server.own.expose()));
}

#[tokio::test]
async fn tokens_of_secrets_are_bound_to_nothing_and_refused() {
    let world = World::new(Review::WithoutKeys);
    let token = world.token("default");
    let (signed, _) = token.expose().rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let decoded =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
    let mut claims: Value = serde_json::from_slice(&decoded.unwrap()).unwrap();
    claims.as_object_mut().unwrap().remove("kubernetes.io");
    let payload = base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        claims.to_string(),
    );
    let unbound = Secret::new(format!("{header}.{payload}.AA"));
    let error = world.verify(&unbound).await.unwrap_err();
    assert!(error.contains("`kubernetes.io`"), "{error}");
}

fn asks(holder: policy::TokenHolder, model: &str) -> policy::AccessCheck {
    policy::AccessCheck {
        holder,
        target: policy::RouteTarget {
            namespace: "team-a".into(),
            kind: policy::ModelKind::Service,
            model: Some(model.into()),
        },
    }
}

fn person(email: &str, groups: &[&str]) -> policy::TokenHolder {
    policy::TokenHolder::Person(policy::Person {
        email: email.into(),
        subject: "1".into(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    })
}

#[tokio::test]
async fn the_api_server_says_who_may_call_a_model() {
    let world = World::new(Review::WithoutKeys);
    let account = policy::TokenHolder::ServiceAccount(ServiceAccount {
        namespace: "shop".into(),
        name: "backend".into(),
    });
    let service = policy::TokenHolder::Service(policy::Service {
        name: "nightly".into(),
        groups: ["jobs".into(), "system:masters".into()].into(),
    });
    let may = [
        "ada@example.com",
        "system:serviceaccount:shop:backend",
        "eve@example.com",
    ];
    let mut all: Vec<String> = may.map(str::to_owned).to_vec();
    all.push("not eve@example.com".to_owned());
    world.server.accesses.lock().unwrap().1 = all;
    for (holder, expected, groups) in [
        (
            person("ada@example.com", &["ml", "system:masters"]),
            AccessAnswer::Allowed,
            json!(["ml", "system:authenticated"]),
        ),
        (
            account,
            AccessAnswer::Allowed,
            json!([
                "system:serviceaccounts",
                "system:serviceaccounts:shop",
                "system:authenticated"
            ]),
        ),
        (
            service,
            AccessAnswer::Denied,
            json!(["jobs", "system:authenticated"]),
        ),
        (
            person("bob@example.com", &[]),
            AccessAnswer::Denied,
            json!(["system:authenticated"]),
        ),
        (
            person("eve@example.com", &[]),
            AccessAnswer::Denied,
            json!(["system:authenticated"]),
        ),
    ] {
        let check = asks(holder, "iris");
        for _ in 0..3 {
            assert_eq!(world.api.access(&check).await, expected);
        }
        let asked = world.server.accesses.lock().unwrap().0.pop().unwrap();
        let expected = json!({
            "user": check.holder.user_name(), "groups": groups,
            "resourceAttributes": {"namespace": "team-a", "verb": "get", "group": "serving.kserve.io",
                "resource": "inferenceservices", "name": "iris"},
        });
        assert_eq!(asked, expected);
    }
    assert_eq!(world.server.asked("subjectaccessreviews"), 5);
    // Another model is another question, and so are other groups.
    world
        .api
        .access(&asks(person("ada@example.com", &["ml"]), "other"))
        .await;
    world
        .api
        .access(&asks(person("ada@example.com", &["ops"]), "other"))
        .await;
    assert_eq!(world.server.asked("subjectaccessreviews"), 7);
    // A graph of that name is another one.
    let mut graph = asks(person("ada@example.com", &["ml"]), "other");
    graph.target.kind = policy::ModelKind::Graph;
    world.api.access(&graph).await;
    let asked = world.server.accesses.lock().unwrap().0.pop().unwrap();
    let resource = asked.pointer("/resourceAttributes/resource");
    assert_eq!(resource, Some(&json!("inferencegraphs")));
    assert_eq!(world.server.asked("subjectaccessreviews"), 8);
    let nothing = policy::AccessCheck {
        target: policy::RouteTarget {
            namespace: "team-a".into(),
            kind: policy::ModelKind::Service,
            model: None,
        },
        ..asks(person("ada@example.com", &[]), "x")
    };
    assert_eq!(world.api.access(&nothing).await, AccessAnswer::Denied);
}

#[tokio::test]
async fn what_was_said_counts_for_its_time() {
    let world = World::new(Review::WithoutKeys);
    let check = asks(person("ada@example.com", &[]), "iris");
    let allow = |who: &[&str]| {
        let who = who.iter().map(|who| (*who).to_owned()).collect();
        world.server.accesses.lock().unwrap().1 = who;
    };
    assert_eq!(world.api.access(&check).await, AccessAnswer::Denied);
    allow(&["ada@example.com"]);
    world.time.fetch_add(access::DENIED, Ordering::SeqCst);
    assert_eq!(world.api.access(&check).await, AccessAnswer::Allowed);
    allow(&[]);
    world.time.fetch_add(access::ALLOWED - 1, Ordering::SeqCst);
    assert_eq!(world.api.access(&check).await, AccessAnswer::Allowed);
    world.time.fetch_add(1, Ordering::SeqCst);
    assert_eq!(world.api.access(&check).await, AccessAnswer::Denied);
}

#[tokio::test]
async fn without_the_api_server_the_known_go_on_and_nobody_else() {
    for status in [429, 500, 503] {
        let world = World::new(Review::WithoutKeys);
        world.server.accesses.lock().unwrap().1 = vec!["ada@example.com".to_owned()];
        let ada = asks(person("ada@example.com", &[]), "iris");
        let bob = asks(person("bob@example.com", &[]), "iris");
        let new = asks(person("new@example.com", &[]), "iris");
        assert_eq!(world.api.access(&ada).await, AccessAnswer::Allowed);
        assert_eq!(world.api.access(&bob).await, AccessAnswer::Denied);
        *world.server.reviews.lock().unwrap() = status;
        world.time.fetch_add(access::ALLOWED, Ordering::SeqCst);
        assert_eq!(
            world.api.access(&ada).await,
            AccessAnswer::Allowed,
            "{status}"
        );
        assert_eq!(
            world.api.access(&bob).await,
            AccessAnswer::Denied,
            "{status}"
        );
        let unknown = world.api.access(&new).await;
        assert!(matches!(unknown, AccessAnswer::Unknown(_)), "{unknown:?}");
        world.time.fetch_add(access::OLD, Ordering::SeqCst);
        let gone = world.api.access(&ada).await;
        assert!(
            matches!(gone, AccessAnswer::Unknown(_)),
            "{status}: {gone:?}"
        );
    }
}

#[tokio::test]
async fn a_flood_of_strangers_asks_a_bounded_number_of_questions() {
    let world = World::new(Review::WithoutKeys);
    let all: Vec<_> = (0..1000)
        .map(|n| asks(person(&format!("{n}@example.com"), &[]), "iris"))
        .collect();
    let said = join_all(all.iter().map(|check| world.api.access(check))).await;
    let asked = world.server.asked("subjectaccessreviews");
    assert_eq!(asked, usize::try_from(questions::BURST).unwrap());
    let denied = said
        .iter()
        .filter(|said| **said == AccessAnswer::Denied)
        .count();
    assert_eq!(denied, asked);
    assert!(world.server.most.load(Ordering::SeqCst) <= questions::AT_ONCE);
    assert!(!said.contains(&AccessAnswer::Allowed));
    let same = asks(person("ada@example.com", &[]), "iris");
    world.time.fetch_add(10, Ordering::SeqCst);
    let all = join_all((0..1000).map(|_| world.api.access(&same))).await;
    assert!(all.iter().all(|said| *said == AccessAnswer::Denied));
    assert_eq!(world.server.asked("subjectaccessreviews"), asked + 1);
}
