//! The authorization policies of gateway pods, and the providers of CUSTOM ones.

use resources::istio::AuthorizationPolicy;
use resources::{Cluster, Object, ServiceName};

use crate::peer::TrustDomains;
use crate::providers::{Authorizer, AuthorizerKind};
use crate::rules::{Action, Policy};
use crate::settings::{IstioVersion, Problem};
use crate::workloads::{GatewayPods, selects};

/// The CUSTOM policies of one provider.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Custom {
    pub(crate) authorizer: Authorizer,
    pub(crate) policies: Vec<Policy>,
    /// The provider is broken and so is every request, not only those its
    /// policies match (Istio before 1.20).
    pub(crate) denies_all: bool,
}

/// The policies of these pods: DENY and ALLOW ones, and CUSTOM ones by provider.
pub(crate) fn authorization(
    cluster: &Cluster,
    pods: &GatewayPods,
    version: IstioVersion,
    warnings: &mut Vec<Problem>,
) -> (Vec<Policy>, Vec<Custom>) {
    let root = cluster
        .mesh
        .root_namespace
        .as_deref()
        .unwrap_or("istio-system");
    let domains = TrustDomains::of(&cluster.mesh);
    let mut policies = Vec::new();
    let mut custom: Vec<Custom> = Vec::new();
    for object in &cluster.authorization_policies {
        if !attached(object, pods, root, version) {
            continue;
        }
        let Some(policy) = Policy::compile(object, version, &domains, warnings) else {
            continue;
        };
        let dry_run = object.meta.annotations.get("istio.io/dry-run");
        if dry_run.is_some_and(|value| {
            matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")
        }) {
            if policy.action == Action::Custom && version >= IstioVersion::PROVIDER_NAMES_CHECKED {
                warnings.push(Problem::of(
                    object,
                    format!(
                        "dry run of a CUSTOM policy: Istio {version} denies what its rules match"
                    ),
                ));
                policies.push(Policy {
                    action: Action::Deny,
                    ..policy
                });
            } else {
                warnings.push(Problem::of(object, "dry run: not enforced"));
            }
            continue;
        }
        if policy.action != Action::Custom {
            policies.push(policy);
            continue;
        }
        match custom
            .iter_mut()
            .find(|c| *c.authorizer.name == policy.provider)
        {
            Some(known) => known.policies.push(policy),
            None => custom.push(Custom {
                authorizer: provider(cluster, object, &policy.provider, version),
                policies: vec![policy],
                denies_all: false,
            }),
        }
    }
    custom.sort_by(|a, b| a.authorizer.name.cmp(&b.authorizer.name));
    if custom.len() > 1 {
        for c in &mut custom {
            c.authorizer.kind = AuthorizerKind::Broken(
                "several CUSTOM providers on one gateway: Istio denies".into(),
            );
        }
    }
    for c in &mut custom {
        if let AuthorizerKind::Broken(why) = &c.authorizer.kind {
            c.denies_all = version < IstioVersion::BAD_PROVIDER_SCOPED;
            let scope = if c.denies_all {
                "every request"
            } else {
                "every request its rules match"
            };
            warnings.push(Problem {
                object: Some(c.authorizer.object.clone()),
                source: Some(c.authorizer.source.clone()),
                message: format!("{why}; {scope} is denied"),
            });
        }
    }
    (policies, custom)
}

/// Whether a policy reaches these pods (istio `policyattachment.go`): pods of
/// the Gateway API by target or selector, all others by selector alone.
/// Before the versions that brought `targetRef` and `targetRefs` the API server
/// drops those fields: what was meant for one gateway selects by selector alone.
fn attached(
    object: &Object<AuthorizationPolicy>,
    pods: &GatewayPods,
    root: &str,
    version: IstioVersion,
) -> bool {
    let (spec, namespace) = (&object.spec, object.meta.namespace.as_str());
    let here = namespace == &*pods.namespace;
    if !here && namespace != root {
        return false;
    }
    let list = (version >= IstioVersion::TARGET_REFS).then_some(&spec.target_refs);
    let single = (version >= IstioVersion::TARGET_REF)
        .then_some(&spec.target_ref)
        .into_iter()
        .flatten();
    let mut targets = list.into_iter().flatten().chain(single).peekable();
    if targets.peek().is_none() {
        return spec
            .selector
            .as_ref()
            .is_none_or(|s| selects(&s.match_labels, &pods.labels));
    }
    let gateway = pods.labels.get("gateway.networking.k8s.io/gateway-name");
    here && targets.any(|target| {
        target.kind == "Gateway"
            && target.group == "gateway.networking.k8s.io"
            && (target.namespace.is_empty() || target.namespace == namespace)
            && Some(&target.name) == gateway
    })
}

fn is_provider_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn provider(
    cluster: &Cluster,
    object: &Object<AuthorizationPolicy>,
    name: &str,
    version: IstioVersion,
) -> Authorizer {
    let found = cluster
        .mesh
        .extension_providers
        .iter()
        .find(|p| p.name == name);
    let broken = |why: String| Authorizer {
        name: name.into(),
        kind: AuthorizerKind::Broken(why),
        object: object.reference(),
        source: object.source.clone(),
        login: false,
        grpc: false,
    };
    if version >= IstioVersion::PROVIDER_NAMES_CHECKED && !is_provider_name(name) {
        return broken(format!(
            "spec.provider.name: `{name}` is no provider name for Istio {version}, expected lower-case letters, digits and `-`"
        ));
    }
    match found {
        None => broken(format!(
            "spec.provider.name: no extension provider `{name}` in the mesh configuration"
        )),
        Some(found) => match &found.envoy_ext_authz_http {
            Some(http) => {
                let mut settings = http.clone();
                if version < IstioVersion::DOWNSTREAM_ON_ALLOW {
                    settings.headers_to_downstream_on_allow.clear();
                }
                let mut authorizer =
                    Authorizer::http(name, settings, object.reference(), object.source.clone());
                let host = http.service.rsplit('/').next().unwrap_or_default();
                let known = ServiceName::from_host(host, "istio-system")
                    .is_some_and(|s| cluster.service(&s).is_some())
                    || cluster.endpoints.iter().any(|e| e.spec.host == host);
                if http.port == 0 {
                    authorizer.kind = AuthorizerKind::Broken(format!(
                        "extension provider `{name}`: expected a port"
                    ));
                } else if !known {
                    authorizer.kind = AuthorizerKind::Broken(format!(
                        "extension provider `{name}`: no Service `{}`",
                        http.service
                    ));
                }
                authorizer
            }
            None => broken(format!(
                "extension provider `{name}`: only envoyExtAuthzHttp providers can be asked here"
            )),
        },
    }
}

/// Issuers that the RequestAuthentications of these pods accept.
pub(crate) fn token_issuers(cluster: &Cluster, pods: &GatewayPods) -> Vec<String> {
    let root = cluster
        .mesh
        .root_namespace
        .as_deref()
        .unwrap_or("istio-system");
    let here = cluster.request_authentications.iter().filter(|object| {
        let namespace = object.meta.namespace.as_str();
        let selector = object.spec.selector.as_ref();
        (namespace == root || namespace == &*pods.namespace)
            && object.spec.target_refs.is_empty()
            && selector.is_none_or(|s| selects(&s.match_labels, &pods.labels))
    });
    here.flat_map(|object| &object.spec.jwt_rules)
        .map(|rule| rule.issuer.clone())
        .collect()
}
