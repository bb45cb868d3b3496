//! Sessions of a person, for who looks after the program.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::owner::Owner;
use super::store::StoreError;
use super::{Hash, Sessions, Whose, blocking};
use crate::clock::now;

/// What is told of a session. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// A name for it that is no secret: nobody is let in with it.
    pub id: String,
    /// Whose it is, by e-mail address.
    pub email: String,
    /// `iss` of the login, where it is known.
    pub issuer: Option<String>,
    /// When it was used last, to a minute.
    pub used: u64,
    /// When it ends at the latest.
    pub expires: u64,
}

impl Sessions {
    /// The sessions of a person that have not ended, those used last first.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn list_of(&self, email: &str) -> Result<Vec<SessionInfo>, StoreError> {
        let shared = std::sync::Arc::clone(&self.shared);
        let owner = Owner::from(Whose::Email(email));
        shared.store.catch_up().await;
        blocking(move || {
            let (now, idle) = (now(&shared.clock), shared.idle());
            let mut found = Vec::new();
            for hash in shared.store.of(&owner)? {
                let Some(record) = shared.store.get(&hash)? else {
                    continue;
                };
                let used = shared.touched().get(&hash).copied().unwrap_or(record.seen);
                if now < record.expires && now < used.saturating_add(idle) {
                    found.push(SessionInfo {
                        id: name(&hash),
                        email: record.email,
                        issuer: record.issuer,
                        used,
                        expires: record.expires,
                    });
                }
            }
            found.sort_by(|a, b| (b.used, &a.id).cmp(&(a.used, &b.id)));
            Ok(found)
        })
        .await
    }

    /// Ends one session of a person, by its name; true if there was one. No request after this
    /// finds it.
    ///
    /// # Errors
    /// When the disk cannot be read or written; the session then lives on.
    pub async fn end_one_of(&self, email: &str, id: &str) -> Result<bool, StoreError> {
        let shared = std::sync::Arc::clone(&self.shared);
        let (owner, id) = (Owner::from(Whose::Email(email)), id.to_owned());
        shared.store.catch_up().await;
        blocking(move || {
            let mut theirs = shared.store.of(&owner)?;
            theirs.retain(|hash| name(hash) == id);
            let ended = shared.store.remove(&theirs)? > 0;
            shared.forget(&theirs);
            Ok(ended)
        })
        .await
    }
}

/// The start of a digest of the secret: it tells sessions apart and opens nothing.
fn name(hash: &Hash) -> String {
    let (start, _) = hash.split_at(9);
    URL_SAFE_NO_PAD.encode(start)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, UNIX_EPOCH};

    use policy::Person;

    use crate::session::{NewSession, SessionConfig};

    use super::*;

    fn person(email: &str) -> Person {
        Person {
            email: email.into(),
            subject: "1".into(),
            groups: [].into(),
        }
    }

    #[tokio::test]
    async fn one_session_of_a_person_is_ended_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(1_000));
        let clock = Arc::clone(&time);
        let config = SessionConfig {
            idle: Duration::from_secs(100),
            ..SessionConfig::default()
        };
        let sessions = Sessions::open(
            folder.path(),
            config,
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::SeqCst))),
        )
        .unwrap();
        let start = |email: &str| sessions.create(NewSession::of(person(email)));
        let old = start("a@b.c").await.unwrap();
        let other = start("x@b.c").await.unwrap();
        time.store(1_070, Ordering::SeqCst);
        let new = start("a@b.c").await.unwrap();
        let listed = sessions.list_of("a@b.c").await.unwrap();
        let [first, second] = listed.as_slice() else {
            panic!("{listed:?}")
        };
        assert_eq!((first.used, second.used), (1_070, 1_000));
        assert_eq!(second.expires, 1_000 + 24 * 3600);
        // Neither the secret nor a part of it.
        for info in &listed {
            assert!(!old.expose().contains(&info.id) && !new.expose().contains(&info.id));
            assert!(sessions.find(&info.id).is_none());
        }
        // Used now, though nothing is written down yet.
        assert!(sessions.find(old.expose()).is_some());
        assert_eq!(sessions.list_of("a@b.c").await.unwrap()[0].used, 1_070);

        let id = second.id.clone();
        assert!(!sessions.end_one_of("x@b.c", &id).await.unwrap());
        assert!(sessions.end_one_of("a@b.c", &id).await.unwrap());
        assert!(!sessions.end_one_of("a@b.c", &id).await.unwrap());
        assert!(sessions.find(old.expose()).is_none());
        assert!(sessions.find(new.expose()).is_some());
        assert!(sessions.find(other.expose()).is_some());
        // One that has ended by itself is not listed, swept or not.
        time.store(1_200, Ordering::SeqCst);
        assert_eq!(sessions.list_of("a@b.c").await.unwrap(), []);
    }
}
