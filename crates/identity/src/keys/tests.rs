use std::sync::atomic::AtomicU64;
use std::time::UNIX_EPOCH;

use policy::TokenHolder;

use super::store::Record;
use super::*;

const START: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

struct World {
    folder: tempfile::TempDir,
    time: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            time: Arc::new(AtomicU64::new(START)),
        }
    }

    fn open(&self) -> ApiKeys {
        let time = Arc::clone(&self.time);
        let clock: Clock =
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)));
        ApiKeys::open(self.folder.path(), clock).unwrap()
    }

    fn advance(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }
}

fn person(email: &str, groups: &[&str]) -> Person {
    Person {
        email: email.into(),
        subject: "1".into(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    }
}

fn new_key(owner: KeyOwner) -> NewKey {
    NewKey {
        owner,
        label: "laptop".to_owned(),
        scope: KeyScope::default(),
        life: Duration::from_secs(90 * DAY),
    }
}

fn of_person(email: &str) -> NewKey {
    new_key(KeyOwner::Person(person(email, &["a"])))
}

#[tokio::test]
async fn a_key_is_its_owner_until_it_ends() {
    let world = World::new();
    let keys = world.open();
    let scope = KeyScope {
        namespaces: vec!["team-a".into()],
        models: vec!["team-b/iris".into()],
    };
    let new = NewKey {
        scope: scope.clone(),
        ..of_person("a@b.c")
    };
    let (info, secret) = keys.create(new).await.unwrap();
    let found = keys.find(secret.expose()).unwrap();
    assert_eq!(found.holder, TokenHolder::Person(person("a@b.c", &["a"])));
    assert_eq!((&found.id, &*found.scope), (&info.id, &scope));
    let service = new_key(KeyOwner::Service("nightly-job".into()));
    let (_, other) = keys.create(service).await.unwrap();
    let found = keys.find(other.expose()).unwrap();
    assert_eq!(found.holder.user_name(), "service:nightly-job");
    world.advance(90 * DAY - 1);
    assert!(keys.find(secret.expose()).is_ok());
    world.advance(1);
    let TokenError(text) = keys.find(secret.expose()).unwrap_err();
    assert_eq!(text, "the API key has expired");
    keys.maintain().await.unwrap();
    assert!(keys.list().is_empty());
}

#[tokio::test]
async fn a_revoked_key_is_none_for_the_next_request() {
    let world = World::new();
    let keys = world.open();
    let (info, secret) = keys.create(of_person("a@b.c")).await.unwrap();
    let (_, other) = keys.create(of_person("d@b.c")).await.unwrap();
    let refused = keys.revoke(&info.id, Some("d@b.c")).await.unwrap_err();
    assert!(matches!(refused, KeyError::Unknown), "another's");
    assert!(keys.find(secret.expose()).is_ok());
    keys.revoke(&info.id, Some("a@b.c")).await.unwrap();
    let TokenError(text) = keys.find(secret.expose()).unwrap_err();
    assert_eq!(text, "the API key is unknown or was revoked");
    assert!(keys.revoke(&info.id, None).await.is_err());
    // It stays so after a restart.
    drop(keys);
    let keys = world.open();
    assert!(keys.find(secret.expose()).is_err());
    assert!(keys.find(other.expose()).is_ok());
    assert_eq!(keys.revoke_all_of("d@b.c").await.unwrap(), 1);
    assert!(keys.find(other.expose()).is_err());
}

#[tokio::test]
async fn what_is_stored_is_no_key_and_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    let keys = world.open();
    let (_, secret) = keys.create(of_person("a@b.c")).await.unwrap();
    assert!(!format!("{keys:?}{secret:?}").contains(secret.expose()));
    let path = world.folder.path().join("api-keys.redb");
    let bytes = std::fs::read(&path).unwrap();
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(holds(b"laptop"));
    assert!(!holds(&secret.expose().as_bytes()[4..20]));
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_last_use_is_known_and_written_down_by_the_minute() {
    let world = World::new();
    let keys = world.open();
    let (_, secret) = keys.create(of_person("a@b.c")).await.unwrap();
    assert_eq!(keys.list()[0].used, None);
    world.advance(5);
    keys.find(secret.expose()).unwrap();
    assert_eq!(keys.list()[0].used, Some(START + 5));
    drop(keys);
    let keys = world.open();
    assert_eq!(keys.list()[0].used, None, "not written for each use");
    keys.find(secret.expose()).unwrap();
    keys.maintain().await.unwrap();
    drop(keys);
    let keys = world.open();
    assert_eq!(keys.list()[0].used, Some(START + 5));
    assert!(keys.find(secret.expose()).is_ok());
}

#[tokio::test]
async fn a_login_gives_keys_the_groups_of_today() {
    let world = World::new();
    let keys = world.open();
    let (_, secret) = keys.create(of_person("a@b.c")).await.unwrap();
    let (_, other) = keys.create(of_person("d@b.c")).await.unwrap();
    keys.logged_in(&person("a@b.c", &["b"])).await.unwrap();
    let groups = |secret: &Secret| match keys.find(secret.expose()).unwrap().holder {
        TokenHolder::Person(person) => person.groups,
        holder => panic!("{holder:?}"),
    };
    assert_eq!(groups(&secret), ["b".into()].into());
    assert_eq!(groups(&other), ["a".into()].into());
    drop(keys);
    assert_eq!(
        world.open().list_of("a@b.c")[0].owner,
        KeyOwner::Person(person("a@b.c", &["b"]))
    );
}

#[tokio::test]
async fn keys_that_make_no_sense_are_not_made() {
    let world = World::new();
    let keys = world.open();
    let base = || of_person("a@b.c");
    let scope = |namespaces: &[&str], models: &[&str]| NewKey {
        scope: KeyScope {
            namespaces: namespaces.iter().map(|name| Arc::from(*name)).collect(),
            models: models.iter().map(|name| Arc::from(*name)).collect(),
        },
        ..base()
    };
    let many: Vec<String> = (0..65).map(|number| format!("ns-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (new, field) in [
        (of_person("nobody"), "owner"),
        (of_person(""), "owner"),
        (of_person("a@b.c\nx"), "owner"),
        (new_key(KeyOwner::Service("A b".into())), "owner"),
        (
            NewKey {
                label: String::new(),
                ..base()
            },
            "name",
        ),
        (
            NewKey {
                label: "x".repeat(81),
                ..base()
            },
            "name",
        ),
        (
            NewKey {
                label: "a\u{7}".to_owned(),
                ..base()
            },
            "name",
        ),
        (scope(&["Team A"], &[]), "namespaces"),
        (scope(&[], &["iris"]), "models"),
        (scope(&[], &["a/b/c"]), "models"),
        (scope(&many, &[]), "scope"),
        (
            NewKey {
                life: Duration::ZERO,
                ..base()
            },
            "duration",
        ),
        (
            NewKey {
                life: LONGEST_KEY_LIFE + Duration::from_secs(1),
                ..base()
            },
            "duration",
        ),
    ] {
        let error = keys.create(new).await.unwrap_err();
        let KeyError::Wrong { field: found, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*found, field, "{error}");
    }
    assert!(keys.list().is_empty());
}

#[tokio::test]
async fn nobody_fills_the_table() {
    let world = World::new();
    let keys = world.open();
    for _ in 0..MAX_KEYS_OF_ONE {
        keys.create(of_person("a@b.c")).await.unwrap();
    }
    let error = keys.create(of_person("a@b.c")).await.unwrap_err();
    assert!(matches!(error, KeyError::Many(_)), "{error}");
    // Another's, and one's own again when an old one has ended.
    keys.create(of_person("d@b.c")).await.unwrap();
    world.advance(91 * DAY);
    keys.create(of_person("a@b.c")).await.unwrap();
    assert_eq!(keys.list().len(), 1);
}

#[tokio::test]
async fn many_keys_are_found_after_a_restart() {
    let world = World::new();
    let store = Store::open(&world.folder.path().join("api-keys.redb")).unwrap();
    let mut secrets = Vec::new();
    let mut records = Vec::new();
    for number in 0..10_000 {
        let secret = secret::new().unwrap();
        let info = KeyInfo {
            id: format!("key-{number}").into(),
            owner: KeyOwner::Service(format!("job-{number}").into()),
            label: "x".into(),
            scope: Arc::default(),
            created: START,
            expires: START + DAY,
            used: None,
        };
        records.push((
            secret::digest(secret.expose()).unwrap(),
            Some(Record::of(&info)),
        ));
        secrets.push(secret);
    }
    store.write(&records).unwrap();
    drop(store);
    let keys = world.open();
    for (number, secret) in secrets.iter().enumerate() {
        let found = keys.find(secret.expose()).unwrap();
        assert_eq!(&*found.id, format!("key-{number}"));
    }
    assert!(keys.find(secret::new().unwrap().expose()).is_err());
}
