//! The document.

use policy::{AuthorizerView, ListenerView, RouteView, RuleView};
use resources::intents::Intent;
use serde::{Deserialize, Serialize};

/// The version of the document's form.
pub const VERSION: u32 = 1;

/// Proofs of claims about one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// Form of the document.
    pub version: u32,
    /// The Istio version whose semantics apply.
    pub istio_version: String,
    /// One proof for each claim that holds.
    pub claims: Vec<ClaimProof>,
}

/// The proof of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimProof {
    /// Its name, for example `platform-needs-login`.
    pub claim: String,
    /// The statement, where it is one of somebody's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// Every virtual host of every listener that requests arrive at.
    pub hosts: Vec<HostProof>,
}

/// What a proof is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Name of the claim.
    pub claim: &'a str,
    /// The statement, where it is one of somebody's own.
    pub intent: Option<&'a Intent>,
}

impl ClaimProof {
    /// What it is about.
    pub fn about(&self) -> About<'_> {
        About {
            claim: &self.claim,
            intent: self.intent.as_ref(),
        }
    }
}

/// The proof for one virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostProof {
    /// The listener: its number, and what people call it.
    pub listener: String,
    /// The virtual host.
    pub host: String,
    /// Cells that together are all paths.
    pub cells: Vec<CellProof>,
}

/// The proof for the requests whose path is in one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellProof {
    /// A path.
    pub path: String,
    /// Not the path itself, but what is longer, begins so and does not begin
    /// with a longer path of the list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub below: bool,
    /// Rules and routes that close the cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// What a listener is called.
pub fn listener_name(listener: &ListenerView<'_>) -> String {
    format!("{}: {}", listener.index(), listener.describe())
}

/// What a rule is called.
pub fn rule_name(rule: &RuleView<'_>) -> String {
    format!("{} rules[{}]", rule.object, rule.index)
}

/// What a route is called.
pub fn route_name(route: RouteView<'_>) -> String {
    format!("{} {}", route.object(), route.place())
}

/// What a sidecar is called.
pub fn sidecar_name(listener: &ListenerView<'_>) -> String {
    listener.describe().to_string()
}

/// What an authorizer is called that is asked about every request.
pub fn authorizer_name(authorizer: &AuthorizerView<'_>) -> String {
    authorizer.object().0.to_string()
}
