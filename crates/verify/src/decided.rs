//! What the decision says about a request of somebody.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use policy::{
    Answers, Caller, CheckAnswer, CheckResponse, Destination, Everything, Person, Question,
    Refusal, RequestHead, Snapshot, Step, TokenError, Tokens, Trace, Verdict, decide,
};
use resources::mesh::ExtAuthzHttp;

use crate::analysis::Outcome;
use crate::callers::{Asker, BEARER};
use crate::standins;

/// What the decision says about a request of somebody without session or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It reaches this destination.
    Reaches(Destination),
    /// Answered on the way.
    Answered,
    /// Asked to log in.
    Login,
    /// Asked for a token.
    Token,
    /// Another authorizer decides.
    Authorizer,
    /// 401 or 403.
    Denied,
    /// 404.
    NoRoute,
}

impl Decided {
    /// Whether it is what was expected.
    pub(crate) fn is(&self, outcome: Outcome<'_>) -> bool {
        match (self, outcome) {
            (Self::Reaches(destination), Outcome::Reaches(expected)) => destination == expected,
            (Self::Answered, Outcome::Answered)
            | (Self::Login, Outcome::Login)
            | (Self::Token, Outcome::Token)
            | (Self::Authorizer, Outcome::Authorizer)
            | (Self::Denied, Outcome::Denied)
            | (Self::NoRoute, Outcome::NoRoute) => true,
            _ => false,
        }
    }
}

/// A decision with its steps.
#[derive(Clone, Debug)]
pub struct DecidedRequest {
    /// What it is.
    pub verdict: Decided,
    /// How it came about.
    pub steps: Vec<Step>,
    /// In one line.
    pub answer: String,
    /// Headers as they arrive, where it reaches something.
    pub headers: HeaderMap,
}

impl DecidedRequest {
    /// Whether a value that the client sent in a header arrives.
    pub fn keeps(&self, sent: &RequestHead, header: &str) -> bool {
        let mut sent = sent.headers.get_all(header).iter();
        sent.any(|value| self.headers.get_all(header).iter().any(|v| v == value))
    }
}

/// Decides a request of somebody who has neither a session nor a valid token.
/// Login services are taken to send strangers to the login.
pub fn decision(snapshot: &Snapshot, head: &RequestHead) -> DecidedRequest {
    decision_as(snapshot, head, &Asker::default())
}

/// Decides a request of somebody. Login services let through who has a
/// session, and put the headers there that they may.
pub fn decision_as(snapshot: &Snapshot, head: &RequestHead, asker: &Asker) -> DecidedRequest {
    decided(snapshot, head, asker, Vec::new, |steps| steps)
}

/// The same, with everything that was looked at on the way.
pub fn explained(snapshot: &Snapshot, head: &RequestHead, asker: &Asker) -> DecidedRequest {
    decided(snapshot, head, asker, Everything::default, |trace| trace.0)
}

pub(crate) fn decided<T: Trace>(
    snapshot: &Snapshot,
    head: &RequestHead,
    asker: &Asker,
    begin: fn() -> T,
    steps_of: fn(T) -> Vec<Step>,
) -> DecidedRequest {
    let mut answers = Answers::new();
    let mut asked: Option<Decided> = None;
    loop {
        let mut trace = begin();
        let mut headers = HeaderMap::new();
        let (verdict, answer) = match decide(snapshot, head, &answers, &mut trace) {
            Verdict::Ask(Question::Caller(tokens)) => {
                let sent = || head.headers.get_all(http::header::AUTHORIZATION).iter();
                let bearer = sent().any(|v| v.as_bytes().starts_with(BEARER.as_bytes()));
                let other = tokens == Tokens::BearerOnly && sent().next().is_some();
                let session = asker.session.as_ref();
                let session = session.filter(|_| tokens == Tokens::SessionOrBearer);
                answers.caller_is(match (&asker.token, session) {
                    (Some(holder), _) => Caller::Token(holder.clone()),
                    (None, Some(person)) => Caller::Session(person.clone()),
                    (None, None) if bearer || other => {
                        Caller::BadToken(TokenError("not a token".into()))
                    }
                    (None, None) => Caller::Anonymous,
                });
                continue;
            }
            // By the roles of the YAML, as claims are.
            Verdict::Ask(Question::Access(check)) => {
                answers.access_is(*check, policy::AccessAnswer::NoServer);
                continue;
            }
            Verdict::Ask(Question::Tokens { hop, checks }) => {
                for check in &checks {
                    answers.token_is(hop, check, standins::answer(&check.token));
                }
                continue;
            }
            Verdict::Ask(Question::Check(check)) => {
                let login = snapshot.is_login(&check.provider);
                if let Some(person) = asker.session.as_ref().filter(|_| login) {
                    let answer = let_through(asker, person, &check.settings);
                    answers.check_is(check.id, CheckAnswer::Response(answer));
                    continue;
                }
                asked = Some(if login {
                    Decided::Login
                } else {
                    Decided::Authorizer
                });
                answers.check_is(check.id, CheckAnswer::Response(sent_away()));
                continue;
            }
            Verdict::Permit(permit) => {
                headers.clone_from(&head.headers);
                for change in permit.request_headers().iter() {
                    change.apply(&mut headers);
                }
                let reaches = || Decided::Reaches(permit.destination().clone());
                match permit.destination() {
                    Destination::Service { service, port } => {
                        (reaches(), format!("reaches {service}:{port}"))
                    }
                    Destination::Host { host, port } => {
                        (reaches(), format!("reaches {host}:{port}"))
                    }
                    Destination::Login => (Decided::Answered, "answered by the login".to_owned()),
                    Destination::Reply(reply) => (
                        Decided::Answered,
                        format!("answered by the route: {}", reply.status),
                    ),
                }
            }
            Verdict::Denial(denial) => {
                let verdict = match (&denial.refusal, asked.take()) {
                    (Refusal::Answer(_), Some(asked)) => asked,
                    (Refusal::Login, _) => Decided::Login,
                    (Refusal::Token { .. }, _) if snapshot.enforces() => Decided::Token,
                    (Refusal::NoRoute, _) => Decided::NoRoute,
                    _ => Decided::Denied,
                };
                let status = match verdict {
                    Decided::Login => "302 to the login".to_owned(),
                    Decided::Authorizer => "decided by another authorizer".to_owned(),
                    _ => denial.refusal.status().to_string(),
                };
                (verdict, format!("{status} ({})", denial.reason))
            }
        };
        return DecidedRequest {
            verdict,
            steps: steps_of(trace),
            answer,
            headers,
        };
    }
}

/// What a login service says to somebody with a session.
fn let_through(asker: &Asker, person: &Person, settings: &ExtAuthzHttp) -> CheckResponse {
    let names = settings.headers_to_upstream_on_allow.iter();
    let headers = names.filter_map(|name| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = match name == http::header::AUTHORIZATION {
            true => format!(
                "{BEARER}{}",
                standins::stand_in(asker.login_token.as_ref()?)
            ),
            false => person.email.to_string(),
        };
        Some((name, HeaderValue::from_str(&value).ok()?))
    });
    CheckResponse {
        status: StatusCode::OK,
        headers: headers.collect(),
        body: bytes::Bytes::new(),
    }
}

fn sent_away() -> CheckResponse {
    CheckResponse {
        status: StatusCode::FOUND,
        headers: vec![(
            http::header::LOCATION,
            HeaderValue::from_static("/dex/auth"),
        )],
        body: bytes::Bytes::new(),
    }
}
