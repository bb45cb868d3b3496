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
    /// `set_xauthrequest`: the upstream gets `x-auth-request-*`.
    pub user_headers: bool,
    /// `set_authorization_header`: the upstream gets the ID token.
    pub authorization: bool,
    /// `injectResponseHeaders`: the upstream gets the user's id and groups under these names.
    pub named: Option<(HeaderName, HeaderName)>,
    /// `skip_jwt_bearer_tokens`: bearer tokens count.
    pub bearer: bool,
    /// `bearer_token_login_fallback`: who has a token that does not count is asked to log in.
    pub bearer_falls_back: bool,
    /// `force_json_errors`: nobody is redirected.
    pub never_redirects: bool,
    /// Who of those that the provider knows gets through.
    pub admitted: Admitted,
}

/// Who of those that the provider knows gets through.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// Domains of their addresses in lower case, with a dot in front for those below; nothing for all.
    pub domains: Option<Vec<String>>,
    /// Groups of which they are in one; nothing for all.
    pub groups: Option<Vec<String>>,
}

impl Admitted {
    pub(crate) fn admits(&self, person: &Person) -> bool {
        let domain = domain(&person.email).map(str::to_ascii_lowercase);
        let in_domain = |domains: &Vec<String>| {
            let Some(domain) = &domain else {
                return false;
            };
            domains.iter().any(|known| match known.strip_prefix('.') {
                Some(parent) => domain
                    .strip_suffix(parent)
                    .is_some_and(|rest| rest.ends_with('.')),
                None => known == domain,
            })
        };
        self.domains.as_ref().is_none_or(in_domain) && self.in_group(&person.groups)
    }

    pub(crate) fn in_group<G: std::ops::Deref<Target = str>>(&self, theirs: &[G]) -> bool {
        let within = |groups: &Vec<String>| {
            theirs
                .iter()
                .any(|group| groups.iter().any(|allowed| *allowed == **group))
        };
        self.groups.as_ref().is_none_or(within)
    }
}

/// The domain of an address. One with two `@` is nobody's (CVE-2026-40574): whose it is depends on the
/// reader.
fn domain(address: &str) -> Option<&str> {
    let (name, domain) = address.split_once('@')?;
    (!name.is_empty() && !domain.is_empty() && !domain.contains('@')).then_some(domain)
}

impl Default for Oauth2ProxyConfig {
    /// Those of Kubeflow's manifests since 1.9.
    fn default() -> Self {
        Self {
            api_routes: RegexSet::new(["/api/", "/apis/", "^/ml_metadata"])
                .unwrap_or_else(|_| RegexSet::empty()),
            skip_auth_prefixes: vec!["/dex".to_owned()],
            user_headers: true,
            authorization: true,
            named: None,
            bearer: true,
            bearer_falls_back: true,
            never_redirects: false,
            admitted: Admitted::default(),
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
        let Some(login) = self.login_of(&seen) else {
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
        if let Some(session) = self.session(&seen).await {
            let token = self.parts.sessions.id_token(&session);
            if self.is_current(token.as_ref()) {
                return config.allow(&session.person, token.as_ref());
            }
        }
        // A valid token passes, ServiceAccounts' too.
        if let Authorization::Bearer(token) = authorization(seen.headers)
            && config.bearer
        {
            match self.bearer(token, Some(login)).await {
                Ok(TokenHolder::Person(person)) => {
                    return config.allow(&person, Some(&Secret::new(token)));
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
                    return config.allow(&person, Some(&Secret::new(token)));
                }
                Err(_) if !config.bearer_falls_back => {
                    return text(StatusCode::UNAUTHORIZED, "Unauthorized");
                }
                Err(_) => {}
            }
        }
        let json = seen
            .header("accept")
            .is_some_and(|accept| accept == "application/json");
        if json || config.never_redirects || config.api_routes.is_match(seen.path) {
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

impl Oauth2ProxyConfig {
    fn allow(&self, person: &Person, id_token: Option<&Secret>) -> CheckResponse {
        if !self.admitted.admits(person) {
            return text(StatusCode::FORBIDDEN, "Forbidden");
        }
        self.headers(person, id_token)
    }

    fn headers(&self, person: &Person, id_token: Option<&Secret>) -> CheckResponse {
        let groups: Vec<&str> = person.groups.iter().map(|group| &**group).collect();
        let groups = groups.join(",");
        let mut told: Vec<(HeaderName, &str)> = Vec::new();
        if self.user_headers {
            let named = HeaderName::from_static;
            told.push((named("x-auth-request-user"), &person.subject));
            told.push((named("x-auth-request-email"), &person.email));
            told.push((named("x-auth-request-groups"), &groups));
        }
        if let Some((user, of_groups)) = &self.named {
            told.push((user.clone(), &person.email));
            told.push((of_groups.clone(), &groups));
        }
        let mut headers = Vec::new();
        for (name, content) in told {
            let Some(value) = value(content) else {
                return text(
                    StatusCode::FORBIDDEN,
                    "the user's name does not fit into a header",
                );
            };
            headers.push((name, value));
        }
        let bearer = id_token
            .filter(|_| self.authorization)
            .and_then(|token| HeaderValue::try_from(format!("Bearer {}", token.expose())).ok());
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
}
