//! What upstreams are told, and that their keys verify it.

use policy::{KeyScope, Person, Service, ServiceAccount};

use super::*;
use crate::jose::{KeySet, Unverified};

fn audience() -> Audience {
    Audience {
        namespace: "team-a".into(),
        name: "iris".into(),
    }
}

fn ada() -> TokenHolder {
    TokenHolder::Person(Person {
        email: "ada@example.com".into(),
        subject: "1".into(),
        groups: ["ml".into(), "ops".into()].into(),
    })
}

fn header(signer: &IdentitySigner, caller: &Caller) -> Option<HeaderValue> {
    let audience = audience();
    let terms = Terms {
        issuer: "sidegate.dev/identity",
        audience: &audience,
        seconds: 60,
    };
    signer.header(&terms, caller, 100)
}

/// What a published key set verifies of a token.
fn verified(jwks: &str, token: &HeaderValue) -> Option<Value> {
    let keys = KeySet::parse(jwks.as_bytes()).unwrap();
    let token = Unverified::parse(token.to_str().unwrap(), MAX_BYTES).unwrap();
    let claims = token.verify(&keys).ok()?;
    Some(Value::Object(claims.clone().into_object()))
}

#[test]
fn each_kind_of_caller_is_told_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let signer = IdentitySigner::open(folder.path()).unwrap();
    let account = TokenHolder::ServiceAccount(ServiceAccount {
        namespace: "shop".into(),
        name: "backend".into(),
    });
    let service = TokenHolder::Service(Service {
        name: "nightly".into(),
        groups: ["jobs".into()].into(),
    });
    let TokenHolder::Person(person) = ada() else {
        unreachable!()
    };
    let ada_is = json!({"sub": "ada@example.com", "kind": "person", "groups": ["ml", "ops"]});
    let key = Key {
        id: "k1".into(),
        holder: service.clone(),
        scope: Arc::new(KeyScope::default()),
    };
    for (caller, expected) in [
        (Caller::Session(person), ada_is.clone()),
        (Caller::Token(ada()), ada_is),
        (
            Caller::Token(account),
            json!({"sub": "system:serviceaccount:shop:backend", "kind": "service-account", "groups": [],
                "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "backend"}}}),
        ),
        (
            Caller::Token(service),
            json!({"sub": "service:nightly", "kind": "service", "groups": ["jobs"]}),
        ),
        (
            Caller::Key(key),
            json!({"sub": "service:nightly", "kind": "service", "groups": ["jobs"], "key": "k1"}),
        ),
    ] {
        let token = header(&signer, &caller).unwrap();
        let mut expected = expected;
        let all = expected.as_object_mut().unwrap();
        all.insert("iss".into(), "sidegate.dev/identity".into());
        all.insert("aud".into(), "team-a/iris".into());
        all.insert("iat".into(), 100.into());
        all.insert("exp".into(), 160.into());
        assert_eq!(verified(&signer.jwks(), &token), Some(expected));
        assert!(token.is_sensitive());
    }
    assert!(header(&signer, &Caller::Anonymous).is_none());
    let wrong = Caller::BadToken(policy::TokenError("it is none".into()));
    assert!(header(&signer, &wrong).is_none());
}

#[test]
fn a_header_that_servers_would_refuse_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let signer = IdentitySigner::open(folder.path()).unwrap();
    let person = Person {
        email: "ada@example.com".into(),
        subject: "1".into(),
        groups: (0..900).map(|n| format!("group-{n}").into()).collect(),
    };
    assert!(header(&signer, &Caller::Session(person)).is_none());
}

#[test]
fn keys_change_while_old_ones_still_verify() {
    let folder = tempfile::tempdir().unwrap();
    let signer = IdentitySigner::open(folder.path()).unwrap();
    let path = folder.path().join("identity.pem");
    let old = std::fs::read_to_string(&path).unwrap();
    let before = header(&signer, &Caller::Token(ada())).unwrap();
    let new = String::from_utf8(pem::new_p256().unwrap()).unwrap();
    std::fs::write(&path, format!("{new}{old}")).unwrap();
    signer.read_again().unwrap();
    let after = header(&signer, &Caller::Token(ada())).unwrap();
    assert!(verified(&signer.jwks(), &before).is_some());
    assert!(verified(&signer.jwks(), &after).is_some());
    let again = IdentitySigner::open(folder.path()).unwrap();
    assert_eq!(again.jwks(), signer.jwks());
    // The old one is gone: what it signed is worth nothing.
    std::fs::write(&path, &new).unwrap();
    signer.read_again().unwrap();
    assert!(verified(&signer.jwks(), &before).is_none());
    for wrong in ["", "no key", &format!("{new}x")] {
        std::fs::write(&path, wrong).unwrap();
        let error = signer.read_again().unwrap_err().to_string();
        assert!(error.contains("1 to 16 keys"), "{error}");
        let same = header(&signer, &Caller::Token(ada())).unwrap();
        assert!(verified(&signer.jwks(), &same).is_some());
    }
}
