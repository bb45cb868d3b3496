//! SubjectAccessReview (`authorization.k8s.io/v1`): the API server says whether
//! somebody may `get` an InferenceService.

use policy::{AccessAnswer, AccessCheck, RouteTarget, TokenHolder};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::questions::{Key, Questions, Server};
use super::{ClusterApi, ClusterError};
use crate::clock::{Clock, now};

const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// A yes is believed for so many seconds.
pub(super) const ALLOWED: u64 = 60;

/// And a no.
pub(super) const DENIED: u64 = 10;

/// An answer counts so much longer while the API server cannot be asked.
pub(super) const OLD: u64 = 600;

pub(super) struct Accesses {
    clock: Clock,
    questions: Questions<bool>,
}

#[derive(Deserialize)]
struct SubjectAccessReview {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    allowed: bool,
    /// A no that stands before every yes.
    #[serde(default)]
    denied: bool,
}

impl Accesses {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            questions: Questions::new(Clock::clone(&clock)),
            clock,
        }
    }

    async fn ask(&self, server: &Server<'_>, spec: &Value) -> Result<(bool, u64), ClusterError> {
        let object = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        });
        let body = self.questions.post(server, PATH, &object).await?;
        let review: SubjectAccessReview = serde_json::from_slice(&body)
            .map_err(|error| ClusterError::Unavailable(format!("`{PATH}`: {error}")))?;
        let allowed = review.status.allowed && !review.status.denied;
        let believed = if allowed { ALLOWED } else { DENIED };
        Ok((allowed, now(&self.clock).saturating_add(believed)))
    }
}

impl ClusterApi {
    /// Whether somebody may call a model. What was known counts while the API
    /// server cannot be asked; what was not is not known.
    pub(crate) async fn access(&self, check: &AccessCheck) -> AccessAnswer {
        let Some(model) = check.target.model.as_deref() else {
            return AccessAnswer::Denied;
        };
        let spec = spec(&check.holder, &check.target, model);
        let key: Key = Sha256::digest(spec.to_string()).into();
        let accesses = &self.accesses;
        let asked = async {
            let own = self.own().await?;
            let server = Server {
                http: &*self.http,
                server: &self.config.server,
                own: &own.token,
            };
            let ask = || accesses.ask(&server, &spec);
            accesses.questions.answer(key, ask).await
        };
        let said = |allowed| match allowed {
            true => AccessAnswer::Allowed,
            false => AccessAnswer::Denied,
        };
        match asked.await {
            Ok((allowed, _)) => said(allowed),
            Err(error) => {
                tracing::warn!(%error, "the API server is not asked whether somebody may call a model");
                let old = accesses.questions.old(&key, OLD);
                old.map_or_else(|| AccessAnswer::Unknown(error.to_string()), said)
            }
        }
    }
}

/// What is asked, with the groups that Kubernetes itself gives: nobody has those by
/// a login.
fn spec(holder: &TokenHolder, target: &RouteTarget, model: &str) -> Value {
    let mut groups: Vec<String> = match holder {
        TokenHolder::Person(person) => person.groups.iter().map(ToString::to_string).collect(),
        TokenHolder::Service(service) => service.groups.iter().map(ToString::to_string).collect(),
        TokenHolder::ServiceAccount(_) => Vec::new(),
    };
    groups.retain(|group| !group.starts_with("system:"));
    if let TokenHolder::ServiceAccount(account) = holder {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{}", account.namespace));
    }
    groups.push("system:authenticated".to_owned());
    json!({
        "user": holder.user_name(),
        "groups": groups,
        "resourceAttributes": {
            "namespace": target.namespace,
            "verb": "get",
            "group": "serving.kserve.io",
            "resource": target.kind.resource(),
            "name": model,
        },
    })
}
