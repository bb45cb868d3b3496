//! From `/auth` to a person who is known: out of a session, or by e-mail and password.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{COOKIE, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::authorize::{AuthRequest, UNMET};
use crate::config::SecondFactor;
use crate::factors::{CHALLENGE_SECONDS, Challenge, Method, Strength};
use crate::forms::bad_form;
use crate::known::Unknown;
use crate::pages::{Login, Notice, Page, asked_language, failed, page, problem, referenced};
use crate::provider::Inner;
use crate::reply::{Reply, redirect};
use crate::session::{Current, SessionRef};
use crate::user::{LOCAL, User, UserRef};
use crate::words::Text;

/// What a [`Pending`] is sealed for.
pub(crate) const PURPOSES: [&str; 5] = ["login", "approval", "second", "enrol", "enrolled"];
pub(crate) const MAX_EMAIL: usize = 254;
pub(crate) const MAX_PASSWORD: usize = 1024;

/// What `req` carries: bound to a browser, and after the password to a user.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) request: AuthRequest,
    pub(crate) browser: String,
    pub(crate) expires_at: u64,
    pub(crate) person: Option<Person>,
    /// Ask first whether the person of the session goes on.
    #[serde(default)]
    pub(crate) select: bool,
    /// What a passkey is to sign.
    #[serde(default)]
    pub(crate) challenge: Option<Challenge>,
}

/// Who logged in, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Person {
    #[serde(flatten)]
    pub(crate) user: UserRef,
    pub(crate) auth_time: u64,
    pub(crate) session: Option<SessionRef>,
    /// How they logged in.
    #[serde(default)]
    pub(crate) methods: Vec<Method>,
}

impl Current {
    pub(crate) fn person(&self) -> Person {
        Person {
            user: self.session.user.clone(),
            auth_time: self.session.auth_time,
            session: Some(self.reference()),
            methods: self.session.methods.clone(),
        }
    }
}

impl Inner {
    /// `/auth`: an application sends a person.
    /// `connector` is the one that the address names.
    pub(crate) async fn start(
        &self,
        request: &Request<Bytes>,
        query: &[u8],
        connector: Option<&str>,
    ) -> Reply {
        match AuthRequest::parse(self, query, connector) {
            Ok(auth) => self.begin(request, auth).await,
            Err(reply) => reply,
        }
    }

    /// Goes on out of a session, or shows the way to the form.
    pub(crate) async fn begin(&self, request: &Request<Bytes>, auth: AuthRequest) -> Reply {
        let serving = match (self.session(request), &self.config.sessions) {
            (Some(current), Some(rules)) if current.serves(self, rules, &auth) => Some(current),
            _ => None,
        };
        let select = match serving {
            Some(current) if !auth.prompt.select_account => {
                return self.proceed(request, auth, current.person()).await;
            }
            None if auth.prompt.none => {
                let text = "the person has to log in";
                return auth.error(&self.config, "login_required", text);
            }
            serving => serving.is_some(),
        };
        if !select {
            return self.choose(request, auth).await;
        }
        let seconds = self.config.expiry.auth_requests.as_secs();
        let pending = self.pend(request, auth, seconds);
        let location = format!("{}/auth/local", self.config.issuer.path());
        self.send_to(request, &location, "login", pending, |pending| Pending {
            select,
            ..pending
        })
    }

    /// Redirects to a form of ours.
    pub(crate) fn send_to_login(
        &self,
        request: &Request<Bytes>,
        auth: AuthRequest,
        location: &str,
    ) -> Reply {
        let seconds = self.config.expiry.auth_requests.as_secs();
        let pending = self.pend(request, auth, seconds);
        self.send_to(request, location, "login", pending, |pending| pending)
    }

    /// A login sealed for the links of a page, and the cookie that it is bound to.
    pub(crate) fn sealed_for(
        &self,
        request: &Request<Bytes>,
        auth: AuthRequest,
    ) -> Option<(String, String)> {
        let seconds = self.config.expiry.auth_requests.as_secs();
        let (pending, cookie) = self.pend(request, auth, seconds)?;
        Some((self.sealer.seal("login", &pending)?, cookie))
    }

    /// What `req` is made of, and a new value for the cookie that it is bound to, if there is none.
    pub(crate) fn pend(
        &self,
        request: &Request<Bytes>,
        auth: AuthRequest,
        seconds: u64,
    ) -> Option<(Pending, String)> {
        let cookie = self.browser_or_new(request)?;
        let pending = Pending {
            request: auth,
            browser: self.sealer.mac("browser", &cookie),
            expires_at: self.now().saturating_add(seconds),
            person: None,
            select: false,
            challenge: None,
        };
        Some((pending, cookie))
    }

    /// Redirects to one of our pages, with the state sealed and its cookie set.
    pub(crate) fn send_to(
        &self,
        request: &Request<Bytes>,
        location: &str,
        purpose: &str,
        pending: Option<(Pending, String)>,
        change: impl FnOnce(Pending) -> Pending,
    ) -> Reply {
        let Some((pending, cookie)) = pending else {
            return failed();
        };
        let Some(sealed) = self.sealer.seal(purpose, &change(pending)) else {
            return failed();
        };
        let status = if request.method() == http::Method::POST {
            StatusCode::SEE_OTHER
        } else {
            StatusCode::FOUND
        };
        let mut reply = redirect(status, location, &[("req", &sealed)]);
        self.set_browser(request, &mut reply, &cookie);
        reply
    }

    /// `GET /auth/local?req=`: the form.
    pub(crate) fn login_form(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        match self.pending("login", request, sealed) {
            Err(reply) => reply,
            Ok(pending) => match self.session(request).filter(|_| pending.select) {
                Some(current) => {
                    let body = Page::Select {
                        client: self.client_name(&pending.request),
                        email: current.user.email.clone(),
                    };
                    page(StatusCode::OK, body)
                }
                None => {
                    let hint = pending.request.login_hint.as_deref().unwrap_or_default();
                    match self.is_way(&pending.request, LOCAL) {
                        true => self.form(StatusCode::OK, &pending, hint, None),
                        false => self.restart(&pending),
                    }
                }
            },
        }
    }

    /// `POST /auth/local?req=`: e-mail and password, or the choice of an account.
    pub(crate) async fn login(
        &self,
        request: &Request<Bytes>,
        sealed: &str,
        source: Option<IpAddr>,
    ) -> Reply {
        let pending = match self.pending("login", request, sealed) {
            Ok(pending) => pending,
            Err(reply) => return reply,
        };
        let form = match self.own_form(request) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        if let (true, Ok(Some(account))) = (pending.select, form.get("account")) {
            return self.selected(request, pending, account).await;
        }
        if !self.is_way(&pending.request, LOCAL) {
            return self.restart(&pending);
        }
        let (login, password) = match (form.get("login"), form.secret("password")) {
            (Ok(login), Ok(password)) => (login.unwrap_or_default().trim(), password),
            _ => return bad_form("a field of the form is there twice"),
        };
        let Some(password) = password else {
            return self.form(StatusCode::UNAUTHORIZED, &pending, login, Some(wrong()));
        };
        if login.len() > MAX_EMAIL || password.expose().len() > MAX_PASSWORD {
            return self.form(StatusCode::UNAUTHORIZED, &pending, "", Some(wrong()));
        }
        let again = |status, text| self.form(status, &pending, login, Some(text));
        match self.known_here(login, password, source).await {
            Ok(user) => {
                tracing::info!(
                    user = user.email,
                    client = pending.request.client_id,
                    "logged in"
                );
                self.after_password(request, pending.request, &user).await
            }
            Err(Unknown::Wrong | Unknown::Disabled) => {
                tracing::info!(client = pending.request.client_id, "login refused");
                again(StatusCode::UNAUTHORIZED, wrong())
            }
            Err(Unknown::TooMany(seconds)) => {
                let text = Text::new(|w| &w.too_many).with("seconds", seconds);
                retry_after(again(StatusCode::TOO_MANY_REQUESTS, text), seconds)
            }
            Err(Unknown::Busy) => {
                let text = Text::new(|w| &w.busy);
                retry_after(again(StatusCode::SERVICE_UNAVAILABLE, text), 2)
            }
            Err(Unknown::Trouble(_) | Unknown::Failed) => failed(),
        }
    }

    /// The person chose between the session's account and another.
    async fn selected(&self, request: &Request<Bytes>, pending: Pending, account: &str) -> Reply {
        match self.session(request) {
            Some(current) if account == "continue" => {
                self.proceed(request, pending.request, current.person())
                    .await
            }
            _ => self.choose(request, pending.request).await,
        }
    }

    /// Asks for a second factor, if the person has one.
    async fn after_password(
        &self,
        request: &Request<Bytes>,
        auth: AuthRequest,
        user: &User,
    ) -> Reply {
        let who = user.reference();
        let Some(factors) = self.factors(&who) else {
            return failed();
        };
        if !factors.any() {
            return match self.demanded(&auth, LOCAL) {
                Some(Strength::SecondFactor) => self.begin_enrolment(request, auth, who),
                _ => self.logged_in(request, auth, user, vec![Method::Pwd]).await,
            };
        }
        let Some(challenge) = self.challenge(&who) else {
            return failed();
        };
        let person = Person {
            user: who,
            auth_time: self.now(),
            session: None,
            methods: vec![Method::Pwd],
        };
        let location = format!("{}/auth/second", self.config.issuer.path());
        let pending = self.pend(request, auth, CHALLENGE_SECONDS);
        self.send_to(request, &location, "second", pending, |pending| Pending {
            person: Some(person),
            challenge: Some(challenge),
            ..pending
        })
    }

    /// How strong a login by a connector has to be: as the application says, and for users here as the
    /// configuration says.
    pub(crate) fn demanded(&self, auth: &AuthRequest, connector: &str) -> Option<Strength> {
        let of_client = || {
            let client = self.known_client(&auth.client_id);
            client.map_or(SecondFactor::Optional, |client| client.second_factor)
        };
        let by_rule = connector == LOCAL
            && (self.config.second_factor == SecondFactor::Required
                || of_client() == SecondFactor::Required);
        auth.strength.max(by_rule.then_some(Strength::SecondFactor))
    }

    pub(crate) async fn logged_in(
        &self,
        request: &Request<Bytes>,
        auth: AuthRequest,
        user: &User,
        methods: Vec<Method>,
    ) -> Reply {
        // OpenID Connect Core 1.0 section 3.1.2.1: the answer is about that person or an error.
        let hinted = user.subject();
        if auth.subject.as_ref().is_some_and(|hint| *hint != hinted) {
            let text = "another person logged in than `id_token_hint` names";
            return auth.error(&self.config, "login_required", text);
        }
        if Strength::of(&methods) < self.demanded(&auth, &user.connector) {
            return self.unmet(&auth);
        }
        let session = match self.begin_session(request, user, &methods).await {
            Ok(session) => session,
            Err(reply) => return reply,
        };
        let person = Person {
            user: user.reference(),
            auth_time: self.now(),
            session: session.as_ref().map(|(reference, _)| reference.clone()),
            methods,
        };
        let mut reply = if auth.account {
            self.enter_account(request, &auth, person)
        } else {
            self.proceed(request, auth, person).await
        };
        if let Some((_, cookie)) = session {
            self.set_session_cookie(request, &mut reply, &cookie);
        }
        reply
    }

    fn unmet(&self, auth: &AuthRequest) -> Reply {
        auth.error(
            &self.config,
            UNMET,
            "the login is not as strong as it has to be",
        )
    }

    /// Asks for approval where it is needed, or answers the application.
    async fn proceed(&self, request: &Request<Bytes>, auth: AuthRequest, person: Person) -> Reply {
        if Strength::of(&person.methods) < self.demanded(&auth, &person.user.connector) {
            return self.unmet(&auth);
        }
        if !self.asks(&auth, &person) {
            return self.answer_application(auth, person).await;
        }
        if auth.prompt.none {
            let text = "the person has to allow access";
            return auth.error(&self.config, "consent_required", text);
        }
        let location = format!("{}/approval", self.config.issuer.path());
        let pending = self.pend(request, auth, crate::approval::SECONDS);
        self.send_to(request, &location, "approval", pending, |pending| Pending {
            person: Some(person),
            ..pending
        })
    }

    /// Opens `req` if it is of this browser and young enough.
    pub(crate) fn pending(
        &self,
        purpose: &str,
        request: &Request<Bytes>,
        sealed: &str,
    ) -> Result<Pending, Reply> {
        let Some(pending) = self.sealer.open::<Pending>(purpose, sealed) else {
            return Err(problem(
                StatusCode::BAD_REQUEST,
                |w| &w.login_invalid,
                |w| &w.login_invalid_text,
                "",
            ));
        };
        self.still_pending(request, pending)
    }

    /// A login that goes on, if it is of this browser and young enough.
    pub(crate) fn still_pending(
        &self,
        request: &Request<Bytes>,
        mut pending: Pending,
    ) -> Result<Pending, Reply> {
        // A language that the person chose goes on with the login.
        pending.request.language = asked_language(request).or(pending.request.language);
        let cookie = self.browser(request);
        let same_browser = cookie.is_some_and(|cookie| {
            self.sealer
                .same(&pending.browser, &self.sealer.mac("browser", &cookie))
        });
        if !same_browser || pending.expires_at <= self.now() {
            return Err(self.restart(&pending));
        }
        Ok(pending)
    }

    pub(crate) fn restart(&self, pending: &Pending) -> Reply {
        let path = self.config.issuer.path();
        let restart = match &pending.request.device {
            Some(_) => format!("{path}/device"),
            None if pending.request.account => format!("{path}/account"),
            None => format!("{path}/auth?{}", pending.request.query()),
        };
        let status = StatusCode::BAD_REQUEST;
        let notice = Notice {
            restart: Some(restart),
            ..referenced(status, |w| &w.restart, |w| &w.restart_text, "")
        };
        page(status, Page::Notice(notice))
    }

    fn form(
        &self,
        status: StatusCode,
        pending: &Pending,
        login: &str,
        problem: Option<Text>,
    ) -> Reply {
        let body = Login {
            client: (!pending.request.account).then(|| self.client_name(&pending.request)),
            login: login.to_owned(),
            problem,
            hint: self.login_hint.clone(),
            by: None,
            other: self.other_way(&pending.request),
        };
        page(status, Page::Login(body))
    }

    pub(crate) fn client_name(&self, request: &AuthRequest) -> String {
        let client = self.known_client(&request.client_id);
        client.map_or_else(|| request.client_id.clone(), |client| client.name)
    }
}

fn wrong() -> Text {
    Text::new(|w| &w.login_wrong)
}

/// The value of one of our cookies: base64url of a known length.
///
/// That of a login ties `req` to a browser, so that neither a link nor a form of somebody else
/// continues a login here.
pub(crate) fn cookie_of(request: &Request<Bytes>, name: &str, length: usize) -> Option<String> {
    cookie(request, name, |value| value.len() == length)
}

/// The same, of a length that is only bounded.
pub(crate) fn cookie_text(request: &Request<Bytes>, name: &str, most: usize) -> Option<String> {
    cookie(request, name, |value| (1..=most).contains(&value.len()))
}

fn cookie(request: &Request<Bytes>, name: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
    request
        .headers()
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, value)| {
            *found == name
                && fits(value)
                && value
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        .map(|(_, value)| value.to_owned())
}

pub(crate) fn is_https(request: &Request<Bytes>) -> bool {
    request.uri().scheme_str() == Some("https")
        || request
            .headers()
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

pub(crate) fn retry_after(mut reply: Reply, seconds: u64) -> Reply {
    reply
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
}
