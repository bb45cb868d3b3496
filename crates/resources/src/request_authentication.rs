//! RequestAuthentication (istio.io/api `security/v1`).

use serde::{Deserialize, Serialize};

use crate::istio::{Selector, TargetRef};

/// `security.istio.io` RequestAuthentication.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// Workloads.
    pub selector: Option<Selector>,
    /// Gateway API attachment.
    pub target_refs: Vec<TargetRef>,
    /// Gateway API attachment, older single form.
    pub target_ref: Option<TargetRef>,
    /// Issuers.
    pub jwt_rules: Vec<JwtRule>,
}

/// One issuer whose tokens are checked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    /// Exact `iss`.
    pub issuer: String,
    /// Accepted audiences.
    pub audiences: Vec<String>,
    /// Key set by URL.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: String,
    /// Inline key set.
    pub jwks: String,
    /// Time limit of fetching the key set, a duration like `5s`.
    pub timeout: Option<String>,
    /// Headers that carry a token; with any place named, the default ones are none.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that carry a token.
    pub from_params: Vec<String>,
    /// Cookies that carry a token.
    pub from_cookies: Vec<String>,
    /// Keep the token on the request.
    pub forward_original_token: bool,
    /// Header that gets the payload, as the token has it.
    pub output_payload_to_header: String,
    /// Headers that get claims.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// Claims that are lists written with spaces, besides `scope` and `permission`.
    pub space_delimited_claims: Vec<String>,
}

/// A header that carries a token.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct JwtHeader {
    /// Name.
    pub name: String,
    /// What stands before the token, anywhere in the value.
    pub prefix: String,
}

/// A claim that a header gets.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimToHeader {
    /// The header.
    pub header: String,
    /// The claim, nested ones with dots.
    pub claim: String,
}
