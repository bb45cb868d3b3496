//! With the settings of an oauth2-proxy or oidc-authservice that was there.

use http::StatusCode;

use super::*;
use crate::Admitted;

async fn proxied(world: &World, headers: &[(&str, &str)]) -> policy::CheckResponse {
    let check = check(Method::GET, "/pipeline", headers);
    world.identity.oauth2_proxy_check(&check).await
}

async fn cookie(world: &World) -> String {
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    format!("{SESSION_COOKIE}={}", browser.session().unwrap())
}

#[tokio::test]
async fn only_those_of_the_domains_and_groups_get_through() {
    let mut world = World::new();
    let cookie = cookie(&world).await;
    let texts = |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect());
    for (domains, groups, admitted) in [
        (None, None, true),
        (texts(&["example.com"]), None, true),
        (texts(&["other.com", "example.com"]), None, true),
        (texts(&[".com"]), None, true),
        (texts(&[".example.com"]), None, false),
        (texts(&["ample.com"]), None, false),
        (texts(&["com"]), None, false),
        (None, texts(&["team-b"]), true),
        (None, texts(&["team"]), false),
        (texts(&["example.com"]), texts(&["admins"]), false),
    ] {
        let expected = match admitted {
            true => StatusCode::OK,
            false => StatusCode::FORBIDDEN,
        };
        let rule = Admitted { domains, groups };
        world.identity.parts.oauth2_proxy.admitted = rule.clone();
        let answer = proxied(&world, &[("cookie", &cookie)]).await;
        assert_eq!(answer.status, expected, "{rule:?}");
        assert_eq!(header(&answer.headers, "authorization").is_some(), admitted);
        if rule.domains.is_none() {
            world.identity.parts.authservice.admitted = rule.clone();
            let check = check(Method::GET, "/pipeline", &[("cookie", &cookie)]);
            let answer = world.identity.authservice_check(&check).await;
            assert_eq!(answer.status, expected, "{rule:?}");
        }
    }
    // A token of somebody who may not is no way around.
    let token = provider::sign(0, &world.provider.claims());
    let answer = proxied(&world, &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

/// CVE-2026-40574: whoever takes the domain behind the last `@` lets anybody in who may choose a user name.
#[tokio::test]
async fn an_address_with_two_domains_is_of_none_of_them() {
    let claims = IdentityClaims {
        user_id: "preferred_username".to_owned(),
        ..IdentityClaims::default()
    };
    let rule = Admitted {
        domains: Some(vec!["example.com".to_owned()]),
        groups: None,
    };
    for by_domain in [false, true] {
        let mut world = World::with(RpConfig {
            claims: IdentityClaims {
                by_domain,
                ..claims.clone()
            },
            ..rp_config()
        });
        world.identity.parts.oauth2_proxy.admitted = rule.clone();
        for (name, verified, admitted) in [
            ("user@example.com", true, true),
            ("user@EXAMPLE.com", true, true),
            ("user@evil.com@example.com", true, false),
            ("\"user@evil.com\"@example.com", true, false),
            ("@example.com", true, false),
            ("@@example.com", true, false),
            ("user@", true, false),
            ("example.com", true, false),
            ("user@example.com@", true, false),
            // Only who has shown that an address is theirs has its domain.
            ("user@example.com", false, !by_domain),
        ] {
            let mut claims = world.provider.claims();
            claims["preferred_username"] = name.into();
            claims["email_verified"] = verified.into();
            let token = provider::sign(0, &claims);
            let answer = proxied(&world, &[("authorization", &format!("Bearer {token}"))]).await;
            let told = (answer.status, by_domain, name);
            assert_eq!(answer.status == StatusCode::OK, admitted, "{told:?}");
            assert_eq!(header(&answer.headers, "authorization").is_some(), admitted);
        }
    }
}

/// The domain of its address and its groups are what a rule looks at, and a workload has neither.
#[tokio::test]
async fn a_rule_about_people_lets_no_workload_through() {
    let mut world = World::new();
    let request = TokenRequest {
        service_account: policy::ServiceAccount {
            namespace: "team-a".into(),
            name: "default-editor".into(),
        },
        uid: None,
        audiences: Vec::new(),
        duration: Duration::from_secs(600),
        pod: None,
    };
    let now = UNIX_EPOCH + Duration::from_secs(START);
    let issuer = world.identity.cluster_issuer().unwrap();
    let bearer = format!("Bearer {}", issuer.issue(&request, now).unwrap().expose());
    let texts = |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect());
    for (domains, groups, expected) in [
        (None, None, StatusCode::OK),
        (texts(&["example.com"]), None, StatusCode::FORBIDDEN),
        (None, texts(&["team-b"]), StatusCode::FORBIDDEN),
    ] {
        world.identity.parts.oauth2_proxy.admitted = Admitted { domains, groups };
        let answer = proxied(&world, &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, expected);
    }
}

#[tokio::test]
async fn tokens_count_where_that_is_set() {
    let mut world = World::new();
    let token = format!("Bearer {}", provider::sign(0, &world.provider.claims()));
    let good: &[(&str, &str)] = &[("authorization", &token)];
    let bad: &[(&str, &str)] = &[("authorization", "Bearer a.b.c")];
    assert_eq!(proxied(&world, good).await.status, StatusCode::OK);
    assert_eq!(proxied(&world, bad).await.status, StatusCode::FOUND);
    world.identity.parts.oauth2_proxy.bearer_falls_back = false;
    assert_eq!(proxied(&world, good).await.status, StatusCode::OK);
    assert_eq!(proxied(&world, bad).await.status, StatusCode::UNAUTHORIZED);
    world.identity.parts.oauth2_proxy.bearer = false;
    assert_eq!(proxied(&world, good).await.status, StatusCode::FOUND);
    world.identity.parts.oauth2_proxy.never_redirects = true;
    assert_eq!(proxied(&world, good).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_upstream_is_told_what_is_set() {
    let mut world = World::new();
    let cookie = cookie(&world).await;
    let told = |answer: &policy::CheckResponse| {
        let mut names: Vec<String> = answer.headers.iter().map(|(n, _)| n.to_string()).collect();
        names.sort();
        names
    };
    let answer = proxied(&world, &[("cookie", &cookie)]).await;
    let all = [
        "authorization",
        "x-auth-request-email",
        "x-auth-request-groups",
        "x-auth-request-user",
    ];
    assert_eq!(told(&answer), all);
    let config = &mut world.identity.parts.oauth2_proxy;
    (config.user_headers, config.authorization) = (false, false);
    let named = HeaderName::from_static;
    config.named = Some((named("kubeflow-userid"), named("kubeflow-groups")));
    let answer = proxied(&world, &[("cookie", &cookie)]).await;
    assert_eq!(told(&answer), ["kubeflow-groups", "kubeflow-userid"]);
    let user = header(&answer.headers, "kubeflow-userid");
    assert_eq!(user, Some("user@example.com"));
}

#[tokio::test]
async fn the_session_cookie_has_the_name_that_is_set() {
    const NAME: &str = "oauth2_proxy_kubeflow";
    let world = World::with(RpConfig {
        session_cookie: NAME.to_owned(),
        ..rp_config()
    });
    let mut browser = Browser::default();
    world.log_in(&mut browser, "/").await;
    assert_eq!(browser.session(), None);
    let id = browser.cookies.get(NAME).unwrap();
    let own = format!("{NAME}={id}");
    assert_eq!(
        proxied(&world, &[("cookie", &own)]).await.status,
        StatusCode::OK
    );
    let other = format!("{SESSION_COOKIE}={id}");
    let answer = proxied(&world, &[("cookie", &other)]).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    // It ends under this name, too.
    let headers = [("cookie", &*own), ("sec-fetch-site", "same-origin")];
    let out = check(Method::POST, "/authservice/logout", &headers);
    let answer = world.identity.oauth2_proxy_check(&out).await;
    let cleared = header(&answer.headers, "set-cookie").unwrap();
    assert!(cleared.starts_with(&format!("{NAME}=; ")), "{cleared}");
    assert_eq!(
        proxied(&world, &[("cookie", &own)]).await.status,
        StatusCode::FOUND
    );
}
