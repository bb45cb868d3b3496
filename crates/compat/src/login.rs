//! What a login service is told, whichever service that is.

use std::net::SocketAddr;
use std::time::Duration;

use regex::RegexSet;
use secret::Secret;

/// Settings of a login, right by construction.
#[derive(Debug, Clone)]
pub struct Login {
    /// `iss` of the provider, and where discovery starts.
    pub issuer: String,
    /// Authorization endpoint as browsers reach it; nothing where discovery says it.
    pub auth_url: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// Where the provider sends browsers back to.
    pub redirect: Redirect,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Claim of the user id.
    pub user_claim: String,
    /// Claim of the groups.
    pub groups_claim: String,
    /// Audiences of bearer tokens besides the client id.
    pub audiences: Vec<String>,
    /// Whether bearer tokens count.
    pub bearer: bool,
    /// Whether a client with a token that does not count is sent to the login like one without.
    pub bearer_falls_back: bool,
    /// Other issuers whose bearer tokens count.
    pub issuers: Vec<TokenIssuer>,
    /// Domains of addresses that get through; nothing for all.
    pub email_domains: Option<Vec<String>>,
    /// Groups of which somebody has to be in one; nothing for all.
    pub allowed_groups: Option<Vec<String>>,
    /// The session cookie.
    pub cookie: Cookie,
    /// Paths that begin a login.
    pub start_paths: Vec<String>,
    /// Paths that end a session.
    pub logout_paths: Vec<String>,
    /// Where a browser goes after logout.
    pub after_logout: String,
    /// Paths below these are let through unasked; each ends at a segment.
    pub open_prefixes: Vec<String>,
    /// Paths whose clients get 401 and no redirect.
    pub api_paths: RegexSet,
    /// Whether no client is redirected.
    pub never_redirects: bool,
    /// What the upstream is told.
    pub headers: Headers,
    /// Where it listens.
    pub listen: Option<SocketAddr>,
    /// Paths that say that the program is alive, and that it can answer.
    pub health_paths: Vec<String>,
}

/// Where the provider sends browsers back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// Sent to the provider as it is written: a URL, or a path that the provider resolves.
    Exactly(String),
    /// This path on the host that a request was for.
    OnRequestHost(String),
}

/// The session cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Whether it is always `Secure`; else where the request came over https.
    pub secure: bool,
    /// How long a session lives at most.
    pub lifetime: Duration,
}

/// What the upstream is told of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Headers {
    /// oauth2-proxy's.
    Oauth2Proxy {
        /// `x-auth-request-*`.
        user: bool,
        /// `authorization` with the ID token.
        authorization: bool,
    },
    /// oidc-authservice's: names of headers, and what stands before the user's id.
    Authservice {
        /// `USERID_HEADER`.
        user: String,
        /// `USERID_PREFIX`.
        prefix: String,
        /// `GROUPS_HEADER`.
        groups: String,
    },
}

/// Another issuer of bearer tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
}
