use proptest::prelude::*;

use super::*;

const KUBEFLOW: &str = include_str!("../../../xtask/peers/relying/kubeflow/oauth2_proxy.cfg");
const SECRETS: [(&str, &str); 3] = [
    ("OAUTH2_PROXY_CLIENT_ID", "kubeflow-oidc-authservice"),
    ("OAUTH2_PROXY_CLIENT_SECRET", "of-this-installation"),
    (
        "OAUTH2_PROXY_COOKIE_SECRET",
        "0123456789abcdef0123456789abcdef",
    ),
];

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn no_file(_: &str) -> Result<String, String> {
    Err("there is none".to_owned())
}

fn around(environment: &[(String, String)]) -> Around<'_> {
    Around {
        environment,
        file: &no_file,
        known_secrets: false,
    }
}

fn proxy(file: &str, alpha: Option<&str>, more: &[(&str, &str)]) -> Imported {
    let mut all = environment(&SECRETS);
    all.extend(environment(more));
    oauth2_proxy(file, alpha, around(&all)).unwrap()
}

fn standing(imported: &Imported, key: &str) -> (Standing, String) {
    let mut entries = imported.report.entries.iter();
    let entry = entries.find(|entry| entry.key == key);
    let entry = entry.unwrap_or_else(|| panic!("no {key} in {:#?}", imported.report));
    (entry.standing, entry.note.clone())
}

#[test]
fn the_file_that_kubeflow_ships_is_taken() {
    let imported = proxy(
        KUBEFLOW,
        None,
        &[
            ("OAUTH2_PROXY_COOKIE_SECURE", "false"),
            ("OAUTH2_PROXY_SSL_INSECURE_SKIP_VERIFY", "true"),
            ("OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS", "true"),
            (
                "OAUTH2_PROXY_EXTRA_JWT_ISSUERS",
                "https://kubernetes.default.svc=https://kubernetes.default.svc",
            ),
        ],
    );
    assert_eq!(
        imported.report.count(Standing::Refused),
        0,
        "{:#?}",
        imported.report
    );
    let login = imported.login.unwrap();
    assert_eq!(login.issuer, "http://dex.auth.svc.cluster.local:5556/dex");
    assert_eq!(login.auth_url.as_deref(), Some("/dex/auth"));
    assert_eq!(login.client_id, "kubeflow-oidc-authservice");
    assert_eq!(
        login.redirect,
        Redirect::Exactly("/oauth2/callback".to_owned())
    );
    assert_eq!(login.scopes, ["profile", "email", "groups", "openid"]);
    assert_eq!(login.cookie.name, "oauth2_proxy_kubeflow");
    assert_eq!(login.cookie.lifetime.as_secs(), 24 * 3600);
    assert!(!login.cookie.secure && login.bearer && login.bearer_falls_back);
    assert_eq!(login.open_prefixes, ["/dex"]);
    assert!(
        login.api_paths.is_match("/pipeline/apis/v1") && !login.api_paths.is_match("/pipeline")
    );
    assert_eq!(login.email_domains, None);
    assert_eq!(
        login.headers,
        Headers::Oauth2Proxy {
            user: true,
            authorization: true
        }
    );
    let issuer = TokenIssuer {
        issuer: "https://kubernetes.default.svc".to_owned(),
        audience: "https://kubernetes.default.svc".to_owned(),
    };
    assert_eq!(login.issuers, [issuer]);
}

#[test]
fn each_key_has_the_line_that_it_is_written_on() {
    let imported = proxy(KUBEFLOW, None, &[]);
    let line = |key: &str| {
        let mut entries = imported.report.entries.iter();
        entries
            .find(|entry| entry.key == key)
            .map(|entry| entry.line)
    };
    let written = |key: &str| {
        let found = KUBEFLOW.lines().position(|line| line.starts_with(key));
        found.map(|index| u32::try_from(index + 1).unwrap())
    };
    for key in [
        "provider =",
        "login_url",
        "cookie_name",
        "api_routes",
        "banner",
    ] {
        assert!(written(key).is_some());
        assert_eq!(line(key.trim_end_matches(" =")), written(key), "{key}");
    }
    assert_eq!(line("OAUTH2_PROXY_CLIENT_ID"), Some(0));
}

#[test]
fn secrets_that_everybody_knows_are_refused_and_never_shown() {
    for (name, key) in [
        ("OAUTH2_PROXY_CLIENT_SECRET", PUBLISHED_SECRETS[0]),
        ("OAUTH2_PROXY_COOKIE_SECRET", PUBLISHED_SECRETS[2]),
    ] {
        let imported = proxy(KUBEFLOW, None, &[(name, key)]);
        assert!(imported.login.is_none());
        let (standing, note) = standing(&imported, name);
        assert_eq!(standing, Standing::Refused);
        assert!(note.contains("--allow-known-secrets"), "{note}");
        assert!(!format!("{imported:?}").contains(key));
        let mut all = environment(&SECRETS);
        all.extend(environment(&[(name, key)]));
        let around = Around {
            known_secrets: true,
            ..around(&all)
        };
        assert!(
            oauth2_proxy(KUBEFLOW, None, around)
                .unwrap()
                .login
                .is_some()
        );
    }
}

#[test]
fn a_secret_may_lie_in_a_file() {
    let all = environment(&[
        SECRETS[0],
        ("OAUTH2_PROXY_CLIENT_SECRET_FILE", "/etc/secret"),
    ]);
    let file = |path: &str| match path {
        "/etc/secret" => Ok("from-a-file\n".to_owned()),
        _ => Err("there is none".to_owned()),
    };
    let read = |file| {
        oauth2_proxy(
            KUBEFLOW,
            None,
            Around {
                environment: &all,
                file,
                known_secrets: false,
            },
        )
        .unwrap()
    };
    let login = read(&file).login.unwrap();
    assert!(login.client_secret.matches("from-a-file"));
    let missing = read(&no_file);
    assert!(missing.login.is_none());
    assert!(
        standing(&missing, "OAUTH2_PROXY_CLIENT_SECRET_FILE")
            .1
            .contains("cannot be read")
    );
}

#[test]
fn what_would_let_others_in_is_refused() {
    for (name, value, why) in [
        ("PROVIDER", "github", "only `oidc`"),
        ("UPSTREAMS", "http://dashboard:80", "static://200"),
        ("SKIP_AUTH_ROUTES", "GET=^/healthz$", "happen to match"),
        ("SKIP_AUTH_ROUTES", "/v1", "happen to match"),
        ("SKIP_AUTH_REGEX", "^/v1.*", "happen to match"),
        ("SKIP_AUTH_ROUTES", "^/dex/,^/(a|b)/", "happen to match"),
        ("SKIP_AUTH_ROUTES", "^/", "happen to match"),
        (
            "INSECURE_OIDC_SKIP_ISSUER_VERIFICATION",
            "true",
            "whoever issued",
        ),
        (
            "INSECURE_OIDC_ALLOW_UNVERIFIED_EMAIL",
            "true",
            "another's address",
        ),
        ("CODE_CHALLENGE_METHOD", "plain", "S256"),
        ("COOKIE_HTTPONLY", "false", "scripts"),
        ("COOKIE_SAMESITE", "none", "other sites"),
        ("COOKIE_PATH", "/app", "whole host"),
        (
            "OIDC_JWKS_URL",
            "https://elsewhere.example/keys",
            "issuer alone",
        ),
        (
            "REDEEM_URL",
            "http://dex.auth.svc.cluster.local:5556/dexter",
            "issuer alone",
        ),
        ("AUTHENTICATED_EMAILS_FILE", "/etc/emails", "allowed_groups"),
        ("ACR_VALUES", "high", "not supported"),
        ("COOKIE_EXPIRE", "a day", "24h"),
        ("EXTRA_JWT_ISSUERS", "kubernetes", "issuer=audience"),
        ("API_ROUTES", "(", "no pattern"),
        ("SET_XAUTHREQUEST", "maybe", "true or false"),
    ] {
        let name = format!("OAUTH2_PROXY_{name}");
        let imported = proxy(KUBEFLOW, None, &[(&name, value)]);
        let (standing, note) = standing(&imported, &name);
        assert_eq!(standing, Standing::Refused, "{name}={value}: {note}");
        assert!(note.contains(why), "{name}={value}: {note}");
        assert!(imported.login.is_none());
    }
}

#[test]
fn what_lets_fewer_in_or_none_is_ignored_with_a_reason() {
    for (name, value) in [
        ("TRUSTED_IPS", "10.0.0.0/8"),
        ("SKIP_AUTH_PREFLIGHT", "true"),
        ("PING_USER_AGENT", "GoogleHC"),
        ("COOKIE_DOMAINS", ".example.com"),
        ("BANNER", "hello"),
        ("AZURE_TENANT", "t"),
        ("REDIS_CONNECTION_URL", "redis://r"),
        ("NO_SUCH_SETTING", "1"),
    ] {
        let name = format!("OAUTH2_PROXY_{name}");
        let imported = proxy(KUBEFLOW, None, &[(&name, value)]);
        let (standing, note) = standing(&imported, &name);
        assert_eq!(standing, Standing::Ignored, "{name}");
        assert!(!note.is_empty());
        assert!(imported.login.is_some(), "{name}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let imported = oauth2_proxy("", None, around(&[])).unwrap();
    assert!(imported.login.is_none());
    for key in [
        "provider",
        "oidc_issuer_url",
        "client_id",
        "client_secret",
        "upstreams",
        "email_domains",
    ] {
        assert_eq!(standing(&imported, key).0, Standing::Refused, "{key}");
    }
    let error = oauth2_proxy("a = 1\nb = [", None, around(&[])).unwrap_err();
    assert!(error.starts_with("line 2"), "{error}");
    assert!(oauth2_proxy("", Some(": ["), around(&[])).is_err());
}

#[test]
fn the_alpha_configuration_of_kubeflow_1_8_is_taken() {
    let alpha = "\
injectResponseHeaders:
  - name: kubeflow-groups
    values:
    - claim: groups
  - name: kubeflow-userid
    values:
    - claim: email
metricsServer:
  BindAddress: 0.0.0.0:44180
  SecureBindAddress: \"\"
  TLS: null
providers:
- clientID: kubeflow-oidc-authservice
  clientSecretFile: /etc/oauth2_proxy/CLIENT_SECRET
  id: oidc=kubeflow-oidc-authservice
  loginURL: /dex/auth
  loginURLParameters:
  - default:
    - force
    name: approval_prompt
  oidcConfig:
    audienceClaims:
    - aud
    emailClaim: email
    groupsClaim: groups
    issuerURL: http://dex.auth.svc.cluster.local:5556/dex
    jwksURL: http://dex.auth.svc.cluster.local:5556/dex/keys
    skipDiscovery: true
    userIDClaim: email
  scope: openid profile email groups
  provider: oidc
  redeemURL: http://dex.auth.svc.cluster.local:5556/dex/token
server:
  BindAddress: 0.0.0.0:8080
upstreamConfig:
  upstreams:
  - id: static://200
    path: /
    static: true
    staticCode: 200
";
    let main = "email_domains = [ \"*\" ]\nskip_auth_regex=[\"/dex/.*\"]";
    let all = environment(&[("OAUTH2_PROXY_COOKIE_SECURE", "false")]);
    let file = |_: &str| Ok("of-this-installation".to_owned());
    let around = Around {
        environment: &all,
        file: &file,
        known_secrets: false,
    };
    let imported = oauth2_proxy(main, Some(alpha), around).unwrap();
    assert_eq!(
        imported.report.count(Standing::Refused),
        0,
        "{:#?}",
        imported.report
    );
    let note = standing(&imported, "skip_auth_regex").1;
    assert!(note.contains("from the beginning"), "{note}");
    let login = imported.login.unwrap();
    assert_eq!(login.listen.map(|address| address.port()), Some(8080));
    assert_eq!(login.open_prefixes, ["/dex"]);
    assert_eq!(
        login.headers,
        Headers::Authservice {
            user: "kubeflow-userid".to_owned(),
            prefix: String::new(),
            groups: "kubeflow-groups".to_owned(),
        }
    );
    let other = alpha.replace("claim: email\n", "claim: email\n      prefix: u-\n");
    let imported = oauth2_proxy(main, Some(&other), around).unwrap();
    assert_eq!(
        standing(&imported, "injectResponseHeaders").0,
        Standing::Refused
    );
    let proxying = alpha.replace("static: true", "uri: http://x");
    let imported = oauth2_proxy(main, Some(&proxying), around).unwrap();
    assert_eq!(
        standing(&imported, "upstreamConfig.upstreams").0,
        Standing::Refused
    );
    let two = alpha.replace("server:\n", "- provider: oidc\n  clientID: b\nserver:\n");
    let imported = oauth2_proxy(main, Some(&two), around).unwrap();
    assert!(imported.login.is_none());
}

const AUTHSERVICE: [(&str, &str); 10] = [
    (
        "OIDC_PROVIDER",
        "http://dex.auth.svc.cluster.local:5556/dex",
    ),
    ("OIDC_AUTH_URL", "/dex/auth"),
    ("OIDC_SCOPES", "profile email groups"),
    ("CLIENT_ID", "kubeflow-oidc-authservice"),
    ("CLIENT_SECRET", "of-this-installation"),
    ("USERID_HEADER", "kubeflow-userid"),
    ("USERID_PREFIX", ""),
    ("USERID_CLAIM", "email"),
    ("STORE_PATH", "/var/lib/authservice/data.db"),
    ("PATH", "/usr/bin"),
];

#[test]
fn the_environments_of_oidc_authservice_are_taken() {
    let mut all = environment(&AUTHSERVICE);
    all.extend(environment(&[
        ("REDIRECT_URL", "/login/oidc"),
        ("SKIP_AUTH_URI", "/dex"),
        ("PORT", "\"8080\""),
    ]));
    let imported = authservice(around(&all));
    assert_eq!(
        imported.report.count(Standing::Refused),
        0,
        "{:#?}",
        imported.report
    );
    assert!(
        !imported
            .report
            .entries
            .iter()
            .any(|entry| entry.key == "PATH")
    );
    let login = imported.login.unwrap();
    assert_eq!(login.redirect, Redirect::Exactly("/login/oidc".to_owned()));
    assert_eq!(login.open_prefixes, ["/dex"]);
    assert_eq!(login.logout_paths, ["/logout", "/authservice/logout"]);
    assert_eq!(login.listen.map(|address| address.port()), Some(8080));

    let mut newer = environment(&AUTHSERVICE);
    newer.extend(environment(&[
        ("AUTHSERVICE_URL_PREFIX", "/authservice/"),
        ("SKIP_AUTH_URLS", "/dex"),
        ("AFTER_LOGOUT_URL", "/"),
    ]));
    let login = authservice(around(&newer)).login.unwrap();
    assert_eq!(
        login.redirect,
        Redirect::Exactly("/authservice/oidc/callback".to_owned())
    );
    assert_eq!(login.logout_paths, ["/authservice/logout"]);
}

#[test]
fn an_authservice_that_would_let_others_in_is_refused() {
    for (name, value) in [
        ("SKIP_AUTH_URLS", "/"),
        ("SKIP_AUTH_URLS", "/dex /a/../b"),
        ("EXTERNAL_AUTHZ_URL", "http://authz"),
        ("USERID_TRANSFORMERS", "[]"),
        ("SESSION_SAME_SITE", "None"),
        ("CLIENT_SECRET", PUBLISHED_SECRETS[0]),
        ("USERID_HEADER", "kubeflow userid"),
        ("SERVER_PORT", "http"),
    ] {
        let mut all = environment(&AUTHSERVICE);
        all.retain(|(known, _)| known != name);
        all.extend(environment(&[(name, value)]));
        let imported = authservice(around(&all));
        assert_eq!(
            standing(&imported, name).0,
            Standing::Refused,
            "{name}={value}"
        );
        assert!(imported.login.is_none());
    }
}

proptest! {
    #[test]
    fn any_text_is_survived(file in ".{0,200}", alpha in ".{0,200}", value in ".{0,60}", key in 0..21_usize) {
        const KEYS: [&str; 21] = [
            "PROVIDER", "SKIP_AUTH_ROUTES", "API_ROUTES", "COOKIE_EXPIRE", "HTTP_ADDRESS", "REDIRECT_URL", "PROXY_PREFIX",
            "EXTRA_JWT_ISSUERS", "EMAIL_DOMAINS", "SCOPE", "CLIENT_SECRET", "COOKIE_NAME", "UPSTREAMS", "OIDC_ISSUER_URL",
            "REDEEM_URL", "PROMPT", "ALLOWED_GROUPS", "LOGIN_URL", "COOKIE_SECRET_FILE", "PING_PATH", "USER_ID_CLAIM",
        ];
        let all = environment(&[(&format!("OAUTH2_PROXY_{}", KEYS[key]), &value)]);
        let _ = oauth2_proxy(&file, Some(&alpha), around(&all));
        let _ = proxy(KUBEFLOW, None, &[(&format!("OAUTH2_PROXY_{}", KEYS[key]), &value)]);
        let mut others = environment(&AUTHSERVICE);
        others.extend(environment(&[("SKIP_AUTH_URLS", &value), ("SESSION_MAX_AGE", &value)]));
        let _ = authservice(around(&others));
    }
}
