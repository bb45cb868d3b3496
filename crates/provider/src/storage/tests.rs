use std::sync::mpsc;

use redb::Database;

use super::schema::{GRANTS_1, META, SCHEMA, SCHEMA_KEY, SIGNING_1};
use super::*;
use crate::grant::{Grant, GrantId, Stage};
use crate::seal::{SECRET_LENGTH, Sealer};
use crate::user::{LOCAL, UserRef};

fn user(id: &str) -> UserRef {
    UserRef {
        user_id: id.to_owned(),
        connector: LOCAL.to_owned(),
        epoch: 0,
    }
}

fn grant(created_at: u64, expires_at: u64) -> Grant {
    Grant {
        client_id: "c".to_owned(),
        user: user("u"),
        scopes: Vec::new(),
        requested: crate::requested::Requested::default(),
        nonce: None,
        auth_time: created_at,
        created_at,
        expires_at,
        methods: Vec::new(),
        sid: None,
        stage: Stage::Revoked,
    }
}

fn open() -> (tempfile::TempDir, Storage) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    (folder, storage)
}

fn put(storage: &Storage, key: &str, created_at: u64, expires_at: u64) {
    let key = key.to_owned();
    storage
        .write_now(move |batch| batch.insert(&key, &grant(created_at, expires_at), created_at))
        .unwrap();
}

fn exists(storage: &Storage, key: &str) -> bool {
    storage.get::<Grant>(key).unwrap().is_some()
}

#[test]
fn a_user_keeps_the_newest_grants_and_no_expired_ones() {
    let (_folder, storage) = open();
    let sealer = Sealer::new(&[7; SECRET_LENGTH]).unwrap();
    let add = |user: &str, created_at, expires_at| {
        let id = GrantId::new(&sealer, &self::user(user)).unwrap();
        let name = id.clone();
        storage
            .write_now(move |batch| grant(created_at, expires_at).insert(batch, &name, created_at))
            .unwrap();
        id
    };
    let other = add("other", 0, 50);
    let expired = add("u", 1, 2);
    let first = add("u", 2, 1000);
    let second = add("u", 3, 1000);
    for n in 0..255 {
        add("u", 100 + n, 1000);
    }
    let kept = |id: &GrantId| exists(&storage, id.as_str());
    assert!(!kept(&expired) && !kept(&first));
    assert!(kept(&second));
    // Swept, as its time had come.
    assert!(!kept(&other));
}

/// While one transaction is under way, the writes that come in gather for the next.
#[test]
fn writes_that_wait_share_a_transaction() {
    let (_folder, storage) = open();
    let (entered, wait_entered) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let busy = storage.clone();
    let first = std::thread::spawn(move || {
        busy.write_now(move |_| {
            entered.send(()).unwrap();
            wait_release.recv().unwrap();
            Ok(())
        })
    });
    wait_entered.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let seen = runtime.block_on(async {
        let outside = storage.clone();
        let writer = storage.write(|batch| batch.put("a", &grant(1, 9)));
        let failing = storage.write(|_| -> Result<(), StorageError> {
            Err(serde_json::from_str::<u8>("damaged").unwrap_err().into())
        });
        let reader = storage.write(move |batch| {
            let inside = batch.get::<Grant>("a")?.is_some();
            Ok((inside, outside.get::<Grant>("a")?.is_some()))
        });
        let go = async {
            tokio::task::yield_now().await;
            release.send(()).unwrap();
        };
        let (written, failed, seen, ()) = tokio::join!(writer, failing, reader, go);
        written.unwrap();
        assert!(matches!(failed, Err(StorageError::Record(_))));
        seen.unwrap()
    });
    assert_eq!(seen, (true, false), "one transaction, not committed yet");
    assert!(exists(&storage, "a"), "the failure of one is its own");
    first.join().unwrap().unwrap();
}

#[test]
fn sweeping_is_bounded_and_spares_what_was_prolonged() {
    let (_folder, storage) = open();
    for n in 0..20 {
        put(&storage, &format!("old{n:02}"), 1, 10);
    }
    put(&storage, "old00", 2, 100);
    put(&storage, "new", 20, 100);
    let left = || {
        (0..20)
            .filter(|n| exists(&storage, &format!("old{n:02}")))
            .count()
    };
    assert_eq!(left(), 17, "four were looked at, one of them goes on");
    for n in 0..5 {
        put(&storage, &format!("new{n}"), 20, 100);
    }
    assert_eq!(left(), 1);
    assert!(exists(&storage, "old00") && exists(&storage, "new"));
}

#[test]
fn dropping_waits_for_what_was_asked() {
    let (folder, storage) = open();
    let (sender, _keep) = mpsc::channel::<()>();
    let job = job::job(
        |batch| {
            std::thread::yield_now();
            batch.put("last", &grant(1, 9))
        },
        move |_| drop(sender),
    );
    let Keeper::File(writer) = &storage.shared.keeper else {
        panic!("a file has a writer");
    };
    writer.send_now(job).unwrap();
    drop(storage);
    let storage = Storage::open(folder.path()).unwrap();
    assert!(exists(&storage, "last"));
}

#[test]
fn a_backup_is_the_database_at_one_moment() {
    let (folder, storage) = open();
    put(&storage, "before", 1, 99);
    storage
        .key_or_insert("sealing", || Ok::<_, StorageError>(vec![1, 2, 3]))
        .unwrap();
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("provider.redb");
    for round in 0..2 {
        storage.backup(&file).unwrap();
        put(&storage, &format!("after{round}"), 1, 99);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let restored = Storage::open(copy.path()).unwrap();
    assert!(exists(&restored, "before") && exists(&restored, "after0"));
    assert!(!exists(&restored, "after1"));
    let key = restored.key_or_insert("sealing", || Err::<Vec<u8>, _>(StorageError::Random));
    assert_eq!(key.unwrap(), [1, 2, 3]);
    // What expires is known in the copy, too.
    restored.write_now(|batch| batch.sweep(99, 9)).unwrap();
    assert!(!exists(&restored, "before"));
    assert!(exists(&storage, "before"));
    let missing = folder.path().join("missing").join("backup");
    assert!(matches!(
        storage.backup(&missing),
        Err(StorageError::File { .. })
    ));
}

#[test]
fn newer_data_is_refused_and_left_alone() {
    let (folder, storage) = open();
    put(&storage, "kept", 1, 99);
    drop(storage);
    let path = folder.path().join(FILE);
    let schema = |number: u64| {
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(META)
            .unwrap()
            .insert(SCHEMA_KEY, number)
            .unwrap();
        transaction.commit().unwrap();
    };
    schema(SCHEMA + 1);
    let error = Storage::open(folder.path()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("schema {}", SCHEMA + 1)) && text.contains("restore a backup"),
        "{text}"
    );
    schema(SCHEMA);
    assert!(exists(&Storage::open(folder.path()).unwrap(), "kept"));
}

/// Schema 1 as the first version wrote it: one key, and grants without an expiry beside them.
#[test]
fn data_of_schema_1_is_brought_forward() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(&[7; SECRET_LENGTH]).unwrap();
    let id = GrantId::new(&sealer, &user("u")).unwrap();
    let der = {
        use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        der.as_ref().to_vec()
    };
    {
        let database = Database::create(folder.path().join(FILE)).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut keys = transaction.open_table(KEYS).unwrap();
            keys.insert("sealing", [7; SECRET_LENGTH].as_slice())
                .unwrap();
            keys.insert(SIGNING_1, der.as_slice()).unwrap();
            let json = r#"{"client_id":"c","user_id":"u","scopes":["openid"],"nonce":null,
                "auth_time":5,"created_at":5,"expires_at":50,
                "stage":{"Active":{"generation":3,"rotated_at":6,"used_at":6}}}"#;
            let mut grants = transaction.open_table(GRANTS_1).unwrap();
            grants.insert(id.as_str(), json.as_bytes()).unwrap();
        }
        transaction.commit().unwrap();
    }
    let storage = Storage::open(folder.path()).unwrap();
    let grant = storage.get::<Grant>(id.as_str()).unwrap().unwrap();
    assert_eq!(
        grant.stage,
        Stage::Active {
            generation: 3,
            rotated_at: 6,
            used_at: 6
        }
    );
    let (kid, _) = crate::keys::StoredKey::of_schema_1(&der).unwrap();
    assert_eq!(storage.signing_keys().unwrap().first().unwrap().0, kid);
    let sealing = storage.key_or_insert("sealing", || Err::<Vec<u8>, _>(StorageError::Random));
    assert_eq!(sealing.unwrap(), [7; SECRET_LENGTH]);
    storage.write_now(|batch| batch.sweep(50, 9)).unwrap();
    assert!(!exists(&storage, id.as_str()), "its end is known");
    drop(storage);
    Storage::open(folder.path()).unwrap();
}

#[test]
fn a_key_that_somebody_else_made_meanwhile_stays() {
    let (_folder, storage) = open();
    let other = storage.clone();
    let key = storage.key_or_insert("sealing", || {
        other.key_or_insert("sealing", || Ok::<_, StorageError>(vec![1]))?;
        Ok::<_, StorageError>(vec![2])
    });
    assert_eq!(key.unwrap(), [1]);
}
