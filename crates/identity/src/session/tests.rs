use std::sync::atomic::AtomicU64;
use std::time::UNIX_EPOCH;

use super::*;

const START: u64 = 1_800_000_000;

struct World {
    folder: tempfile::TempDir,
    time: Arc<AtomicU64>,
    config: SessionConfig,
}

impl World {
    fn new(config: SessionConfig) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            time: Arc::new(AtomicU64::new(START)),
            config,
        }
    }

    fn open(&self) -> Sessions {
        let time = Arc::clone(&self.time);
        let clock: Clock =
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)));
        Sessions::open(self.folder.path(), self.config, clock).unwrap()
    }

    fn advance(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }
}

fn short() -> SessionConfig {
    SessionConfig {
        idle: Duration::from_secs(600),
        absolute: Duration::from_secs(3600),
        ..SessionConfig::default()
    }
}

fn person(email: &str) -> Person {
    Person {
        email: email.into(),
        subject: "1".into(),
        groups: ["a".into()].into(),
    }
}

fn login(email: &str) -> NewSession {
    NewSession {
        issuer: Some("https://idp.example".into()),
        sid: Some(format!("of {email}").into()),
        id_token: Some(Secret::new("t")),
        ..NewSession::of(person(email))
    }
}

async fn start(sessions: &Sessions, email: &str) -> String {
    let id = sessions.create(login(email)).await;
    id.unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_session_ends_when_idle_or_old() {
    let world = World::new(short());
    let sessions = world.open();
    let idle = start(&sessions, "a@b.c").await;
    world.advance(599);
    assert!(sessions.find(&idle).is_some());
    world.advance(599);
    assert!(sessions.find(&idle).is_some());
    world.advance(600);
    assert!(sessions.find(&idle).is_none());

    let used = start(&sessions, "a@b.c").await;
    for _ in 0..7 {
        world.advance(500);
        assert!(sessions.find(&used).is_some());
    }
    world.advance(100);
    assert!(sessions.find(&used).is_none(), "an hour is over");
}

#[tokio::test]
async fn other_times_count_for_new_sessions_and_for_use() {
    let world = World::new(short());
    let sessions = world.open();
    let before = start(&sessions, "a@b.c").await;
    sessions.use_times(Duration::from_secs(3000), Duration::from_secs(9000));
    assert_eq!(sessions.absolute_lifetime(), Duration::from_secs(9000));
    let after = start(&sessions, "a@b.c").await;
    world.advance(2900);
    assert!(sessions.find(&before).is_some() && sessions.find(&after).is_some());
    world.advance(2900);
    assert!(
        sessions.find(&before).is_none(),
        "the end it was begun with"
    );
    assert!(sessions.find(&after).is_some());
    sessions.use_times(Duration::from_secs(60), Duration::from_secs(9000));
    world.advance(61);
    assert!(sessions.find(&after).is_none());
}

#[tokio::test]
async fn use_is_remembered_across_a_restart() {
    let world = World::new(short());
    let sessions = world.open();
    let id = start(&sessions, "a@b.c").await;
    world.advance(500);
    assert!(sessions.find(&id).is_some());
    assert_eq!(sessions.maintain().await.unwrap(), 0);
    drop(sessions);
    world.advance(500);
    let sessions = world.open();
    let session = sessions.find(&id).unwrap();
    assert_eq!(session.person, person("a@b.c"));
    assert_eq!(sessions.id_token(&session), Some(Secret::new("t")));
}

#[tokio::test]
async fn an_ended_session_is_gone_from_memory_and_disk() {
    let world = World::new(short());
    let sessions = world.open();
    let id = start(&sessions, "a@b.c").await;
    assert!(sessions.find(&id).is_some());
    assert!(sessions.end(&id).await.unwrap());
    assert!(sessions.find(&id).is_none());
    assert!(!sessions.end(&id).await.unwrap());
    drop(sessions);
    assert!(world.open().find(&id).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_brings_an_ended_session_back() {
    // Without a cache every reader goes to the disk while sessions end.
    for cached in [0, 100] {
        let world = World::new(SessionConfig { cached, ..short() });
        let sessions = world.open();
        for _ in 0..8 {
            let id = start(&sessions, "a@b.c").await;
            let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let (sessions, id, stop) = (sessions.clone(), id.clone(), Arc::clone(&stop));
                    std::thread::spawn(move || {
                        while !stop.load(Ordering::SeqCst) {
                            sessions.find(&id);
                        }
                    })
                })
                .collect();
            assert!(sessions.end(&id).await.unwrap());
            for _ in 0..100 {
                assert!(sessions.find(&id).is_none());
            }
            stop.store(true, Ordering::SeqCst);
            for reader in readers {
                reader.join().unwrap();
            }
            assert!(sessions.find(&id).is_none());
        }
    }
}

#[tokio::test]
async fn all_sessions_of_one_person_can_be_ended() {
    let world = World::new(short());
    let sessions = world.open();
    let theirs = [
        start(&sessions, "a@b.c").await,
        start(&sessions, "a@b.c").await,
    ];
    let other = start(&sessions, "d@b.c").await;
    assert_eq!(sessions.end_all_of("a@b.c").await.unwrap(), 2);
    assert!(theirs.iter().all(|id| sessions.find(id).is_none()));
    assert!(sessions.find(&other).is_some());
}

#[tokio::test]
async fn sessions_end_by_the_providers_name_for_session_or_person() {
    let issuer = "https://idp.example";
    let sid = |issuer, subject| Whose::Sid {
        issuer,
        sid: "of a@b.c",
        subject,
    };
    let subject = |issuer| Whose::Subject {
        issuer,
        subject: "1",
    };
    for (whose, expected) in [
        (sid(issuer, None), [true, true, false]),
        (sid(issuer, Some("1")), [true, true, false]),
        (sid(issuer, Some("2")), [false; 3]),
        (sid("https://other.example", None), [false; 3]),
        (subject(issuer), [true; 3]),
        (subject("https://other.example"), [false; 3]),
    ] {
        let world = World::new(short());
        let sessions = world.open();
        let ids = [
            start(&sessions, "a@b.c").await,
            start(&sessions, "a@b.c").await,
            start(&sessions, "d@b.c").await,
        ];
        let unnamed = sessions.create(NewSession::of(person("a@b.c"))).await;
        let unnamed = unnamed.unwrap();
        let count = expected.iter().filter(|ended| **ended).count();
        assert_eq!(
            sessions.end_those(whose).await.unwrap(),
            u64::try_from(count).unwrap(),
            "{whose:?}"
        );
        let ended = ids.each_ref().map(|id| sessions.find(id).is_none());
        assert_eq!(ended, expected, "{whose:?}");
        assert!(sessions.find(unnamed.expose()).is_some(), "{whose:?}");
        assert_eq!(sessions.end_those(whose).await.unwrap(), 0, "{whose:?}");
    }
}

/// Files of versions before had no index and no `sid`.
#[tokio::test]
async fn sessions_of_an_older_file_are_found_by_their_person() {
    use redb::{ReadableDatabase as _, TableDefinition};

    let world = World::new(short());
    let sessions = world.open();
    let id = start(&sessions, "a@b.c").await;
    drop(sessions);
    let file = redb::Database::open(world.folder.path().join("sessions.redb")).unwrap();
    let write = file.begin_write().unwrap();
    let owners: TableDefinition<'_, &[u8; 64], ()> = TableDefinition::new("owners");
    assert!(write.delete_table(owners).unwrap());
    write.commit().unwrap();
    assert!(file.begin_read().unwrap().open_table(owners).is_err());
    drop(file);
    let sessions = world.open();
    assert!(sessions.find(&id).is_some());
    assert_eq!(sessions.end_all_of("a@b.c").await.unwrap(), 1);
    assert!(sessions.find(&id).is_none());
}

/// Files of versions before had the ID token in the session.
#[tokio::test]
async fn the_id_token_of_an_older_file_is_found_and_goes_with_its_session() {
    use redb::{
        ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
    };

    const SESSIONS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("sessions");
    const TOKENS: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("id_tokens");

    let world = World::new(short());
    let sessions = world.open();
    let id = start(&sessions, "a@b.c").await;
    drop(sessions);
    let path = world.folder.path().join("sessions.redb");
    let file = redb::Database::open(&path).unwrap();
    let write = file.begin_write().unwrap();
    {
        let hash = SessionId::hash(&id).unwrap();
        let mut table = write.open_table(SESSIONS).unwrap();
        let mut record = store::decode(table.get(&hash).unwrap().unwrap().value()).unwrap();
        assert_eq!(record.id_token, None, "it is apart");
        record.id_token = Some("t".to_owned());
        table.insert(&hash, &*store::encode(&record)).unwrap();
    }
    assert!(write.delete_table(TOKENS).unwrap());
    write.commit().unwrap();
    drop(file);

    let token = |sessions: &Sessions| sessions.id_token(&sessions.find(&id).unwrap());
    assert_eq!(token(&world.open()), Some(Secret::new("t")));
    // Written anew when its use is written down, and apart then.
    let sessions = world.open();
    world.advance(100);
    assert!(sessions.find(&id).is_some());
    sessions.maintain().await.unwrap();
    drop(sessions);
    let sessions = world.open();
    assert_eq!(token(&sessions), Some(Secret::new("t")));
    assert!(sessions.end(&id).await.unwrap());
    drop(sessions);
    let file = redb::Database::open(&path).unwrap();
    let read = file.begin_read().unwrap();
    assert_eq!(read.open_table(TOKENS).unwrap().len().unwrap(), 0);
}

#[tokio::test]
async fn sweeps_remove_what_has_ended_and_only_that() {
    let world = World::new(short());
    let sessions = world.open();
    let ended = start(&sessions, "a@b.c").await;
    world.advance(400);
    let live = start(&sessions, "d@b.c").await;
    world.advance(200);
    assert_eq!(sessions.maintain().await.unwrap(), 1);
    assert!(sessions.find(&ended).is_none());
    assert!(sessions.find(&live).is_some());
    world.advance(599);
    assert!(sessions.find(&live).is_some());
    world.advance(1);
    assert_eq!(sessions.maintain().await.unwrap(), 0, "used a second ago");
}

#[tokio::test]
async fn more_sessions_than_allowed_push_out_the_first_to_end() {
    let world = World::new(SessionConfig {
        max_sessions: 3,
        ..short()
    });
    let sessions = world.open();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(start(&sessions, "a@b.c").await);
        world.advance(1);
    }
    let live: Vec<bool> = ids.iter().map(|id| sessions.find(id).is_some()).collect();
    assert_eq!(live, [false, false, true, true, true]);
}

#[tokio::test]
async fn the_file_is_private_and_holds_no_session_id() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new(short());
    let sessions = world.open();
    let id = start(&sessions, "a@b.c").await;
    drop(sessions);
    let path = world.folder.path().join("sessions.redb");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&path).unwrap();
    let raw = URL_SAFE_NO_PAD.decode(&id).unwrap();
    assert!(!bytes.windows(32).any(|window| window == raw));
    assert!(!bytes.windows(43).any(|window| window == id.as_bytes()));
}

#[tokio::test]
async fn a_copy_taken_at_any_moment_opens_with_every_session_begun_before() {
    // What kill -9 leaves behind: the file as it is, never closed.
    let world = World::new(short());
    let sessions = world.open();
    let id = start(&sessions, "a@b.c").await;
    let copy = World::new(short());
    std::fs::copy(
        world.folder.path().join("sessions.redb"),
        copy.folder.path().join("sessions.redb"),
    )
    .unwrap();
    assert!(copy.open().find(&id).is_some());
    assert!(sessions.find(&id).is_some());
}

#[test]
fn a_file_that_is_no_session_store_is_refused() {
    let world = World::new(short());
    std::fs::write(world.folder.path().join("sessions.redb"), b"hello").unwrap();
    let error = Sessions::open(world.folder.path(), short(), crate::system_clock()).unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error}");
}

#[test]
fn an_id_does_not_print_itself() {
    assert_eq!(format!("{:?}", SessionId("x".to_owned())), "SessionId(..)");
}
