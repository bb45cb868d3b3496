//! The templates, and what they are filled with.

use askama::Template;
use bytes::Bytes;
use http::{Request, Uri};
use url::form_urlencoded::{Serializer, parse};

use super::{
    Account, App, Approval, Choice, Device, Kept, Lasts, Login, NewPasskey, Notice, Page, Password,
    Second, Setup, duration,
};
use crate::theme::{Look, SCRIPT};
use crate::words::{Language, Part, Text, Words, parts};

/// What every page has.
struct Face<'a> {
    look: &'a Look,
    t: &'a Words,
    language: Language,
    /// The other languages, and where this page is in them.
    others: Vec<(Language, String)>,
    /// A query that stays in the language, where the person chose one.
    carry: String,
    /// The path of the issuer.
    base: &'a str,
    /// Who is logged in with this browser.
    session: Option<String>,
}

impl Face<'_> {
    /// `text` as HTML, with `value` in its gap as something that stands out.
    fn strong(&self, text: &str, value: &str) -> String {
        self.marked(text, value, "strong")
    }

    /// `text` with `value` in its gap, for the template to escape.
    #[expect(clippy::unused_self, reason = "templates call functions of the face")]
    fn fill(&self, text: &str, value: &impl ToString) -> String {
        let value = value.to_string();
        let filled = parts(text).into_iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Gap(_) => &value,
        });
        filled.collect()
    }

    #[expect(clippy::unused_self, reason = "templates call functions of the face")]
    fn script(&self) -> &'static str {
        SCRIPT
    }

    /// The same, as something to compare or to copy.
    fn code(&self, text: &str, value: &str) -> String {
        self.marked(text, value, "code")
    }

    /// The same, as a line of the log.
    fn log(&self, text: &str, value: &str) -> String {
        let html = self.marked(text, value, "code");
        html.replacen("<code>", "<code lang=\"en\">", 1)
    }

    #[expect(clippy::unused_self, reason = "templates call functions of the face")]
    fn marked(&self, text: &str, value: &str, tag: &str) -> String {
        let mut html = String::new();
        for part in parts(text) {
            match part {
                Part::Text(text) => escape(text, &mut html),
                Part::Gap(_) => {
                    html.push_str(&format!("<{tag}>"));
                    escape(value, &mut html);
                    html.push_str(&format!("</{tag}>"));
                }
            }
        }
        html
    }
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&#38;"),
            '<' => html.push_str("&#60;"),
            '>' => html.push_str("&#62;"),
            '"' => html.push_str("&#34;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    f: &'a Face<'a>,
    p: &'a Login,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "choice.html")]
struct ChoicePage<'a> {
    f: &'a Face<'a>,
    p: &'a Choice,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct ApprovalPage<'a> {
    f: &'a Face<'a>,
    p: &'a Approval,
    lasts: String,
    again: String,
}

#[derive(Template)]
#[template(path = "select.html")]
struct SelectPage<'a> {
    f: &'a Face<'a>,
    client: &'a str,
    email: &'a str,
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage<'a> {
    f: &'a Face<'a>,
    p: &'a Device,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage<'a> {
    f: &'a Face<'a>,
    p: &'a Setup,
    rule: String,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    f: &'a Face<'a>,
    email: &'a str,
    action: &'a str,
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage<'a> {
    f: &'a Face<'a>,
    p: &'a Notice,
    title: String,
    text: String,
}

#[derive(Template)]
#[template(path = "second.html")]
struct SecondPage<'a> {
    f: &'a Face<'a>,
    p: &'a Second,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    f: &'a Face<'a>,
    p: &'a Password,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "app.html")]
struct AppPage<'a> {
    f: &'a Face<'a>,
    p: &'a App,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "passkey.html")]
struct NewPasskeyPage<'a> {
    f: &'a Face<'a>,
    p: &'a NewPasskey,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    f: &'a Face<'a>,
    p: &'a Account,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "codes.html")]
struct CodesPage<'a> {
    f: &'a Face<'a>,
    codes: &'a [String],
    back: &'a str,
    goes_on: bool,
}

/// Whom a page is for, and how it looks.
pub(super) struct Setting<'a> {
    pub(super) look: &'a Look,
    pub(super) base: &'a str,
    pub(super) request: &'a Request<Bytes>,
    pub(super) language: Language,
    pub(super) session: Option<String>,
}

/// The HTML of a page.
pub(super) fn html(setting: Setting<'_>, page: &Page) -> askama::Result<String> {
    let Setting {
        look,
        base,
        request,
        language,
        session,
    } = setting;
    let here = match page {
        Page::Login(_)
        | Page::Select { .. }
        | Page::Approval(_)
        | Page::Setup(_)
        | Page::Second(_)
        | Page::Account(_)
        | Page::Password(_)
        | Page::App(_)
        | Page::NewPasskey(_) => Some(request.uri().path().to_owned()),
        Page::Device(_) => Some(format!("{base}/device")),
        Page::Choice(_) | Page::Logout { .. } | Page::Notice(_) | Page::Codes { .. } => None,
    };
    let others = here.map_or_else(Vec::new, |here| {
        Language::ALL
            .into_iter()
            .filter(|other| *other != language)
            .map(|other| (other, in_language(&here, request.uri(), other)))
            .collect()
    });
    let words = look.words(language);
    let f = &Face {
        look,
        t: words,
        language,
        others,
        carry: super::asked_language(request).map_or_else(String::new, |language| {
            format!("?ui_locales={}", language.tag())
        }),
        base,
        session,
    };
    let said = |text: &Option<Text>| text.as_ref().map(|text| text.say(words));
    match page {
        Page::Login(p) => LoginPage {
            f,
            p,
            problem: said(&p.problem),
        }
        .render(),
        Page::Choice(p) => ChoicePage { f, p }.render(),
        Page::Select { client, email } => SelectPage { f, client, email }.render(),
        Page::Approval(p) => {
            let with_time = |text: Text, seconds| text.with("time", duration::say(seconds, words));
            let lasts = match p.lasts {
                Lasts::Online(seconds) => with_time(Text::new(|w| &w.allow_online), seconds),
                Lasts::Offline(seconds) => with_time(Text::new(|w| &w.allow_offline), seconds),
            };
            let again = match p.asked_again {
                Some(seconds) => with_time(Text::new(|w| &w.allow_remembered), seconds),
                None => Text::new(|w| &w.allow_again),
            };
            ApprovalPage {
                f,
                p,
                lasts: lasts.say(words),
                again: again.say(words),
            }
            .render()
        }
        Page::Device(p) => DevicePage {
            f,
            p,
            problem: said(&p.problem),
        }
        .render(),
        Page::Setup(p) => SetupPage {
            f,
            p,
            rule: Text::new(|w| &w.setup_rule)
                .with("least", p.least)
                .say(words),
            problem: p.problem.as_ref().map(|text| text.say(words)),
        }
        .render(),
        Page::Logout { email, action } => LogoutPage { f, email, action }.render(),
        Page::Notice(p) => NoticePage {
            f,
            p,
            title: p.title.say(words),
            text: p.text.say(words),
        }
        .render(),
        Page::Second(p) => SecondPage {
            f,
            p,
            problem: said(&p.problem),
        }
        .render(),
        Page::Password(p) => PasswordPage {
            f,
            p,
            problem: said(&p.problem),
        }
        .render(),
        Page::App(p) => AppPage {
            f,
            p,
            problem: said(&p.problem),
        }
        .render(),
        Page::NewPasskey(p) => NewPasskeyPage {
            f,
            p,
            problem: said(&p.problem),
        }
        .render(),
        Page::Account(p) => AccountPage {
            f,
            p,
            done: said(&p.done),
        }
        .render(),
        Page::Codes {
            codes,
            back,
            goes_on,
        } => CodesPage {
            f,
            codes,
            back,
            goes_on: *goes_on,
        }
        .render(),
    }
}

/// The address of a page in another language.
fn in_language(path: &str, uri: &Uri, language: Language) -> String {
    let mut query = Serializer::new(String::new());
    for (name, value) in parse(uri.query().unwrap_or_default().as_bytes()) {
        if name != "ui_locales" {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("ui_locales", language.tag());
    format!("{path}?{}", query.finish())
}
