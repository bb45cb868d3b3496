//! `/auth/second`: what is asked for after the password.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::factors::Method;
use crate::guesses::Guessed;
use crate::limit::TooMany;
use crate::login::{Pending, retry_after};
use crate::pages::{Page, Second, failed, page};
use crate::provider::Inner;
use crate::reply::Reply;
use crate::user::User;
use crate::words::Text;

impl Inner {
    /// `GET /auth/second?req=`.
    pub(crate) fn second_form(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        match self.halfway("second", request, sealed) {
            Err(reply) => reply,
            Ok((pending, user)) => self.second_page(request, StatusCode::OK, &pending, &user, None),
        }
    }

    /// Whose password was right, in a state that is sealed for `purpose`.
    pub(crate) fn halfway(
        &self,
        purpose: &str,
        request: &Request<Bytes>,
        sealed: &str,
    ) -> Result<(Pending, User), Reply> {
        let pending = self.pending(purpose, request, sealed)?;
        let Some(person) = &pending.person else {
            return Err(self.restart(&pending));
        };
        match self.read(|_| self.user(&person.user)) {
            None => Err(failed()),
            Some(None) => Err(self.restart(&pending)),
            Some(Some(user)) => Ok((pending, user)),
        }
    }

    fn second_page(
        &self,
        request: &Request<Bytes>,
        status: StatusCode,
        pending: &Pending,
        user: &User,
        problem: Option<Text>,
    ) -> Reply {
        let Some(factors) = self.factors(&user.reference()) else {
            return failed();
        };
        let passkey = pending
            .challenge
            .as_ref()
            .and_then(|challenge| self.passkey_request(request, &factors, challenge));
        let body = Second {
            email: user.email.clone(),
            app: factors.has_app(),
            passkey: passkey.map(|options| options.to_string()),
            codes: factors.codes_left() > 0,
            problem,
        };
        page(status, Page::Second(body))
    }

    /// `POST /auth/second?req=`: a code, or what a passkey signed.
    pub(crate) async fn second(
        &self,
        request: &Request<Bytes>,
        sealed: &str,
        source: Option<IpAddr>,
    ) -> Reply {
        let (pending, user) = match self.halfway("second", request, sealed) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let form = match self.own_form(request) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let who = user.reference();
        if let Err(TooMany(seconds)) = self.attempt(Guessed::SecondFactor, &who.subject(), source) {
            let text = Text::new(|w| &w.too_many).with("seconds", seconds);
            let status = StatusCode::TOO_MANY_REQUESTS;
            let reply = self.second_page(request, status, &pending, &user, Some(text));
            return retry_after(reply, seconds);
        }
        let challenge = pending.challenge.as_ref();
        match self.prove(request, &who, challenge, &form).await {
            None => failed(),
            Some(None) => {
                self.guessed(Guessed::SecondFactor, &who.subject());
                tracing::info!(user = user.email, "second factor refused");
                let text = Text::new(|w| &w.second_wrong);
                self.second_page(
                    request,
                    StatusCode::UNAUTHORIZED,
                    &pending,
                    &user,
                    Some(text),
                )
            }
            Some(Some(method)) => {
                self.second_limits
                    .give_back(&who.subject(), source, self.now());
                tracing::info!(user = user.email, "second factor given");
                let methods = vec![Method::Pwd, method, Method::Mfa];
                self.logged_in(request, pending.request, &user, methods)
                    .await
            }
        }
    }
}
