//! Which paths are the provider's, for gateways that let strangers through to these alone.

use crate::config::DexConfig;

/// Below the issuer's path, whatever is configured.
const ALWAYS: [&str; 25] = [
    "/.well-known/openid-configuration",
    "/account",
    "/account/app",
    "/account/passkey",
    "/account/password",
    "/approval",
    "/auth",
    "/auth/enrol",
    "/auth/enrolled",
    "/auth/local",
    "/auth/local/login",
    "/auth/second",
    "/device",
    "/device/auth/verify_code",
    "/device/code",
    "/device/token",
    "/healthz",
    "/keys",
    "/logout",
    "/robots.txt",
    "/setup",
    "/token",
    "/token/introspect",
    "/token/revoke",
    "/userinfo",
];

/// Every path under which a provider of this configuration answers.
#[must_use]
pub fn paths(config: &DexConfig) -> Vec<String> {
    let base = config.issuer.path();
    let mut all: Vec<String> = ALWAYS.map(|path| format!("{base}{path}")).into();
    for connector in &config.connectors {
        let id = &connector.id;
        all.push(format!("{base}/auth/{id}"));
        all.push(format!("{base}/auth/{id}/login"));
        all.push(format!("{base}/callback/{id}"));
    }
    if !config.connectors.is_empty() {
        all.push(format!("{base}/callback"));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What is matched in the router is listed, so that no page is behind a login of the gateway in front.
    #[test]
    fn every_path_of_the_router_is_listed() {
        let router = include_str!("provider.rs");
        let (_, router) = router
            .split_once("match path {\n            DISCOVERY")
            .unwrap();
        let (router, _) = router.split_once("\n    }\n}\n").unwrap();
        let routed: BTreeSet<&str> = router
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|text| text.starts_with('/') && !text.contains(' '))
            .collect();
        assert!(routed.len() > 15, "{routed:?}");
        let (config, _) = DexConfig::parse(
            "issuer: http://127.0.0.1:5556/dex\nenablePasswordDB: true\n",
            &|_| None,
        )
        .unwrap();
        let listed = paths(&config);
        for path in routed {
            // Only with a connector.
            let listed = listed.contains(&format!("/dex{path}"));
            assert!(listed || path == "/callback", "{path}");
        }
    }
}
