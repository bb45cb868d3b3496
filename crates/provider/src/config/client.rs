//! `staticClients`, one by one.

use super::check::{Env, either, is_logout_target, is_redirect_target, missing, required};
use super::factors::Chains;
use super::raw::RawClient;
use super::{Client, ClientSecret, ConfigError, GrantType, Grants, Pkce, PromptNone};
use crate::keys::Algorithm;
use crate::token::is_scope;
use secret::Secret;

/// What clients have that do not say otherwise, and what there is for them.
pub(super) struct Defaults<'a> {
    pub(super) grants: Grants,
    pub(super) pkce: Pkce,
    pub(super) prompt_none: PromptNone,
    pub(super) signing: Algorithm,
    pub(super) chains: &'a Chains,
}

pub(super) fn check(
    at: &str,
    raw: RawClient,
    defaults: &Defaults<'_>,
    env: Env<'_>,
) -> Result<Client, ConfigError> {
    let id = either(at, ["id", "idEnv"], raw.id, raw.id_env, env)?
        .ok_or_else(|| missing(at, "id", "an identifier, here or in `idEnv`"))?;
    let secret = raw.secret.map(|secret| secret.expose().to_owned());
    let secret = either(at, ["secret", "secretEnv"], secret, raw.secret_env, env)?;
    let secret = secret.map(|secret| ClientSecret::Plain(Secret::new(secret)));
    if secret.is_none() && !raw.public {
        return Err(missing(
            at,
            "secret",
            "a secret, here or in `secretEnv`, or `public: true`",
        ));
    }
    let grant_types = grant_types(at, &raw.grant_types, defaults.grants)?;
    for (name, uris) in [
        ("redirectURIs", &raw.redirect_uris),
        ("postLogoutRedirectURIs", &raw.post_logout_redirect_uris),
    ] {
        if let Some((index, uri)) = uris
            .iter()
            .enumerate()
            .find(|(_, uri)| !is_redirect_target(uri))
        {
            return Err(ConfigError::Invalid {
                field: format!("{at}.{name}[{index}]"),
                value: uri.clone(),
                expected: "an absolute URI or a path such as `/oauth2/callback`, without fragment",
            });
        }
    }
    if let Some((index, scope)) = raw
        .allowed_scopes
        .iter()
        .enumerate()
        .find(|(_, scope)| !is_scope(scope))
    {
        return Err(ConfigError::Invalid {
            field: format!("{at}.allowedScopes[{index}]"),
            value: scope.clone(),
            expected: "a scope that is offered, such as `email`",
        });
    }
    if let Some(uri) = &raw.backchannel_logout_uri
        && !is_logout_target(uri)
    {
        return Err(ConfigError::Invalid {
            field: format!("{at}.backchannelLogoutURI"),
            value: uri.clone(),
            expected: "an http or https URL without fragment",
        });
    }
    let chained =
        defaults
            .chains
            .second_factor(at, raw.mfa_chain.as_deref(), &raw.allowed_connectors)?;
    let signing = raw.id_token_signed_response_alg.unwrap_or(defaults.signing);
    Ok(Client {
        name: required(at, "name", raw.name, "a name that people recognise")?,
        id,
        secret,
        redirect_uris: raw.redirect_uris,
        public: raw.public,
        trusted_peers: raw.trusted_peers,
        allowed_connectors: raw.allowed_connectors,
        allowed_scopes: raw.allowed_scopes,
        grant_types,
        second_factor: raw.second_factor.max(chained),
        refresh_lifetime: raw.refresh_token_lifetime,
        signing,
        access_signing: raw.access_token_signed_response_alg.unwrap_or(signing),
        exchanges: raw.token_exchange,
        credentials_groups: raw.client_credentials_claims.groups,
        pkce: if raw.public {
            Pkce::Required
        } else {
            raw.pkce.unwrap_or(defaults.pkce)
        },
        prompt_none: raw.prompt_none.unwrap_or(defaults.prompt_none),
        sso_shared_with: raw.sso_shared_with,
        post_logout_redirect_uris: raw.post_logout_redirect_uris,
        backchannel_logout_uri: raw.backchannel_logout_uri,
    })
}

/// `grantTypes` of a client: of those that are offered here at all.
fn grant_types(
    at: &str,
    listed: &[String],
    offered: Grants,
) -> Result<Vec<GrantType>, ConfigError> {
    let invalid = |index: usize, expected| ConfigError::Invalid {
        field: format!("{at}.grantTypes[{index}]"),
        value: listed.get(index).cloned().unwrap_or_default(),
        expected,
    };
    let kind = |(index, name): (usize, &String)| {
        let expected = "a grant type such as `authorization_code`";
        let kind = GrantType::parse(name).ok_or_else(|| invalid(index, expected))?;
        let there = match kind {
            GrantType::AuthorizationCode | GrantType::RefreshToken => true,
            GrantType::ClientCredentials => offered.client_credentials,
            GrantType::DeviceCode => offered.device_code,
            GrantType::TokenExchange => offered.token_exchange,
            GrantType::Implicit => offered.implicit,
            GrantType::Password => offered.password,
        };
        let expected = "one that `oauth2.grantTypes` offers";
        there
            .then_some(kind)
            .ok_or_else(|| invalid(index, expected))
    };
    listed.iter().enumerate().map(kind).collect()
}
