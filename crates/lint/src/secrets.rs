//! Secrets that everybody knows: those that distributions ship.

use resources::Object;

use crate::context::Context;
use crate::finding::{Finding, Lint, Severity};

const DEFAULT_SECRET: Lint = Lint("K1", Severity::Critical, "secret that everybody knows");

/// Values that public manifests ship, and what whoever knows them can do.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok",
        "the OpenID client secret of Kubeflow's manifests (1.3 to newest)",
        "anyone can redeem a login code as the platform",
    ),
    (
        "7d16fee92f8d11b8940b081b3f8b8acb",
        "the oauth2-proxy cookie secret of Kubeflow's manifests",
        "anyone can make a session cookie for any user",
    ),
    (
        "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72",
        "the hash of `12341234`, the password of `user@example.com` in Kubeflow's manifests",
        "anyone can log in",
    ),
    (
        "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W",
        "the hash of `password` in Dex's example configuration",
        "anyone can log in",
    ),
    (
        "ZXhhbXBsZS1hcHAtc2VjcmV0",
        "the client secret of Dex's example configuration",
        "anyone can redeem a login code as the application",
    ),
];

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for secret in &context.cluster.secrets {
        for (key, value) in &secret.spec.data {
            known(
                secret,
                &format!("data.{key}"),
                &String::from_utf8_lossy(value),
                found,
            );
        }
    }
    for map in &context.cluster.config_maps {
        for (key, value) in &map.spec.data {
            known(map, &format!("data.{key}"), value, found);
        }
    }
    for workload in &context.cluster.workloads {
        for (i, container) in workload.spec.pod.containers.iter().enumerate() {
            for variable in &container.env {
                let field = format!("containers[{i}].env[{}]", variable.name);
                known(
                    workload,
                    &field,
                    variable.value.as_deref().unwrap_or_default(),
                    found,
                );
            }
        }
    }
}

/// The message never repeats a value: it may be half of a real one.
fn known<T>(object: &Object<T>, field: &str, text: &str, found: &mut Vec<Finding>) {
    for (value, what, effect) in KNOWN {
        if text.contains(value) {
            let message = format!("holds {what}: {effect}; make one of your own");
            found.push(
                DEFAULT_SECRET
                    .on(object, field, message)
                    .fix("head -c 32 /dev/urandom | base64"),
            );
        }
    }
}
