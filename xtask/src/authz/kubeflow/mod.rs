//! Kubeflow as its manifests install it: with `sidegate authz` for its login, and with it in the place of the
//! program that they ship.

mod graphs;
mod names;
pub(super) mod pipelines;
mod released;
mod router;
mod rows;
pub(super) mod standard;

use anyhow::{Result, bail};

use super::mesh::{self, Asked, Form, Plan};
use super::rows::judge;
use crate::relying::hash;

const COMMON: &str = include_str!("../../../kubeflow/common.yaml");
const SIDEGATE: &str = include_str!("../../../kubeflow/sidegate.yaml");

/// A version of the manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1_3,
    V1_8,
    V1_10,
    Current,
}

impl Version {
    /// Its own objects, and those of the login that it ships.
    fn objects(self) -> (&'static str, &'static str) {
        match self {
            Self::V1_3 => (
                include_str!("../../../kubeflow/v1.3.yaml"),
                include_str!("../../../kubeflow/v1.3-login.yaml"),
            ),
            Self::V1_8 => (
                include_str!("../../../kubeflow/v1.8.yaml"),
                include_str!("../../../kubeflow/v1.8-login.yaml"),
            ),
            Self::V1_10 | Self::Current => (
                include_str!("../../../kubeflow/v1.10.yaml"),
                include_str!("../../../kubeflow/v1.10-login.yaml"),
            ),
        }
    }

    /// Where its release lies beside the checkout.
    fn release(self) -> &'static str {
        match self {
            Self::V1_3 => "kubeflow-manifests-v1.3.0",
            Self::V1_8 => "kubeflow-manifests-v1.8.0",
            Self::V1_10 => "kubeflow-manifests-v1.10.2",
            Self::Current => "kubeflow-community-distribution-f09f3eea",
        }
    }

    /// Models with more names, at the gateway of its workloads.
    fn named(self) -> String {
        match self {
            Self::V1_3 => names::OBJECTS.replace(
                "knative-serving/knative-local-gateway",
                "knative-serving/cluster-local-gateway",
            ),
            _ => names::OBJECTS.to_owned(),
        }
    }

    fn callback(self) -> &'static str {
        match self {
            Self::V1_3 => "/login/oidc",
            Self::V1_8 => "/authservice/oidc/callback",
            Self::V1_10 | Self::Current => "/oauth2/callback",
        }
    }

    /// Whether tokens are looked at behind the login.
    fn verifies_tokens(self) -> bool {
        matches!(self, Self::V1_10 | Self::Current)
    }

    fn dashboard(self) -> &'static str {
        match self {
            Self::Current => "dashboard",
            _ => "centraldashboard",
        }
    }

    /// Hosts of a model's names from outside: its own is made by KServe's template, those of its parts by Knative's.
    fn outside(self, name: &str) -> String {
        match (self, name) {
            (Self::Current, "iris") => format!("{name}-team-a.example.com"),
            _ => format!("{name}.team-a.example.com"),
        }
    }

    fn files(self, login: bool) -> Result<Vec<(&'static str, String)>> {
        let (own, shipped) = self.objects();
        let edit = |text: &str| -> Result<String> {
            let text = text
                .replace("HASH", &hash()?)
                .replace("CALLBACK", self.callback())
                .replace("GROUPS", &groups());
            Ok(match self {
                // What of June 2026 is called otherwise, and what it adds.
                Self::Current => text
                    .replace("centraldashboard", self.dashboard())
                    .replace("{{ .Name }}.{{ .Namespace }}.", "{{ .Name }}-{{ .Namespace }}.")
                    .replace(
                        "\"urlScheme\"",
                        &format!(
                            "\"pathTemplate\": \"/serving/{{{{ .Namespace }}}}/{{{{ .Name }}}}\",\n      \
                             \"additionalIngressDomains\": [\"{}\"],\n      \"urlScheme\"",
                            names::MORE
                        ),
                    ),
                _ => text,
            })
        };
        let mut files = vec![("common.yaml", edit(COMMON)?), ("version.yaml", edit(own)?)];
        match login {
            true => files.push(("login.yaml", shipped.to_owned())),
            false => files.push(("sidegate.yaml", SIDEGATE.to_owned())),
        }
        Ok(files)
    }

    fn plan(self, login: bool, asked: Asked) -> Result<Plan> {
        let (local, back) = match self {
            Self::V1_3 => (
                (1, 8080),
                "cluster-local-gateway.istio-system.svc.cluster.local:80",
            ),
            _ => (
                (1, 8081),
                "knative-local-gateway.istio-system.svc.cluster.local:80",
            ),
        };
        Ok(Plan {
            files: self.files(login)?,
            deployments: &["ingressgateway", "cluster-local-gateway"],
            local,
            back,
            verified: false,
            pod: None,
            asked,
        })
    }
}

/// Twelve kilobytes of groups, as people in large directories have them.
fn groups() -> String {
    let all: Vec<String> = (0..330)
        .map(|number| format!("team-{number:03}-of-a-long-name-abcdefghij"))
        .collect();
    format!("[{}]", all.join(", "))
}

/// `sidegate authz` for the login.
pub(super) fn ours(version: Version, form: Form) -> Result<()> {
    let more = &[];
    let mut plan = version.plan(false, Asked::Sidegate { form, more })?;
    plan.files.push(("names.yaml", version.named()));
    judge(plan, |rows| {
        rows.models_of(version)?;
        rows.names_of(version)?;
        if version != Version::V1_3 {
            // Its KServe has none.
            rows.graphs_of()?;
        }
        rows.people_of(version)?;
        rows.groups_of(version)?;
        rows.others_of(version)?;
        rows.probes_of(version)
    })
}

/// The same program in the place of the one that is shipped.
pub(super) fn in_place(version: Version) -> Result<()> {
    const AUTHSERVICE: &str = include_str!("../../../peers/relying/kubeflow/authservice.env");
    const OAUTH2_PROXY: &str = include_str!("../../../peers/relying/kubeflow/oauth2_proxy.cfg");
    released::compare(&version.files(true)?, version.release())?;
    let authservice = "authservice.istio-system.svc.cluster.local:8080";
    let client = &[
        ("CLIENT_ID", "kubeflow-oidc-authservice"),
        ("CLIENT_SECRET", "of-this-installation"),
    ];
    let asked = match version {
        Version::V1_3 => Asked::Place {
            whose: "authservice",
            service: authservice,
            config: AUTHSERVICE
                .replace(
                    "AUTHSERVICE_URL_PREFIX=/authservice/",
                    "REDIRECT_URL=/login/oidc",
                )
                .replace("SKIP_AUTH_URLS", "SKIP_AUTH_URI")
                .replace("AFTER_LOGOUT_URL=/\n", ""),
            environment: client,
        },
        Version::V1_8 => Asked::Place {
            whose: "authservice",
            service: authservice,
            config: AUTHSERVICE.to_owned(),
            environment: client,
        },
        Version::V1_10 | Version::Current => Asked::Place {
            whose: "oauth2-proxy",
            service: "oauth2-proxy.oauth2-proxy.svc.cluster.local:80",
            config: OAUTH2_PROXY.to_owned(),
            environment: &[
                ("OAUTH2_PROXY_CLIENT_ID", "kubeflow-oidc-authservice"),
                ("OAUTH2_PROXY_CLIENT_SECRET", "of-this-installation"),
                (
                    "OAUTH2_PROXY_COOKIE_SECRET",
                    "0123456789abcdef0123456789abcdef",
                ),
                ("OAUTH2_PROXY_COOKIE_SECURE", "false"),
                ("OAUTH2_PROXY_SSL_INSECURE_SKIP_VERIFY", "true"),
                ("OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS", "true"),
                ("OAUTH2_PROXY_EXTRA_JWT_ISSUERS", ""),
            ],
        },
    };
    judge(version.plan(true, asked)?, |rows| rows.in_place_of(version))
}

/// What `sidegate authz manifests` says has to go first.
pub(super) fn named_first() -> Result<()> {
    for (version, named) in [
        (Version::V1_3, "EnvoyFilter istio-system/authn-filter"),
        (Version::V1_8, "EnvoyFilter istio-system/authn-filter"),
        (
            Version::V1_10,
            "AuthorizationPolicy istio-system/istio-ingressgateway-oauth2-proxy",
        ),
    ] {
        let folder = tempfile::tempdir()?;
        let mut files = version.files(true)?;
        files.push(("sidegate.yaml", SIDEGATE.to_owned()));
        for (name, text) in files {
            let text = text
                .replace("DEX_KEYS", "'{\"keys\": []}'")
                .replace("CLUSTER_KEYS", "'{\"keys\": []}'");
            std::fs::write(folder.path().join(name), text)?;
        }
        let printed = mesh::manifests(folder.path(), Form::Grpc, folder.path())?;
        let writes = "dex-jwt writes identity headers from tokens";
        let told = printed.contains(writes) == version.verifies_tokens();
        if !printed.contains(&format!("# Remove {named} first")) || !told {
            let comments: Vec<&str> = printed.lines().filter(|l| l.starts_with('#')).collect();
            bail!("{version:?}: nothing is said of {named}: {comments:?}");
        }
    }
    Ok(())
}
