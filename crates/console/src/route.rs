//! From a request to a page or to something the program does.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::keys::{KeyChange, KeysView};
use crate::page;
use crate::view::{Mode, ModelView, PageView};

/// Longest form that is read.
const MAX_FORM: usize = 1024 * 1024;

/// The console. It holds nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console;

/// What to do with a request.
#[derive(Debug)]
pub enum Action {
    /// Answer this.
    Reply(Response<Bytes>),
    /// Send `body` to the model's V1 predict route in the name of the user, then answer
    /// [`Console::try_result`].
    Try {
        /// Namespace of a model of the view.
        namespace: String,
        /// Name of that model.
        name: String,
        /// The request body as typed.
        body: String,
    },
    /// Do what the person asks with their own API keys, then answer [`Console::keys`].
    Keys(KeyChange),
}

impl Console {
    /// Answers `GET` of any path with the page, takes `POST /try/{namespace}/{name}`, shows and changes API
    /// keys at `/keys`; everything else is an error page.
    ///
    /// The caller has authorised the request.
    #[must_use]
    pub fn handle(self, request: &Request<Bytes>, view: &PageView) -> Action {
        let path = request.uri().path();
        let method = request.method();
        let read = matches!(*method, Method::GET | Method::HEAD);
        let reply = match (path, path.strip_prefix("/try/")) {
            ("/keys" | "/keys/revoke", _) => match keys(request, view) {
                Ok(change) => return Action::Keys(change),
                Err((status, title, text)) => page::problem(view, status, title, text),
            },
            ("/", _) if read => page::home(view),
            ("/", _) => wrong_method(view, "GET, HEAD"),
            (_, Some(model)) if *method == Method::POST => match attempt(request, view, model) {
                Ok(action) => return action,
                Err((status, title, text)) => page::problem(view, status, title, text),
            },
            (_, Some(_)) => wrong_method(view, "POST"),
            // As Kubeflow's dashboard: one page under every path that is not a file's.
            (path, None) if read && !matches!(path, "/favicon.ico" | "/robots.txt") => {
                page::home(view)
            }
            _ => page::problem(
                view,
                StatusCode::NOT_FOUND,
                "There is no such page",
                "The console has nothing at this address.",
            ),
        };
        Action::Reply(if *method == Method::HEAD {
            reply.map(|_| Bytes::new())
        } else {
            reply
        })
    }

    /// The page of API keys.
    #[must_use]
    pub fn keys(self, view: &PageView, status: StatusCode, keys: &KeysView) -> Response<Bytes> {
        page::keys(view, status, keys)
    }

    /// A page that says why something cannot be.
    #[must_use]
    pub fn problem(
        self,
        view: &PageView,
        status: StatusCode,
        title: &str,
        text: &str,
    ) -> Response<Bytes> {
        page::problem(view, status, title, text)
    }

    /// The page after a try: what was sent, what came back.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, each argument a thing of its own"
    )]
    pub fn try_result(
        self,
        view: &PageView,
        namespace: &str,
        name: &str,
        request: &str,
        status: StatusCode,
        response: &[u8],
        elapsed: Duration,
    ) -> Response<Bytes> {
        match find(view, namespace, name) {
            Some(model) => page::result(view, model, request, status, response, elapsed),
            None => page::problem(
                view,
                StatusCode::NOT_FOUND,
                "The model is gone",
                "It was removed while it was tried.",
            ),
        }
    }
}

type Refusal = (StatusCode, &'static str, &'static str);

fn attempt(request: &Request<Bytes>, view: &PageView, model: &str) -> Result<Action, Refusal> {
    let model = model
        .split_once('/')
        .and_then(|(namespace, name)| find(view, namespace, name))
        .ok_or((
            StatusCode::NOT_FOUND,
            "There is no such model",
            "It may have been removed since the page was loaded.",
        ))?;
    let body = own_form(request, view)?
        .into_iter()
        .find(|(name, _)| name == "body");
    let Some((_, body)) = body else {
        let text = "The field `body` is missing.";
        return Err((StatusCode::BAD_REQUEST, "This form cannot be read", text));
    };
    Ok(Action::Try {
        namespace: model.namespace.clone(),
        name: model.name.clone(),
        body,
    })
}

fn keys(request: &Request<Bytes>, view: &PageView) -> Result<KeyChange, Refusal> {
    if view.mode == Mode::AsWritten || view.form_token.is_none() {
        return Err((
            StatusCode::NOT_FOUND,
            "There are no API keys here",
            "They count where access levels are enforced, and belong to people who are logged in.",
        ));
    }
    let revokes = request.uri().path() == "/keys/revoke";
    match *request.method() {
        Method::GET | Method::HEAD if !revokes => return Ok(KeyChange::Show),
        Method::POST => {}
        _ => {
            return Err((
                StatusCode::METHOD_NOT_ALLOWED,
                "This does not work here",
                "The address exists, but not for this kind of request.",
            ));
        }
    }
    let form = own_form(request, view)?;
    let field = |name: &str| {
        let found = form.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.trim()).unwrap_or_default()
    };
    if revokes {
        let id = field("id").to_owned();
        return Ok(KeyChange::Revoke { id });
    }
    let lines = field("scope").split(['\n', '\r', ',', ' ']);
    Ok(KeyChange::Make {
        label: field("label").to_owned(),
        scope: lines
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
        days: field("days").parse().unwrap_or_default(),
    })
}

/// The fields of a form that this page made for this person.
fn own_form(request: &Request<Bytes>, view: &PageView) -> Result<Vec<(String, String)>, Refusal> {
    let headers = request.headers();
    let fetch_site = HeaderName::from_static("sec-fetch-site");
    let form = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let kind = value
            .as_bytes()
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        kind.trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    });
    if request.body().len() > MAX_FORM {
        let text = "The console sends at most 1 MiB. Use the command instead.";
        return Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "This input is too large",
            text,
        ));
    }
    let fields: Vec<(String, String)> = match form {
        true => url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect(),
        false => Vec::new(),
    };
    let token = fields.iter().find(|(name, _)| name == "token");
    let ours = match (&view.form_token, token) {
        (Some(expected), Some((_, token))) => expected.matches(token),
        _ => false,
    };
    if !ours
        || headers
            .get(fetch_site)
            .is_some_and(|site| site == "cross-site")
    {
        let text = "Only the form of this page may be sent, by the person it was made for. Go \
                    back, reload and try again.";
        return Err((
            StatusCode::FORBIDDEN,
            "This form is not from this page",
            text,
        ));
    }
    Ok(fields)
}

fn find<'a>(view: &'a PageView, namespace: &str, name: &str) -> Option<&'a ModelView> {
    view.models
        .iter()
        .find(|model| model.namespace == namespace && model.name == name)
}

fn wrong_method(view: &PageView, allowed: &'static str) -> Response<Bytes> {
    let mut reply = page::problem(
        view,
        StatusCode::METHOD_NOT_ALLOWED,
        "This does not work here",
        "The address exists, but not for this kind of request.",
    );
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}
