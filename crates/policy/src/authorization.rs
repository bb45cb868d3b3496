//! The authorization policies of gateway pods, and the providers of CUSTOM ones.

use resources::istio::AuthorizationPolicy;
use resources::mesh::{ExtAuthzGrpc, ExtAuthzHttp};
use resources::{Cluster, Object, ServiceName};

use crate::attach::{attached, by_selector};
use crate::digest::Digest;
use crate::peer::TrustDomains;
use crate::providers::{Authorizer, AuthorizerKind};
use crate::rules::{Action, Attribute, CompiledRule, Policy};
use crate::settings::{IstioVersion, Problem};
use crate::workloads::{GatewayPods, go_bool, istiod_flag};

/// The AuthorizationPolicies of some pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorization {
    /// ALLOW, DENY and AUDIT.
    pub(crate) policies: Vec<Policy>,
    /// Those of them that are only tried (`istio.io/dry-run`).
    pub(crate) dry_runs: Vec<Policy>,
    /// CUSTOM ones by provider.
    pub(crate) custom: Vec<Custom>,
    /// Of the rules of `policies` and `custom`, once there are no more to come.
    pub(crate) digest: Option<Digest>,
}

impl Authorization {
    /// For connections that are not read. A provider over HTTP is not asked
    /// about them, a broken one denies them (istio `buildTCP`).
    pub(crate) fn for_connections(&self) -> Self {
        let all = |policies: &[Policy]| policies.iter().map(Policy::for_connections).collect();
        let custom = self.custom.iter().filter(|custom| {
            let broken = matches!(custom.authorizer.kind, AuthorizerKind::Broken(_));
            broken || custom.authorizer.grpc
        });
        let connections = Self {
            policies: all(&self.policies),
            dry_runs: all(&self.dry_runs),
            custom: custom
                .map(|custom| Custom {
                    policies: all(&custom.policies),
                    denying: all(&custom.denying),
                    ..custom.clone()
                })
                .collect(),
            digest: None,
        };
        connections.complete()
    }

    /// With a digest.
    fn complete(mut self) -> Self {
        let custom = self.custom.iter().map(|custom| &custom.policies);
        let custom: Vec<&Vec<Policy>> = custom.collect();
        self.digest = Some(Digest::of(&(&self.policies, custom)));
        self
    }

    /// Whether a policy compares an attribute with something.
    pub(crate) fn looks_at(&self, attribute: &Attribute) -> bool {
        let custom = self.custom.iter();
        let custom = custom.flat_map(|c| c.policies.iter().chain(&c.denying));
        let policies = self.policies.iter().chain(custom);
        let mut constraints = policies
            .flat_map(|policy| &policy.rules)
            .flat_map(CompiledRule::constraints);
        constraints.any(|constraint| constraint.attribute == *attribute)
    }
}

/// The CUSTOM policies of one provider.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Custom {
    pub(crate) authorizer: Authorizer,
    pub(crate) policies: Vec<Policy>,
    /// Policies with a dry run: Istio from 1.30 on denies what they match,
    /// before the authorizer is asked.
    pub(crate) denying: Vec<Policy>,
    /// The provider is broken and so is every request, not only those its
    /// policies match (Istio before 1.20).
    pub(crate) denies_all: bool,
}

/// The policies of these pods.
pub(crate) fn authorization(
    cluster: &Cluster,
    pods: &GatewayPods,
    version: IstioVersion,
    warnings: &mut Vec<Problem>,
) -> Authorization {
    let root = cluster
        .mesh
        .root_namespace
        .as_deref()
        .unwrap_or("istio-system");
    let domains = TrustDomains::of(&cluster.mesh);
    let by_selector = by_selector(cluster);
    let mut found = Authorization::default();
    let custom = &mut found.custom;
    for object in &cluster.authorization_policies {
        let (spec, namespace) = (&object.spec, &object.meta.namespace);
        let targets = (&spec.target_refs, &spec.target_ref);
        if !attached(
            namespace,
            spec.selector.as_ref(),
            targets,
            pods,
            root,
            version,
            by_selector,
        ) {
            continue;
        }
        let Some(policy) = Policy::compile(object, version, &domains, warnings) else {
            continue;
        };
        let annotation = object.meta.annotations.get("istio.io/dry-run");
        let dry_run = annotation.and_then(|text| go_bool(text)) == Some(true);
        if dry_run {
            warnings.push(Problem::of(object, dry_run_note(policy.action, version)));
        }
        if policy.action != Action::Custom {
            let into = if dry_run {
                &mut found.dry_runs
            } else {
                &mut found.policies
            };
            into.push(policy);
            continue;
        }
        if dry_run && version < IstioVersion::PROVIDER_NAMES_CHECKED {
            continue;
        }
        let known = custom
            .iter()
            .position(|c| *c.authorizer.name == policy.provider);
        let index = known.unwrap_or(custom.len());
        if known.is_none() {
            custom.push(Custom {
                authorizer: provider(cluster, object, &policy.provider, version),
                policies: Vec::new(),
                denying: Vec::new(),
                denies_all: false,
            });
        }
        if let Some(custom) = custom.get_mut(index) {
            let into = if dry_run {
                &mut custom.denying
            } else {
                &mut custom.policies
            };
            into.push(policy);
        }
    }
    custom.sort_by(|a, b| a.authorizer.name.cmp(&b.authorizer.name));
    let several = version >= IstioVersion::PROVIDER_NAMES_CHECKED
        && istiod_flag(cluster, "PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS") == Some(true);
    if custom.len() > 1 && !several {
        for c in custom.iter_mut() {
            c.authorizer.kind = AuthorizerKind::Broken(
                "several CUSTOM providers on one gateway: Istio denies".into(),
            );
        }
    }
    for c in custom {
        if let AuthorizerKind::Broken(why) = &c.authorizer.kind {
            c.denying.clear();
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
    found.complete()
}

fn dry_run_note(action: Action, version: IstioVersion) -> String {
    if action == Action::Custom && version >= IstioVersion::PROVIDER_NAMES_CHECKED {
        format!("dry run of a CUSTOM policy: Istio {version} denies what its rules match")
    } else {
        "dry run: not enforced".to_owned()
    }
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
    let Some(found) = found else {
        return broken(format!(
            "spec.provider.name: no extension provider `{name}` in the mesh configuration"
        ));
    };
    let (mut settings, grpc) = match (&found.envoy_ext_authz_http, &found.envoy_ext_authz_grpc) {
        (Some(http), _) => (http.clone(), false),
        (None, Some(grpc)) => (over_grpc(grpc), true),
        (None, None) => {
            return broken(format!(
                "extension provider `{name}`: expected envoyExtAuthzHttp or envoyExtAuthzGrpc"
            ));
        }
    };
    if version < IstioVersion::DOWNSTREAM_ON_ALLOW {
        settings.headers_to_downstream_on_allow.clear();
    }
    let host = settings.service.rsplit('/').next().unwrap_or_default();
    let known = ServiceName::from_host(host, "istio-system")
        .is_some_and(|s| cluster.service(&s).is_some())
        || cluster.endpoints.iter().any(|e| e.spec.host == host);
    let wrong = if settings.port == 0 {
        Some(format!("extension provider `{name}`: expected a port"))
    } else if !known {
        let service = &settings.service;
        Some(format!(
            "extension provider `{name}`: no Service `{service}`"
        ))
    } else {
        None
    };
    let mut authorizer =
        Authorizer::http(name, settings, object.reference(), object.source.clone());
    authorizer.grpc = grpc;
    if let Some(wrong) = wrong {
        authorizer.kind = AuthorizerKind::Broken(wrong);
    }
    authorizer
}

/// The authorizer sees every header and may set any.
fn over_grpc(grpc: &ExtAuthzGrpc) -> ExtAuthzHttp {
    ExtAuthzHttp {
        service: grpc.service.clone(),
        port: grpc.port,
        timeout: grpc.timeout.clone(),
        fail_open: grpc.fail_open,
        status_on_error: grpc.status_on_error.clone(),
        include_request_headers_in_check: vec!["*".to_owned()],
        headers_to_upstream_on_allow: vec!["*".to_owned()],
        ..ExtAuthzHttp::default()
    }
}
