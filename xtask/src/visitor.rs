//! Somebody with a browser, and the application that they log in to.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::http::{Answer, ask, ask_host, decoded, encoded};

/// One user, one application.
pub(crate) const CONFIG: &str = include_str!("../peers/crash.yaml");
pub(crate) const USER: &str = "user@example.com";
const PASSWORD: &str = "correct horse";
pub(crate) const CALLBACK: &str = "https://app.example/cb";

/// Asks `/token` at `address` as the application.
pub(crate) fn token(address: &str, fields: &[(&str, &str)]) -> Result<Answer> {
    as_application(address, "/dex/token", fields)
}

/// Posts a form as the application.
pub(crate) fn as_application(
    address: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> Result<Answer> {
    let basic = format!(
        "Basic {}",
        STANDARD.encode("app:a secret of the application")
    );
    let headers = [("authorization", basic.as_str())];
    ask(address, "POST", target, &headers, &form(fields))
}

pub(crate) fn authorization() -> String {
    let params = [
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid email offline_access"),
        ("state", "a"),
    ];
    let query: Vec<String> = params
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    format!("/dex/auth?{}", query.join("&"))
}

/// What a code or a refresh token gives.
pub(crate) struct Tokens {
    pub(crate) id: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Answer) -> Option<Self> {
        let json = answer.json();
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            id: text("id_token")?,
            access: text("access_token")?,
            refresh: text("refresh_token")?,
        })
    }
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    fields.join("&")
}

/// A parameter of the address that an answer leads to.
pub(crate) fn param(answer: &Answer, name: &str) -> Option<String> {
    let (_, query) = answer.header("location")?.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(found, _)| *found == name)
        .map(|(_, value)| decoded(value))
}

/// Why a login did not end with a code.
pub(crate) enum Failed {
    /// The provider died meanwhile, or cannot log anybody in now.
    Cut,
    Wrong(anyhow::Error),
}

/// Keeps cookies.
#[derive(Default)]
pub(crate) struct Browser(Vec<(String, String)>);

impl Browser {
    /// The code of a login with the password.
    pub(crate) fn log_in(&mut self, address: &str) -> Result<String, Failed> {
        self.log_in_as(address, USER, PASSWORD)
    }

    /// The same as somebody else.
    pub(crate) fn log_in_as(
        &mut self,
        address: &str,
        user: &str,
        password: &str,
    ) -> Result<String, Failed> {
        let cut = |_| Failed::Cut;
        let (at, answer) = self.form(address).map_err(cut)?;
        if answer.status == 503 {
            return Err(Failed::Cut);
        }
        let fields = form(&[("login", user), ("password", password)]);
        let answer = self.send(address, "POST", &at, &fields).map_err(cut)?;
        if answer.status == 503 {
            return Err(Failed::Cut);
        }
        let wrong = || Failed::Wrong(anyhow::anyhow!("a login ended with {answer:?}"));
        param(&answer, "code").ok_or_else(wrong)
    }

    /// Where the form for the password is, and the page with it.
    pub(crate) fn form(&mut self, address: &str) -> Result<(String, Answer)> {
        let mut answer = self.get(address, &authorization())?;
        let mut at = String::new();
        while let (302 | 303, Some(next)) = (answer.status, answer.header("location")) {
            next.clone_into(&mut at);
            answer = self.get(address, &at)?;
        }
        Ok((at, answer))
    }

    /// What it sends along.
    pub(crate) fn cookies(&self) -> String {
        let pairs = self.0.iter();
        let cookies: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        cookies.join("; ")
    }

    pub(crate) fn get(&mut self, address: &str, target: &str) -> Result<Answer> {
        self.send(address, "GET", target, "")
    }

    pub(crate) fn send(
        &mut self,
        address: &str,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Answer> {
        self.send_with(address, method, target, &[], body)
    }

    /// The same with headers beside the cookies.
    pub(crate) fn send_with(
        &mut self,
        address: &str,
        method: &str,
        target: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        self.send_to(address, address, method, target, more, body)
    }

    /// As [`Self::send_with`], to a host that is not the address.
    pub(crate) fn send_to(
        &mut self,
        address: &str,
        host: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let cookies = self.cookies();
        let headers = [&[("cookie", cookies.as_str())][..], headers].concat();
        let answer = ask_host(address, host, method, target, &headers, body)?;
        for set in answer.headers("set-cookie") {
            let Some((name, value)) = set.split(';').next().and_then(|pair| pair.split_once('='))
            else {
                continue;
            };
            self.0.retain(|(known, _)| known != name);
            self.0.push((name.to_owned(), value.to_owned()));
        }
        Ok(answer)
    }
}
