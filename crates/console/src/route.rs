//! From a request to a page or to something the program does.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::page;
use crate::view::{ModelView, PageView};

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
}

impl Console {
    /// Answers `GET` of any path with the page, takes `POST /try/{namespace}/{name}`; everything else is an
    /// error page.
    ///
    /// The caller has authorised the request.
    #[must_use]
    pub fn handle(self, request: &Request<Bytes>, view: &PageView) -> Action {
        let path = request.uri().path();
        let method = request.method();
        let read = matches!(*method, Method::GET | Method::HEAD);
        let reply = match (path, path.strip_prefix("/try/")) {
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
    let (mut token, mut body) = (None, None);
    if form {
        for (name, value) in url::form_urlencoded::parse(request.body()) {
            match &*name {
                "token" => token = Some(value.into_owned()),
                "body" => body = Some(value.into_owned()),
                _ => {}
            }
        }
    }
    let ours = match (&view.form_token, &token) {
        (Some(expected), Some(token)) => expected.matches(token),
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
    let Some(body) = body else {
        let text = "The field `body` is missing.";
        return Err((StatusCode::BAD_REQUEST, "This form cannot be read", text));
    };
    Ok(Action::Try {
        namespace: model.namespace.clone(),
        name: model.name.clone(),
        body,
    })
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
