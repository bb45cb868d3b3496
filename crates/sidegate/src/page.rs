//! The page behind login: gathers what the console shows, and tries models.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use aws_lc_rs::{hmac, rand};
use bytes::Bytes;
use console::{
    Access, Action, ConfigView, Console, FormToken, ListenerView, ModelDetail, ModelView, PageView,
    UserView,
};
use futures_util::future::BoxFuture;
use gateway::{Body, CallContext, Embedded};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use policy::{
    AccessLevel, Answers, Caller, CheckAnswer, CheckResponse, Entrance, NoTrace, Person, Question,
    RequestHead, TokenAnswer, TokenHolder, Verdict,
};
use resources::{ModelUrls, Object, kserve::InferenceService};
use serving::ModelState;

use crate::embedded::{small, unreadable};
use crate::keys_page;
use crate::live::{Live, World};
use crate::login::LOGOUT_PATH;

/// The console, wired to the running program.
pub(crate) struct Page {
    world: OnceLock<Weak<World>>,
    external: String,
    local: String,
    form_key: hmac::Key,
}

impl Page {
    pub(crate) fn new(external: String, local: String) -> anyhow::Result<Arc<Self>> {
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        let form_key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Arc::new(Self {
            world: OnceLock::new(),
            external,
            local,
            form_key,
        }))
    }

    /// The page and the program need each other; this closes the circle.
    pub(crate) fn attach(&self, world: &Arc<World>) {
        let attached = self.world.set(Arc::downgrade(world));
        debug_assert!(attached.is_ok());
    }

    fn view(&self, world: &World, user: Option<&Person>) -> PageView {
        let live = world.live();
        let user = user.map(|person| UserView {
            email: person.email.to_string(),
            groups: person.groups.iter().map(ToString::to_string).collect(),
        });
        let form_token = user.as_ref().map(|user| {
            let tag = hmac::sign(&self.form_key, user.email.as_bytes());
            FormToken::new(
                tag.as_ref()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
            )
        });
        let said = live
            .snapshot
            .warnings()
            .iter()
            .chain(live.snapshot.unserved());
        let mut warnings: Vec<String> = said.map(ToString::to_string).collect();
        warnings.extend(live.login.warnings());
        PageView {
            user,
            models: live
                .cluster
                .inference_services
                .iter()
                .map(|service| model(world, &live, service))
                .collect(),
            mode: if live.snapshot.enforces() {
                console::Mode::Enforce
            } else {
                console::Mode::AsWritten
            },
            listeners: vec![
                ListenerView {
                    name: "external".into(),
                    address: self.external.clone(),
                },
                ListenerView {
                    name: "cluster-local".into(),
                    address: self.local.clone(),
                },
            ],
            config: ConfigView {
                loaded_at: httpdate::fmt_http_date(live.loaded_at),
                objects: live.cluster.object_count(),
                errors: world.rejected.load().to_vec(),
                warnings,
            },
            logout_path: LOGOUT_PATH.into(),
            form_token,
        }
    }
}

/// The page as a Service.
pub(crate) struct PageService(pub(crate) Arc<Page>);

impl Embedded for PageService {
    fn call(
        &self,
        request: Request<Body>,
        context: CallContext,
    ) -> BoxFuture<'static, Response<Body>> {
        let page = Arc::clone(&self.0);
        Box::pin(async move {
            let Some(world) = page.world.get().and_then(Weak::upgrade) else {
                return unreadable();
            };
            let (parts, body) = request.into_parts();
            let Some(body) = small(body).await else {
                return unreadable();
            };
            let user = person(&world.live(), &context.caller, &parts.headers);
            let view = page.view(&world, user.as_ref());
            let request = Request::from_parts(parts, body);
            match Console.handle(&request, &view) {
                Action::Reply(response) => response.map(Body::full),
                Action::Keys(change) => {
                    let keys = world.api_keys();
                    keys_page::answer(keys, &context.caller, &view, change)
                        .await
                        .map(Body::full)
                }
                Action::Try {
                    namespace,
                    name,
                    body,
                } => {
                    let begun = Instant::now();
                    let answer = attempt(&world, &context, user, &namespace, &name, &body).await;
                    let (status, bytes) = (answer.status(), answer.into_body());
                    Console
                        .try_result(
                            &view,
                            &namespace,
                            &name,
                            &body,
                            status,
                            &bytes,
                            begun.elapsed(),
                        )
                        .map(Body::full)
                }
            }
        })
    }
}

/// Who the page is for: the caller of the decision, or, with policies as
/// written, whoever the login service's header says, as any dashboard would.
fn person(live: &Live, caller: &Caller, headers: &HeaderMap) -> Option<Person> {
    if let Some(person) = caller.person() {
        return Some(person.clone());
    }
    let email = headers
        .get("kubeflow-userid")
        .filter(|_| !live.snapshot.enforces())?
        .to_str()
        .ok()?;
    Some(Person {
        email: email.into(),
        subject: "".into(),
        groups: Vec::new().into(),
    })
}

fn model(world: &World, live: &Live, service: &Object<InferenceService>) -> ModelView {
    let (namespace, name) = (&service.meta.namespace, &service.meta.name);
    let urls = urls(live, service);
    let state = world.models().get(namespace, name);
    let (state, detail, example_input) = match &state {
        Some(ModelState::Ready(model)) => {
            let about = model.describe();
            let detail = ModelDetail {
                class: Some(about.class),
                version: about
                    .sklearn_version
                    .map(|version| format!("scikit-learn {version}")),
                features: Some(about.features),
            };
            (
                console::ModelState::Ready,
                detail,
                Some(inference::example_input(model)),
            )
        }
        Some(ModelState::Failed(reason)) => (
            console::ModelState::Failed(reason.to_string()),
            ModelDetail::default(),
            None,
        ),
        Some(ModelState::Loading) | None => {
            (console::ModelState::Loading, ModelDetail::default(), None)
        }
    };
    let access = live.snapshot.model_access(namespace, name);
    let level = |pick: fn(&policy::RouteAccess) -> AccessLevel| {
        if live.snapshot.enforces() {
            access.as_deref().map_or(Access::None, |a| shown(pick(a)))
        } else {
            Access::AsWritten
        }
    };
    ModelView {
        namespace: namespace.clone(),
        name: name.clone(),
        state,
        detail,
        external_url: urls
            .external_hosts
            .first()
            .map(|host| format!("http://{host}")),
        local_url: Some(format!("http://{}", urls.local_host)),
        access_external: if urls.external_hosts.is_empty() {
            Access::None
        } else {
            level(|a| a.external)
        },
        access_local: level(|a| a.local),
        example_input,
    }
}

fn shown(level: AccessLevel) -> Access {
    match level {
        AccessLevel::Login => Access::Login,
        AccessLevel::Token => Access::Token,
        AccessLevel::Cluster => Access::Cluster,
        AccessLevel::Public => Access::Public,
        AccessLevel::AsWritten => Access::AsWritten,
    }
}

fn urls(live: &Live, service: &Object<InferenceService>) -> ModelUrls {
    // The loader has evaluated the templates already; what it refuses never gets here.
    resources::urls(&live.cluster.ingress, service).unwrap_or_default()
}

/// Sends a predict in the name of the user: decided like any other request
/// with a token of that user.
async fn attempt(
    world: &World,
    context: &CallContext,
    user: Option<Person>,
    namespace: &str,
    name: &str,
    body: &str,
) -> Response<Bytes> {
    let live = world.live();
    let services = &live.cluster.inference_services;
    let found = services
        .iter()
        .find(|s| s.meta.namespace == namespace && s.meta.name == name);
    let Some(service) = found else {
        return refused(StatusCode::NOT_FOUND, "the model has been removed");
    };
    let urls = urls(&live, service);
    let (entrance, authority) = match urls.external_hosts.first() {
        Some(host) => (Entrance::External, host.clone()),
        None => (Entrance::Local, urls.local_host.clone()),
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let head = RequestHead {
        entrance,
        method: Method::POST,
        scheme: context.scheme,
        authority,
        path: format!("/v1/models/{name}:predict"),
        query: None,
        headers,
        peer: context.peer,
        connection: policy::Connection::default(),
        workload: None,
    };
    let caller = user.map_or(Caller::Anonymous, |person| {
        Caller::Token(TokenHolder::Person(person))
    });
    let mut answers = Answers::new();
    let verdict = loop {
        match policy::decide(&live.snapshot, &head, &answers, &mut NoTrace) {
            Verdict::Ask(Question::Caller(_)) => answers.caller_is(caller.clone()),
            Verdict::Ask(Question::Access(check)) => {
                let answer = live.access(&check).await;
                answers.access_is(*check, answer);
            }
            // The page sends none.
            Verdict::Ask(Question::Tokens { hop, checks }) => {
                for check in &checks {
                    answers.token_is(hop, check, TokenAnswer::Malformed("there is none".into()));
                }
            }
            // The user has passed this very check to get to the page.
            Verdict::Ask(Question::Check(check)) => {
                let response = CheckResponse {
                    status: StatusCode::OK,
                    headers: Vec::new(),
                    body: Bytes::new(),
                };
                answers.check_is(check.id, CheckAnswer::Response(response));
            }
            verdict => break verdict,
        }
    };
    if let Verdict::Denial(denial) = verdict {
        return refused(denial.refusal.status(), &denial.reason);
    }
    let Some(state) = world.models().get(namespace, name) else {
        return refused(StatusCode::NOT_FOUND, "the model has been removed");
    };
    let mut request = Request::new(());
    *request.method_mut() = head.method;
    *request.headers_mut() = head.headers;
    if let Ok(uri) = head.path.parse() {
        *request.uri_mut() = uri;
    }
    serving::answer(
        &state,
        request.into_parts().0,
        Bytes::copy_from_slice(body.as_bytes()),
    )
}

fn refused(status: StatusCode, reason: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(
        serde_json::json!({ "error": reason }).to_string(),
    ));
    *response.status_mut() = status;
    response
}
