//! The `config` of an `oidc` connector.

use regex::Regex;
use secret::Secret;
use serde::Deserialize;

use crate::config::ConfigError;

/// The `config` of an `oidc` connector.
#[derive(Debug, Clone)]
pub struct OidcConnector {
    /// `issuer`, where discovery is.
    pub issuer: String,
    /// `issuerAlias`, or else the issuer: what tokens and discovery have in `iss`.
    pub expected_issuer: String,
    /// `clientID`.
    pub client_id: String,
    /// `clientSecret`.
    pub client_secret: Secret,
    /// `redirectURI`: where browsers come back to.
    pub redirect_uri: String,
    /// `basicAuthUnsupported`: the secret goes in the form.
    pub secret_in_form: bool,
    /// `scopes`, without `openid`.
    pub scopes: Vec<String>,
    /// `rootCAs`: files of certificates, or certificates in base64.
    pub root_cas: Vec<String>,
    /// `insecureSkipEmailVerified`.
    pub skip_email_verified: bool,
    /// `insecureEnableGroups`.
    pub groups: bool,
    /// `allowedGroups`.
    pub allowed_groups: Vec<String>,
    /// `acrValues`.
    pub acr_values: Vec<String>,
    /// `getUserInfo`.
    pub get_user_info: bool,
    /// `userIDKey`, or `sub`.
    pub user_id_key: Option<String>,
    /// `userNameKey`, or `name`.
    pub user_name_key: String,
    /// `promptType` of logins with `offline_access`.
    pub prompt_type: String,
    /// `overrideClaimMapping`.
    pub override_claims: bool,
    /// `claimMapping`.
    pub mapping: ClaimMapping,
    /// `claimModifications`.
    pub modifications: ClaimModifications,
    /// `providerDiscoveryOverrides`.
    pub overrides: DiscoveryOverrides,
}

/// `claimMapping`: claims in whose place others stand.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClaimMapping {
    pub(crate) preferred_username: String,
    pub(crate) email: String,
    pub(crate) groups: String,
}

/// `claimModifications`.
#[derive(Debug, Clone, Default)]
pub struct ClaimModifications {
    pub(crate) filter: Option<Regex>,
    pub(crate) prefix: String,
    pub(crate) suffix: String,
    pub(crate) new_groups: Vec<NewGroup>,
}

/// `newGroupFromClaims`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NewGroup {
    pub(crate) claims: Vec<String>,
    pub(crate) delimiter: String,
    pub(crate) clear_delimiter: bool,
    pub(crate) prefix: String,
}

/// `providerDiscoveryOverrides`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DiscoveryOverrides {
    #[serde(rename = "tokenURL")]
    pub(crate) token: String,
    #[serde(rename = "authURL")]
    pub(crate) authorization: String,
    #[serde(rename = "jwksURL")]
    pub(crate) jwks: String,
    #[serde(rename = "userInfoURL")]
    pub(crate) user_info: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawOidc {
    issuer: String,
    issuer_alias: String,
    #[serde(rename = "clientID")]
    client_id: String,
    client_secret: String,
    #[serde(rename = "redirectURI")]
    redirect_uri: String,
    basic_auth_unsupported: Option<bool>,
    scopes: Vec<String>,
    hosted_domains: Vec<String>,
    #[serde(rename = "rootCAs")]
    root_cas: Vec<String>,
    insecure_skip_email_verified: bool,
    insecure_enable_groups: bool,
    allowed_groups: Vec<String>,
    acr_values: Vec<String>,
    insecure_skip_verify: bool,
    get_user_info: bool,
    #[serde(rename = "userIDKey")]
    user_id_key: String,
    user_name_key: String,
    prompt_type: Option<String>,
    override_claim_mapping: bool,
    claim_mapping: ClaimMapping,
    claim_modifications: RawModifications,
    provider_discovery_overrides: DiscoveryOverrides,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawModifications {
    new_group_from_claims: Vec<NewGroup>,
    filter_group_claims: RawGroupsFilter,
    modify_group_names: RawGroupNames,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawGroupsFilter {
    groups_filter: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawGroupNames {
    prefix: String,
    suffix: String,
}

pub(super) fn check(
    at: &str,
    id: &str,
    issuer_path: &str,
    raw: RawOidc,
) -> Result<OidcConnector, ConfigError> {
    let invalid = |name: &str, value: &str, expected| ConfigError::Invalid {
        field: format!("{at}.{name}"),
        value: value.to_owned(),
        expected,
    };
    let missing = |name: &str, expected| ConfigError::Missing {
        field: format!("{at}.{name}"),
        expected,
    };
    let is_url = |text: &str| {
        url::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none()
        })
    };
    for (name, url) in [("issuer", &raw.issuer), ("redirectURI", &raw.redirect_uri)] {
        if url.is_empty() {
            return Err(missing(name, "an http or https URL"));
        }
    }
    if raw.client_id.is_empty() {
        return Err(missing("clientID", "the id that the issuer gave"));
    }
    let overrides = &raw.provider_discovery_overrides;
    for (name, url) in [
        ("issuer", &raw.issuer),
        ("issuerAlias", &raw.issuer_alias),
        ("redirectURI", &raw.redirect_uri),
        ("providerDiscoveryOverrides.tokenURL", &overrides.token),
        (
            "providerDiscoveryOverrides.authURL",
            &overrides.authorization,
        ),
        ("providerDiscoveryOverrides.jwksURL", &overrides.jwks),
        (
            "providerDiscoveryOverrides.userInfoURL",
            &overrides.user_info,
        ),
    ] {
        if !url.is_empty() && !is_url(url) {
            return Err(invalid(name, url, "an http or https URL without fragment"));
        }
    }
    let back = url::Url::parse(&raw.redirect_uri).ok();
    let back = back.as_ref().map(url::Url::path).unwrap_or_default();
    let callback = format!("{issuer_path}/callback");
    if back != callback && back != format!("{callback}/{id}") {
        let expected = "a URL whose path is that of `issuer` with `/callback` behind";
        return Err(invalid("redirectURI", &raw.redirect_uri, expected));
    }
    if raw.insecure_skip_verify {
        let expected = "`false`: certificates are always verified; name the authority in `rootCAs`";
        return Err(invalid("insecureSkipVerify", "true", expected));
    }
    if !raw.hosted_domains.is_empty() {
        let expected =
            "none, as in Dex, which took it away: limit who may log in by `allowedGroups`";
        return Err(invalid(
            "hostedDomains",
            &raw.hosted_domains.join(", "),
            expected,
        ));
    }
    if !raw.allowed_groups.is_empty() && !raw.insecure_enable_groups {
        let expected = "`insecureEnableGroups: true` beside it: without it, it lets everybody in";
        return Err(invalid(
            "allowedGroups",
            &raw.allowed_groups.join(", "),
            expected,
        ));
    }
    let filter = match raw.claim_modifications.filter_group_claims.groups_filter {
        none if none.is_empty() => None,
        text => {
            let built = regex::RegexBuilder::new(&text).size_limit(1 << 20).build();
            let name = "claimModifications.filterGroupClaims.groupsFilter";
            Some(built.map_err(|_| invalid(name, &text, "a regular expression"))?)
        }
    };
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let okta = |issuer: &str| {
        let url = url::Url::parse(issuer).ok();
        let host = url.as_ref().and_then(|url| url.host_str());
        host.is_some_and(|host| {
            ["okta.com", "oktapreview.com"]
                .iter()
                .any(|known| host == *known || host.ends_with(&format!(".{known}")))
        })
    };
    Ok(OidcConnector {
        expected_issuer: filled(raw.issuer_alias).unwrap_or_else(|| raw.issuer.clone()),
        secret_in_form: raw
            .basic_auth_unsupported
            .unwrap_or_else(|| okta(&raw.issuer)),
        issuer: raw.issuer,
        client_id: raw.client_id,
        client_secret: Secret::new(raw.client_secret),
        redirect_uri: raw.redirect_uri,
        scopes: match raw.scopes {
            none if none.is_empty() => vec!["profile".to_owned(), "email".to_owned()],
            scopes => scopes
                .into_iter()
                .filter(|scope| scope != "openid")
                .collect(),
        },
        root_cas: raw.root_cas,
        skip_email_verified: raw.insecure_skip_email_verified,
        groups: raw.insecure_enable_groups,
        allowed_groups: raw.allowed_groups,
        acr_values: raw.acr_values,
        get_user_info: raw.get_user_info,
        user_id_key: filled(raw.user_id_key),
        user_name_key: filled(raw.user_name_key).unwrap_or_else(|| "name".to_owned()),
        prompt_type: raw.prompt_type.unwrap_or_else(|| "consent".to_owned()),
        override_claims: raw.override_claim_mapping,
        mapping: raw.claim_mapping,
        modifications: ClaimModifications {
            filter,
            prefix: raw.claim_modifications.modify_group_names.prefix,
            suffix: raw.claim_modifications.modify_group_names.suffix,
            new_groups: raw.claim_modifications.new_group_from_claims,
        },
        overrides: raw.provider_discovery_overrides,
    })
}
