//! The language of a request: what its link says, what the application asked for at its login,
//! what the browser prefers, English.

use bytes::Bytes;
use http::Request;
use http::header::ACCEPT_LANGUAGE;
use serde::Deserialize;

use crate::forms::is_form;
use crate::params::Params;
use crate::provider::Inner;
use crate::words::Language;

/// What sealed states have in common that knows a language.
#[derive(Deserialize)]
struct Spoken {
    #[serde(default)]
    request: SpokenRequest,
}

#[derive(Default, Deserialize)]
struct SpokenRequest {
    #[serde(default)]
    language: Option<Language>,
}

/// `ui_locales` of a query, or of a form where an application may send one.
pub(crate) fn asked(request: &Request<Bytes>) -> Option<Language> {
    let of = |encoded: &[u8]| {
        let params = Params::parse(encoded).ok()?;
        Language::of_locales(params.get("ui_locales").ok()??)
    };
    let query = request.uri().query().unwrap_or_default().as_bytes();
    of(query).or_else(|| is_form(request).then(|| of(request.body())).flatten())
}

impl Inner {
    pub(super) fn language_of(&self, request: &Request<Bytes>) -> Language {
        asked(request)
            .or_else(|| self.sealed_language(request))
            .or_else(|| {
                let header = request.headers().get(ACCEPT_LANGUAGE)?;
                Language::of_accepted(header.to_str().ok()?)
            })
            .unwrap_or_default()
    }

    fn sealed_language(&self, request: &Request<Bytes>) -> Option<Language> {
        let params = Params::parse(request.uri().query()?.as_bytes()).ok()?;
        let sealed = params.get("req").ok()??;
        crate::login::PURPOSES
            .iter()
            .find_map(|purpose| self.sealer.open::<Spoken>(purpose, sealed))?
            .request
            .language
    }
}
