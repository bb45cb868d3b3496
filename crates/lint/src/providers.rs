//! External authorizers of CUSTOM policies.

use policy::IstioVersion;
use resources::istio::AuthorizationPolicy;
use resources::mesh::{ExtAuthzHttp, ExtensionProvider};
use resources::{Object, ServiceName};

use crate::context::{Action, Context, action};
use crate::finding::{Finding, Lint, Severity};

const BROKEN: Lint = Lint(
    "C4",
    Severity::Critical,
    "CUSTOM policy whose provider cannot be asked",
);
const SPOOFED: Lint = Lint(
    "H9",
    Severity::High,
    "identity headers that a client may send itself",
);
const DEFAULTS: Lint = Lint("L1", Severity::Low, "provider settings worth a look");
const DRY_RUN: Lint = Lint("L3", Severity::Low, "dry run of a CUSTOM policy");

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    let custom: Vec<_> = context
        .cluster
        .authorization_policies
        .iter()
        .filter(|p| action(&p.spec) == Action::Custom)
        .collect();
    let mut seen: Vec<&str> = Vec::new();
    for policy in &custom {
        broken(context, policy, found);
        two_providers(context, policy, &custom, found);
        dry_run(policy, found);
        let name = provider_name(policy);
        let provider = context
            .cluster
            .mesh
            .extension_providers
            .iter()
            .find(|p| p.name == name);
        if let Some(provider) = provider.filter(|_| !seen.contains(&name)) {
            seen.push(name);
            if let Some(http) = &provider.envoy_ext_authz_http {
                spoofed(policy, provider, http, found);
                defaults(policy, provider, http, found);
            }
        }
    }
}

fn provider_name(policy: &Object<AuthorizationPolicy>) -> &str {
    policy
        .spec
        .provider
        .as_ref()
        .map_or("", |p| p.name.as_str())
}

fn broken(context: &Context<'_>, policy: &Object<AuthorizationPolicy>, found: &mut Vec<Finding>) {
    let name = provider_name(policy);
    let scope = if context.version >= IstioVersion::BAD_PROVIDER_SCOPED {
        "every request its rules match gets 403"
    } else {
        "every request to its pods gets 403"
    };
    let mut add = |why: String, advice: &str| {
        found.push(BROKEN.on(
            policy,
            "spec.provider.name",
            format!("{why}: {scope}; {advice}"),
        ));
    };
    let providers: Vec<&ExtensionProvider> = context
        .cluster
        .mesh
        .extension_providers
        .iter()
        .filter(|p| p.name == name)
        .collect();
    let [provider] = providers.as_slice() else {
        let why = match providers.len() {
            0 => format!("the mesh configuration has no extension provider `{name}`"),
            many => {
                format!("the mesh configuration has {many} extension providers called `{name}`")
            }
        };
        return add(why, "correct meshConfig.extensionProviders");
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !good && context.version >= IstioVersion::PROVIDER_NAMES_CHECKED {
        return add(
            format!(
                "Istio {} refuses `{name}` as a provider name",
                context.version
            ),
            "use lower-case letters, digits and `-`",
        );
    }
    let (service, port) = match (
        &provider.envoy_ext_authz_http,
        &provider.envoy_ext_authz_grpc,
    ) {
        (Some(http), _) => (&http.service, http.port),
        (_, Some(grpc)) => (&grpc.service, grpc.port),
        _ => {
            return add(
                format!("extension provider `{name}` is no external authorizer"),
                "expected envoyExtAuthzHttp or envoyExtAuthzGrpc",
            );
        }
    };
    let host = service.rsplit('/').next().unwrap_or_default();
    let cluster = context.cluster;
    let known = ServiceName::from_host(host, "istio-system").and_then(|s| cluster.service(&s));
    let entry = cluster.endpoints.iter().any(|e| e.spec.host == host);
    match known {
        _ if port == 0 => add(
            format!("extension provider `{name}` has no port"),
            "give the port of its Service",
        ),
        None if !entry => add(
            format!("extension provider `{name}`: there is no Service `{service}`"),
            "name a Service of the mesh",
        ),
        Some(found) if !found.spec.ports.iter().any(|p| p.port == port) => add(
            format!("extension provider `{name}`: Service `{service}` has no port {port}"),
            "use one of the Service's ports",
        ),
        _ => {}
    }
}

fn two_providers(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    custom: &[&Object<AuthorizationPolicy>],
    found: &mut Vec<Finding>,
) {
    let name = provider_name(policy);
    let mine = context.pods_of(policy);
    let other = custom.iter().find(|other| {
        provider_name(other) != name
            && context
                .pods_of(other)
                .iter()
                .any(|p| mine.iter().any(|m| std::ptr::eq(*m, *p)))
    });
    if let Some(other) = other {
        let message = format!(
            "`{name}` here and `{}` in {} reach the same pods: Istio takes one CUSTOM provider per workload and denies what either matches; use one, or from Istio 1.30 set PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS",
            provider_name(other),
            other.reference()
        );
        found.push(BROKEN.on(policy, "spec.provider.name", message));
    }
}

fn spoofed(
    policy: &Object<AuthorizationPolicy>,
    provider: &ExtensionProvider,
    http: &ExtAuthzHttp,
    found: &mut Vec<Finding>,
) {
    let identity: Vec<String> = http
        .headers_to_upstream_on_allow
        .iter()
        .filter(|h| {
            let h = h.to_ascii_lowercase();
            h.parse()
                .is_ok_and(|name| policy::is_identity_header(&name))
                || h.starts_with("kubeflow-")
                || h.starts_with("x-auth-request-")
        })
        .map(|h| format!("`{h}`"))
        .collect();
    if !identity.is_empty() {
        let message = format!(
            "provider `{}` copies {} from the authorizer's answer; a header that an answer leaves out stays as the client sent it, and so it does on every exempt path; remove these headers from requests before the check (VirtualService headers.request.remove does it after), or let the authorizer always answer all of them",
            provider.name,
            identity.join(", ")
        );
        found.push(SPOOFED.on(policy, "spec.provider.name", message));
    }
}

fn defaults(
    policy: &Object<AuthorizationPolicy>,
    provider: &ExtensionProvider,
    http: &ExtAuthzHttp,
    found: &mut Vec<Finding>,
) {
    let mut add = |message: String| found.push(DEFAULTS.on(policy, "spec.provider.name", message));
    if http.timeout.is_none() {
        add(format!(
            "provider `{}` has no timeout: a hanging authorizer holds every request for 600 s; set `timeout: 5s`",
            provider.name
        ));
    }
    if http.fail_open {
        add(format!(
            "provider `{}` has failOpen: whoever makes the authorizer fail gets in unchecked; leave it out",
            provider.name
        ));
    }
}

fn dry_run(policy: &Object<AuthorizationPolicy>, found: &mut Vec<Finding>) {
    let value = policy
        .meta
        .annotations
        .get("istio.io/dry-run")
        .map(String::as_str);
    if matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True")) {
        let message = "from Istio 1.30 a dry run of a CUSTOM policy denies what its rules match, earlier versions ignore it; remove the annotation";
        found.push(DRY_RUN.on(policy, "metadata.annotations[istio.io/dry-run]", message));
    }
}
