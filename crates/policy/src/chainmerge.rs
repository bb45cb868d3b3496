//! `MERGE` of HTTP filters (istio `mergeHTTPFilter`): name and configuration
//! only, of every filter that is meant.

use std::sync::Arc;

use serde_json::Value;

use crate::chain::{Chain, FilterStep};
use crate::proto::{field, flag, names, number, text, type_name};
use crate::providers::AuthorizerKind;

/// What became of it.
pub(crate) enum Merged {
    /// No filter is meant.
    Nothing,
    Done,
    Opaque(String),
}

pub(crate) fn merge(value: &Value, sub_filter: Option<&str>, chain: &mut Chain) -> Merged {
    let name = text(value, &["name"]);
    let config = field(value, "typed_config");
    let mut merged = Merged::Nothing;
    for filter in &mut chain.filters {
        if sub_filter.is_some_and(|wanted| filter.name != wanted) {
            continue;
        }
        if matches!(merged, Merged::Nothing) {
            merged = Merged::Done;
        }
        if let Some(config) = config
            && names(config).any(|name| name != "@type")
            && is_type_of(&filter.canonical, type_name(config))
        {
            let understood = match &filter.step {
                FilterStep::Authorizer(number) => chain
                    .authorizers
                    .get_mut(*number)
                    .is_some_and(|authorizer| settings(config, &mut authorizer.kind)),
                // Cannot change who gets in, whatever is set.
                FilterStep::Other | FilterStep::Router => {
                    !crate::httpfilter::concerns_access(&filter.canonical)
                        || filter.canonical.starts_with("istio")
                }
                _ => false,
            };
            if !understood {
                merged = Merged::Opaque(format!("a MERGE of filter `{}`", filter.name));
            }
        }
        if !name.is_empty() {
            name.clone_into(&mut filter.name);
        }
    }
    merged
}

/// Configurations of different types do not merge: nothing happens.
fn is_type_of(canonical: &str, message: &str) -> bool {
    match message.strip_prefix("envoy.extensions.filters.http.") {
        Some(rest) => {
            let short = rest.split('.').next().unwrap_or_default();
            canonical.rsplit('.').next() == Some(short)
        }
        None => true,
    }
}

/// The settings of an authorizer that a merge may change understandably.
fn settings(config: &Value, kind: &mut AuthorizerKind) -> bool {
    let AuthorizerKind::Http(settings) = kind else {
        return false;
    };
    let settings = Arc::make_mut(settings);
    for name in names(config) {
        match name.as_ref() {
            "@type" | "stat_prefix" | "transport_api_version" => {}
            // A merge cannot unset: the default is the absence of a field.
            "failure_mode_allow" => settings.fail_open |= flag(config, &["failure_mode_allow"]),
            "status_on_error" => {
                settings.status_on_error =
                    number(config, &["status_on_error", "code"]).map(|code| code.to_string());
            }
            _ => return false,
        }
    }
    true
}
