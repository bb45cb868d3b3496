//! In oauth2-proxy's place: the answers of Kubeflow's oauth2-proxy
//! (`upstreams = ["static://200"]`) to Envoy's external authorization check.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use policy::{Check, CheckResponse, Person, TokenHolder};
use regex::RegexSet;

use crate::authservice::{is_below, never_allows, text, value};
use crate::bearer::{Authorization, authorization};
use crate::clock::now;
use crate::identity::Identity;
use crate::jose::{MAX_ID_TOKEN_BYTES, Unverified};
use crate::seen::Seen;
use secret::Secret;

/// Settings of oauth2-proxy, by the names of its configuration file.
#[derive(Clone, Debug)]
pub struct Oauth2ProxyConfig {
    /// `api_routes`: paths whose clients get 401 and no redirect.
    pub api_routes: RegexSet,
    /// `skip_auth_routes` as prefixes that end at a segment.
    pub skip_auth_prefixes: Vec<String>,
}

impl Default for Oauth2ProxyConfig {
    /// Those of Kubeflow's manifests since 1.9.
    fn default() -> Self {
        Self {
            api_routes: RegexSet::new(["/api/", "/apis/", "^/ml_metadata"])
                .unwrap_or_else(|_| RegexSet::empty()),
            skip_auth_prefixes: vec!["/dex".to_owned()],
        }
    }
}

impl Identity {
    /// Answers a check as Kubeflow's oauth2-proxy does: 200 with
    /// `x-auth-request-*` and the ID token for Istio to verify, its own paths,
    /// 401 for `api_routes` and clients that accept JSON, else 302.
    pub async fn oauth2_proxy_check(&self, check: &Check) -> CheckResponse {
        let seen = Seen::from(check);
        let config = &self.parts.oauth2_proxy;
        let Some(login) = &self.parts.relying_party else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "no login provider");
        };
        if let Some(reply) = login.serve(&seen).await {
            return never_allows(reply);
        }
        if config
            .skip_auth_prefixes
            .iter()
            .any(|prefix| is_below(seen.path, prefix))
        {
            return text(StatusCode::OK, "OK");
        }
        if let Some(session) = self.session(&seen).await
            && self.is_current(session.id_token.as_ref())
        {
            return allow(&session.person, session.id_token.as_ref());
        }
        // `skip_jwt_bearer_tokens = true`: a valid token passes, ServiceAccounts' too.
        if let Authorization::Bearer(token) = authorization(seen.headers) {
            match self.bearer(token).await {
                Ok(TokenHolder::Person(person)) => {
                    return allow(&person, Some(&Secret::new(token)));
                }
                Ok(holder) => {
                    let groups = match &holder {
                        TokenHolder::Service(service) => Arc::clone(&service.groups),
                        TokenHolder::Person(_) | TokenHolder::ServiceAccount(_) => [].into(),
                    };
                    let person = Person {
                        email: holder.user_name().into(),
                        subject: holder.user_name().into(),
                        groups,
                    };
                    return allow(&person, Some(&Secret::new(token)));
                }
                Err(_) => {}
            }
        }
        let json = seen
            .header("accept")
            .is_some_and(|accept| accept == "application/json");
        if json || config.api_routes.is_match(seen.path) {
            return text(StatusCode::UNAUTHORIZED, "Unauthorized");
        }
        never_allows(login.begin(&seen, &seen.path_and_query()))
    }

    /// Istio verifies the ID token after this check: one that has expired
    /// would only be refused there, without a way to log in again.
    fn is_current(&self, id_token: Option<&Secret>) -> bool {
        id_token.is_none_or(|token| {
            Unverified::parse(token.expose(), MAX_ID_TOKEN_BYTES)
                .ok()
                .and_then(|token| token.claimed_expiry())
                .is_some_and(|expires| now(&self.parts.clock) < expires)
        })
    }
}

fn allow(person: &Person, id_token: Option<&Secret>) -> CheckResponse {
    let groups: Vec<&str> = person.groups.iter().map(|group| &**group).collect();
    let mut headers = Vec::new();
    for (name, content) in [
        ("x-auth-request-user", &*person.subject),
        ("x-auth-request-email", &*person.email),
        ("x-auth-request-groups", &groups.join(",")),
    ] {
        let Some(value) = value(content) else {
            return text(
                StatusCode::FORBIDDEN,
                "the user's name does not fit into a header",
            );
        };
        headers.push((HeaderName::from_static(name), value));
    }
    let bearer =
        id_token.and_then(|token| HeaderValue::try_from(format!("Bearer {}", token.expose())).ok());
    if let Some(mut bearer) = bearer {
        bearer.set_sensitive(true);
        headers.push((header::AUTHORIZATION, bearer));
    }
    CheckResponse {
        status: StatusCode::OK,
        headers,
        body: bytes::Bytes::from_static(b"Authenticated"),
    }
}
