//! A wall clock that is wrong, runs too fast or too slowly, and jumps. What lives for a while lives longer by as much as
//! the clock was moved at most, and what counts once counts once.
//!
//! The tests know the real time; the provider has the clock alone.

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;

use super::bed::{
    Bed, Browser, PASSWORD, SKIP_APPROVAL, START, config, form, json, location, param, request,
    request_but, text,
};
use super::factors::{between, enter, halfway, token};
use super::sessions::{SESSIONS, log_in};
use crate::factors::tests::Device;

const CODE: i64 = 60;
const TOKEN: i64 = 600;
const GRACE: i64 = 30;
const UNUSED: i64 = 3600;
const FAMILY: i64 = 3 * 3600;
const IDLE: i64 = 1800;
const SESSION: i64 = 2 * 3600;

const SHORT: &str = "oauth2: {skipApprovalScreen: true}\n\
    expiry: {idTokens: 10m, refreshTokens: {reuseInterval: 30s, validIfNotUsedFor: 1h, absoluteLifetime: 3h}}\n\
    sessions: {ssoSharedWithDefault: all, absoluteLifetime: 2h, validIfNotUsedFor: 30m}\n";

/// How the clock differs from the time.
#[derive(Clone, Copy)]
struct Wrong {
    /// Parts in a hundred by which it is faster.
    drift: i64,
    /// Seconds that it may be ahead or behind.
    jump: i64,
}

impl Wrong {
    /// How much longer something may live that lives for so long.
    fn longer(self, lifetime: i64) -> i64 {
        let slow = lifetime * 100 / (100 + self.drift.min(0)) - lifetime;
        slow + 2 * self.jump + 2
    }

    /// How much shorter.
    fn shorter(self, lifetime: i64) -> i64 {
        let fast = lifetime - lifetime * 100 / (100 + self.drift.max(0));
        fast + 2 * self.jump + 2
    }

    /// What has to be said of something that lives for so long, after some time: nothing where it is up to the clock.
    fn has_to_count(self, lifetime: i64, age: i64) -> Option<bool> {
        if age < lifetime - self.shorter(lifetime) {
            Some(true)
        } else if age > lifetime + self.longer(lifetime) {
            Some(false)
        } else {
            None
        }
    }
}

/// Both of what is said, where something is.
fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// A code and what came of it.
struct Family {
    code: String,
    begun: i64,
    redeemed: bool,
    /// Since then.
    used: i64,
    rotated: i64,
    /// The newest is the last.
    refresh: Vec<String>,
    access: Option<(String, i64)>,
    revoked: bool,
}

struct World {
    bed: Bed,
    wrong: Wrong,
    /// Seconds since the beginning.
    time: i64,
    skew: i64,
    random: u64,
    browser: Browser,
    logged_in: i64,
    used: i64,
    families: Vec<Family>,
    /// How often something was certain, and how: that it counts, that it does not.
    certain: [u32; 2],
}

impl World {
    async fn new(wrong: Wrong, seed: u64) -> Self {
        let mut world = Self {
            bed: Bed::with(&config(SHORT)),
            wrong,
            time: 0,
            skew: 0,
            random: seed,
            browser: Browser::default(),
            logged_in: 0,
            used: 0,
            families: Vec::new(),
            certain: [0; 2],
        };
        world.log_in().await;
        world
    }

    fn below(&mut self, limit: i64) -> i64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.random >> 33).unwrap() % limit
    }

    /// Time passes, and the clock makes of it what it does.
    fn pass(&mut self, seconds: i64) {
        self.time += seconds;
        if self.wrong.jump > 0 && self.below(2) == 0 {
            self.skew = self.below(2 * self.wrong.jump + 1) - self.wrong.jump;
        }
        let shown = self.time + self.time * self.wrong.drift / 100 + self.skew;
        self.bed.set(START.checked_add_signed(shown).unwrap());
    }

    fn judge(&mut self, what: &str, counts: bool, has_to: Option<bool>) {
        let Some(expected) = has_to else { return };
        self.certain[usize::from(!expected)] += 1;
        let (time, skew) = (self.time, self.skew);
        assert_eq!(
            counts, expected,
            "{what} {time} s after the beginning, {skew} s off"
        );
    }

    fn begin(&mut self, code: String) {
        self.families.push(Family {
            code,
            begun: self.time,
            redeemed: false,
            used: self.time,
            rotated: self.time,
            refresh: Vec::new(),
            access: None,
            revoked: false,
        });
    }

    async fn log_in(&mut self) {
        self.browser = Browser::default();
        let reply = log_in(&self.bed, &mut self.browser, "user@example.com").await;
        let code = param(&location(&reply), "code").expect("a code");
        (self.logged_in, self.used) = (self.time, self.time);
        self.begin(code);
    }

    /// Another application, or the same again, out of the session.
    async fn sign_on(&mut self) {
        let reply = self.browser.ask(&self.bed, &request()).await;
        let code = param(&location(&reply), "code");
        let of_all = self.wrong.has_to_count(SESSION, self.time - self.logged_in);
        let of_idle = self.wrong.has_to_count(IDLE, self.time - self.used);
        self.judge("a session", code.is_some(), both(of_all, of_idle));
        match code {
            Some(code) => {
                self.used = self.time;
                self.begin(code);
            }
            None => self.log_in().await,
        }
    }

    async fn redeem(&mut self, index: usize) {
        let code = self.families[index].code.clone();
        let (status, tokens) = self.bed.redeem(&code).await;
        assert!(status == 200 || status == 400, "{status}: {tokens}");
        let family = &self.families[index];
        let has_to = match family.redeemed {
            true => Some(false),
            false => self.wrong.has_to_count(CODE, self.time - family.begun),
        };
        self.judge("a code", status == 200, has_to);
        let time = self.time;
        let family = &mut self.families[index];
        if status == 200 {
            family.redeemed = true;
            family.took(&tokens, time);
            family.rotated = time;
        } else {
            // Used twice, or too old.
            family.redeemed = true;
            family.revoked = true;
        }
    }

    async fn refresh(&mut self, index: usize, back: usize) {
        let family = &self.families[index];
        let Some(place) = family.refresh.len().checked_sub(back + 1) else {
            return;
        };
        let token = family.refresh[place].clone();
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &token)];
        let (status, tokens) = self.bed.token(&fields).await;
        assert!(status == 200 || status == 400, "{status}: {tokens}");
        let family = &self.families[index];
        let lives = both(
            self.wrong.has_to_count(UNUSED, self.time - family.used),
            self.wrong.has_to_count(FAMILY, self.time - family.begun),
        );
        let has_to = match (family.revoked, back) {
            (true, _) => Some(false),
            (false, 0) => lives,
            (false, 1) => both(
                lives,
                self.wrong.has_to_count(GRACE, self.time - family.rotated),
            ),
            (false, _) => Some(false),
        };
        self.judge("a refresh token", status == 200, has_to);
        let time = self.time;
        let family = &mut self.families[index];
        if status == 200 {
            let before = family.refresh.len();
            family.took(&tokens, time);
            match back {
                0 => family.rotated = time,
                _ => assert_eq!(family.refresh.len(), before, "one token became two"),
            }
        } else if tokens.to_string().contains("was used before") {
            family.revoked = true;
        }
    }

    async fn ask(&mut self, index: usize) {
        let family = &self.families[index];
        let Some((token, given)) = family.access.clone() else {
            return;
        };
        let status = self.bed.userinfo(&token).await.status();
        assert!(status == 200 || status == 401, "{status}");
        let has_to = match self.families[index].revoked {
            true => (status == StatusCode::OK).then_some(false),
            false => self.wrong.has_to_count(TOKEN, self.time - given),
        };
        self.judge("an access token", status == 200, has_to);
    }
}

impl Family {
    fn took(&mut self, tokens: &Value, time: i64) {
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        let refresh = text("refresh_token");
        if self.refresh.last() != Some(&refresh) {
            self.refresh.push(refresh);
        }
        self.access = Some((text("access_token"), time));
        self.used = time;
    }
}

async fn live(wrong: Wrong, seed: u64) -> [u32; 2] {
    let mut world = World::new(wrong, seed).await;
    for _ in 0..150 {
        let longest = [20, 100, 1500][usize::try_from(world.below(3)).unwrap()];
        let seconds = world.below(longest);
        world.pass(seconds);
        // Mostly the last ones: those before have ended.
        let count = i64::try_from(world.families.len()).unwrap();
        let index = usize::try_from(count - 1 - world.below(count.min(3))).unwrap();
        match world.below(8) {
            0 | 1 => world.sign_on().await,
            2 | 3 => world.redeem(index).await,
            4 | 5 => world.refresh(index, 0).await,
            6 => {
                let back = usize::try_from(world.below(3)).unwrap();
                world.refresh(index, back).await;
            }
            _ => world.ask(index).await,
        }
    }
    world.certain
}

async fn check(wrong: Wrong) {
    for seed in 1..=2 {
        let certain = live(wrong, seed).await;
        assert!(certain.iter().all(|times| *times > 8), "{certain:?}");
    }
}

#[tokio::test]
async fn lifetimes_are_those_of_the_configuration_by_a_clock_that_is_right() {
    check(Wrong { drift: 0, jump: 0 }).await;
}

#[tokio::test]
async fn by_a_clock_a_tenth_too_fast_or_slow_lifetimes_are_a_tenth_off() {
    check(Wrong { drift: 10, jump: 0 }).await;
    check(Wrong {
        drift: -10,
        jump: 0,
    })
    .await;
}

#[tokio::test]
async fn by_a_clock_that_jumps_nothing_lives_longer_than_by_the_jumps() {
    check(Wrong { drift: 0, jump: 5 }).await;
    check(Wrong { drift: 3, jump: 60 }).await;
    let wrong = Wrong {
        drift: 0,
        jump: 6 * 3600,
    };
    for seed in 1..=2 {
        live(wrong, seed).await;
    }
}

/// A battery is empty, or a year was typed wrong: everything is asked at such times, and afterwards all is as before.
#[tokio::test]
async fn no_time_is_too_odd() {
    let bed = Bed::with(&config(SHORT));
    let mut held = Browser::default();
    log_in(&bed, &mut held, "user@example.com").await;
    for odd in [
        START + 90,
        0,
        1,
        START,
        // Of years with five digits, and of none that a clock can show.
        253_402_300_800,
        0,
        i64::MAX.cast_unsigned(),
        START,
    ] {
        bed.set(odd);
        let mut browser = Browser::default();
        let reply = log_in(&bed, &mut browser, "user@example.com").await;
        let code = param(&location(&reply), "code");
        let (status, tokens) = bed.redeem(&code.expect("a code")).await;
        assert_eq!(status, 200, "at {odd}: {tokens}");
        let token = |name: &str| tokens[name].as_str().unwrap().to_owned();
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &token("refresh_token")),
        ];
        assert_eq!(bed.token(&fields).await.0, 200, "at {odd}");
        assert_eq!(bed.userinfo(&token("access_token")).await.status(), 200);
        let page = browser.visit(&bed, "/dex/account").await;
        assert!(page.status().as_u16() < 400, "at {odd}: {}", text(&page));
        for path in ["/dex/keys", "/dex/device", "/dex/logout"] {
            let page = held.visit(&bed, path).await;
            assert!(page.status().as_u16() < 400, "at {odd}: {path}");
        }
        let device = [("client_id", "cli"), ("scope", "openid")];
        let reply = bed.send(form("/dex/device/code", &device)).await;
        assert_eq!(reply.status(), 200, "at {odd}: {}", text(&reply));
        let page = browser.start(&bed, &request_but("prompt", "login")).await;
        let wrong = browser.log_in(&bed, &page, "user@example.com", "no").await;
        assert!(wrong.status().as_u16() < 500, "at {odd}");
    }
    // The clock is right again: people log in, and what is over is over.
    bed.set(START + 3 * 3600);
    let reply = held.ask(&bed, &request()).await;
    assert_eq!(param(&location(&reply), "code"), None);
    let page = location(&reply);
    let reply = held.log_in(&bed, &page, "user@example.com", PASSWORD).await;
    assert!(param(&location(&reply), "code").is_some());
}

/// A device that asks as it was told to is not too early after the clock was put back.
#[tokio::test]
async fn a_device_goes_on_after_the_clock_was_put_back() {
    let bed = Bed::with(&config(SKIP_APPROVAL));
    let fields = [("client_id", "cli"), ("scope", "openid")];
    let codes = json(&bed.send(form("/dex/device/code", &fields)).await);
    let poll = async || {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "cli"),
            ("device_code", codes["device_code"].as_str().unwrap()),
        ];
        json(&bed.send(form("/dex/token", &fields)).await)["error"].clone()
    };
    bed.set(START + 10);
    assert_eq!(poll().await, "authorization_pending");
    assert_eq!(poll().await, "slow_down");
    bed.set(START - 3600);
    assert_eq!(poll().await, "authorization_pending");
    assert_eq!(poll().await, "slow_down");
}

/// Where passkeys are of.
const HOST: &str = "app.example.com:8443";

fn of_host(mut request: Request<Bytes>) -> Request<Bytes> {
    request.headers_mut().insert("host", HOST.parse().unwrap());
    request
}

async fn page(bed: &Bed, browser: &mut Browser, path: &str) -> String {
    let request = Request::get(path).body(Bytes::new()).unwrap();
    text(&browser.send(bed, of_host(request)).await)
}

fn challenge(page: &str) -> String {
    between(page, "challenge&#34;:&#34;", "&#34;").to_owned()
}

/// What a passkey signed counted again once it was forgotten and the clock put back.
#[tokio::test]
async fn what_a_passkey_signed_counts_once_however_the_clock_is_put() {
    let bed = Bed::with(&config(SESSIONS));
    let mut browser = Browser::default();
    enter(&bed, &mut browser, "user@example.com", PASSWORD).await;
    let mut device = Device::es256();
    device.count = 0;
    let shown = page(&bed, &mut browser, "/dex/account/passkey").await;
    device.challenge = challenge(&shown);
    let made = device.create();
    let fields = [
        ("token", token(&shown)),
        (
            "challenge",
            between(&shown, "name=\"challenge\" value=\"", "\"").to_owned(),
        ),
        ("id", made.id),
        ("client_data", made.client_data),
        ("attestation", made.attestation),
        ("name", "key".to_owned()),
    ];
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let added = browser
        .send(&bed, of_host(form("/dex/account/passkey", &fields)))
        .await;
    assert!(added.status().as_u16() < 400, "{}", text(&added));

    let mut thief = Browser::default();
    let second = halfway(&bed, &mut thief, "user@example.com").await;
    device.challenge = challenge(&page(&bed, &mut thief, &second).await);
    let signed = device.get();
    let fields = [
        ("id", signed.id.as_str()),
        ("client_data", &signed.client_data),
        ("authenticator_data", &signed.authenticator_data),
        ("signature", &signed.signature),
    ];
    let mut send = async || {
        let reply = thief.send(&bed, of_host(form(&second, &fields))).await;
        reply.status()
    };
    assert_eq!(send().await, StatusCode::SEE_OTHER);
    assert_eq!(send().await, StatusCode::UNAUTHORIZED);
    for ahead in [3600, 24 * 3600] {
        bed.set(START + ahead);
        // Who is let in takes away what has expired.
        for _ in 0..3 {
            log_in(&bed, &mut Browser::default(), "other@example.com").await;
        }
        bed.set(START);
        assert_eq!(send().await, StatusCode::UNAUTHORIZED, "{ahead}");
    }
}
