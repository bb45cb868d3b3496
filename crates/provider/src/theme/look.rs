//! What a configuration and a theme make of the pages, ready to be shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use sha2::{Digest, Sha256};

use super::Theme;
use crate::config::{Frontend, Scheme};
use crate::words::{Language, Words, replace};

/// One stylesheet for every page of the product, then what is particular here.
pub(super) const STYLE: &str = concat!(
    include_str!("../../../console/style/base.css"),
    include_str!("../../style/pages.css"),
);
const DARK: &str = "@media (prefers-color-scheme:dark)";

/// What asks the browser for passkeys: the only script of all pages.
pub(crate) const SCRIPT: &str = include_str!("../../script/passkey.js");

/// The name shown where the configuration has none.
const NAME: &str = "Sidegate";

pub(crate) struct Look {
    pub(crate) name: String,
    pub(crate) logo: Option<String>,
    pub(crate) favicon: String,
    /// What `<meta name="color-scheme">` says.
    pub(crate) scheme: &'static str,
    pub(crate) style: String,
    pub(crate) policy: HeaderValue,
    /// For the pages that use passkeys.
    pub(crate) scripted_policy: HeaderValue,
    words: [Words; 2],
}

impl Look {
    /// `None` when the policy is no header, which no stylesheet makes happen.
    pub(crate) fn new(frontend: &Frontend, theme: &Theme) -> Option<Self> {
        let ours = match frontend.scheme {
            Scheme::Both => STYLE.to_owned(),
            Scheme::Light => fixed("@media not all", "color-scheme:light;"),
            Scheme::Dark => fixed("@media all", "color-scheme:dark;"),
        };
        let style = ours + &theme.style;
        let words = Language::ALL.map(|language| {
            let mut words = Words::of(language);
            let own = theme.messages.iter().filter(|(of, _)| *of == language);
            for (key, text) in own.flat_map(|(_, messages)| messages) {
                // Checked when it was read.
                let _ = replace(&mut words, key, text.clone());
            }
            words
        });
        Some(Self {
            name: frontend.name.clone().unwrap_or_else(|| NAME.to_owned()),
            logo: theme.logo.clone(),
            favicon: theme.favicon.clone().unwrap_or_else(|| "data:,".to_owned()),
            scheme: match frontend.scheme {
                Scheme::Both => "light dark",
                Scheme::Light => "only light",
                Scheme::Dark => "only dark",
            },
            policy: policy(&style, None)?,
            scripted_policy: policy(&style, Some(SCRIPT))?,
            style,
            words,
        })
    }

    pub(crate) fn words(&self, language: Language) -> &Words {
        let [english, korean] = &self.words;
        match language {
            Language::English => english,
            Language::Korean => korean,
        }
    }
}

/// Our stylesheet with other conditions for its dark colours.
fn fixed(condition: &str, scheme: &str) -> String {
    STYLE
        .replacen(DARK, condition, 1)
        .replacen("color-scheme:light dark;", scheme, 1)
}

/// No `form-action`: browsers apply it to the redirects after the form as well, and those lead to
/// the application, then wherever it sends the person. With no script but ours and with everything
/// escaped, nothing can add a form to these pages.
fn policy(style: &str, script: Option<&str>) -> Option<HeaderValue> {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let style = hash(style);
    let script = script.map_or_else(String::new, |script| {
        format!("script-src 'sha256-{}'; ", hash(script))
    });
    HeaderValue::try_from(format!(
        "default-src 'none'; {script}style-src 'sha256-{style}'; img-src data:; base-uri 'none'; \
         frame-ancestors 'none'"
    ))
    .ok()
}
