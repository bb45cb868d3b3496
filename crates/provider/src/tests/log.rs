//! What is written to the log, by all of these tests: none of the secrets that browsers, applications and the
//! provider told each other.
//!
//! Browsers and applications of the tests register what they hold; each line of the log is looked at when it is
//! written, in all its detail, and again when somebody turns out to hold what it had.

use std::collections::{HashMap, HashSet};
use std::fmt::{Debug, Write as _};
use std::sync::{LazyLock, Mutex, Once, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use url::form_urlencoded::parse;

/// What is shorter is found in a log by chance.
const LEAST: usize = 8;

/// Fields of forms, parameters of addresses, and members of answers that nobody else may have.
const SECRETS: [&str; 22] = [
    "access_token",
    "again",
    "assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token",
    "id_token_hint",
    "logout_token",
    "old",
    "password",
    "recovery",
    "refresh_token",
    "req",
    "secret",
    "session",
    "subject_token",
    "ticket",
    "token",
    "user_code",
    "signature",
];

#[derive(Default)]
struct Known {
    /// Secrets of one word.
    words: HashSet<String>,
    /// Others.
    phrases: Vec<String>,
    /// Words of the log so far, with a line that each is in.
    logged: HashMap<String, String>,
    lines: usize,
    leaks: Vec<String>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

fn known() -> std::sync::MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

impl Known {
    fn hold(&mut self, secret: &str) {
        // Of a signed token, what makes it one.
        let secret = secret.rsplit('.').next().unwrap_or(secret);
        if secret.len() < LEAST {
            return;
        }
        if !secret.chars().all(is_of_word) {
            if !self.phrases.iter().any(|phrase| phrase == secret) {
                self.phrases.push(secret.to_owned());
            }
        } else if self.words.insert(secret.to_owned())
            && let Some(line) = self.logged.get(secret)
        {
            self.leaks.push(format!("`{secret}` was in: {line}"));
        }
    }

    fn log(&mut self, line: &str) {
        self.lines += 1;
        for word in line
            .split(|c| !is_of_word(c))
            .filter(|word| word.len() >= LEAST)
        {
            if self.words.contains(word) {
                self.leaks.push(format!("`{word}` is in: {line}"));
            } else {
                self.logged
                    .entry(word.to_owned())
                    .or_insert_with(|| line.to_owned());
            }
        }
        for phrase in &self.phrases {
            if line.contains(phrase) {
                self.leaks.push(format!("`{phrase}` is in: {line}"));
            }
        }
    }
}

/// Takes every line of the log of this process, from the first test on.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Watch).unwrap());
}

/// A password, or what else tests know beforehand.
pub(super) fn hold(secret: &str) {
    known().hold(secret);
}

/// What a request has that is nobody else's business.
pub(super) fn sent(request: &Request<Bytes>) {
    let mut known = known();
    let query = request.uri().query().unwrap_or_default();
    for (name, value) in parse(query.as_bytes()).chain(parse(request.body())) {
        if SECRETS.contains(&&*name) {
            known.hold(&value);
        }
    }
}

/// What an answer has, and that nothing of before was told to the log.
pub(super) fn received(reply: &Response<Bytes>) {
    let mut known = known();
    for cookie in reply.headers().get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap();
        known.hold(cookie.split(';').next().unwrap().split_once('=').unwrap().1);
    }
    if let Some(to) = reply.headers().get("location") {
        let parameters = to.to_str().unwrap().split(['?', '#']).skip(1);
        for (name, value) in parameters.flat_map(|text| parse(text.as_bytes())) {
            if SECRETS.contains(&&*name) {
                known.hold(&value);
            }
        }
    }
    if let Ok(serde_json::Value::Object(answer)) = serde_json::from_slice(reply.body()) {
        for (name, value) in &answer {
            if let (true, Some(text)) = (SECRETS.contains(&name.as_str()), value.as_str()) {
                known.hold(text);
            }
        }
    }
    assert!(known.leaks.is_empty(), "in the log: {:#?}", known.leaks);
}

/// Whether the log has this word, such as the name of a line.
pub(super) fn tells(word: &str) -> bool {
    known().logged.contains_key(word)
}

struct Watch;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, "{}={value} ", field.name()).unwrap();
    }
}

impl Subscriber for Watch {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("{} ", span.metadata().name()));
        span.record(&mut line);
        known().log(&line.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        known().log(&line.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        known().log(&line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// That the watch sees: a log with a secret before and behind its being known.
#[test]
fn secrets_in_the_log_are_found_whichever_comes_first() {
    let mut known = Known::default();
    known.log("user=a the code was c0de-before");
    known.hold("c0de-before");
    known.hold("head.body.signature-of-it");
    known.hold("four words of secret");
    known.hold("short");
    known.log("req=x&token=head.body.signature-of-it");
    known.log("typed: four words of secret");
    known.log("short and harmless-words");
    assert_eq!(known.leaks.len(), 3, "{:#?}", known.leaks);
    assert_eq!(known.lines, 4);
}

/// And that there is a log that it looks at.
#[tokio::test]
async fn a_login_is_in_the_log_and_its_secrets_are_not() {
    let before = known().lines;
    let bed = super::bed::Bed::new();
    let code = bed.code(&super::bed::request()).await;
    let (_, tokens) = bed.redeem(&code).await;
    let known = known();
    assert!(known.lines > before && known.logged.contains_key("platform"));
    assert!(known.words.contains(code.rsplit('.').next().unwrap()));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert!(known.words.contains(refresh.rsplit('.').next().unwrap()));
}
