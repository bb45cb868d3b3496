//! Second factors as they come and go.

use bytes::Bytes;
use http::Request;
use secret::Secret;
use serde_json::{Value, json};

use super::webauthn::{self, Answer};
use super::{
    Added, AppSetup, CHALLENGE_SECONDS, Challenge, MAX_NAME, MAX_PASSKEYS, NewTotp, Passkey,
    SETUP_SECONDS, Spent, Totp, cose, place_of, recovery, totp,
};
use crate::params::Params;
use crate::provider::Inner;
use crate::user::UserRef;

impl Inner {
    /// What the script of the account page gives to the browser for a new passkey.
    pub(crate) fn passkey_creation(
        &self,
        request: &Request<Bytes>,
        user: &UserRef,
        email: &str,
        challenge: &Challenge,
    ) -> Option<Value> {
        let place = place_of(request)?;
        let known: Vec<String> = self
            .factors(user)?
            .passkeys
            .iter()
            .map(|passkey| passkey.id().to_owned())
            .collect();
        Some(json!({
            "challenge": challenge.value,
            "rpId": place.rp_id,
            "rpName": self.look.name,
            "user": self.factors_key(user),
            "name": email,
            "algorithms": cose::ALGORITHMS,
            "exclude": known,
            "timeout": CHALLENGE_SECONDS * 1000,
        }))
    }

    /// Keeps a new passkey.
    pub(crate) async fn add_passkey(
        &self,
        request: &Request<Bytes>,
        user: &UserRef,
        challenge: &Challenge,
        form: &Params,
    ) -> Option<Added> {
        let field = |name| form.get(name).ok().flatten().unwrap_or_default();
        let now = self.now();
        let answer = Answer {
            id: field("id"),
            client_data: field("client_data"),
            attestation: field("attestation"),
            ..Answer::default()
        };
        let ours = challenge.user.is_same_user(user) && challenge.expires_at > now;
        let Some(place) = place_of(request).filter(|_| ours) else {
            return Some(Added::Wrong);
        };
        let credential = match webauthn::register(&place, &challenge.value, &answer) {
            Ok(credential) => credential,
            Err(refused) => {
                tracing::info!(why = %refused, "a new passkey was refused");
                return Some(Added::Wrong);
            }
        };
        let name: String = field("name").trim().chars().take(MAX_NAME).collect();
        let passkey = Passkey {
            name: if name.is_empty() { place.rp_id } else { name },
            added_at: now,
            credential,
        };
        let (key, spent) = (self.spent_key(challenge), Spent::new(challenge));
        self.change_factors(user, move |factors, batch| {
            if factors.passkeys.len() >= MAX_PASSKEYS {
                return Ok(Added::Full);
            }
            let id = passkey.credential.id.as_str();
            let twice = factors.passkeys.iter().any(|known| known.id() == id);
            if twice || batch.get::<Spent>(&key)?.is_some() {
                return Ok(Added::Wrong);
            }
            batch.insert(&key, &spent, now)?;
            factors.passkeys.push(passkey.clone());
            Ok(Added::Yes)
        })
        .await
    }

    pub(crate) async fn remove_passkey(&self, user: &UserRef, id: &str) -> Option<()> {
        let id = id.to_owned();
        self.change_factors(user, move |factors, _| {
            factors.passkeys.retain(|passkey| passkey.id() != id);
            Ok(())
        })
        .await
    }

    /// A secret for an app; it counts from its first code on.
    pub(crate) fn new_app(&self, user: &UserRef, email: &str) -> Option<AppSetup> {
        let new = NewTotp {
            user: user.clone(),
            secret: totp::new_secret()?,
            expires_at: self.now().saturating_add(SETUP_SECONDS),
        };
        let sealed = self.sealer.seal("new-totp", &new)?;
        Some(self.app_setup(email, new.secret, sealed))
    }

    fn app_setup(&self, email: &str, secret: String, sealed: String) -> AppSetup {
        AppSetup {
            uri: totp::uri(&self.look.name, email, &secret),
            secret,
            sealed,
        }
    }

    /// The same page again, after a code that does not count.
    pub(crate) fn same_app(&self, user: &UserRef, email: &str, sealed: &str) -> Option<AppSetup> {
        let new = self.sealer.open::<NewTotp>("new-totp", sealed)?;
        let ours = new.user.is_same_user(user) && new.expires_at > self.now();
        ours.then(|| self.app_setup(email, new.secret, sealed.to_owned()))
    }

    /// Takes an app in use with its first code, in the place of another.
    pub(crate) async fn add_app(&self, user: &UserRef, sealed: &str, code: &str) -> Option<Added> {
        self.take_app(user, sealed, code, false).await
    }

    /// As [`Self::add_app`], of a user who has no second factor at all; [`Added::Full`] where there is one.
    pub(crate) async fn add_first_app(
        &self,
        user: &UserRef,
        sealed: &str,
        code: &str,
    ) -> Option<Added> {
        self.take_app(user, sealed, code, true).await
    }

    async fn take_app(
        &self,
        user: &UserRef,
        sealed: &str,
        code: &str,
        only_first: bool,
    ) -> Option<Added> {
        let now = self.now();
        let new = self.sealer.open::<NewTotp>("new-totp", sealed);
        let ours = |new: &NewTotp| new.user.is_same_user(user) && new.expires_at > now;
        let Some(new) = new.filter(ours) else {
            return Some(Added::Wrong);
        };
        let Some(used) = totp::step_of(&new.secret, code, now, 0) else {
            return Some(Added::Wrong);
        };
        let totp = Totp {
            secret: self.sealer.seal("totp", &new.secret)?,
            used,
            added_at: now,
        };
        self.change_factors(user, move |factors, _| {
            if only_first && factors.any() {
                return Ok(Added::Full);
            }
            factors.totp = Some(totp.clone());
            Ok(Added::Yes)
        })
        .await
    }

    pub(crate) async fn remove_app(&self, user: &UserRef) -> Option<()> {
        self.change_factors(user, |factors, _| {
            factors.totp = None;
            Ok(())
        })
        .await
    }

    /// New codes on paper in the place of all before; they are shown once.
    pub(crate) async fn new_codes(&self, user: &UserRef) -> Option<Vec<Secret>> {
        let codes = recovery::new_codes()?;
        let digests: Vec<String> = codes
            .iter()
            .map(|code| recovery::digest(&self.sealer, user, code.expose()))
            .collect();
        self.change_factors(user, move |factors, _| {
            factors.recovery.clone_from(&digests);
            Ok(())
        })
        .await?;
        Some(codes)
    }
}
