//! The page of API keys: what the person asks for, done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use console::{Console, KeyChange, KeyView, KeysView, MadeKey, PageView};
use http::{Response, StatusCode};
use identity::{ApiKeys, KeyError, KeyInfo, KeyOwner, NewKey};
use policy::{Caller, KeyScope, Person};

use crate::token::day_of;

const DAY: u64 = 24 * 3600;

/// Does what is asked for and shows the page. Only a session may: a token that
/// leaked must not become a key that lives longer.
pub(crate) async fn answer(
    keys: &ApiKeys,
    caller: &Caller,
    view: &PageView,
    change: KeyChange,
) -> Response<Bytes> {
    let Caller::Session(person) = caller else {
        return Console.problem(
            view,
            StatusCode::FORBIDDEN,
            "Log in to see your API keys",
            "They are for a person with a browser, not for a program with a token.",
        );
    };
    let mut shown = KeysView::default();
    let mut status = StatusCode::OK;
    match done(keys, person, change).await {
        Ok(made) => shown.made = made,
        Err(error) => {
            status = match &error {
                KeyError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
                KeyError::Unknown => StatusCode::NOT_FOUND,
                KeyError::Wrong { .. } | KeyError::Many(_) | KeyError::Full(_) => {
                    StatusCode::BAD_REQUEST
                }
            };
            if let KeyError::Store(error) = &error {
                tracing::error!(%error, "an API key could not be changed");
            }
            shown.problem = Some(words(&error));
        }
    }
    let mut own = keys.list_of(&person.email);
    own.reverse();
    shown.keys = own.into_iter().map(key_view).collect();
    Console.keys(view, status, &shown)
}

async fn done(
    keys: &ApiKeys,
    person: &Person,
    change: KeyChange,
) -> Result<Option<MadeKey>, KeyError> {
    match change {
        KeyChange::Show => Ok(None),
        KeyChange::Make { label, scope, days } => {
            let new = NewKey {
                owner: KeyOwner::Person(person.clone()),
                label,
                scope: scope_of(&scope),
                life: Duration::from_secs(days.saturating_mul(DAY)),
            };
            let (info, secret) = keys.create(new).await?;
            tracing::info!(user = %person.email, key = %info.id, "an API key was made");
            Ok(Some(MadeKey::new(secret.expose())))
        }
        KeyChange::Revoke { id } => {
            keys.revoke(&id, Some(&person.email)).await?;
            tracing::info!(user = %person.email, key = id, "an API key was revoked");
            Ok(None)
        }
    }
}

fn scope_of(lines: &[String]) -> KeyScope {
    let (models, namespaces): (Vec<_>, Vec<_>) = lines
        .iter()
        .map(|line| Arc::from(line.as_str()))
        .partition(|line: &Arc<str>| line.contains('/'));
    KeyScope { namespaces, models }
}

fn words(error: &KeyError) -> String {
    let text = match error {
        KeyError::Store(_) => "this could not be written down, the log says why".to_owned(),
        error => error.to_string(),
    };
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let first: String = first.into_iter().flatten().collect();
    format!("{first}{}.", letters.as_str())
}

fn key_view(key: KeyInfo) -> KeyView {
    let scope = key.scope.namespaces.iter().chain(&key.scope.models);
    KeyView {
        id: key.id.to_string(),
        label: key.label.to_string(),
        scope: scope.map(ToString::to_string).collect(),
        created: day_of(key.created),
        expires: day_of(key.expires),
        used: key.used.map(day_of),
    }
}
