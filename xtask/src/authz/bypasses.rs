//! Published bypasses, as bytes to Envoy. The judge is what arrives behind it.

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use testkit::Socket;

use super::peers::Arrived;
use super::rows::{BROWSER, Gate, Rows};
use super::tokens;
use super::wire::{self, Came};

const TABLE: &str = include_str!("../../corpus/bypasses.yaml");

/// Statuses of a refusal: never one of success, nor what an upstream that was reached says of a path that it does not have.
const REFUSED: [u16; 9] = [302, 307, 400, 401, 403, 405, 408, 421, 501];

/// What was published, and how it ends here.
struct Bypass<'t>(&'t Value);

impl Bypass<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let all = self.0.get(name).and_then(Value::as_array);
        all.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Headers that arrive, with their values.
    fn with(&self) -> impl Iterator<Item = (&str, String)> {
        let all = self.0.get("with").and_then(Value::as_object);
        let all = all.into_iter().flatten();
        all.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default().to_owned()))
    }

    fn name(&self) -> String {
        let word = |name| self.text(name).unwrap_or_default();
        format!("{} {}", word("id"), word("about"))
    }

    fn gate(&self) -> Gate {
        match self.text("through") {
            Some("local") => Gate::Local,
            _ => Gate::External,
        }
    }
}

/// What came back, and what arrived.
struct Outcome {
    /// `None` where the connection ended, or where it was HTTP/2 and no success.
    status: Option<u16>,
    answer: String,
    arrived: Vec<Arrived>,
}

impl Rows {
    /// Each entry of the table.
    pub(super) fn bypasses(&mut self) -> Result<()> {
        let table: Value =
            serde_saphyr::from_str(TABLE).map_err(|error| anyhow!("bypasses.yaml: {error}"))?;
        let session = self.session()?;
        let (login, state) = self.begun_login()?;
        let elsewhere = self
            .mesh
            .token_with("kserve-test", &["--audience", "vault"])?;
        let mut words = HashMap::from([
            ("{gateway}", self.mesh.external.to_string()),
            ("{session-moved}", moved(&session)?),
            (
                "{session-cut}",
                session
                    .get(..session.len() - 1)
                    .unwrap_or_default()
                    .to_owned(),
            ),
            ("{ended}", self.ended_session()?),
            ("{session}", session),
            ("{login-first}", changed(&login, 0)?),
            ("{login-middle}", changed(&login, 50)?),
            ("{login-last}", changed(&login, 99)?),
            ("{login}", login),
            ("{state}", state),
            ("{key}", self.mesh.key("job")?),
            ("{vault}", elsewhere),
            ("{token}", self.mesh.token("kserve-test")?),
            ("{other}", self.mesh.token("shop")?),
        ]);
        words.extend(tokens::words()?);
        for bypass in table.as_array().into_iter().flatten().map(Bypass) {
            if let Some(before) = bypass.text("before") {
                let outcome = self.send(&bypass, &filled(before, &bypass, &words))?;
                let wrong = outcome.arrived.is_empty();
                self.count(wrong.then(|| format!("{}: what is sent before", bypass.name())));
            }
            let mut sent = 0_usize;
            for text in bypass.texts("send") {
                let outcome = self.send(&bypass, &filled(text, &bypass, &words))?;
                let wrong = wrong(&bypass, text, &outcome);
                let request = text.lines().next().unwrap_or_default();
                self.count(wrong.map(|what| {
                    let (status, arrived) = (outcome.status, &outcome.arrived);
                    let answer = &outcome.answer;
                    format!(
                        "{}: {request}: {what}: {status:?} {answer:.200}; arrived: {arrived:?}",
                        bypass.name()
                    )
                }));
                sent += 1;
            }
            anyhow::ensure!(sent > 0, "{} sends nothing", bypass.name());
        }
        Ok(())
    }

    /// Logs somebody in; the cookie of the session.
    pub(super) fn session(&self) -> Result<String> {
        let jar = self.mesh.folder.path().join("jar-of-bypasses");
        // A browser of before would be logged in already.
        drop(std::fs::remove_file(&jar));
        self.log_in(&jar.to_string_lossy())?;
        let kept = std::fs::read_to_string(&jar)?;
        let session = kept
            .lines()
            .find_map(|line| line.split_once("authservice_session\t"));
        let session = session.context("no session was given")?.1;
        Ok(format!("authservice_session={session}"))
    }

    /// A session that its person has ended, as a thief would keep it.
    fn ended_session(&self) -> Result<String> {
        let session = self.session()?;
        let cookie = format!("cookie: {session}");
        let host = self.mesh.external.to_string();
        let out = ["-X", "POST", "-d", "", "-H", &cookie];
        let seen = self.ask(Gate::External, &host, "/authservice/logout", &out)?;
        anyhow::ensure!(seen.answer.status == 201, "no logout: {:?}", seen.answer);
        Ok(session)
    }

    /// The cookie of a login that is begun, and its state.
    fn begun_login(&self) -> Result<(String, String)> {
        let host = self.mesh.external.to_string();
        let begun = self.ask(Gate::External, &host, "/", &BROWSER)?.answer;
        let cookies = begun
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        let mut pairs = cookies.filter_map(|(_, value)| value.split(';').next());
        let login = pairs.next().context("no cookie of a login")?;
        let to = begun.header("location").unwrap_or_default();
        let state = to
            .split(['?', '&'])
            .find_map(|pair| pair.strip_prefix("state="));
        Ok((login.to_owned(), state.context("no state")?.to_owned()))
    }

    fn send(&self, bypass: &Bypass<'_>, text: &str) -> Result<Outcome> {
        let to = match bypass.gate() {
            Gate::External | Gate::Verifier => self.mesh.external,
            Gate::Local => self.mesh.local,
        };
        self.mesh.peers.arrived();
        if bypass.text("protocol") == Some("h2") {
            let lines = text.lines().map(|line| {
                let (name, value) = line
                    .split_at_checked(1)
                    .and_then(|(first, rest)| Some((first, rest.split_once(": ")?)))
                    .map(|(first, (name, value))| (format!("{first}{name}"), value))
                    .with_context(|| format!("`{line}`: expected `name: value`"))?;
                Ok((wire::unescaped(&name)?, wire::unescaped(value)?))
            });
            let came = wire::http2(to, &lines.collect::<Result<Vec<_>>>()?)?;
            return Ok(Outcome {
                status: (came == Came::Head { ok: true }).then_some(200),
                answer: format!("{came:?}"),
                arrived: self.mesh.peers.arrived(),
            });
        }
        let mut bytes = wire::bytes(text)?;
        if let Some(length) = bypass.number("body") {
            bytes.truncate(bytes.len() - 2);
            bytes.extend(format!("Content-Length: {length}\r\n\r\n").into_bytes());
            bytes.resize(bytes.len() + usize::try_from(length)?, b'x');
        }
        let mut socket = Socket::connect(&to.to_string())?;
        // Who is refused early does not read on.
        let whole = socket.send(&bytes).is_ok();
        let answer = match socket.response() {
            Ok(answer) => answer,
            Err(_) if !whole => None,
            Err(error) => return Err(error).with_context(|| bypass.name()),
        };
        Ok(Outcome {
            status: answer.as_ref().and_then(testkit::Message::status),
            answer: answer.map_or_else(String::new, |answer| {
                format!("{:?} {}", answer.headers, answer.text())
            }),
            arrived: self.mesh.peers.arrived(),
        })
    }
}

/// With two halves of the value exchanged.
fn moved(cookie: &str) -> Result<String> {
    let (name, value) = cookie.split_once('=').context("a cookie")?;
    let (start, end) = value.split_at(value.len() / 2);
    Ok(format!("{name}={end}{start}"))
}

/// With another character so far into the value, in hundredths.
fn changed(cookie: &str, far: usize) -> Result<String> {
    let (name, value) = cookie.split_once('=').context("a cookie")?;
    let at = value.len() * far / 100;
    let (start, rest) = value.split_at_checked(at).context("plain text")?;
    let other = if rest.starts_with('A') { 'B' } else { 'A' };
    Ok(format!(
        "{name}={start}{other}{}",
        rest.get(1..).unwrap_or_default()
    ))
}

fn filled(text: &str, bypass: &Bypass<'_>, words: &HashMap<&str, String>) -> String {
    let mut text = text.to_owned();
    for (word, value) in words {
        text = text.replace(word, value);
    }
    match bypass.number("dots") {
        Some(dots) => text.replace("{dots}", &".".repeat(usize::try_from(dots).unwrap_or(0))),
        None => text,
    }
}

/// What is not as it should be.
fn wrong(bypass: &Bypass<'_>, text: &str, outcome: &Outcome) -> Option<String> {
    if bypass.text("expect") == Some("refused") {
        let status = outcome.status;
        let told = match bypass.number("status") {
            Some(expected) => status.map(u64::from) == Some(expected),
            None => status.is_none_or(|status| REFUSED.contains(&status)),
        };
        if !outcome.arrived.is_empty() {
            return Some("it arrives".to_owned());
        }
        let leaked = bypass.text("no").filter(|no| outcome.answer.contains(no));
        return match leaked {
            Some(no) => Some(format!("the answer has `{no}`")),
            None => (!told).then(|| "it is not refused".to_owned()),
        };
    }
    let Some(arrived) = outcome.arrived.last() else {
        return Some("it does not arrive".to_owned());
    };
    let not: Vec<&str> = bypass.texts("not").collect();
    let forged = arrived
        .headers
        .iter()
        .find(|(name, value)| value.contains("victim") || not.contains(&&**name));
    if let Some((name, value)) = forged {
        return Some(format!("`{name}: {value}` arrives"));
    }
    let missing = bypass
        .with()
        .find(|(name, value)| arrived.header(name).as_deref() != Some(value.as_str()));
    if let Some((name, value)) = missing {
        return Some(format!("it arrives without `{name}: {value}`"));
    }
    let named = !text.contains("{session}")
        || arrived.header("kubeflow-userid").as_deref() == Some("user@example.com");
    (!named).then(|| "it arrives without the right name".to_owned())
}
