//! The login form and the approval page, between `/auth` and the redirect to the client.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{COOKIE, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE};
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::authorize::AuthRequest;
use crate::config::User;
use crate::grant::{Grant, GrantId, Stage};
use crate::limit::TooMany;
use crate::pages::{ApprovalPage, LoginPage, ProblemPage, page, problem};
use crate::params::{MAX_LENGTH, Params};
use crate::provider::Inner;
use crate::reply::{Reply, internal, redirect};
use crate::seal::random_token;

const COOKIE_NAME: &str = "sidegate_login";
const COOKIE_LENGTH: usize = 22;
/// RFC 6749 section 4.1.2 recommends ten minutes at most; a redirect takes seconds.
const CODE_SECONDS: u64 = 60;
const APPROVAL_SECONDS: u64 = 600;
const MAX_EMAIL: usize = 254;
const MAX_PASSWORD: usize = 1024;
const WRONG: &str = "The e-mail address or the password is not right.";

/// What `req` carries: bound to a browser, and after the password to a user.
#[derive(Serialize, Deserialize)]
struct Pending {
    request: AuthRequest,
    browser: String,
    expires_at: u64,
    user_id: Option<String>,
}

impl Inner {
    /// `/auth`: seals the request and shows the way to the form.
    pub(crate) fn start(&self, request: &Request<Bytes>, query: &[u8]) -> Reply {
        let auth = match AuthRequest::parse(&self.config, query) {
            Ok(auth) => auth,
            Err(reply) => return reply,
        };
        // One cookie for all tabs of a browser.
        let Some(cookie) = browser_cookie(request).or_else(random_token::<16>) else {
            return internal();
        };
        let pending = Pending {
            request: auth,
            browser: self.sealer.mac("browser", &cookie),
            expires_at: self
                .now()
                .saturating_add(self.config.expiry.auth_requests.as_secs()),
            user_id: None,
        };
        let Some(sealed) = self.sealer.seal("login", &pending) else {
            return internal();
        };
        let path = self.config.issuer.path();
        let location = format!("{path}/auth/local");
        let mut reply = redirect(StatusCode::FOUND, &location, &[("req", &sealed)]);
        let secure = if is_https(request) { "; Secure" } else { "" };
        let scope = if path.is_empty() { "/" } else { path };
        let cookie =
            format!("{COOKIE_NAME}={cookie}; Path={scope}; HttpOnly; SameSite=Lax{secure}");
        let Ok(cookie) = HeaderValue::try_from(cookie) else {
            return internal();
        };
        reply.headers_mut().insert(SET_COOKIE, cookie);
        reply
    }

    /// `GET /auth/local?req=`: the form.
    pub(crate) fn login_form(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        match self.pending("login", request, sealed) {
            Ok(pending) => self.form(StatusCode::OK, &pending, "", None),
            Err(reply) => reply,
        }
    }

    /// `POST /auth/local?req=`: e-mail and password.
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
        let form = match own_form(request) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let (login, password) = match (form.get("login"), form.secret("password")) {
            (Ok(login), Ok(password)) => (login.unwrap_or_default().trim(), password),
            _ => return bad_form("a field of the form is there twice"),
        };
        let Some(password) = password else {
            return self.form(StatusCode::UNAUTHORIZED, &pending, login, Some(WRONG));
        };
        if login.len() > MAX_EMAIL || password.expose().len() > MAX_PASSWORD {
            return self.form(StatusCode::UNAUTHORIZED, &pending, "", Some(WRONG));
        }
        let account = login.to_lowercase();
        if let Err(TooMany(seconds)) = self.limits.take(&account, source, self.now()) {
            let text = format!("Too many attempts. Try again in {seconds} s.");
            let reply = self.form(StatusCode::TOO_MANY_REQUESTS, &pending, login, Some(&text));
            return retry_after(reply, seconds);
        }
        let user = self.config.user_by_email(&account);
        let checked = self
            .passwords
            .check(&self.config, &self.sealer, &account, user, password)
            .await;
        match (checked, user) {
            (Err(_), _) => {
                let text = "Many people are logging in right now. Try again in a moment.";
                let reply = self.form(StatusCode::SERVICE_UNAVAILABLE, &pending, login, Some(text));
                retry_after(reply, 2)
            }
            (Ok(true), Some(user)) => {
                self.limits.give_back(&account, source, self.now());
                tracing::info!(
                    user = user.email,
                    client = pending.request.client_id,
                    "logged in"
                );
                self.logged_in(pending, user).await
            }
            (Ok(_), _) => {
                tracing::info!(client = pending.request.client_id, "login refused");
                self.form(StatusCode::UNAUTHORIZED, &pending, login, Some(WRONG))
            }
        }
    }

    async fn logged_in(&self, pending: Pending, user: &User) -> Reply {
        if self.config.skip_approval_screen {
            return self.issue_code(pending.request, user).await;
        }
        let approval = Pending {
            user_id: Some(user.user_id.clone()),
            expires_at: self.now().saturating_add(APPROVAL_SECONDS),
            ..pending
        };
        let Some(sealed) = self.sealer.seal("approval", &approval) else {
            return internal();
        };
        let location = format!("{}/approval", self.config.issuer.path());
        redirect(StatusCode::SEE_OTHER, &location, &[("req", &sealed)])
    }

    /// `GET /approval?req=`: what the client will learn.
    pub(crate) fn approval_form(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        let (pending, user) = match self.approving(request, sealed) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let mut asks = vec!["an identifier of your account"];
        for scope in &pending.request.scopes {
            asks.extend(match scope.as_str() {
                "email" => Some("your e-mail address"),
                "profile" => Some("your name"),
                "groups" => Some("the groups you belong to"),
                "offline_access" => Some("access while you are away"),
                scope if scope.starts_with("audience:") => Some("tokens for other applications"),
                _ => None,
            });
        }
        let client = self.client_name(&pending.request);
        let body = ApprovalPage {
            client,
            email: &user.email,
            asks: &asks,
        };
        page(StatusCode::OK, &body)
    }

    /// `POST /approval?req=`: `approval=approve` or anything else.
    pub(crate) async fn approve(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        let (pending, user) = match self.approving(request, sealed) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        match own_form(request).map(|form| matches!(form.get("approval"), Ok(Some("approve")))) {
            Err(reply) => reply,
            Ok(true) => self.issue_code(pending.request, user).await,
            Ok(false) => {
                pending
                    .request
                    .error(&self.config, "access_denied", "the person denied access")
            }
        }
    }

    fn approving(&self, request: &Request<Bytes>, sealed: &str) -> Result<(Pending, &User), Reply> {
        let pending = self.pending("approval", request, sealed)?;
        let user = pending
            .user_id
            .as_deref()
            .and_then(|id| self.config.user_by_id(id));
        match user {
            Some(user) => Ok((pending, user)),
            None => Err(self.restart(&pending)),
        }
    }

    async fn issue_code(&self, auth: AuthRequest, user: &User) -> Reply {
        let Some(id) = GrantId::new(&self.sealer, &user.user_id) else {
            return internal();
        };
        let now = self.now();
        let code = id.code(&self.sealer);
        let grant = Grant {
            client_id: auth.client_id.clone(),
            user_id: user.user_id.clone(),
            scopes: auth.scopes.clone(),
            nonce: auth.nonce.clone(),
            auth_time: now,
            created_at: now,
            expires_at: now.saturating_add(CODE_SECONDS),
            stage: Stage::Code {
                redirect_uri: auth.redirect_uri.clone(),
                code_challenge: auth.code_challenge.clone(),
                code_expires_at: now.saturating_add(CODE_SECONDS),
            },
        };
        match self.write(move |batch| grant.insert(batch, &id, now)).await {
            Some(()) => auth.success(&self.config, &code),
            None => auth.error(
                &self.config,
                "server_error",
                "the login could not be recorded",
            ),
        }
    }

    /// Opens `req` if it is of this browser and young enough.
    fn pending(
        &self,
        purpose: &str,
        request: &Request<Bytes>,
        sealed: &str,
    ) -> Result<Pending, Reply> {
        let Some(pending) = self.sealer.open::<Pending>(purpose, sealed) else {
            return Err(problem(
                StatusCode::BAD_REQUEST,
                "This login is not valid",
                "The address of this page is damaged or was not made here. Go back to the \
                 application and log in again.",
                "",
            ));
        };
        let same_browser = browser_cookie(request).is_some_and(|cookie| {
            self.sealer
                .same(&pending.browser, &self.sealer.mac("browser", &cookie))
        });
        if !same_browser || pending.expires_at <= self.now() {
            return Err(self.restart(&pending));
        }
        Ok(pending)
    }

    fn restart(&self, pending: &Pending) -> Reply {
        let restart = format!(
            "{}/auth?{}",
            self.config.issuer.path(),
            pending.request.query()
        );
        let body = ProblemPage {
            title: "This login has to start again",
            text: "It took too long, or it was begun in another browser. If this page returns, \
                   allow cookies for this site.",
            detail: "",
            restart: Some(&restart),
        };
        page(StatusCode::BAD_REQUEST, &body)
    }

    fn form(
        &self,
        status: StatusCode,
        pending: &Pending,
        login: &str,
        problem: Option<&str>,
    ) -> Reply {
        let body = LoginPage {
            client: self.client_name(&pending.request),
            login,
            problem,
            hint: self.login_hint.as_deref(),
        };
        page(status, &body)
    }

    fn client_name<'a>(&'a self, request: &'a AuthRequest) -> &'a str {
        self.config
            .client(&request.client_id)
            .map_or(request.client_id.as_str(), |client| &client.name)
    }
}

/// The form in the body, unless another site posted it.
fn own_form(request: &Request<Bytes>) -> Result<Params, Reply> {
    let fetch_site = HeaderName::from_static("sec-fetch-site");
    if request
        .headers()
        .get(fetch_site)
        .is_some_and(|site| site == "cross-site")
    {
        return Err(problem(
            StatusCode::FORBIDDEN,
            "This login was sent by another site",
            "Only the login page itself may send a password. Go back to the application and log \
             in again.",
            "",
        ));
    }
    if !is_form(request) || request.body().len() > MAX_LENGTH {
        return Err(bad_form(
            "expected `application/x-www-form-urlencoded` below 16 KiB",
        ));
    }
    Ok(Params::parse(request.body()))
}

pub(crate) fn is_form(request: &Request<Bytes>) -> bool {
    let Some(value) = request.headers().get(http::header::CONTENT_TYPE) else {
        return false;
    };
    let kind = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    kind.trim_ascii()
        .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

fn bad_form(detail: &str) -> Reply {
    let text = "The form did not arrive as it was sent. Go back and try again.";
    problem(
        StatusCode::BAD_REQUEST,
        "This form cannot be read",
        text,
        detail,
    )
}

/// The cookie that ties `req` to a browser, so that neither a link nor a form of somebody else
/// continues a login here.
fn browser_cookie(request: &Request<Bytes>) -> Option<String> {
    request
        .headers()
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| {
            *name == COOKIE_NAME
                && value.len() == COOKIE_LENGTH
                && value
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        .map(|(_, value)| value.to_owned())
}

fn is_https(request: &Request<Bytes>) -> bool {
    request.uri().scheme_str() == Some("https")
        || request
            .headers()
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

fn retry_after(mut reply: Reply, seconds: u64) -> Reply {
    reply
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
}
