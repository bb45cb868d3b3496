//! The pages that people see. A handler says what is shown; [`Inner::show`] makes it HTML in the
//! language of the request and the look of the configuration.

mod duration;
mod language;
mod view;

use bytes::Bytes;
use http::header::{
    CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, VARY, X_FRAME_OPTIONS,
};
use http::{Request, StatusCode};

use crate::authorize::excerpt;
use crate::client_auth::claimed;
use crate::provider::Inner;
use crate::reply::{Refused, Reply, internal, reply};
use crate::seal::random_token;
use crate::words::{Pick, Text};

pub(crate) use language::asked as asked_language;

/// What the line in the log is called, in answers to programs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a page shows.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    Login(Login),
    Choice(Choice),
    Select {
        client: String,
        email: String,
    },
    Approval(Approval),
    Device(Device),
    Logout {
        email: String,
        action: String,
    },
    Notice(Notice),
    Setup(Setup),
    Second(Second),
    Account(Account),
    Password(Password),
    App(App),
    NewPasskey(NewPasskey),
    /// Codes on paper, shown once.
    Codes {
        codes: Vec<String>,
        back: String,
        /// A login goes on there, by a form.
        goes_on: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// None where the person goes to their account.
    pub(crate) client: Option<String>,
    /// What was typed before.
    pub(crate) login: String,
    pub(crate) problem: Option<Text>,
    pub(crate) hint: Option<String>,
    /// What the connector is called that knows the password, and its field of the name.
    pub(crate) by: Option<(String, String)>,
    /// Where another way to log in can be chosen.
    pub(crate) other: Option<String>,
}

/// The ways to log in.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// None where the person goes to their account.
    pub(crate) client: Option<String>,
    /// Addresses and names; the users here have no name.
    pub(crate) ways: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Approval {
    pub(crate) client: String,
    pub(crate) email: String,
    pub(crate) asks: Vec<Pick>,
    pub(crate) lasts: Lasts,
    /// In so many seconds; nothing where it is the next time.
    pub(crate) asked_again: Option<u64>,
    /// The code on the screen of the device that this is for.
    pub(crate) device: Option<String>,
}

/// For how many seconds an application has access.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lasts {
    Online(u64),
    Offline(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) code: String,
    pub(crate) action: String,
    /// Ties the form to the browser.
    pub(crate) token: String,
    pub(crate) problem: Option<Text>,
}

/// Where a password is set.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The first user of all, who chooses the address, too.
    pub(crate) first: bool,
    pub(crate) email: String,
    pub(crate) name: String,
    /// Letters that a password has at least.
    pub(crate) least: usize,
    pub(crate) problem: Option<Text>,
}

/// What happened, and what to do.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) title: Text,
    pub(crate) text: Text,
    /// Whether it is something wrong.
    pub(crate) problem: bool,
    /// What the operator of the application may need, in English as the log is.
    pub(crate) detail: String,
    /// What the line in the log is called.
    pub(crate) reference: String,
    /// Where to begin again.
    pub(crate) restart: Option<String>,
}

/// What is asked for after the password.
#[derive(Debug, Clone)]
pub(crate) struct Second {
    pub(crate) email: String,
    pub(crate) app: bool,
    /// What the script gives to the browser.
    pub(crate) passkey: Option<String>,
    pub(crate) codes: bool,
    pub(crate) problem: Option<Text>,
}

#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) email: String,
    /// The path of the issuer.
    pub(crate) base: String,
    pub(crate) token: String,
    /// What was done a moment ago.
    pub(crate) done: Option<Text>,
    pub(crate) kept: Kept,
    /// When the authenticator app was added.
    pub(crate) app: Option<String>,
    pub(crate) passkeys: Vec<KeyLine>,
    pub(crate) protected: bool,
    pub(crate) codes_left: usize,
    /// None where no sessions are kept.
    pub(crate) sessions: Option<Vec<SessionLine>>,
    pub(crate) applications: Vec<ApplicationLine>,
}

/// Where a person's password is kept, and second factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In the database, where the person can change it.
    Here,
    /// In the configuration; second factors are here.
    Configured,
    /// At the connector of this name.
    Elsewhere(String),
}

/// An application that the person allowed something.
#[derive(Debug, Clone)]
pub(crate) struct ApplicationLine {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Since when it goes on without the person.
    pub(crate) offline: Option<String>,
    /// What it is told.
    pub(crate) asks: Vec<Pick>,
}

#[derive(Debug, Clone)]
pub(crate) struct KeyLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) added: String,
}

#[derive(Debug, Clone)]
pub(crate) struct SessionLine {
    pub(crate) id: String,
    pub(crate) current: bool,
    pub(crate) began: String,
    pub(crate) used: String,
    pub(crate) browser: Option<String>,
    pub(crate) from: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Password {
    pub(crate) email: String,
    pub(crate) least: usize,
    pub(crate) token: String,
    pub(crate) back: String,
    pub(crate) problem: Option<Text>,
}

/// An authenticator app to be.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// SVG.
    pub(crate) picture: String,
    pub(crate) secret: String,
    pub(crate) sealed: String,
    /// None in the middle of a login, which needs the app.
    pub(crate) own: Option<Own>,
    pub(crate) problem: Option<Text>,
}

/// What a page of the account has.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) token: String,
    pub(crate) back: String,
}

#[derive(Debug, Clone)]
pub(crate) struct NewPasskey {
    /// What the script gives to the browser; none where it has no passkeys.
    pub(crate) options: Option<String>,
    pub(crate) sealed: String,
    pub(crate) token: String,
    pub(crate) back: String,
    pub(crate) problem: Option<Text>,
}

impl Page {
    /// Whether it says who is logged in, with a way to log out. That of codes would be lost.
    fn tells_session(&self) -> bool {
        !matches!(self, Self::Logout { .. } | Self::Codes { .. })
    }

    /// Whether it uses passkeys, for which browsers need a script.
    fn is_scripted(&self) -> bool {
        match self {
            Self::Second(second) => second.passkey.is_some(),
            Self::NewPasskey(new) => new.options.is_some(),
            _ => false,
        }
    }
}

/// A reply that shows `page`; [`Inner::show`] fills it.
pub(crate) fn page(status: StatusCode, page: Page) -> Reply {
    let mut reply = reply(status, "text/html; charset=utf-8", Bytes::new());
    reply.extensions_mut().insert(page);
    reply
}

/// A problem without a way to begin again here. The log says under the page's reference what it
/// was; both without anything that the request carries beside what `detail` quotes.
pub(crate) fn problem(status: StatusCode, title: Pick, text: Pick, detail: &str) -> Reply {
    page(
        status,
        Page::Notice(referenced(status, title, text, detail)),
    )
}

/// The same before it is a page.
pub(crate) fn referenced(status: StatusCode, title: Pick, text: Pick, detail: &str) -> Notice {
    let reference = random_token::<6>().unwrap_or_default();
    let shown = crate::words::Words::of(crate::words::Language::English);
    tracing::info!(
        reference,
        status = status.as_u16(),
        detail,
        "page shown: {}",
        title(&shown)
    );
    Notice {
        title: Text::new(title),
        text: Text::new(text),
        problem: true,
        detail: detail.to_owned(),
        reference,
        restart: None,
    }
}

/// Tells the log why an application gets an error, under a name that the application gets as well.
fn log_refusal(request: &Request<Bytes>, refused: &Refused, reply: &mut Reply) {
    let reference = random_token::<6>().unwrap_or_default();
    let client = claimed(request).map(|client| excerpt(&client));
    let (status, path) = (reply.status().as_u16(), request.uri().path());
    let Refused { error, description } = refused;
    match error.as_str() {
        // As it should be: a device asks again.
        "authorization_pending" | "slow_down" => {
            tracing::debug!(
                reference,
                status,
                path,
                client,
                error,
                description,
                "not yet"
            );
        }
        _ => tracing::info!(
            reference,
            status,
            path,
            client,
            error,
            description,
            "request refused"
        ),
    }
    if let Ok(reference) = HeaderValue::try_from(reference) {
        reply.headers_mut().insert(REQUEST_ID, reference);
    }
}

/// Something of ours failed while a person looks on; the lines before it in the log say what.
pub(crate) fn failed() -> Reply {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    problem(status, |w| &w.failed, |w| &w.failed_text, "")
}

/// Something that a person should know, and that is as it should be.
pub(crate) fn notice(title: Pick, text: Pick) -> Reply {
    let notice = Notice {
        title: Text::new(title),
        text: Text::new(text),
        problem: false,
        detail: String::new(),
        reference: String::new(),
        restart: None,
    };
    page(StatusCode::OK, Page::Notice(notice))
}

impl Inner {
    /// Makes HTML of the page that a reply shows; other replies stay as they are, and the log tells of refusals.
    pub(crate) fn show(&self, request: &Request<Bytes>, mut reply: Reply) -> Reply {
        if let Some(refused) = reply.extensions_mut().remove::<Refused>() {
            log_refusal(request, &refused, &mut reply);
        }
        let Some(page) = reply.extensions_mut().remove::<Page>() else {
            return reply;
        };
        let language = self.language_of(request);
        let session = page.tells_session().then(|| self.session(request));
        let session = session.flatten().map(|current| current.user.label());
        let setting = view::Setting {
            look: &self.look,
            base: self.config.issuer.path(),
            request,
            language,
            session,
        };
        let Ok(html) = view::html(setting, &page) else {
            return internal();
        };
        *reply.body_mut() = html.into();
        let headers = reply.headers_mut();
        let policy = if page.is_scripted() {
            &self.look.scripted_policy
        } else {
            &self.look.policy
        };
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
        reply
    }
}
