use std::os::unix::fs::PermissionsExt as _;
use std::time::UNIX_EPOCH;

use super::*;

const START: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START + seconds)
}

fn request(namespace: &str, name: &str) -> TokenRequest {
    TokenRequest {
        service_account: ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        },
        uid: Some("u-1".into()),
        audiences: vec![],
        duration: Duration::from_secs(3600),
        pod: Some(BoundPod {
            name: "client-0".into(),
            uid: "p-1".into(),
        }),
    }
}

fn open(folder: &Path, key: ClusterKey) -> ClusterIssuer {
    let config = ClusterIssuerConfig {
        key,
        ..ClusterIssuerConfig::default()
    };
    ClusterIssuer::open(folder, config).unwrap()
}

fn claims_of(token: &Secret) -> serde_json::Value {
    let payload = token.expose().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn a_token_goes_round_with_either_key_and_across_a_restart() {
    for key in [ClusterKey::Rs256, ClusterKey::Es256] {
        let folder = tempfile::tempdir().unwrap();
        let issuer = open(folder.path(), key);
        let token = issuer
            .issue(&request("kserve-test", "default"), at(0))
            .unwrap();
        let again = open(folder.path(), ClusterKey::Rs256);
        assert_eq!(again.jwks(), issuer.jwks());
        let account = again.verify(token.expose(), at(3599)).unwrap();
        assert_eq!(account, request("kserve-test", "default").service_account);
        let error = again.verify(token.expose(), at(3600)).unwrap_err();
        assert_eq!(error.0, "the token has expired");
        let path = folder.path().join("service-account-issuer.pem");
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn claims_are_those_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = open(folder.path(), ClusterKey::Es256);
    let token = issuer
        .issue(&request("team-a", "default-editor"), at(0))
        .unwrap();
    let mut claims = claims_of(&token);
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 22);
    assert_eq!(
        claims,
        json!({
            "iss": "https://kubernetes.default.svc.cluster.local",
            "sub": "system:serviceaccount:team-a:default-editor",
            "aud": ["https://kubernetes.default.svc.cluster.local"],
            "iat": START, "nbf": START, "exp": START + 3600,
            "kubernetes.io": {
                "namespace": "team-a",
                "serviceaccount": {"name": "default-editor", "uid": "u-1"},
                "pod": {"name": "client-0", "uid": "p-1"},
            },
        })
    );
}

#[test]
fn audiences_decide() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = open(folder.path(), ClusterKey::Es256);
    for (audiences, accepted) in [
        (&[][..], true),
        (&[INGRESS_AUDIENCE], true),
        (&["pipelines.kubeflow.org"], false),
        (&["pipelines.kubeflow.org", CLUSTER_ISSUER], true),
    ] {
        let mut request = request("a", "b");
        request.audiences = audiences
            .iter()
            .map(|&audience| audience.to_owned())
            .collect();
        let token = issuer.issue(&request, at(0)).unwrap();
        assert_eq!(
            issuer.verify(token.expose(), at(1)).is_ok(),
            accepted,
            "{audiences:?}"
        );
    }
}

#[test]
fn another_cluster_cannot_sign_for_this_one() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [ours, theirs] = folders
        .each_ref()
        .map(|folder| open(folder.path(), ClusterKey::Es256));
    let token = theirs.issue(&request("a", "b"), at(0)).unwrap();
    let error = ours.verify(token.expose(), at(1)).unwrap_err();
    assert!(error.0.contains("does not publish"), "{error:?}");
}

#[test]
fn subject_and_kubernetes_claims_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = open(folder.path(), ClusterKey::Es256);
    let token = issuer.issue(&request("team-a", "robot"), at(0)).unwrap();
    let good = claims_of(&token);
    let check = |change: fn(&mut serde_json::Value), expected: &str| {
        let mut claims = good.clone();
        change(&mut claims);
        let token = jose::compact(issuer.key.algorithm(), &issuer.kid, &claims, |signed| {
            issuer.key.sign(signed)
        });
        let error = issuer.verify(&token.unwrap(), at(1)).unwrap_err();
        assert!(error.0.contains(expected), "{error:?}");
    };
    check(
        |claims| claims["kubernetes.io"]["namespace"] = json!("kube-system"),
        "`kubernetes.io`",
    );
    check(
        |claims| claims["kubernetes.io"] = json!({}),
        "`kubernetes.io`",
    );
    check(
        |claims| claims["sub"] = json!("system:serviceaccount:team-a"),
        "`sub`",
    );
    check(
        |claims| claims["sub"] = json!("system:serviceaccount:team-a:robot:x"),
        "`sub`",
    );
    check(
        |claims| claims["sub"] = json!("system:serviceaccount::robot"),
        "`sub`",
    );
    check(|claims| claims["sub"] = json!("system:admin"), "`sub`");
    check(|claims| claims["iss"] = json!("https://other"), "issuer");
}

#[test]
fn names_that_are_none_get_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = open(folder.path(), ClusterKey::Es256);
    for (namespace, name) in [
        ("", "a"),
        ("a", ""),
        ("a:b", "c"),
        ("a", "b:c"),
        ("A", "b"),
        ("a.b", "c"),
    ] {
        let error = issuer.issue(&request(namespace, name), at(0)).unwrap_err();
        assert!(matches!(error, IssueError::Name(_)), "{namespace}/{name}");
    }
    assert!(issuer.issue(&request("a", "b.c"), at(0)).is_ok());
}

#[test]
fn a_life_time_is_held_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = open(folder.path(), ClusterKey::Es256);
    for (asked, given) in [(0, 1), (u64::MAX, 366 * 24 * 3600)] {
        let mut request = request("a", "b");
        request.duration = Duration::from_secs(asked);
        let claims = claims_of(&issuer.issue(&request, at(0)).unwrap());
        assert_eq!(claims["exp"], START + given);
    }
}

#[test]
fn a_key_file_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("service-account-issuer.pem"), "hello").unwrap();
    let error = ClusterIssuer::open(folder.path(), ClusterIssuerConfig::default()).unwrap_err();
    assert!(error.to_string().contains("expected a PKCS#8"), "{error}");
}
