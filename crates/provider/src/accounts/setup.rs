//! `/setup`: the page behind a link, where a person sets a password.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use secret::Secret;

use super::rules::{self, MIN_LETTERS, WeakPassword};
use super::ticket::Ticket;
use super::{Account, Ended, canonical, is_email};
use crate::clients::StoredClient;
use crate::login::retry_after;
use crate::pages::{Page, Setup, failed, notice, page, problem};
use crate::params::Params;
use crate::password::Busy;
use crate::provider::Inner;
use crate::reply::Reply;
use crate::storage::{Batch, Kind, StorageError};
use crate::words::Text;

/// What a link is good for at the moment.
enum Task {
    /// The first user of all.
    First,
    /// The password of this account.
    Password(Account),
}

/// What the form asks for.
struct Wanted {
    email: String,
    name: String,
    password: Secret,
}

impl Task {
    fn email(&self) -> &str {
        match self {
            Self::First => "",
            Self::Password(account) => &account.email,
        }
    }
}

impl Inner {
    /// `/setup?ticket=` by GET or POST. Looking at the page uses nothing up: programs that look at
    /// links in messages do that, too.
    pub(crate) async fn setup(&self, request: &Request<Bytes>) -> Reply {
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let params = Params::parse(query).ok();
        let token = params.as_ref().and_then(|p| p.get("ticket").ok()?);
        let Some(key) = token.and_then(|token| Ticket::key_of(&self.sealer, token)) else {
            return used_up();
        };
        let task = match self.read(|_| self.task(&key)) {
            None => return failed(),
            Some(None) => return used_up(),
            Some(Some(task)) => task,
        };
        if request.method() != Method::POST {
            return setup_page(StatusCode::OK, &task, task.email(), "", None);
        }
        let form = match self.own_form(request) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let field = |name| form.get(name).ok().flatten().unwrap_or_default().trim();
        let (email, name) = match &task {
            Task::First => (field("email"), field("name")),
            Task::Password(account) => (account.email.as_str(), account.name.as_str()),
        };
        let again = |status, problem: Text| setup_page(status, &task, email, name, Some(problem));
        let bad = |problem: Text| again(StatusCode::BAD_REQUEST, problem);
        if !is_email(email) {
            return bad(Text::new(|w| &w.setup_email));
        }
        let Ok(Some(password)) = form.secret("password") else {
            return bad(Text::new(|w| &w.setup_empty));
        };
        if !form
            .get("again")
            .is_ok_and(|again| again.is_some_and(|again| password.matches(again)))
        {
            return bad(Text::new(|w| &w.setup_differ));
        }
        let Some(clients) = self.read(StoredClient::all) else {
            return failed();
        };
        let names = rules::names_of(Some(&self.config), &clients);
        if let Err(weak) = rules::check(&password, email, &names) {
            return bad(in_words(weak));
        }
        let wanted = Wanted {
            email: email.to_owned(),
            name: if name.is_empty() { email } else { name }.to_owned(),
            password,
        };
        match self.set_up(key, &task, wanted).await {
            Ok(reply) => reply,
            Err(Busy) => {
                let text = Text::new(|w| &w.busy);
                retry_after(again(StatusCode::SERVICE_UNAVAILABLE, text), 2)
            }
        }
    }

    /// What the link with this key is good for.
    fn task(&self, key: &str) -> Result<Option<Task>, StorageError> {
        let ticket = self.storage().get::<Ticket>(key)?;
        let Some(ticket) = ticket.filter(|ticket| ticket.expires_at > self.now()) else {
            return Ok(None);
        };
        let Some(user) = ticket.user else {
            let nobody = self.has_nobody()?;
            return Ok(nobody.then_some(Task::First));
        };
        let account = self.storage().get::<Account>(&user.user_id)?;
        let account = account.filter(|a| !a.disabled && !a.is_shadowed(&self.config));
        Ok(account.map(Task::Password))
    }

    /// Whether nobody can log in yet.
    pub(crate) fn has_nobody(&self) -> Result<bool, StorageError> {
        let nobody = self.config.users.is_empty() && self.config.connectors.is_empty();
        Ok(nobody && self.storage().count(Kind::Account)? == 0)
    }

    async fn set_up(&self, key: String, task: &Task, wanted: Wanted) -> Result<Reply, Busy> {
        let Some(hash) = self.passwords.hash(wanted.password).await? else {
            return Ok(failed());
        };
        let now = self.now();
        let first = match task {
            Task::First => Account::new(&wanted.email, &wanted.name, now),
            Task::Password(_) => None,
        };
        let sealer = std::sync::Arc::clone(&self.sealer);
        let ended = self
            .write(move |batch| {
                let Some(mut account) = spend(batch, &key, first.clone(), now)? else {
                    return Ok(None);
                };
                let ended = account.set_password(batch, &sealer, Some(hash.clone()), now)?;
                Ok(Some(ended))
            })
            .await;
        Ok(match ended {
            None => failed(),
            Some(None) => used_up(),
            Some(Some(ended)) => self.password_set(ended).await,
        })
    }

    async fn password_set(&self, ended: Ended) -> Reply {
        tracing::info!(user = ended.email, "password set by its person");
        self.forget_guesses(&canonical(&ended.email)).await;
        self.tell_ended(ended).await;
        notice(|w| &w.setup_done, |w| &w.setup_done_text)
    }
}

/// Uses a link up: the account whose password it sets, which is `first` where there is none yet.
/// Looked at again where only one of two requests can be first.
fn spend(
    batch: &mut Batch<'_>,
    key: &str,
    first: Option<Account>,
    now: u64,
) -> Result<Option<Account>, StorageError> {
    let ticket = batch.get::<Ticket>(key)?;
    let Some(ticket) = ticket.filter(|ticket| ticket.expires_at > now) else {
        return Ok(None);
    };
    let account = match ticket.user {
        Some(user) => batch.get::<Account>(&user.user_id)?,
        None if batch.count(Kind::Account)? > 0 => None,
        None => match first {
            Some(first) if first.add(batch)? => Some(first),
            _ => None,
        },
    };
    let account = account.filter(|account| !account.disabled);
    if account.is_some() {
        Ticket::withdraw(batch, key)?;
    }
    Ok(account)
}

fn setup_page(
    status: StatusCode,
    task: &Task,
    email: &str,
    name: &str,
    problem: Option<Text>,
) -> Reply {
    let body = Setup {
        first: matches!(task, Task::First),
        email: email.to_owned(),
        name: name.to_owned(),
        least: MIN_LETTERS,
        problem,
    };
    page(status, Page::Setup(body))
}

/// Why a password is not taken.
pub(crate) fn in_words(weak: WeakPassword) -> Text {
    match weak {
        WeakPassword::Short => Text::new(|w| &w.weak_short).with("least", MIN_LETTERS),
        WeakPassword::Long => Text::new(|w| &w.weak_long),
        WeakPassword::Common => Text::new(|w| &w.weak_common),
        WeakPassword::Account => Text::new(|w| &w.weak_account),
        WeakPassword::Place => Text::new(|w| &w.weak_place),
    }
}

fn used_up() -> Reply {
    problem(
        StatusCode::NOT_FOUND,
        |w| &w.link_over,
        |w| &w.link_over_text,
        "",
    )
}
