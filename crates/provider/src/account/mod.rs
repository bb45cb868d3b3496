//! `/account`: what a person can do with their own login: sessions, password, second factors.
//!
//! It asks for a login of its own, so that a browser that was left open shows and changes nothing.
//! That login is a sealed cookie of a quarter of an hour; nothing is stored for it.

mod applications;
mod apps;
mod browser;
mod home;
mod passkeys;
mod password;
mod time;

use bytes::Bytes;
use http::header::{HeaderValue, SET_COOKIE};
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::authorize::{AuthRequest, Prompt};
use crate::login::{Person, cookie_text, is_https};
use crate::pages::{asked_language, failed};
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::{Reply, redirect};
use crate::session::{Session, SessionRef};
use crate::user::{LOCAL, User, UserRef};

pub(crate) use apps::app_page;
pub(crate) use browser::{coarse, describe};
pub(crate) use time::date;

const COOKIE_NAME: &str = "sidegate_account";
/// How long a login is fresh enough to change it.
const SECONDS: u64 = 900;
/// Longest cookie that is opened.
const MAX_COOKIE: usize = 2048;

/// What the cookie holds.
#[derive(Serialize, Deserialize)]
struct Fresh {
    user: UserRef,
    session: Option<SessionRef>,
    browser: String,
    expires_at: u64,
}

/// A person who has just logged in to their account.
pub(crate) struct Visitor {
    pub(crate) user: User,
    pub(crate) who: UserRef,
    pub(crate) session: Option<SessionRef>,
}

impl Visitor {
    /// Passwords and second factors of people of connectors are kept where these know them from.
    fn may_open(&self, path: &str) -> bool {
        path == "/account" || self.is_of_here()
    }

    pub(crate) fn is_of_here(&self) -> bool {
        self.who.connector == LOCAL
    }
}

impl Inner {
    /// Whatever is below `/account`.
    pub(crate) async fn account(
        &self,
        request: &Request<Bytes>,
        path: &str,
        source: Option<std::net::IpAddr>,
    ) -> Reply {
        let visitor = match self.visitor(request) {
            Ok(Some(visitor)) => visitor,
            Ok(None) => return self.account_login(request).await,
            Err(reply) => return reply,
        };
        let answered = if request.method() == Method::POST {
            match self.own_token_form(request) {
                Err(reply) => Err(reply),
                Ok(form) => match path {
                    path if !visitor.may_open(path) => Ok(self.account_done(request, "")),
                    "/account/password" => {
                        self.change_password(request, visitor, &form, source).await
                    }
                    "/account/app" => self.change_app(request, &visitor, &form).await,
                    "/account/passkey" => self.change_passkey(request, &visitor, &form).await,
                    _ => self.change_account(request, &visitor, &form).await,
                },
            }
        } else {
            match path {
                path if !visitor.may_open(path) => Ok(self.account_done(request, "")),
                "/account/password" => self.password_page(request, &visitor, None),
                "/account/app" => self.app_page(request, &visitor),
                "/account/passkey" => self.passkey_page(request, &visitor, None),
                _ => self.home(request, &visitor),
            }
        };
        match answered {
            Ok(reply) | Err(reply) => reply,
        }
    }

    /// Sends the person to log in, whatever session there is.
    async fn account_login(&self, request: &Request<Bytes>) -> Reply {
        let auth = AuthRequest {
            account: true,
            prompt: Prompt {
                login: true,
                ..Prompt::default()
            },
            language: asked_language(request),
            ..AuthRequest::default()
        };
        self.begin(request, auth).await
    }

    /// The end of such a login.
    pub(crate) fn enter_account(
        &self,
        request: &Request<Bytes>,
        auth: &AuthRequest,
        person: Person,
    ) -> Reply {
        let base = self.config.issuer.path();
        let language = auth.language.map(crate::words::Language::tag);
        let params: Vec<_> = language.iter().map(|tag| ("ui_locales", *tag)).collect();
        let location = format!("{base}/account");
        let mut reply = redirect(StatusCode::SEE_OTHER, &location, &params);
        match self.set_account(request, &mut reply, person.user, person.session) {
            Some(()) => reply,
            None => failed(),
        }
    }

    fn set_account(
        &self,
        request: &Request<Bytes>,
        reply: &mut Reply,
        user: UserRef,
        session: Option<SessionRef>,
    ) -> Option<()> {
        let fresh = Fresh {
            user,
            session,
            browser: self.form_token(&self.browser(request)?),
            expires_at: self.now().saturating_add(SECONDS),
        };
        let sealed = self.sealer.seal("account", &fresh)?;
        self.account_cookie(request, reply, &sealed, "")
    }

    /// Takes the cookie away.
    fn leave_account(&self, request: &Request<Bytes>, reply: &mut Reply) {
        self.account_cookie(request, reply, "", "; Max-Age=0");
    }

    fn account_cookie(
        &self,
        request: &Request<Bytes>,
        reply: &mut Reply,
        value: &str,
        end: &str,
    ) -> Option<()> {
        let secure = if is_https(request) { "; Secure" } else { "" };
        let base = self.config.issuer.path();
        let cookie = format!(
            "{COOKIE_NAME}={value}; Path={base}/account; HttpOnly; SameSite=Lax{secure}{end}"
        );
        let cookie = HeaderValue::try_from(cookie).ok()?;
        reply.headers_mut().append(SET_COOKIE, cookie);
        Some(())
    }

    /// Who has just logged in with this browser, while the login still counts.
    fn visitor(&self, request: &Request<Bytes>) -> Result<Option<Visitor>, Reply> {
        let opened = || {
            let sealed = cookie_text(request, COOKIE_NAME, MAX_COOKIE)?;
            let fresh = self.sealer.open::<Fresh>("account", &sealed)?;
            let browser = self.form_token(&self.browser(request)?);
            (fresh.expires_at > self.now() && self.sealer.same(&fresh.browser, &browser))
                .then_some(fresh)
        };
        let Some(fresh) = opened() else {
            return Ok(None);
        };
        let user = self.read(|_| self.user(&fresh.user)).ok_or_else(failed)?;
        if let Some(session) = &fresh.session {
            // A session that was ended elsewhere ends this as well.
            let kept = self.read(|storage| storage.get::<Session>(&session.key));
            if kept.ok_or_else(failed)?.is_none() {
                return Ok(None);
            }
        }
        Ok(user.map(|user| Visitor {
            user,
            who: fresh.user,
            session: fresh.session,
        }))
    }

    /// Back to the page, which then says what was done.
    fn account_done(&self, request: &Request<Bytes>, done: &str) -> Reply {
        let mut params = vec![("done", done)];
        params.extend(asked_language(request).map(|language| ("ui_locales", language.tag())));
        let location = format!("{}/account", self.config.issuer.path());
        redirect(StatusCode::SEE_OTHER, &location, &params)
    }

    /// What ties a form of these pages to the browser.
    fn account_token(&self, request: &Request<Bytes>) -> Result<String, Reply> {
        let browser = self.browser(request).ok_or_else(failed)?;
        Ok(self.form_token(&browser))
    }
}

/// A field of a form, empty where it is not there once.
fn field<'a>(form: &'a Params, name: &'static str) -> &'a str {
    form.get(name).ok().flatten().unwrap_or_default()
}
