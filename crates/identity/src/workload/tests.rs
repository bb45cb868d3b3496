use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn at(time: &Arc<AtomicU64>) -> Clock {
    let time = Arc::clone(time);
    Arc::new(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)))
}

fn workload(namespace: &str, name: &str, pod: &str) -> Workload {
    Workload {
        pod: pod.into(),
        service_account: ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        },
    }
}

fn basic_header(username: &str, password: &str) -> HeaderValue {
    let text = STANDARD.encode(format!("{username}:{password}"));
    HeaderValue::try_from(format!("Basic {text}")).unwrap()
}

fn open() -> (tempfile::TempDir, Arc<AtomicU64>, WorkloadCredentials) {
    let folder = tempfile::tempdir().unwrap();
    let time = Arc::new(AtomicU64::new(1_800_000_000));
    let credentials = WorkloadCredentials::open(folder.path(), at(&time)).unwrap();
    (folder, time, credentials)
}

#[test]
fn credentials_prove_their_workload_for_a_day_and_across_a_restart() {
    let (folder, time, credentials) = open();
    let ours = workload("kserve-test", "default", "client-5d9.x");
    let login = credentials.issue(&ours).unwrap();
    let header = basic_header(&login.username, login.password.expose());
    assert_eq!(credentials.verify(&header), Ok(ours.clone()));
    let restarted = WorkloadCredentials::open(folder.path(), at(&time)).unwrap();
    assert_eq!(restarted.verify(&header), Ok(ours));
    time.fetch_add(24 * 3600 - 1, Ordering::SeqCst);
    assert!(restarted.verify(&header).is_ok());
    time.fetch_add(1, Ordering::SeqCst);
    assert_eq!(restarted.verify(&header), Err(WorkloadError::Expired));
}

#[test]
fn they_need_no_escaping_in_a_url() {
    let (_folder, _, credentials) = open();
    let login = credentials.issue(&workload("a", "b.c", "d-0")).unwrap();
    let address = format!(
        "http://{}:{}@127.0.0.1:8081",
        login.username,
        login.password.expose()
    );
    let url = url::Url::parse(&address).unwrap();
    assert_eq!(url.username(), login.username);
    assert_eq!(url.password(), Some(login.password.expose()));
}

#[test]
fn one_pod_cannot_make_anothers() {
    let (_folder, _, credentials) = open();
    let login = credentials
        .issue(&workload("team-a", "default", "client"))
        .unwrap();
    let password = login.password.expose();
    for username in [
        "team-b~default~client",
        "team-a~admin~client",
        "team-a~default~other",
        "team-a~default.client~x",
    ] {
        let header = basic_header(username, password);
        assert_eq!(
            credentials.verify(&header),
            Err(WorkloadError::Forged),
            "{username}"
        );
    }
    let (_other_folder, _, other) = open();
    let header = basic_header(&login.username, password);
    assert_eq!(other.verify(&header), Err(WorkloadError::Forged));
    // A later expiry needs a new tag, and every byte of the tag counts.
    let bytes = URL_SAFE_NO_PAD.decode(password).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let header = basic_header(&login.username, &URL_SAFE_NO_PAD.encode(changed));
        assert_eq!(
            credentials.verify(&header),
            Err(WorkloadError::Forged),
            "byte {at}"
        );
    }
    for length in 0..bytes.len() {
        let header = basic_header(&login.username, &URL_SAFE_NO_PAD.encode(&bytes[..length]));
        assert!(credentials.verify(&header).is_err(), "{length} bytes");
    }
}

#[test]
fn other_headers_are_refused() {
    let (_folder, _, credentials) = open();
    let login = credentials.issue(&workload("a", "b", "c")).unwrap();
    let good = basic_header(&login.username, login.password.expose());
    let good = good.to_str().unwrap();
    assert!(
        credentials
            .verify(&good.replace("Basic", "bAsIc").parse().unwrap())
            .is_ok()
    );
    for value in [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic eA==",
        "Basic Ojo=",
        "Bearer x",
        "Basic YX5ifmM6",
        &good.replace("Basic ", "Basic\t"),
        &format!("{good}x"),
        &format!("Basic {}", "A".repeat(1 << 20)),
    ] {
        let header = HeaderValue::from_str(value).unwrap();
        assert_eq!(
            credentials.verify(&header),
            Err(WorkloadError::Malformed),
            "{value:.40}"
        );
    }
}

#[test]
fn names_that_are_none_get_no_credentials() {
    let (_folder, _, credentials) = open();
    for (namespace, name, pod) in [
        ("", "b", "c"),
        ("a", "b~c", "d"),
        ("a", "b", "C"),
        ("a.b", "c", "d"),
    ] {
        assert!(credentials.issue(&workload(namespace, name, pod)).is_err());
    }
}

#[test]
fn passwords_and_keys_do_not_print_themselves() {
    let (_folder, _, credentials) = open();
    let login = credentials.issue(&workload("a", "b", "c")).unwrap();
    assert!(!format!("{login:?}").contains(login.password.expose()));
    assert_eq!(format!("{credentials:?}"), "WorkloadCredentials(..)");
}

#[test]
fn no_header_makes_it_stumble() {
    let (_folder, _, credentials) = open();
    let anything = (
        proptest::collection::vec(any::<u8>(), 0..120),
        "[a-z~.:-]{0,60}",
    );
    let check = |(value, text): (Vec<u8>, String)| {
        if let Ok(header) = HeaderValue::from_bytes(&value) {
            prop_assert!(credentials.verify(&header).is_err());
        }
        let header = format!("Basic {}", STANDARD.encode(&text));
        let header = HeaderValue::try_from(header).unwrap();
        prop_assert!(credentials.verify(&header).is_err());
        Ok(())
    };
    TestRunner::default().run(&anything, check).unwrap();
}
