//! Envoy as relying party: its filter `oauth2` with our login, and `jwt_authn` on our keys.

use anyhow::{Context, Result};
use serde_json::json;

use super::clocked::Clocked;
use super::envoy::{Chain, Envoy, filter, inside, jwt_authn};
use super::node::run;
use super::served::Provider;
use crate::clients::free_port;

/// Login, renewal and sign-out of a person.
pub(super) fn oauth2() -> Result<()> {
    let work = tempfile::tempdir().context("making a folder")?;
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}");
    let provider = Provider::start_with(&url, "expiry: {idTokens: 3s}\n")?;
    let issuer = provider.issuer.clone();
    let base = issuer.trim_end_matches("/dex").to_owned();
    let login = filter(
        "oauth2",
        "oauth2.v3.OAuth2",
        json!({"config": {
            "token_endpoint": {"uri": format!("{issuer}/token"), "cluster": "provider", "timeout": "5s"},
            "authorization_endpoint": format!("{issuer}/auth"),
            "end_session_endpoint": format!("{issuer}/logout"),
            "redirect_uri": "http://%REQ(:authority)%/callback",
            "redirect_path_matcher": {"path": {"exact": "/callback"}},
            "signout_path": {"path": {"exact": "/signout"}},
            "credentials": {
                "client_id": "gateway",
                "token_secret": {"name": "token"},
                "hmac_secret": {"name": "hmac"},
            },
            "auth_scopes": ["openid", "email", "offline_access"],
            "use_refresh_token": true,
            "forward_bearer_token": true,
        }}),
    );
    let chain = Chain {
        filters: vec![login, jwt_authn(&issuer, &base, "60s", &[])],
        routes: vec![inside()],
        clusters: vec![("provider", base)],
        grpc: Vec::new(),
        secrets: vec![
            ("token", "secret-of-gateway"),
            ("hmac", "of this gateway alone"),
        ],
    };
    let envoy = Envoy::start(chain, work.path(), ([127, 0, 0, 1], port).into())?;
    let done = run("gateway.mjs", &[&envoy.url, &issuer]);
    done.map(|_| ()).with_context(|| envoy.last_words())
}

/// Rotations under load, with the key set kept as long as istiod keeps it, on the same scale.
pub(super) fn rotations() -> Result<()> {
    let work = tempfile::tempdir().context("making a folder")?;
    let provider = Clocked::start()?;
    let issuer = provider.issuer();
    let chain = Chain {
        filters: vec![jwt_authn(&issuer, &provider.base, "2s", &[])],
        routes: vec![inside()],
        clusters: vec![("provider", provider.base.clone())],
        grpc: Vec::new(),
        secrets: Vec::new(),
    };
    let envoy = Envoy::start(chain, work.path(), ([127, 0, 0, 1], free_port()?).into())?;
    let done = run("rotations.mjs", &[&envoy.url, &issuer, &provider.clock()]);
    let done = done.with_context(|| envoy.last_words())?;
    eprintln!("{done}");
    Ok(())
}
