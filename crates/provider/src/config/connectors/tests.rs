//! `connectors` of Dex's documentation and of its source, key by key.

use crate::config::{ConfigError, ConnectorKind, DexConfig, compatibility};
use compat::Standing;

const OIDC: &str = r#"issuer: http://dex.example.com/dex
connectors:
- type: oidc
  id: sso
  name: Single sign-on
  grantTypes: [authorization_code, refresh_token]
  config:
    issuer: https://sso.example.com/realms/a
    issuerAlias: https://alias.example.com
    clientID: $SSO_ID
    clientSecret: ${SSO_SECRET}
    redirectURI: https://login.example.com/dex/callback
    providerDiscoveryOverrides:
      tokenURL: https://sso.example.com/token
      endSessionURL: https://sso.example.com/out
    basicAuthUnsupported: true
    scopes: [openid, email]
    rootCAs: []
    insecureSkipEmailVerified: true
    insecureEnableGroups: true
    allowedGroups: [staff]
    acrValues: [gold]
    insecureSkipVerify: false
    getUserInfo: true
    userIDKey: oid
    userNameKey: nickname
    promptType: login
    pkceChallenge: S256
    overrideClaimMapping: true
    claimMapping: {preferred_username: upn, email: mail, groups: roles}
    claimModifications:
      newGroupFromClaims:
      - {claims: [a, b], delimiter: "-", clearDelimiter: true, prefix: p}
      filterGroupClaims: {groupsFilter: "^team-"}
      modifyGroupNames: {prefix: x, suffix: z}
"#;

const LDAP: &str = r#"issuer: http://dex.example.com/dex
connectors:
- type: ldap
  id: people
  config:
    host: ldap.example.com
    insecureNoSSL: false
    insecureSkipVerify: false
    startTLS: true
    rootCA: /etc/ca.pem
    bindDN: cn=dex,dc=example,dc=com
    bindPW: $SSO_SECRET
    usernamePrompt: Name
    userSearch:
      baseDN: ou=people,dc=example,dc=com
      filter: "(objectClass=person)"
      username: uid
      scope: one
      idAttr: entryUUID
      emailAttr: mail
      nameAttr: cn
      preferredUsernameAttr: uid
      emailSuffix: example.com
    groupSearch:
      baseDN: ou=groups,dc=example,dc=com
      filter: "(objectClass=groupOfNames)"
      scope: sub
      userMatchers:
      - {userAttr: DN, groupAttr: member, recursionGroupAttr: member}
      nameAttr: cn
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "SSO_ID" => Some("an id".to_owned()),
        "SSO_SECRET" => Some("a secret".to_owned()),
        _ => None,
    }
}

fn parse(yaml: &str) -> Result<DexConfig, ConfigError> {
    DexConfig::parse(yaml, &env).map(|(config, _)| config)
}

#[test]
fn every_key_of_an_oidc_connector_is_read() {
    let config = parse(OIDC).unwrap();
    assert!(!config.password_db, "there are other ways to log in");
    let connector = config.connector("sso").unwrap();
    assert!(connector.allows("refresh_token") && !connector.allows("device"));
    let ConnectorKind::Oidc(oidc) = &connector.kind else {
        panic!("{connector:?}");
    };
    assert_eq!(oidc.client_id, "an id");
    assert_eq!(oidc.client_secret.expose(), "a secret");
    assert_eq!(oidc.expected_issuer, "https://alias.example.com");
    assert_eq!(oidc.scopes, ["email"], "`openid` goes without saying");
    assert!(oidc.secret_in_form && oidc.skip_email_verified && oidc.get_user_info);
    assert!(!format!("{config:?}").contains("a secret"));
    let report = compatibility(OIDC, &env, false);
    let remarks: Vec<String> = report
        .remarks()
        .map(|entry| format!("{} {} {}", entry.line, entry.standing.name(), entry.key))
        .collect();
    assert_eq!(
        remarks,
        [
            "15 ignored connectors[0].config.providerDiscoveryOverrides.endSessionURL",
            "28 ignored connectors[0].config.pkceChallenge",
        ]
    );
    assert_eq!(report.count(Standing::Supported), 34, "{report:?}");
}

#[test]
fn every_key_of_an_ldap_connector_is_read() {
    let config = parse(LDAP).unwrap();
    let connector = config.connector("people").unwrap();
    assert_eq!(connector.name, "people");
    let ConnectorKind::Ldap(directory) = &connector.kind else {
        panic!("{connector:?}");
    };
    assert_eq!(
        (directory.host.as_str(), directory.port),
        ("ldap.example.com", 636)
    );
    assert_eq!(directory.users.username, ["uid"]);
    assert_eq!(directory.users.id, "entryUUID");
    let report = compatibility(LDAP, &env, false);
    assert_eq!(report.remarks().count(), 0, "{report:?}");
    let misspelt = LDAP.replace("emailAttr", "mailAttr");
    let report = compatibility(&misspelt, &env, false);
    let remark = report.remarks().next().unwrap();
    assert_eq!(
        (remark.line, remark.key.as_str()),
        (20, "connectors[0].config.userSearch.mailAttr")
    );
    assert!(remark.note.contains("not a key of Dex"), "{}", remark.note);
}

/// `place` is on the line that is named.
fn refused(yaml: &str, from: &str, to: &str, place: &str, expected: &str) {
    let changed = yaml.replacen(from, to, 1);
    assert_ne!(changed, yaml, "{from}");
    let report = compatibility(&changed, &env, false);
    let entry = report
        .remarks()
        .find(|entry| entry.standing == Standing::Refused)
        .unwrap_or_else(|| panic!("{from} as {to} is not refused"));
    assert!(entry.note.contains(expected), "{}", entry.note);
    assert!(!entry.note.contains("a secret"), "{}", entry.note);
    let line = changed.lines().nth(entry.line as usize - 1).unwrap();
    assert!(
        line.contains(place),
        "{}: {line}: {}",
        entry.key,
        entry.note
    );
}

#[test]
fn what_cannot_be_is_refused_where_it_is_written() {
    for (from, to, place, expected) in [
        (
            "type: oidc",
            "type: github",
            "type: github",
            "has no ID tokens",
        ),
        (
            "type: oidc",
            "type: saml",
            "type: saml",
            "SAML is not spoken here",
        ),
        (
            "type: oidc",
            "type: google",
            "type: google",
            "accounts.google.com",
        ),
        (
            "type: oidc",
            "type: nothing",
            "type: nothing",
            "`oidc` or `ldap`",
        ),
        ("id: sso", "id: local", "id: local", "not `local`"),
        ("id: sso", "id: a/b", "id: a/b", "letters, digits"),
        (
            "issuer: https://sso",
            "issuer: ftp://sso",
            "issuer: ftp://sso",
            "http or https URL",
        ),
        (
            "clientID: $SSO_ID",
            "clientID: ''",
            "clientID: ''",
            "is missing",
        ),
        (
            "$SSO_ID",
            "$NOT_SET",
            "$NOT_SET",
            "`NOT_SET`, which is unset",
        ),
        (
            "/dex/callback",
            "/dex/elsewhere",
            "/dex/elsewhere",
            "`/callback` behind",
        ),
        (
            "insecureSkipVerify: false",
            "insecureSkipVerify: true",
            "insecureSkipVerify: true",
            "`rootCAs`",
        ),
        (
            "acrValues: [gold]",
            "hostedDomains: [example.com]",
            "hostedDomains: [example.com]",
            "as in Dex",
        ),
        ("\"^team-\"", "\"(\"", "\"(\"", "a regular expression"),
        (
            "insecureEnableGroups: true",
            "insecureEnableGroups: false",
            "allowedGroups",
            "lets everybody in",
        ),
        (
            "getUserInfo: true",
            "getUserInfo: perhaps",
            "getUserInfo: perhaps",
            "type that Dex has there",
        ),
    ] {
        refused(OIDC, from, to, place, expected);
    }
    for (from, to, place, expected) in [
        ("    host: ldap.example.com\n", "", "config:", "is missing"),
        (
            "ldap.example.com",
            "ldap.example.com:port",
            "ldap.example.com:port",
            "a host such as",
        ),
        (
            "insecureSkipVerify: false",
            "insecureSkipVerify: true",
            "insecureSkipVerify: true",
            "`rootCA`",
        ),
        (
            "insecureNoSSL: false",
            "insecureNoSSL: true",
            "insecureNoSSL: true",
            "exclude each other",
        ),
        (
            "    bindPW: $SSO_SECRET\n",
            "",
            "config:",
            "password of `bindDN`",
        ),
        (
            "bindPW: $SSO_SECRET",
            "bindPW: $NOT_SET",
            "bindPW: $NOT_SET",
            "unset or empty",
        ),
        (
            "(objectClass=person)",
            "objectClass=person",
            "objectClass=person",
            "a filter such as",
        ),
        ("scope: one", "scope: base", "scope: base", "`sub` or `one`"),
        (
            "username: uid",
            "username: []",
            "username: []",
            "is missing",
        ),
        (
            "username: uid",
            "username: 'uid)(x='",
            "username: 'uid)(x='",
            "the name of an attribute",
        ),
        (
            "    usernamePrompt: Name\n",
            "    kerberos: {enabled: true}\n",
            "    kerberos: {enabled: true}",
            "tickets of Kerberos",
        ),
        (
            "rootCA: /etc/ca.pem",
            "rootCAData: '%'",
            "rootCAData: '%'",
            "in base64",
        ),
        (
            "      nameAttr: cn\n",
            "",
            "userSearch:",
            "with `emailSuffix`",
        ),
    ] {
        refused(LDAP, from, to, place, expected);
    }
    let twice = format!("{LDAP}- type: ldap\n  id: people\n");
    let error = parse(&twice).unwrap_err().to_string();
    assert!(error.contains("is missing"), "{error}");
    let none = "issuer: http://dex.example.com/dex\n";
    let error = parse(none).unwrap_err().to_string();
    assert!(
        error.contains("enablePasswordDB") && error.contains("connectors"),
        "{error}"
    );
}
