//! `/auth/enrol`: who has no second factor and needs one makes it here, after the password and before the
//! application gets an answer.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::account::app_page;
use crate::authorize::AuthRequest;
use crate::factors::{Added, AppSetup, CHALLENGE_SECONDS, Method};
use crate::guesses::Guessed;
use crate::limit::TooMany;
use crate::login::{Pending, Person, retry_after};
use crate::pages::{Page, failed, page};
use crate::provider::Inner;
use crate::reply::Reply;
use crate::user::{User, UserRef};
use crate::words::Text;

impl Inner {
    /// Sends the person there whose password was right.
    pub(crate) fn begin_enrolment(
        &self,
        request: &Request<Bytes>,
        auth: AuthRequest,
        who: UserRef,
    ) -> Reply {
        let person = Person {
            user: who,
            auth_time: self.now(),
            session: None,
            methods: vec![Method::Pwd],
        };
        let location = format!("{}/auth/enrol", self.config.issuer.path());
        let pending = self.pend(request, auth, CHALLENGE_SECONDS);
        self.send_to(request, &location, "enrol", pending, |pending| Pending {
            person: Some(person),
            ..pending
        })
    }

    /// `GET /auth/enrol?req=`: a secret for an app.
    pub(crate) fn enrol_form(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        match self.halfway("enrol", request, sealed) {
            Err(reply) => reply,
            Ok((_, user)) => match self.new_app(&user.reference(), &user.email) {
                Some(setup) => enrol_page(StatusCode::OK, &setup, None),
                None => failed(),
            },
        }
    }

    /// `POST /auth/enrol?req=`: the first code of the app.
    pub(crate) async fn enrol(
        &self,
        request: &Request<Bytes>,
        sealed: &str,
        source: Option<IpAddr>,
    ) -> Reply {
        let (pending, user) = match self.halfway("enrol", request, sealed) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let form = match self.own_form(request) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let field = |name| form.get(name).ok().flatten().unwrap_or_default();
        let who = user.reference();
        let again = |status, problem: Text| {
            let same = self.same_app(&who, &user.email, field("secret"));
            match same.or_else(|| self.new_app(&who, &user.email)) {
                Some(setup) => enrol_page(status, &setup, Some(problem)),
                None => failed(),
            }
        };
        if let Err(TooMany(seconds)) = self.attempt(Guessed::SecondFactor, &who.subject(), source) {
            let text = Text::new(|w| &w.too_many).with("seconds", seconds);
            return retry_after(again(StatusCode::TOO_MANY_REQUESTS, text), seconds);
        }
        // Only the first: whoever knows no more than the password exchanges none.
        match self
            .add_first_app(&who, field("secret"), field("code"))
            .await
        {
            None => failed(),
            Some(Added::Full) => self.restart(&pending),
            Some(Added::Wrong) => {
                self.guessed(Guessed::SecondFactor, &who.subject());
                again(StatusCode::BAD_REQUEST, Text::new(|w| &w.code_wrong))
            }
            Some(Added::Yes) => {
                self.second_limits
                    .give_back(&who.subject(), source, self.now());
                tracing::info!(user = user.email, "second factor added at a login: app");
                self.enrolled_page(request, pending, &user).await
            }
        }
    }

    /// Codes on paper, and the way on to the application.
    async fn enrolled_page(
        &self,
        request: &Request<Bytes>,
        pending: Pending,
        user: &User,
    ) -> Reply {
        let Some(codes) = self.new_codes(&user.reference()).await else {
            return failed();
        };
        let person = Person {
            user: user.reference(),
            auth_time: self.now(),
            session: None,
            methods: vec![Method::Pwd, Method::Otp, Method::Mfa],
        };
        let made = || {
            let (next, cookie) = self.pend(request, pending.request, CHALLENGE_SECONDS)?;
            let next = Pending {
                person: Some(person),
                ..next
            };
            Some((self.sealer.seal("enrolled", &next)?, cookie))
        };
        let Some((sealed, cookie)) = made() else {
            return failed();
        };
        let body = Page::Codes {
            codes: codes.iter().map(|code| code.expose().to_owned()).collect(),
            back: format!("{}/auth/enrolled?req={sealed}", self.config.issuer.path()),
            goes_on: true,
        };
        let mut reply = page(StatusCode::OK, body);
        self.set_browser(request, &mut reply, &cookie);
        reply
    }

    /// `POST /auth/enrolled?req=`: the codes are written down.
    pub(crate) async fn enrolled(&self, request: &Request<Bytes>, sealed: &str) -> Reply {
        let (pending, user) = match self.halfway("enrolled", request, sealed) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        if let Err(reply) = self.own_form(request) {
            return reply;
        }
        let methods = pending.person.map_or(Vec::new(), |person| person.methods);
        self.logged_in(request, pending.request, &user, methods)
            .await
    }
}

fn enrol_page(status: StatusCode, setup: &AppSetup, problem: Option<Text>) -> Reply {
    app_page(status, setup, None, problem).unwrap_or_else(failed)
}
