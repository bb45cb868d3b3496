use super::*;
use crate::hash::Work;
use crate::keys::Algorithm;
use compat::Standing;

/// A cost 12 hash of nothing in particular, in the spelling of Kubeflow's manifests.
const HASH: &str = "$2y$12$.....................................................";

fn parse(yaml: &str) -> Result<(DexConfig, Vec<Warning>), ConfigError> {
    DexConfig::parse(yaml, &|name| match name {
        "OIDC_CLIENT_ID" => Some("kubeflow-oidc-authservice".to_owned()),
        "OIDC_CLIENT_SECRET" => Some("pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok".to_owned()),
        "DEX_USER_PASSWORD" => Some(HASH.replace("$2y$", "$2b$")),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

fn kubeflow(password: &str, redirect: &str) -> String {
    format!(
        r#"
issuer: http://dex.auth.svc.cluster.local:5556/dex
storage:
  type: kubernetes
  config:
    inCluster: true
web:
  http: 0.0.0.0:5556
logger:
  level: "debug"
  format: text
oauth2:
  skipApprovalScreen: true
enablePasswordDB: true
staticPasswords:
- email: user@example.com
  {password}
  username: user
  userID: "15841185641784"
staticClients:
# https://github.com/dexidp/dex/pull/1664
- idEnv: OIDC_CLIENT_ID
  redirectURIs: ["{redirect}"]
  name: 'Dex Login Application'
  secretEnv: OIDC_CLIENT_SECRET
"#
    )
}

#[test]
fn kubeflow_manifests_of_all_ages() {
    for (password, redirect) in [
        (format!("hash: {HASH}"), "/login/oidc"),
        (format!("hash: {HASH}"), "/authservice/oidc/callback"),
        (
            "hashFromEnv: DEX_USER_PASSWORD".to_owned(),
            "/oauth2/callback",
        ),
    ] {
        let (config, warnings) = parse(&kubeflow(&password, redirect)).unwrap();
        assert_eq!(config.issuer.path(), "/dex");
        assert!(config.skip_approval_screen);
        assert_eq!(config.expiry, Expiry::default());
        let client = config.client("kubeflow-oidc-authservice").unwrap();
        assert!(client.allows_redirect(redirect));
        assert!(!client.allows_redirect(&format!("https://host.example{redirect}")));
        let user = config.user_by_email("USER@example.com").unwrap();
        assert_eq!((user.name.as_str(), user.email_verified), ("user", true));
        assert_eq!(
            user.hash.as_ref().unwrap().work(),
            Work::Bcrypt { cost: 12 }
        );
        let client = "kubeflow-oidc-authservice".to_owned();
        assert_eq!(warnings, [Warning::PublishedSecret { client }]);
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("pUBnBOY") && !shown.contains("$12$"),
            "{shown}"
        );
    }
}

#[test]
fn hashes_may_be_in_base64() {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(HASH);
    let (config, _) = parse(&kubeflow(&format!("hash: {encoded}"), "/cb")).unwrap();
    let hash = config.users[0].hash.as_ref().unwrap();
    assert_eq!(hash.work(), Work::Bcrypt { cost: 12 });
    assert_eq!(hash.text().expose(), HASH);
}

#[test]
fn keys_without_effect_are_named() {
    let yaml = kubeflow(&format!("hash: {HASH}\n  mfa: x"), "/cb")
        + "  logoURL: x\ngrpc: {addr: x}\nisuer: x\n"
        + "expiry: {idTokens: 1h, refreshTokens: {reuse: 1s}}\n";
    let yaml = yaml.replace(
        "skipApprovalScreen: true",
        "skipApprovalScreen: true\n  responseTypes: [code, none]\n  grantTypes: [password]",
    );
    let (config, warnings) = parse(&yaml).unwrap();
    assert_eq!(config.expiry.id_tokens, Duration::from_secs(3600));
    let mut texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    texts.sort();
    let unsupported = "is not supported by the embedded provider and has no effect";
    assert_eq!(
        texts,
        [
            format!("`grpc` {unsupported}"),
            "`oauth2.grantTypes` lists `password`, which the embedded provider does not offer"
                .into(),
            "`oauth2.responseTypes` lists `none`, which the embedded provider does not offer"
                .into(),
            format!("`staticClients[0].logoURL` {unsupported}"),
            "the secret of client `kubeflow-oidc-authservice` is a published default: anyone can \
             use it; set your own"
                .into(),
            "unknown key `expiry.refreshTokens.reuse` has no effect".into(),
            "unknown key `isuer` has no effect".into(),
            "unknown key `staticPasswords[0].mfa` has no effect".into(),
        ]
    );
}

#[track_caller]
fn refused(from: &str, to: &str, message: &str) {
    let yaml = kubeflow(&format!("hash: {HASH}"), "/cb");
    assert!(yaml.contains(from), "{from}");
    let error = parse(&yaml.replace(from, to)).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
    assert!(!error.contains("$12$"), "{error}");
}

#[test]
fn tls_of_its_own_is_of_versions_that_are_safe() {
    let with =
        |more: &str| format!("web:\n  https: 127.0.0.1:0\n  tlsCert: a\n  tlsKey: b\n{more}");
    for (more, message) in [
        ("  tlsMinVersion: \"1.1\"\n", "`web.tlsMinVersion`"),
        ("  tlsMaxVersion: \"1.0\"\n", "`web.tlsMaxVersion`"),
        (
            "  tlsMinVersion: \"1.3\"\n  tlsMaxVersion: \"1.2\"\n",
            "at most `web.tlsMaxVersion`",
        ),
    ] {
        refused("web:\n", &with(more), message);
    }
    refused("web:\n", "web:\n  https: 127.0.0.1:0\n", "`web.tlsCert`");
}

#[test]
fn mistakes_name_their_field() {
    let issuer = "issuer: http://dex.auth.svc.cluster.local:5556/dex";
    refused(issuer, "", "`issuer` is missing");
    for bad in [
        "/dex",
        "ftp://x/dex",
        "http://x/dex/",
        "http://x/dex?a=b",
        "http://a:b@x/dex",
    ] {
        refused(
            issuer,
            &format!("issuer: {bad}"),
            &format!("`issuer` is `{bad}`"),
        );
    }
    refused(
        "enablePasswordDB: true",
        "",
        "`enablePasswordDB` is missing",
    );
    refused(
        "\"15841185641784\"",
        "\"\"",
        "`staticPasswords[0].userID` is missing",
    );
    refused(
        &format!("hash: {HASH}"),
        "",
        "`staticPasswords[0].hash` is missing",
    );
    refused(HASH, "secret", "`staticPasswords[0].hash` is `(hidden)`");
    refused(
        "$2y$12$",
        "$2y$09$",
        "`staticPasswords[0].hash` is `(hidden)`",
    );
    refused(
        "$2y$12$",
        "$2x$12$",
        "`staticPasswords[0].hash` is `(hidden)`",
    );
    refused(
        &format!("hash: {HASH}"),
        "hashFromEnv: EMPTY",
        "`staticPasswords[0].hashFromEnv` names the environment variable `EMPTY`",
    );
    refused(
        "secretEnv: OIDC_CLIENT_SECRET",
        "secretEnv: MISSING",
        "`staticClients[0].secretEnv` names the environment variable `MISSING`",
    );
    refused(
        "secretEnv: OIDC_CLIENT_SECRET",
        "",
        "`staticClients[0].secret` is missing",
    );
    refused(
        "- idEnv: OIDC",
        "- id: x\n  idEnv: OIDC",
        "`staticClients[0].id` and `idEnv`",
    );
    refused(
        "name: 'Dex Login Application'",
        "",
        "`staticClients[0].name` is missing",
    );
    for bad in [
        "//evil",
        "/a#b",
        "cb",
        "javascript:alert(1)",
        "/a\\\\b",
        "https://x/ y",
    ] {
        refused("/cb", bad, "`staticClients[0].redirectURIs[0]` is `");
    }
    refused(
        "enablePasswordDB: true",
        "enablePasswordDB: maybe",
        "not readable",
    );
    refused(issuer, "issuer: [", "not readable");
    refused(
        issuer,
        "a: b\n---\nissuer: http://x/dex",
        "holds several documents: expected one",
    );
    refused(
        "oauth2:",
        "expiry: {idTokens: 1 day}\noauth2:",
        "`expiry.idTokens` is `1 day`: expected a duration",
    );
    refused(
        "staticClients:",
        "- {email: USER@example.com, hashFromEnv: DEX_USER_PASSWORD, username: b, userID: b}\nstaticClients:",
        "`staticPasswords[1].email` is `user@example.com`",
    );
}

#[test]
fn every_key_is_accounted_for_with_its_line() {
    let yaml =
        kubeflow(&format!("hash: {HASH}"), "/cb") + "  logoURL: x\nisuer: x\ngrpc:\n  addr: x\n";
    let env = |name: &str| match name {
        "OIDC_CLIENT_ID" => Some("kubeflow".to_owned()),
        "OIDC_CLIENT_SECRET" => Some("pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok".to_owned()),
        _ => None,
    };
    let report = compatibility(&yaml, &env, false);
    let remarks: Vec<String> = report
        .remarks()
        .map(|entry| format!("{} {} {}", entry.line, entry.standing.name(), entry.key))
        .collect();
    assert_eq!(
        remarks,
        [
            "3 ignored storage",
            "9 ignored logger",
            "25 refused staticClients[0].secretEnv",
            "26 ignored staticClients[0].logoURL",
            "27 ignored isuer",
            "28 ignored grpc",
        ]
    );
    let supported = report
        .entries
        .iter()
        .filter(|e| e.standing == Standing::Supported);
    let supported: Vec<&str> = supported.map(|entry| entry.key.as_str()).collect();
    assert!(supported.contains(&"web.http") && supported.contains(&"staticClients[0].idEnv"));
    let pkce = |yaml: &str| {
        let report = compatibility(yaml, &env, false);
        let mut entries = report.entries.into_iter();
        entries
            .find(|entry| entry.key == "staticClients[0].pkce")
            .map(|entry| (entry.line, entry.note))
    };
    let (line, note) = pkce(&yaml).unwrap();
    assert_eq!(line, 22);
    assert!(note.contains("`pkce: required` demands it"), "{note}");
    let demanded = format!("{yaml}  pkce: required\n").replace("isuer: x\ngrpc:\n  addr: x\n", "");
    assert_eq!(pkce(&demanded), Some((27, String::new())));
    let (config, _) = DexConfig::parse(&yaml, &env).unwrap();
    assert_eq!(config.listen, Some("0.0.0.0:5556".parse().unwrap()));
    let allowed = compatibility(&yaml, &env, true);
    assert_eq!(allowed.count(Standing::Refused), 0);
    // What stops the file is on the line of what is wrong, or around what is missing.
    let refused = |yaml: &str| {
        let report = compatibility(yaml, &env, true);
        let mut refused = report.remarks().filter(|e| e.standing == Standing::Refused);
        let entry = refused.next().unwrap();
        (entry.line, entry.key.clone(), entry.note.clone())
    };
    let (line, key, note) = refused(&yaml.replace(HASH, "$2a$04$nonsense"));
    assert_eq!((line, key.as_str()), (17, "staticPasswords[0].hash"));
    assert!(!note.contains("nonsense"), "{note}");
    let (line, key, _) = refused(&yaml.replace("  name: 'Dex Login Application'\n", ""));
    assert_eq!((line, key.as_str()), (22, "staticClients[0].name"));
    let (line, key, _) = refused("a: [");
    assert_eq!((line, key.as_str()), (1, ""));
}

fn with_storage(storage: &str) -> Result<StorageConfig, ConfigError> {
    let password = format!("hash: {HASH}");
    let yaml = kubeflow(&password, "/oauth2/callback");
    let (before, rest) = yaml.split_once("storage:").unwrap();
    let (_, after) = rest.split_once("web:").unwrap();
    let yaml = format!("{before}storage: {storage}\nweb:{after}");
    parse(&yaml).map(|(config, _)| config.storage)
}

#[cfg(feature = "redis")]
#[test]
fn storage_in_redis_is_read_with_variables_of_the_environment() {
    let found = with_storage(
        "{type: redis, config: {url: \"rediss://redis:6380/1\", username: me, password: $OIDC_CLIENT_ID}}",
    );
    let Ok(StorageConfig::Redis(redis)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(redis.prefix, "sidegate");
    assert_eq!(redis.username.as_deref(), Some("me"));
    assert!(redis.password.unwrap().matches("kubeflow-oidc-authservice"));
    for (config, field) in [
        ("{}", "storage.config.url"),
        ("{url: \"http://redis\"}", "storage.config.url"),
        (
            "{url: \"redis://redis\", prefix: \"a b\"}",
            "storage.config.prefix",
        ),
        (
            "{url: \"redis://redis\", sentinel: x}",
            "storage.config.sentinel",
        ),
        ("{url: \"redis://$NOTHING\"}", "storage.config.url"),
    ] {
        let error = with_storage(&format!("{{type: redis, config: {config}}}")).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
    }
}

#[cfg(not(feature = "redis"))]
#[test]
fn storage_in_redis_is_refused_where_it_is_not_built_in() {
    let error = with_storage("{type: redis, config: {url: \"redis://redis\"}}").unwrap_err();
    assert_eq!(error.field(), Some("storage.type"), "{error}");
}

#[test]
fn storage_of_dex_is_the_data_folder() {
    for storage in [
        "{type: memory}",
        "{type: etcd, config: {endpoints: [a]}}",
        "",
    ] {
        let found = with_storage(storage).unwrap();
        assert!(
            matches!(found, StorageConfig::Folder),
            "{storage}: {found:?}"
        );
    }
}

/// Dex has clients without a place to send codes to: programs with client credentials alone.
#[test]
fn a_client_may_have_no_redirect_uri() {
    let yaml = kubeflow(&format!("hash: {HASH}"), "/cb").replace("[\"/cb\"]", "[]");
    let (config, _) = parse(&yaml).unwrap();
    let client = &config.clients[0];
    assert!(!client.allows_redirect("/cb") && !client.allows_redirect("http://127.0.0.1/cb"));
}

fn with_top(text: &str) -> Result<DexConfig, ConfigError> {
    let yaml = kubeflow(&format!("hash: {HASH}"), "/cb");
    parse(&format!("{text}{yaml}")).map(|(config, warnings)| {
        let published = warnings
            .iter()
            .all(|w| matches!(w, Warning::PublishedSecret { .. }));
        assert!(published, "{warnings:?}");
        config
    })
}

#[test]
fn the_signer_says_how_tokens_are_signed_and_for_how_long() {
    let local = "signer: {type: local, config: {keysRotationPeriod: 2h, algorithm: ES256}}\n";
    let config = with_top(local).unwrap();
    assert_eq!(config.expiry.signing_keys, Duration::from_secs(7200));
    assert_eq!(config.clients[0].signing, Algorithm::Es256);
    assert_eq!(config.clients[0].access_signing, Algorithm::Es256);
    for (signer, field) in [
        ("{type: vault, config: {addr: a}}", "signer.type"),
        (
            "{type: local, config: {algorithm: HS256}}",
            "signer.config.algorithm",
        ),
        (
            "{type: local, config: {keysRotationPeriod: soon}}",
            "signer.config.keysRotationPeriod",
        ),
    ] {
        let error = with_top(&format!("signer: {signer}\n")).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
    }
    assert_eq!(with_top("").unwrap().clients[0].signing, Algorithm::Rs256);
}

#[test]
fn second_factors_that_dex_demands_are_demanded_or_the_file_is_refused() {
    let factor = |yaml: &str| with_top(yaml).map(|config| config.clients[0].second_factor);
    let mfa = |types: &str, chain: &str| {
        format!(
            "mfa:\n  authenticators:\n  - {{id: app, type: TOTP, config: {{issuer: x}}{types}}}\n  defaultMFAChain: {chain}\n"
        )
    };
    assert_eq!(factor(&mfa("", "[app]")).unwrap(), SecondFactor::Required);
    assert_eq!(factor(&mfa("", "[]")).unwrap(), SecondFactor::Optional);
    let others = mfa(", connectorTypes: [ldap]", "[app]");
    assert_eq!(factor(&others).unwrap(), SecondFactor::Optional);
    let ldap = "connectors:\n- {type: ldap, id: d, name: D, config: {host: a, userSearch: {baseDN: x, username: uid, idAttr: uid, emailAttr: mail}}}\n";
    assert!(with_top(ldap).is_ok());
    for (types, fine) in [
        ("", false),
        (", connectorTypes: [ldap]", false),
        (", connectorTypes: [local]", true),
    ] {
        let found = factor(&format!("{ldap}{}", mfa(types, "[app]")));
        match found {
            Ok(found) => assert!(fine && found == SecondFactor::Required, "{types}"),
            Err(error) => {
                assert!(!fine, "{types}: {error}");
                assert_eq!(error.field(), Some("mfa.defaultMFAChain"));
                assert!(
                    error.to_string().contains("connectorTypes: [local]"),
                    "{error}"
                );
            }
        }
    }
    for (wrong, field) in [
        (mfa("", "[other]"), "mfa.defaultMFAChain[0]"),
        (
            "mfa: {authenticators: [{type: TOTP}]}\n".to_owned(),
            "mfa.authenticators[0].id",
        ),
        (
            "mfa: {authenticators: [{id: a, type: SMS}]}\n".to_owned(),
            "mfa.authenticators[0].type",
        ),
    ] {
        assert_eq!(factor(&wrong).unwrap_err().field(), Some(field));
    }
    // A client says otherwise, by an empty chain too.
    let yaml = kubeflow(&format!("hash: {HASH}"), "/cb");
    let of_client = |chain: &str| {
        let yaml = format!("{}{yaml}  mfaChain: {chain}\n", mfa("", "[app]"));
        parse(&yaml).map(|(config, _)| config.clients[0].second_factor)
    };
    assert_eq!(of_client("[]").unwrap(), SecondFactor::Optional);
    assert_eq!(of_client("[app]").unwrap(), SecondFactor::Required);
    assert!(of_client("[other]").is_err());
}
