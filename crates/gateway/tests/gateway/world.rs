//! A gateway in front of upstreams, with a host that knows three callers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gateway::{
    Answer, Body, CallContext, Config, Embedded, Endpoint, Gateway, Host, Limits, Listen, Running,
    UnknownWorkload,
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use policy::{
    AccessAnswer, Audience, Caller, Destination, Entrance, Person, Question, Reply, RequestHead,
    ServiceAccount, Settings, Snapshot, TokenAnswer, TokenError, TokenHolder, Tokens, Workload,
};

use crate::client::{Answer as Reply2, Client};
use crate::upstream::Upstream;

pub(crate) const CLUSTER: &str = include_str!("cluster.yaml");

pub(crate) struct World {
    pub(crate) external: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) upstream: Upstream,
    pub(crate) running: Running,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(CLUSTER.to_owned(), Limits::default(), None).await
    }

    /// The same cluster where Sidegate adds nothing.
    pub(crate) async fn as_written() -> Self {
        let yaml = CLUSTER.replace("mode: enforce", "mode: as-written");
        Self::with(yaml, Limits::default(), None).await
    }

    pub(crate) async fn limited(limits: Limits) -> Self {
        Self::with(CLUSTER.to_owned(), limits, None).await
    }

    /// On more than one thread.
    pub(crate) async fn threaded(threads: usize) -> Self {
        Self::build(CLUSTER.to_owned(), Limits::default(), None, threads).await
    }

    pub(crate) async fn with(yaml: String, limits: Limits, grpc: Option<SocketAddr>) -> Self {
        Self::build(yaml, limits, grpc, 1).await
    }

    async fn build(yaml: String, limits: Limits, grpc: Option<SocketAddr>, threads: usize) -> Self {
        let cluster = resources::parse(&[("cluster.yaml".into(), yaml)]).expect("resources");
        let snapshot = Snapshot::compile(&cluster, &Settings::default()).expect("a snapshot");
        let upstream = Upstream::start().await;
        let host = TestHost {
            snapshot: Arc::new(snapshot),
            upstream: upstream.address.to_string().into(),
            grpc: grpc.map(|address| address.to_string().into()),
        };
        let listen = |entrance, option: &str| Listen {
            entrance,
            address: "127.0.0.1:0".parse().expect("an address"),
            option: option.to_owned(),
        };
        let gateway = Gateway::bind(Config {
            listeners: vec![
                listen(Entrance::External, "--external"),
                listen(Entrance::Local, "--local"),
            ],
            limits,
            threads: std::num::NonZero::new(threads),
        })
        .expect("bind");
        let addresses = gateway.addresses().to_vec();
        let running = gateway.run(Arc::new(host)).expect("run");
        Self {
            external: addresses[0],
            local: addresses[1],
            upstream,
            running,
        }
    }

    /// Sends bytes to the external listener and reads one answer.
    pub(crate) async fn external(&self, bytes: impl AsRef<[u8]>) -> Reply2 {
        ask(self.external, bytes).await
    }

    /// Sends bytes to the cluster-local listener and reads one answer.
    pub(crate) async fn local(&self, bytes: impl AsRef<[u8]>) -> Reply2 {
        ask(self.local, bytes).await
    }
}

async fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Reply2 {
    let mut client = Client::connect(address).await;
    client.send(&bytes).await;
    let text = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    client
        .answer()
        .await
        .unwrap_or_else(|| panic!("no answer to {text}"))
}

struct TestHost {
    snapshot: Arc<Snapshot>,
    upstream: Arc<str>,
    grpc: Option<Arc<str>>,
}

impl Host for TestHost {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn endpoint(&self, destination: &Destination) -> Endpoint {
        let Destination::Service { service, .. } = destination else {
            return Endpoint::Missing("not a Service".to_owned());
        };
        match &*service.name {
            "embedded" => Endpoint::Embedded(Arc::new(Teller)),
            "missing" => Endpoint::Missing("Service shop/missing has no address here".to_owned()),
            // Nothing listens on the port of discard.
            "refused" => Endpoint::Tcp {
                authority: "127.0.0.1:9".into(),
                http2: false,
            },
            "grpc" => match &self.grpc {
                Some(authority) => Endpoint::Tcp {
                    authority: Arc::clone(authority),
                    http2: false,
                },
                None => Endpoint::Missing("no gRPC upstream".to_owned()),
            },
            _ => Endpoint::Tcp {
                authority: Arc::clone(&self.upstream),
                http2: false,
            },
        }
    }

    fn answer<'a>(
        &'a self,
        question: &'a Question,
        head: &'a RequestHead,
    ) -> BoxFuture<'a, Answer> {
        let answer = match question {
            Question::Caller(tokens) => Answer::Caller(caller(*tokens, head)),
            Question::Access(_) => Answer::Access(AccessAnswer::NoServer),
            Question::Tokens { checks, .. } => Answer::Tokens(
                checks
                    .iter()
                    .map(|_| TokenAnswer::Malformed("no keys".into()))
                    .collect(),
            ),
            Question::Check(_) => Answer::AskOver(Endpoint::Tcp {
                authority: Arc::clone(&self.upstream),
                http2: false,
            }),
        };
        std::future::ready(answer).boxed()
    }

    fn workload(&self, credentials: &HeaderValue) -> Result<Workload, UnknownWorkload> {
        match credentials.as_bytes() {
            b"Basic cG9kOnNlY3JldA==" => Ok(Workload {
                pod: "pod".into(),
                service_account: ServiceAccount {
                    namespace: "shop".into(),
                    name: "default".into(),
                },
            }),
            _ => Err(UnknownWorkload),
        }
    }

    fn signed_identity(
        &self,
        audience: &Audience,
        caller: &Caller,
    ) -> Option<(HeaderName, HeaderValue)> {
        let Caller::Session(person) = caller else {
            return None;
        };
        let value = format!("{} for {audience}", person.email);
        let value = HeaderValue::try_from(value).expect("a header");
        Some((HeaderName::from_static("x-sidegate-identity"), value))
    }

    fn login(&self, head: &RequestHead) -> Reply {
        let to = format!("http://login.example/?for={}", head.path);
        Reply {
            status: StatusCode::FOUND,
            headers: vec![
                (
                    header::LOCATION,
                    HeaderValue::try_from(to).expect("a location"),
                ),
                (
                    header::SET_COOKIE,
                    HeaderValue::from_static("transaction=1"),
                ),
            ],
            body: Bytes::new(),
        }
    }
}

fn caller(tokens: Tokens, head: &RequestHead) -> Caller {
    let ada = || Person {
        email: "ada@example.com".into(),
        subject: "1".into(),
        groups: Arc::new(["staff".into()]),
    };
    match head.header("authorization") {
        Some("Bearer ada") => return Caller::Token(TokenHolder::Person(ada())),
        Some(_) => return Caller::BadToken(TokenError("it is \"expired\"".to_owned())),
        None => {}
    }
    match head.header("cookie") {
        Some("session=ada") if tokens == Tokens::SessionOrBearer => Caller::Session(ada()),
        _ => Caller::Anonymous,
    }
}

/// Tells what it was called with.
struct Teller;

impl Embedded for Teller {
    fn call(
        &self,
        request: Request<Body>,
        context: CallContext,
    ) -> BoxFuture<'static, Response<Body>> {
        async move {
            let (parts, body) = request.into_parts();
            let length = body.collect().await.map(|body| body.to_bytes().len());
            let text = format!(
                "{} {} host={:?} authority={} entrance={:?} workload={:?} body={length:?}",
                parts.method,
                parts.uri,
                parts.headers.get("host"),
                context.authority,
                context.entrance,
                context.workload.map(|workload| workload.pod),
            );
            Response::new(Body::from(text))
        }
        .boxed()
    }
}
