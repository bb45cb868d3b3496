//! Devices without a keyboard: `/device/code`, the page `/device`, and the poll (RFC 8628).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::authorize::{AuthRequest, challenge, drop_offline, scopes};
use crate::client_auth::{get, invalid, need, posted, repeated};
use crate::clock::is_recent;
use crate::config::{Client, GrantType};
use crate::grant::{Grant, GrantId, Stage};
use crate::limit::TooMany;
use crate::login::{Person, retry_after};
use crate::pages::{self, Page, failed, notice, page};
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::{Reply, internal, json, oauth_error};
use crate::seal::{random_below, random_token};
use crate::session::join;
use crate::storage::{Kind, Record};
use crate::token::check_scopes;
use crate::token_endpoint::verifies;
use crate::words::Text;

/// Consonants without those that look alike or make words (section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LENGTH: usize = 8;
/// Seconds between polls, and what a poll that comes too early adds (section 3.5).
const INTERVAL: u64 = 5;
/// How many devices may wait at a time.
const MAX_WAITING: u64 = 10_000;
/// What a request for a code takes away of what has expired, when there is no more room.
const SWEEP: usize = 256;
/// How many polling devices are remembered; none is forgotten before its time in ordinary use.
const MAX_POLLS: usize = 20_000;

/// A device that waits, under a digest of its user code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Device {
    client_id: String,
    scopes: Vec<String>,
    /// In the device code, too, so that a user code that comes again is another device.
    nonce: String,
    code_challenge: Option<String>,
    expires_at: u64,
    answer: Answer,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Answer {
    Waiting,
    Allowed(Person),
    Denied,
}

impl Record for Device {
    const KIND: Kind = Kind::Device;

    fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// What a device code holds.
#[derive(Serialize, Deserialize)]
struct DeviceCode {
    key: String,
    nonce: String,
}

/// When which device asked last, and how long it has to wait.
#[derive(Default)]
pub(crate) struct Polls(Mutex<HashMap<String, (u64, u64)>>);

impl Polls {
    /// False when a poll came too early.
    fn may(&self, nonce: &str, now: u64) -> bool {
        let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if polls.len() >= MAX_POLLS {
            polls.retain(|_, (last, interval)| is_recent(*last, *interval, now));
        }
        let early = match polls.get(nonce) {
            Some((last, interval)) => is_recent(*last, *interval, now).then_some(*interval),
            None => None,
        };
        let interval = early.map_or(INTERVAL, |interval| interval.saturating_add(INTERVAL));
        if polls.len() < MAX_POLLS || polls.contains_key(nonce) {
            polls.insert(nonce.to_owned(), (now, interval));
        }
        early.is_none()
    }
}

/// Why a device gets no tokens: a code of section 3.5 or RFC 6749.
type Refusal = (&'static str, &'static str);

impl Inner {
    /// `POST /device/code`: a device asks for its two codes.
    pub(crate) async fn device_code(
        &self,
        request: &Request<Bytes>,
        source: Option<IpAddr>,
    ) -> Result<Reply, Reply> {
        let params = posted(request)?;
        let client = self.client(request, &params)?;
        if !self.config.grants.device_code {
            let text = "device_code is not among oauth2.grantTypes";
            return Err(invalid("unauthorized_client", text));
        }
        if !client.allows_grant(GrantType::DeviceCode) {
            let text = "device_code is not among the grantTypes of this client";
            return Err(invalid("unauthorized_client", text));
        }
        if let Err(TooMany(seconds)) =
            self.device_limits
                .take(&per_source(source), source, self.now())
        {
            let text = "too many devices ask at once";
            let reply = oauth_error(StatusCode::TOO_MANY_REQUESTS, "slow_down", text);
            return Err(retry_after(reply, seconds));
        }
        let mut scopes = scopes(get(&params, "scope")?.unwrap_or("openid"))
            .map_err(|(error, text)| invalid(error, &text))?;
        check_scopes(self, &client, &scopes).map_err(|text| invalid("invalid_scope", &text))?;
        drop_offline(&client, &mut scopes);
        let challenge = challenge(
            get(&params, "code_challenge")?,
            get(&params, "code_challenge_method")?,
        )
        .map_err(|(error, text)| invalid(error, &text))?;
        let (now, lifetime) = (self.now(), self.config.expiry.device_requests.as_secs());
        let user_code = user_code().ok_or_else(internal)?;
        let nonce = random_token::<16>().ok_or_else(internal)?;
        let key = self.device_key(&user_code);
        let code = DeviceCode {
            key: key.clone(),
            nonce: nonce.clone(),
        };
        let device_code = self.sealer.seal("device", &code).ok_or_else(internal)?;
        let device = Device {
            client_id: client.id.clone(),
            scopes,
            nonce,
            code_challenge: challenge,
            expires_at: now.saturating_add(lifetime),
            answer: Answer::Waiting,
        };
        let kept = self
            .write(move |batch| {
                if batch.count(Kind::Device)? >= MAX_WAITING {
                    batch.sweep(now, SWEEP)?;
                }
                // The same code twice is rarer than anything; the device asks again.
                let taken = batch
                    .get::<Device>(&key)?
                    .is_some_and(|other| other.expires_at > now);
                if taken || batch.count(Kind::Device)? >= MAX_WAITING {
                    return Ok(false);
                }
                batch.insert(&key, &device, now)?;
                Ok(true)
            })
            .await
            .ok_or_else(internal)?;
        if !kept {
            let text = "too many devices wait for an answer";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let reply = oauth_error(status, "temporarily_unavailable", text);
            return Err(retry_after(reply, 30));
        }
        let page = format!("{}/device", self.config.issuer.url());
        let body = json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "expires_in": lifetime,
            "interval": INTERVAL,
        });
        Ok(json(StatusCode::OK, &body))
    }

    fn device_key(&self, user_code: &str) -> String {
        self.sealer.mac("user-code", &canonical(user_code))
    }

    /// `GET /device`: the form for the code.
    pub(crate) fn device_form(&self, request: &Request<Bytes>, query: &[u8]) -> Reply {
        let params = Params::parse(query).ok();
        let code = params
            .as_ref()
            .and_then(|params| params.get("user_code").ok()?)
            .filter(|code| code.len() <= 2 * CODE_LENGTH);
        self.device_page(request, StatusCode::OK, code.unwrap_or_default(), None)
    }

    fn device_page(
        &self,
        request: &Request<Bytes>,
        status: StatusCode,
        code: &str,
        problem: Option<Text>,
    ) -> Reply {
        let Some(browser) = self.browser_or_new(request) else {
            return failed();
        };
        let language = pages::asked_language(request).map_or_else(String::new, |language| {
            format!("?ui_locales={}", language.tag())
        });
        let base = self.config.issuer.path();
        let body = pages::Device {
            code: code.to_owned(),
            action: format!("{base}/device/auth/verify_code{language}"),
            token: self.form_token(&browser),
            problem,
        };
        let mut reply = page(status, Page::Device(body));
        self.set_browser(request, &mut reply, &browser);
        reply
    }

    /// `POST /device/auth/verify_code`: the person typed a code, and goes on to log in.
    pub(crate) async fn device_start(
        &self,
        request: &Request<Bytes>,
        source: Option<IpAddr>,
    ) -> Reply {
        let form = match self.own_token_form(request) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let typed = form.get("user_code").ok().flatten().unwrap_or_default();
        let typed = typed.get(..4 * CODE_LENGTH).unwrap_or(typed);
        // Guessing is slow: twenty letters to the eighth, and a few tries a minute.
        if let Err(TooMany(seconds)) =
            self.device_limits
                .take(&per_source(source), source, self.now())
        {
            let text = Text::new(|w| &w.too_many).with("seconds", seconds);
            let status = StatusCode::TOO_MANY_REQUESTS;
            let reply = self.device_page(request, status, typed, Some(text));
            return retry_after(reply, seconds);
        }
        let key = self.device_key(typed);
        let now = self.now();
        let Some(device) = self.read(|storage| storage.get::<Device>(&key)) else {
            return failed();
        };
        let waiting = device
            .filter(|device| device.expires_at > now && matches!(device.answer, Answer::Waiting));
        let Some(device) = waiting else {
            let text = Text::new(|w| &w.device_unknown);
            return self.device_page(request, StatusCode::BAD_REQUEST, typed, Some(text));
        };
        self.device_limits
            .give_back(&per_source(source), source, now);
        let auth = AuthRequest {
            client_id: device.client_id,
            scopes: device.scopes,
            device: Some(dashed(&canonical(typed))),
            language: pages::asked_language(request),
            ..AuthRequest::default()
        };
        self.begin(request, auth).await
    }

    /// The person answered; true is yes.
    pub(crate) async fn answer_device(
        &self,
        request: &Request<Bytes>,
        auth: &AuthRequest,
        person: Person,
        allowed: bool,
    ) -> Reply {
        let key = self.device_key(auth.device.as_deref().unwrap_or_default());
        let (client_id, now) = (auth.client_id.clone(), self.now());
        let done = self
            .write(move |batch| {
                let waiting = batch.get::<Device>(&key)?.filter(|device| {
                    device.client_id == client_id
                        && device.expires_at > now
                        && matches!(device.answer, Answer::Waiting)
                });
                let Some(mut device) = waiting else {
                    return Ok(false);
                };
                device.answer = if allowed {
                    Answer::Allowed(person.clone())
                } else {
                    Answer::Denied
                };
                batch.put(&key, &device)?;
                Ok(true)
            })
            .await;
        match done {
            None => failed(),
            Some(true) if allowed => notice(|w| &w.device_done, |w| &w.device_done_text),
            Some(true) => auth.error(&self.config, "access_denied", "the person denied access"),
            Some(false) => {
                let text = Text::new(|w| &w.device_over);
                self.device_page(request, StatusCode::BAD_REQUEST, "", Some(text))
            }
        }
    }

    /// `grant_type=urn:ietf:params:oauth:grant-type:device_code`: the device asks whether the
    /// person has answered.
    pub(crate) async fn poll(&self, client: &Client, params: &Params) -> Result<Reply, Reply> {
        let code = need(params, "device_code")?;
        let Some(code) = self.sealer.open::<DeviceCode>("device", code) else {
            return Err(invalid(
                "invalid_grant",
                "the device code is not one of ours",
            ));
        };
        let verifier = params.secret("code_verifier").map_err(repeated)?;
        let now = self.now();
        if !self.polls.may(&code.nonce, now) {
            return Err(invalid("slow_down", "wait longer between two requests"));
        }
        let device = self
            .read(|storage| storage.get::<Device>(&code.key))
            .ok_or_else(internal)?;
        let check = {
            let client_id = client.id.clone();
            move |device: Option<Device>| -> Result<(Device, Person), Refusal> {
                let device = device
                    .filter(|device| device.nonce == code.nonce && device.expires_at > now)
                    .ok_or(("expired_token", "the codes are too old, or were used"))?;
                if device.client_id != client_id {
                    return Err(("invalid_grant", "the device code is of another client"));
                }
                if !verifies(device.code_challenge.as_deref(), verifier.as_ref()) {
                    return Err(("invalid_grant", "code_verifier does not fit"));
                }
                match device.answer.clone() {
                    Answer::Waiting => Err(("authorization_pending", "nobody has answered yet")),
                    Answer::Denied => Err(("access_denied", "the person denied access")),
                    Answer::Allowed(person) => Ok((device, person)),
                }
            }
        };
        let refuse = |(error, text): Refusal| invalid(error, text);
        let (_, person) = check(device).map_err(refuse)?;
        let id = GrantId::new(&self.sealer, &person.user).ok_or_else(internal)?;
        let (key, name) = (code.key.clone(), id.clone());
        let expiry = self.config.expiry.clone();
        let grant = self
            .write(move |batch| {
                // Looked at again where only one of two polls can be first.
                let (device, person) = match check(batch.get::<Device>(&key)?) {
                    Ok(found) => found,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                batch.remove::<Device>(&key)?;
                let mut grant = Grant {
                    client_id: device.client_id,
                    user: person.user,
                    scopes: device.scopes,
                    requested: crate::requested::Requested::default(),
                    nonce: None,
                    auth_time: person.auth_time,
                    created_at: now,
                    expires_at: now,
                    sid: person.session.as_ref().map(|session| session.sid.clone()),
                    methods: person.methods.clone(),
                    stage: Stage::Active {
                        generation: 0,
                        rotated_at: now,
                        used_at: now,
                    },
                };
                grant.expires_at = now.saturating_add(expiry.grant_seconds(grant.is_offline()));
                if let Some(session) = &person.session
                    && !join(batch, &session.key, &grant.client_id, now)?
                {
                    return Ok(Err(("access_denied", "the person has logged out")));
                }
                grant.insert(batch, &name, now)?;
                Ok(Ok(grant))
            })
            .await
            .ok_or_else(internal)?
            .map_err(refuse)?;
        let user = self.grant_user(&grant)?;
        self.tokens(client, &user, &id, &grant, &grant.scopes, None)
    }
}

/// The account that is limited: no source takes attempts from another.
fn per_source(source: Option<IpAddr>) -> String {
    source.map_or_else(String::new, |source| source.to_string())
}

/// Eight letters in two groups.
fn user_code() -> Option<String> {
    let mut code = String::new();
    for _ in 0..CODE_LENGTH {
        let letter = LETTERS.get(random_below(LETTERS.len())?)?;
        code.push(char::from(*letter));
    }
    Some(dashed(&code))
}

fn dashed(code: &str) -> String {
    match code.split_at_checked(CODE_LENGTH / 2) {
        Some((first, second)) => format!("{first}-{second}"),
        None => code.to_owned(),
    }
}

/// A code as typed, in whatever case and with whatever between.
fn canonical(code: &str) -> String {
    code.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_uppercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_typed_in_many_ways() {
        let code = user_code().unwrap();
        assert_eq!(code.len(), CODE_LENGTH + 1);
        let spelled = format!(" {} ", code.to_lowercase().replace('-', " "));
        assert_eq!(dashed(&canonical(&spelled)), code);
        assert_eq!(dashed("A"), "A");
    }

    #[test]
    fn polls_that_come_too_early_wait_longer() {
        let polls = Polls::default();
        assert!(polls.may("a", 100) && polls.may("b", 101));
        assert!(!polls.may("a", 104), "five seconds");
        assert!(!polls.may("a", 113), "ten from there");
        assert!(polls.may("a", 128) && polls.may("a", 133));
    }
}
