//! Who is calling: sessions, OpenID Connect relying party, ServiceAccount
//! tokens, workload credentials.
//!
//! [`Identity`] answers the questions of a decision ([`policy::Question`]).
//! [`RelyingParty`] logs people in and out over plain HTTP messages; it talks
//! to the provider through an [`HttpClient`] that the program gives it.
//! [`Sessions`] lie in one file and outlive a crash. [`ClusterIssuer`] gives
//! the embedded cluster's workloads their tokens, [`WorkloadCredentials`] the
//! proof of who they are on the cluster-local listener.
//!
//! Secrets are types that do not print themselves; a token, cookie, code or
//! password is never part of an error or a log line. All time comes from a
//! [`Clock`].

mod authservice;
mod bearer;
mod clock;
mod cluster;
mod cluster_api;
mod cookie;
mod http_client;
mod identity;
mod issuers;
mod jose;
mod kept;
mod keyfile;
mod keys;
mod mesh;
mod names;
mod oauth2_proxy;
mod pem;
mod person;
mod random;
mod rp;
mod seal;
mod seen;
mod session;
#[cfg(feature = "redis")]
mod shared_keys;
mod signed;
mod workload;

pub use ::secret::Secret;
pub use authservice::AuthserviceConfig;
pub use clock::{Clock, system_clock};
pub use cluster::{
    BoundPod, CLUSTER_ISSUER, ClusterIssuer, ClusterIssuerConfig, ClusterKey, INGRESS_AUDIENCE,
    IssueError, TokenRequest,
};
pub use cluster_api::{ClusterApi, ClusterApiConfig, Review};
pub use cookie::SecureCookies;
pub use http_client::{HttpClient, HttpError};
pub use identity::{Identity, Parts};
pub use issuers::{HolderClaims, IssuerConfig, IssuerConfigError, IssuerKeys, Issuers};
pub use keyfile::KeyFileError;
pub use keys::{ApiKeys, KeyError, KeyInfo, KeyOwner, LONGEST_KEY_LIFE, NewKey};
pub use mesh::{Jwks, MeshKeys, read_token};
pub use oauth2_proxy::{Admitted, Oauth2ProxyConfig};
pub use person::IdentityClaims;
pub use random::NoRandomness;
pub use rp::{
    BACKCHANNEL_LOGOUT_PATH, Hosts, LOGIN_COOKIES, Logins, RedirectUri, RelyingParty, RpConfig,
    RpError, authorization_endpoint,
};
pub use session::{
    NewSession, Renewable, SESSION_COOKIE, Session, SessionConfig, SessionId, SessionInfo,
    Sessions, StoreError, Whose,
};
#[cfg(feature = "redis")]
pub use shared_keys::shared_keys;
pub use signed::{IDENTITY_HEADER, IdentitySigner, Terms};
pub use workload::{
    BadWorkload, ProxyLogin, WORKLOAD_PASSWORD_LIFE, WorkloadCredentials, WorkloadError,
};

#[cfg(test)]
mod tests;
