//! The page itself: sessions, applications, and what the other pages lead to.

use bytes::Bytes;
use http::{Request, StatusCode};

use super::{Visitor, date, field};
use crate::grant::GrantId;
use crate::pages::{Account, Kept, KeyLine, Page, SessionLine, failed, page};
use crate::params::Params;
use crate::provider::Inner;
use crate::reply::Reply;
use crate::session::Session;
use crate::storage::StorageError;
use crate::words::Text;

impl Inner {
    /// `GET /account`.
    pub(super) fn home(&self, request: &Request<Bytes>, visitor: &Visitor) -> Result<Reply, Reply> {
        let factors = self.factors(&visitor.who).ok_or_else(failed)?;
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let done = Params::parse(query).ok().and_then(|params| {
            let text = match params.get("done").ok()?? {
                "password" => Text::new(|w| &w.done_password),
                "session" => Text::new(|w| &w.done_session),
                "sessions" => Text::new(|w| &w.done_sessions),
                "application" => Text::new(|w| &w.done_application),
                "app" => Text::new(|w| &w.done_app),
                "passkey" => Text::new(|w| &w.done_passkey),
                "removed" => Text::new(|w| &w.done_removed),
                _ => return None,
            };
            Some(text)
        });
        let own = visitor.session.as_ref().map(|session| session.key.as_str());
        let mut sessions: Vec<SessionLine> = self
            .sessions_of(visitor)?
            .into_iter()
            .map(|(key, session)| SessionLine {
                id: self.session_name(&key),
                current: own == Some(key.as_str()),
                began: date(session.auth_time),
                used: date(session.used_at),
                browser: session.browser,
                from: session.from,
            })
            .collect();
        sessions.sort_by(|a, b| (b.current, &b.used).cmp(&(a.current, &a.used)));
        let body = Account {
            email: visitor.user.label(),
            base: self.config.issuer.path().to_owned(),
            token: self.account_token(request)?,
            done,
            kept: self.kept(visitor),
            app: factors.app_added_at().map(date),
            passkeys: factors
                .passkeys
                .iter()
                .map(|passkey| KeyLine {
                    id: passkey.id().to_owned(),
                    name: passkey.name.clone(),
                    added: date(passkey.added_at),
                })
                .collect(),
            protected: factors.any(),
            codes_left: factors.codes_left(),
            sessions: self.config.sessions.is_some().then_some(sessions),
            applications: self.applications(visitor)?,
        };
        Ok(page(StatusCode::OK, Page::Account(body)))
    }

    fn kept(&self, visitor: &Visitor) -> Kept {
        if !visitor.is_of_here() {
            let id = &visitor.who.connector;
            let connector = self.config.connector(id);
            return Kept::Elsewhere(connector.map_or(id, |connector| &connector.name).clone());
        }
        match self.keeps_password(&visitor.user) {
            true => Kept::Here,
            false => Kept::Configured,
        }
    }

    /// Sessions that still count, by their keys.
    fn sessions_of(&self, visitor: &Visitor) -> Result<Vec<(String, Session)>, Reply> {
        let Some(rules) = &self.config.sessions else {
            return Ok(Vec::new());
        };
        let prefix = GrantId::user_prefix_of(&self.sealer, &visitor.who);
        let all = self
            .read(|storage| -> Result<_, StorageError> { storage.with_prefix::<Session>(&prefix) });
        let now = self.now();
        let counts = |session: &Session| {
            let idle_end = session.used_at.saturating_add(rules.idle.as_secs());
            session.user == visitor.who && now < session.expires_at && now < idle_end
        };
        let all = all.ok_or_else(failed)?.into_iter();
        Ok(all.filter(|(_, session)| counts(session)).collect())
    }

    /// What forms call a session: its key is nobody's business.
    fn session_name(&self, key: &str) -> String {
        self.sealer.mac("session-name", key)
    }

    /// `POST /account`: ends sessions, removes second factors, leaves.
    pub(super) async fn change_account(
        &self,
        request: &Request<Bytes>,
        visitor: &Visitor,
        form: &Params,
    ) -> Result<Reply, Reply> {
        let email = visitor.user.email.as_str();
        let done = match field(form, "do") {
            "end-session" => {
                let wanted = field(form, "session");
                for (key, session) in self.sessions_of(visitor)? {
                    if self.sealer.same(&self.session_name(&key), wanted) {
                        self.end_session(key, session).await?;
                    }
                }
                "session"
            }
            "end-others" => {
                let own = visitor.session.as_ref().map(|session| session.key.as_str());
                for (key, session) in self.sessions_of(visitor)? {
                    if own != Some(key.as_str()) {
                        self.end_session(key, session).await?;
                    }
                }
                tracing::info!(user = email, "other sessions ended by their person");
                "sessions"
            }
            "end-application" => {
                self.end_application(visitor, field(form, "application"))
                    .await?;
                "application"
            }
            "remove-app" | "remove-passkey" | "new-codes" if !visitor.is_of_here() => "",
            "remove-app" => {
                self.remove_app(&visitor.who).await.ok_or_else(failed)?;
                tracing::info!(user = email, "second factor removed by its person: app");
                "removed"
            }
            "remove-passkey" => {
                let id = field(form, "passkey");
                let removed = self.remove_passkey(&visitor.who, id).await;
                removed.ok_or_else(failed)?;
                tracing::info!(user = email, "second factor removed by its person: passkey");
                "removed"
            }
            "new-codes" => return self.codes_page(visitor).await,
            "leave" => {
                let mut reply = crate::pages::notice(|w| &w.account_left, |w| &w.account_left_text);
                self.leave_account(request, &mut reply);
                return Ok(reply);
            }
            _ => "",
        };
        Ok(self.account_done(request, done))
    }

    /// New codes on paper: shown once.
    pub(super) async fn codes_page(&self, visitor: &Visitor) -> Result<Reply, Reply> {
        let codes = self.new_codes(&visitor.who).await.ok_or_else(failed)?;
        tracing::info!(user = visitor.user.email, "new recovery codes");
        let body = Page::Codes {
            codes: codes.iter().map(|code| code.expose().to_owned()).collect(),
            back: format!("{}/account", self.config.issuer.path()),
            goes_on: false,
        };
        Ok(page(StatusCode::OK, body))
    }
}
