//! What a person shows after the password, checked and used up.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::webauthn::{self, Answer};
use super::{
    CHALLENGE_SECONDS, Challenge, Factors, Method, Passkey, Spent, place_of, recovery, totp,
};
use crate::params::Params;
use crate::provider::Inner;
use crate::user::UserRef;

impl Inner {
    /// What a person shows after the password: a code of the app, one on paper, or what a passkey
    /// signed. `Some(None)` when it does not count.
    pub(crate) async fn prove(
        &self,
        request: &Request<Bytes>,
        user: &UserRef,
        challenge: Option<&Challenge>,
        form: &Params,
    ) -> Option<Option<Method>> {
        let field = |name| form.get(name).ok().flatten().unwrap_or_default();
        if !field("signature").is_empty() {
            return self.prove_passkey(request, user, challenge, form).await;
        }
        if !field("recovery").is_empty() {
            let digest = recovery::digest(&self.sealer, user, field("recovery"));
            let found = self.change_factors(user, move |factors, _| {
                let before = factors.recovery.len();
                factors.recovery.retain(|known| *known != digest);
                Ok(factors.recovery.len() < before)
            });
            return Some(found.await?.then_some(Method::Otp));
        }
        let (code, now) = (field("code").to_owned(), self.now());
        let sealer = std::sync::Arc::clone(&self.sealer);
        let found = self.change_factors(user, move |factors, _| {
            let step = factors.totp.as_mut().and_then(|totp| {
                let secret = sealer.open::<String>("totp", &totp.secret)?;
                let step = totp::step_of(&secret, &code, now, totp.used)?;
                totp.used = step;
                Some(step)
            });
            Ok(step.is_some())
        });
        Some(found.await?.then_some(Method::Otp))
    }

    async fn prove_passkey(
        &self,
        request: &Request<Bytes>,
        user: &UserRef,
        challenge: Option<&Challenge>,
        form: &Params,
    ) -> Option<Option<Method>> {
        let field = |name| form.get(name).ok().flatten().unwrap_or_default();
        let now = self.now();
        let ours = |challenge: &&Challenge| {
            challenge.user.is_same_user(user) && challenge.expires_at > now
        };
        let Some(challenge) = challenge.filter(ours) else {
            return Some(None);
        };
        let answer = Answer {
            id: field("id"),
            client_data: field("client_data"),
            authenticator_data: field("authenticator_data"),
            signature: field("signature"),
            ..Answer::default()
        };
        let Some(place) = place_of(request) else {
            return Some(None);
        };
        let credentials = self.factors(user)?.credentials();
        let checked = webauthn::authenticate(&place, &challenge.value, &credentials, &answer);
        let (id, count) = match checked {
            Ok(found) => found,
            Err(refused) => {
                tracing::info!(why = %refused, "a passkey was refused");
                return Some(None);
            }
        };
        let (key, spent) = (self.spent_key(challenge), Spent::new(challenge));
        let found = self.change_factors(user, move |factors, batch| {
            let mut own = factors.passkeys.iter_mut();
            let Some(passkey) = own.find(|passkey| passkey.credential.id == id) else {
                return Ok(false);
            };
            let before = passkey.credential.count;
            let grows = (count == 0 && before == 0) || count > before;
            if !grows || batch.get::<Spent>(&key)?.is_some() {
                return Ok(false);
            }
            passkey.credential.count = count;
            batch.insert(&key, &spent, now)?;
            Ok(true)
        });
        Some(found.await?.then_some(Method::Hwk))
    }

    pub(super) fn spent_key(&self, challenge: &Challenge) -> String {
        self.sealer.mac("challenge", &challenge.value)
    }

    /// What the script of a login gives to the browser; `None` where the browser has no passkeys
    /// for this address.
    pub(crate) fn passkey_request(
        &self,
        request: &Request<Bytes>,
        factors: &Factors,
        challenge: &Challenge,
    ) -> Option<Value> {
        let place = place_of(request)?;
        let here: Vec<&str> = factors
            .passkeys
            .iter()
            .filter(|passkey| passkey.credential.rp_id == place.rp_id)
            .map(Passkey::id)
            .collect();
        (!here.is_empty()).then(|| {
            json!({
                "challenge": challenge.value,
                "rpId": place.rp_id,
                "allow": here,
                "timeout": CHALLENGE_SECONDS * 1000,
            })
        })
    }
}
