//! The rules of RequestAuthentications, compiled (istio
//! `security/authn/policy_applier.go`).

use std::sync::Arc;

use http::HeaderName;
use resources::istio::{JwtRule, RequestAuthentication};
use resources::{Cluster, Object, ObjectRef, Source};
use serde_json::Value;

use crate::attach::{attached, by_selector};
use crate::carriers::Carrier;
use crate::settings::{IstioVersion, Problem};
use crate::workloads::GatewayPods;

/// One rule: an issuer, its keys, and where its tokens are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenRule {
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) carriers: Vec<Carrier>,
    /// Without scheme and trailing `/`; none accepts any.
    pub(crate) audiences: Vec<String>,
    /// The token stays on the request.
    pub(crate) forward: bool,
    pub(crate) payload_header: Option<HeaderName>,
    /// Headers, and the claims that they get, by path.
    pub(crate) claim_headers: Vec<(HeaderName, String)>,
    /// Claims taken apart at spaces.
    pub(crate) spaced: Vec<String>,
    pub(crate) object: ObjectRef,
    pub(crate) source: Source,
    /// Index in `spec.jwtRules`.
    pub(crate) index: usize,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenKeys {
    /// `iss`; empty takes tokens of any issuer.
    pub issuer: String,
    /// Written in the rule; goes before the others.
    pub jwks: String,
    /// To be fetched; if empty, what the issuer's discovery document names.
    pub jwks_uri: String,
    /// Time limit of fetching.
    pub timeout: Option<String>,
}

/// The rules for these pods, in the order in which they are tried: by issuer,
/// those of the pods' own namespace and of older objects first.
pub(crate) fn token_rules(
    cluster: &Cluster,
    pods: &GatewayPods,
    version: IstioVersion,
    problems: &mut Vec<Problem>,
) -> Vec<TokenRule> {
    let root = cluster
        .mesh
        .root_namespace
        .as_deref()
        .unwrap_or("istio-system");
    let by_selector = by_selector(cluster);
    let mut objects: Vec<&Object<RequestAuthentication>> = cluster
        .request_authentications
        .iter()
        .filter(|object| {
            let (spec, namespace) = (&object.spec, &object.meta.namespace);
            let selector = spec.selector.as_ref();
            let targets = (&spec.target_refs, &spec.target_ref);
            attached(
                namespace,
                selector,
                targets,
                pods,
                root,
                version,
                by_selector,
            )
        })
        .collect();
    let elsewhere = |object: &Object<_>| object.meta.namespace != *pods.namespace;
    objects.sort_by(|a, b| {
        let order = elsewhere(a).cmp(&elsewhere(b));
        order.then_with(|| a.age_order().cmp(&b.age_order()))
    });
    let mut all = Vec::new();
    for object in objects {
        for (index, rule) in object.spec.jwt_rules.iter().enumerate() {
            all.push(TokenRule::compile(object, index, rule, version, problems));
        }
    }
    all.sort_by(|a, b| a.keys.issuer.cmp(&b.keys.issuer));
    all
}

impl TokenRule {
    fn compile(
        object: &Object<RequestAuthentication>,
        index: usize,
        rule: &JwtRule,
        version: IstioVersion,
        problems: &mut Vec<Problem>,
    ) -> Self {
        if !rule.jwks.is_empty() && !has_keys(&rule.jwks) {
            problems.push(Problem::of(
                object,
                format!("spec.jwtRules[{index}].jwks: it has no keys: Envoy refuses the listener"),
            ));
        }
        let mut header = |field: &str, name: &str| {
            let made = HeaderName::from_bytes(name.as_bytes()).ok();
            if made.is_none() {
                problems.push(Problem::of(
                    object,
                    format!("spec.jwtRules[{index}].{field}: `{name}` is not a header name: Envoy refuses the listener"),
                ));
            }
            made
        };
        for from in &rule.from_headers {
            header("fromHeaders", &from.name);
        }
        let payload_header = match rule.output_payload_to_header.as_str() {
            "" => None,
            name => header("outputPayloadToHeader", name),
        };
        let outputs = rule.output_claim_to_headers.iter();
        let outputs = outputs.filter(|_| version >= IstioVersion::CLAIMS_TO_HEADERS);
        let claim_headers = outputs
            .filter_map(|to| {
                Some((
                    header("outputClaimToHeaders", &to.header)?,
                    to.claim.clone(),
                ))
            })
            .collect();
        let mut spaced = vec!["scope".to_owned(), "permission".to_owned()];
        if version >= IstioVersion::SPACE_DELIMITED_CLAIMS {
            spaced.extend(rule.space_delimited_claims.iter().cloned());
        }
        Self {
            keys: Arc::new(TokenKeys {
                issuer: rule.issuer.clone(),
                jwks: rule.jwks.clone(),
                jwks_uri: rule.jwks_uri.clone(),
                timeout: rule.timeout.clone(),
            }),
            carriers: Carrier::of(rule, version >= IstioVersion::TOKENS_IN_COOKIES),
            audiences: rule.audiences.iter().map(|a| bare(a).to_owned()).collect(),
            forward: rule.forward_original_token,
            payload_header,
            claim_headers,
            spaced,
            object: object.reference(),
            source: object.source.clone(),
            index,
        }
    }

    /// Headers that only this rule may set.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &HeaderName> {
        let claims = self.claim_headers.iter().map(|(name, _)| name);
        self.payload_header.iter().chain(claims)
    }

    /// Whether a token of these audiences is meant for here.
    pub(crate) fn accepts(&self, audiences: &[&str]) -> bool {
        let known = |audience: &&str| self.audiences.iter().any(|a| a == bare(audience));
        self.audiences.is_empty() || audiences.iter().any(known)
    }
}

/// Whether a key set has entries: `keys`, or certificates by key id.
fn has_keys(jwks: &str) -> bool {
    let Ok(Value::Object(set)) = serde_json::from_str(jwks) else {
        return false;
    };
    match set.get("keys") {
        Some(keys) => keys.as_array().is_some_and(|keys| !keys.is_empty()),
        None => !set.is_empty(),
    }
}

/// An audience without scheme and trailing `/` (Envoy `check_audience.cc`).
fn bare(audience: &str) -> &str {
    let rest = audience
        .strip_prefix("http://")
        .or_else(|| audience.strip_prefix("https://"))
        .unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences() {
        for (audience, expected) in [
            ("a", "a"),
            ("https://a/", "a"),
            ("http://a/b//", "a/b/"),
            ("ftp://a", "ftp://a"),
            ("", ""),
            ("/", ""),
        ] {
            assert_eq!(bare(audience), expected, "{audience}");
        }
    }
}
