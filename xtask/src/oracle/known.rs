//! What lints say of Kubeflow's manifests, as requests: each is sent to Istio
//! and Envoy, and the answer is what the lint says.

use super::folder::login;
use super::installed::Installed;
use super::world::{Observed, Place, Reply, Sent, Token};

/// One request about a lint.
pub(super) struct Known {
    /// How the cluster's name begins.
    cluster: &'static str,
    /// The lint, or what it is compared with.
    about: &'static str,
    host: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// Issuer and audience of a token that is signed well.
    token: Option<(&'static str, &'static str)>,
    expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Reached,
    /// Sent to the login.
    Login,
    Refused,
}

const MODEL: &str = "sklearn-iris-predictor.kserve-test.example.com";
const INSIDE: &str = "sklearn-iris-predictor.kserve-test.svc.cluster.local";
const DEX: &str = "http://dex.auth.svc.cluster.local:5556/dex";
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

const NOW: &str = "kubeflow-community-distribution-f09f3eea (istio-ingressgateway)";
const NOW_INSIDE: &str = "kubeflow-community-distribution-f09f3eea (cluster-local-gateway)";
const OLDER: &str = "kubeflow-manifests-v1.10.2 (istio-ingressgateway)";

const fn outside(
    cluster: &'static str,
    about: &'static str,
    target: &'static str,
    expected: Expected,
) -> Known {
    Known {
        cluster,
        about,
        host: MODEL,
        target,
        headers: &[],
        token: None,
        expected,
    }
}

const fn inside(about: &'static str, target: &'static str, expected: Expected) -> Known {
    Known {
        host: INSIDE,
        ..outside(NOW_INSIDE, about, target, expected)
    }
}

const KNOWN: [Known; 14] = [
    outside(
        NOW,
        "a model is behind the login",
        "/v1/models/m:predict",
        Expected::Login,
    ),
    outside(
        OLDER,
        "a model is behind the login",
        "/v1/models/m:predict",
        Expected::Login,
    ),
    outside(
        NOW,
        "P1: but not below /dex/, on the model's host",
        "/dex/x",
        Expected::Reached,
    ),
    outside(
        OLDER,
        "P1: but not below /dex/, on the model's host",
        "/dex/x",
        Expected::Reached,
    ),
    outside(
        NOW,
        "P1: nor below /oauth2/",
        "/oauth2/x",
        Expected::Reached,
    ),
    outside(
        NOW,
        "C5: nor where an encoded slash leads out again",
        "/dex/..%2fv1/models/m",
        Expected::Reached,
    ),
    outside(
        NOW,
        "H2: /dex/** is no wildcard: below /other/** nothing is exempt",
        "/other/x",
        Expected::Login,
    ),
    Known {
        headers: &[("authorization", "")],
        ..outside(
            NOW,
            "H8: an empty authorization header skips the login, and the next rule refuses",
            "/v1/models/m:predict",
            Expected::Refused,
        )
    },
    Known {
        headers: &[("authorization", "Basic x")],
        ..outside(
            OLDER,
            "H8: so does any other",
            "/v1/models/m:predict",
            Expected::Refused,
        )
    },
    Known {
        token: Some((DEX, "another-application")),
        ..outside(
            NOW,
            "T1: a token of Dex's for another application opens it",
            "/v1/models/m:predict",
            Expected::Reached,
        )
    },
    Known {
        token: Some((CLUSTER, "vault")),
        ..outside(
            NOW,
            "T1: so does any ServiceAccount's",
            "/v1/models/m:predict",
            Expected::Reached,
        )
    },
    inside(
        "inside, a token is asked for",
        "/v1/models/m:predict",
        Expected::Refused,
    ),
    inside(
        "H5: but not where the path ends like a probe's",
        "/v1/models/m/ready",
        Expected::Reached,
    ),
    inside("H5: anywhere", "/anything/healthz", Expected::Reached),
];

/// Those about a cluster.
pub(super) fn about(cluster: &Installed) -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().filter(|known| known.cluster == cluster.name)
}

impl Known {
    pub(super) fn sent(&self) -> Sent {
        let pairs = self.headers.iter();
        Sent {
            port: if self.cluster == NOW_INSIDE {
                8081
            } else {
                8080
            },
            method: "POST".into(),
            authority: self.host.into(),
            target: self.target.into(),
            headers: pairs
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            source: std::net::Ipv4Addr::LOCALHOST,
            checker: match self.token {
                None => login(),
                Some(_) => Reply::default(),
            },
            tls: None,
            tokens: Vec::from_iter(self.token.map(|(issuer, audience)| Token {
                key: "k1".into(),
                claims: serde_json::json!({"iss": issuer, "sub": "somebody", "aud": audience}),
                place: Place::Header {
                    name: "authorization".into(),
                    prefix: "Bearer ".into(),
                },
                alteration: None,
            })),
        }
    }

    /// A line, and whether Envoy does what the lint says.
    pub(super) fn judge(&self, answer: &Observed) -> (String, bool) {
        let found = match answer.status {
            _ if answer.upstream.is_some() => Some(Expected::Reached),
            Some(302) => Some(Expected::Login),
            Some(401 | 403) => Some(Expected::Refused),
            _ => None,
        };
        let agrees = found == Some(self.expected);
        let word = if agrees { "confirmed" } else { "NOT CONFIRMED" };
        let line = format!(
            "  {word}: {}: POST {}{} {:?} {}→ {:?}",
            self.about,
            self.host,
            self.target,
            self.headers,
            self.token
                .map_or_else(String::new, |(issuer, audience)| format!(
                    "token of {issuer} for {audience} "
                )),
            answer.status.unwrap_or_default(),
        );
        (line, agrees)
    }
}
