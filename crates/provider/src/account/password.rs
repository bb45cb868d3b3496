//! `/account/password`: another password, for users of the database.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Request, StatusCode};

use super::{Visitor, field};
use crate::accounts::{Account, MIN_LETTERS, canonical, check_password, in_words, names_of};
use crate::clients::StoredClient;
use crate::factors::Method;
use crate::guesses::Guessed;
use crate::limit::TooMany;
use crate::pages::{Page, Password, failed, page};
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::Reply;
use crate::user::User;
use crate::words::Text;

impl Inner {
    /// Whether the password is in the database; one of the configuration is changed there.
    pub(super) fn keeps_password(&self, user: &User) -> bool {
        self.config.user_by_id(&user.user_id).is_none()
    }

    pub(super) fn password_page(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
        problem: Option<(StatusCode, Text)>,
    ) -> Result<Reply, Reply> {
        if !self.keeps_password(&visitor.user) {
            return Ok(self.account_done(request, ""));
        }
        let (status, problem) = match problem {
            Some((status, text)) => (status, Some(text)),
            None => (StatusCode::OK, None),
        };
        let body = Password {
            email: visitor.user.email.clone(),
            least: MIN_LETTERS,
            token: self.account_token(request)?,
            back: format!("{}/account", self.config.issuer.path()),
            problem,
        };
        Ok(page(status, Page::Password(body)))
    }

    pub(super) async fn change_password(
        &self,
        request: &Request<Bytes>,
        visitor: Visitor,
        form: &Params,
        source: Option<IpAddr>,
    ) -> Result<Reply, Reply> {
        let bad = |text: Text| {
            self.password_page(request, &visitor, Some((StatusCode::BAD_REQUEST, text)))
        };
        if !self.keeps_password(&visitor.user) {
            return Ok(self.account_done(request, ""));
        }
        let secret = |name| form.secret(name).ok().flatten();
        let (Some(old), Some(new)) = (secret("old"), secret("password")) else {
            return bad(Text::new(|w| &w.setup_empty));
        };
        if !new.matches(field(form, "again")) {
            return bad(Text::new(|w| &w.setup_differ));
        }
        let clients = self.read(StoredClient::all).ok_or_else(failed)?;
        let names = names_of(Some(&self.config), &clients);
        if let Err(weak) = check_password(&new, &visitor.user.email, &names) {
            return bad(in_words(weak));
        }
        let account = canonical(&visitor.user.email);
        if let Err(TooMany(seconds)) = self.attempt(Guessed::Password, &account, source) {
            let text = Text::new(|w| &w.too_many).with("seconds", seconds);
            return self.password_page(
                request,
                &visitor,
                Some((StatusCode::TOO_MANY_REQUESTS, text)),
            );
        }
        let busy = |_| Text::new(|w| &w.busy);
        let (_, hash) = self.read(|_| self.candidate(&account)).ok_or_else(failed)?;
        match self.passwords.check(hash, old).await.map_err(busy) {
            Err(text) => return bad(text),
            Ok(false) => {
                self.guessed(Guessed::Password, &account);
                return bad(Text::new(|w| &w.password_old_wrong));
            }
            Ok(true) => self.limits.give_back(&account, source, self.now()),
        }
        let hash = match self.passwords.hash(new).await.map_err(busy) {
            Err(text) => return bad(text),
            Ok(hash) => hash.ok_or_else(failed)?,
        };
        self.set_own_password(request, &visitor, hash).await
    }

    /// Ends every login, then begins one for this browser.
    async fn set_own_password(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
        hash: crate::hash::PasswordHash,
    ) -> Result<Reply, Reply> {
        let session = visitor.session.as_ref();
        let methods = session.and_then(|session| {
            let kept =
                self.read(|storage| storage.get::<crate::session::Session>(&session.key))??;
            Some(kept.methods)
        });
        let methods = methods.unwrap_or_else(|| vec![Method::Pwd]);
        let (who, now) = (visitor.who.clone(), self.now());
        let sealer = std::sync::Arc::clone(&self.sealer);
        let changed = self
            .write(move |batch| {
                let account = batch.get::<Account>(&who.user_id)?;
                // Disabled or reset meanwhile.
                let fits = |account: &Account| !account.disabled && account.epoch == who.epoch;
                let Some(mut account) = account.filter(fits) else {
                    return Ok(None);
                };
                let ended = account.set_password(batch, &sealer, Some(hash.clone()), now)?;
                Ok(Some((ended, account.reference())))
            })
            .await;
        let Some((ended, who)) = changed.ok_or_else(failed)? else {
            return Ok(self.account_login(request).await);
        };
        tracing::info!(user = visitor.user.email, "password changed by its person");
        self.tell_ended(ended).await;
        let user = self
            .read(|_| self.user(&who))
            .flatten()
            .ok_or_else(failed)?;
        let session = self.begin_session(request, &user, &methods).await?;
        let mut reply = self.account_done(request, "password");
        let reference = session.as_ref().map(|(reference, _)| reference.clone());
        self.set_account(request, &mut reply, who, reference)
            .ok_or_else(failed)?;
        if let Some((_, cookie)) = session {
            self.set_session_cookie(request, &mut reply, &cookie);
        }
        Ok(reply)
    }
}
