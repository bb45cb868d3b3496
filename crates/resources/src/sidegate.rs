//! Our own object: `apiVersion: sidegate.dev/v1alpha1, kind: Sidegate`.
//! Unknown fields are errors here.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::intents::{Backend, Intent};
use crate::releases::Release;

/// Spec of the Sidegate object.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sidegate {
    /// Whether access levels are enforced.
    pub mode: Mode,
    /// What belongs to the platform.
    pub platform: Platform,
    /// Istio version whose semantics apply, `1.16` form; the mesh annotation
    /// or the newest if absent.
    pub istio_version: Option<String>,
    /// KServe's release, `0.14` form, whose generated objects the YAML may leave
    /// out; that of the controller's image, or the newest, if absent.
    pub kserve_version: Option<Release>,
    /// Kubeflow's release, `1.8` form, in the same way.
    pub kubeflow_version: Option<Release>,
    /// Where model files come from.
    pub storage: Storage,
    /// The Gateways of the two entrances, when they cannot be told from
    /// `inferenceservice-config`.
    pub entrances: Entrances,
    /// What is to be true of all requests, beside the built-in claims.
    pub intents: Vec<Intent>,
    /// How backends read paths.
    pub backends: Vec<Backend>,
    /// Whether callers of models need a role of Kubernetes, unless annotations
    /// say otherwise.
    pub rbac: Rbac,
    /// Where keys of token issuers come from.
    pub keys: Keys,
    /// Tokens that open models beside those of the login provider, of
    /// ServiceAccounts, and API keys.
    pub tokens: TokenSettings,
    /// Upstreams are told who is calling in a header that they can verify.
    pub signed_identity: Option<SignedIdentity>,
    /// Where people log in, beside the login of Dex's configuration.
    pub login: LoginSettings,
    /// How workloads are known.
    pub workloads: WorkloadSettings,
}

/// How workloads are known, beside their tokens.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WorkloadSettings {
    /// Gateways, `ns/name`, whose clients show certificates of the mesh: who a
    /// certificate says they are is who they are.
    pub principals: Vec<String>,
}

/// Where people log in.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LoginSettings {
    /// Providers, each for its hosts.
    pub providers: Vec<LoginProvider>,
}

/// An OpenID provider where people of some hosts log in.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LoginProvider {
    /// `iss`; what else is to know is in its discovery document.
    pub issuer: String,
    /// Hosts, `*.` before those below a name; all that no other provider has if
    /// empty.
    pub hosts: Vec<String>,
    /// Client id.
    pub client_id: String,
    /// Secret with the client's secret, in the namespace of the object.
    pub client_secret_ref: Option<SecretKey>,
    /// File with the client's secret. Without either the client is a public one.
    pub client_secret_file: Option<String>,
    /// Path that the provider sends browsers back to, on the host they were at.
    pub redirect_path: String,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Which claims say who a person is.
    pub user: UserClaims,
    /// Audiences of bearer tokens that count beside the client id.
    pub audiences: Vec<String>,
    /// Certificates of authorities that the provider's has to come from, PEM;
    /// those of the system if absent.
    pub certificate_authority: Option<String>,
}

impl Default for LoginProvider {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            hosts: Vec::new(),
            client_id: String::new(),
            client_secret_ref: None,
            client_secret_file: None,
            redirect_path: "/oauth2/callback".to_owned(),
            scopes: ["openid", "profile", "email", "groups"]
                .map(str::to_owned)
                .to_vec(),
            user: UserClaims::default(),
            audiences: Vec::new(),
            certificate_authority: None,
        }
    }
}

/// A value of a Secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// The header that says to upstreams who is calling, signed.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SignedIdentity {
    /// `iss`.
    pub issuer: String,
    /// How long one counts.
    pub seconds: u64,
}

impl Default for SignedIdentity {
    fn default() -> Self {
        Self {
            issuer: "sidegate.dev/identity".to_owned(),
            seconds: 60,
        }
    }
}

/// Whether who calls a model has to be allowed to `get` its InferenceService.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Rbac {
    /// No.
    #[default]
    Off,
    /// Yes, by the Roles and bindings of the YAML.
    Enforce,
    /// Yes, by what the cluster's API server says.
    Review,
}

/// Whose tokens open models.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TokenSettings {
    /// Issuers of JSON Web Tokens.
    pub issuers: Vec<TokenIssuer>,
}

/// An issuer of JSON Web Tokens. Its holders are people or programs.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TokenIssuer {
    /// `iss`.
    pub issuer: String,
    /// Address of its keys; that of its discovery document if absent.
    pub jwks_uri: Option<String>,
    /// Its keys themselves, a JSON Web Key Set.
    pub jwks: Option<String>,
    /// Audiences, one of which a token has to have.
    pub audiences: Vec<String>,
    /// Signature algorithms; those of its keys if empty.
    pub algorithms: Vec<String>,
    /// Its tokens are people's.
    pub user: Option<UserClaims>,
    /// Its tokens are programs'.
    pub service: Option<ServiceClaims>,
}

/// Which claims say who a person is.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UserClaims {
    /// User id.
    pub claim: String,
    /// Groups.
    pub groups: String,
}

impl Default for UserClaims {
    fn default() -> Self {
        Self {
            claim: "email".to_owned(),
            groups: "groups".to_owned(),
        }
    }
}

/// Which claims say which program it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServiceClaims {
    /// What the issuer is called: the program is `service:<name>:<claim>`.
    pub name: String,
    /// The claim that tells programs apart; `sub` if absent.
    pub claim: Option<String>,
    /// The claim of groups.
    pub groups: Option<String>,
}

/// Where keys of token issuers come from, in `sidegate up`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Keys {
    /// Networks that `jwksUri` and discovery may lead to, beside public
    /// addresses and Services of the cluster: whoever may write a
    /// RequestAuthentication would else make this machine call its neighbours.
    pub networks: Vec<IpNet>,
}

/// What Sidegate does with its access levels.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Policies exactly as the cluster has them; Sidegate adds nothing.
    #[default]
    AsWritten,
    /// Access levels take over from the login provider.
    Enforce,
}

/// What belongs to the platform.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Platform {
    /// Gateways of the platform, `ns/name`.
    pub gateways: Vec<String>,
    /// Namespaces whose routes on these gateways are the platform's. Profile
    /// namespaces are found by their label.
    pub namespaces: Vec<String>,
}

/// Where model files come from.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Storage {
    /// Prefixes that are served from elsewhere.
    pub mirrors: Vec<Mirror>,
}

/// One mirror.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Mirror {
    /// URI prefix, for example `gs://kfserving-examples/`.
    pub from: String,
    /// Folder (relative to the file of the object) or `https://` URL.
    pub to: String,
}

/// Gateways of the two entrances.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Entrances {
    /// Gateway `ns/name` of outside traffic.
    pub external: Option<String>,
    /// Gateway `ns/name` of cluster-local traffic.
    pub local: Option<String>,
}
