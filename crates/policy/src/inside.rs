//! The crossing of a sidecar, behind the gateway that sends a request on.

use std::borrow::Cow;

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};

use crate::caller::Caller;
use crate::decide::{Decision, NOT_ALLOWED, Stop};
use crate::denial::Refusal;
use crate::intake::Unfit;
use crate::path::{BadPath, Normalised, PathRules};
use crate::permit::{Destination, Permit, Reply};
use crate::request::RequestHead;
use crate::rules::Action;
use crate::sidecars::{Meeting, Sender};
use crate::snapshot::Listener;
use crate::trace::{Stage, Trace};
use crate::walk::{Crossing, Through};

impl<'a, T: Trace> Decision<'a, T> {
    /// What the sidecar of a destination says, where there is one: nothing,
    /// where the request gets through.
    pub(crate) fn inside(
        &mut self,
        hop: u8,
        from: &'a Listener,
        destination: &Destination,
        head: &mut Cow<'_, RequestHead>,
        caller: &mut Caller,
    ) -> Result<Option<Box<Permit>>, Stop> {
        if from.sidecar.is_some() {
            return Ok(None);
        }
        let Some((way, listener)) = self.snapshot.sidecar_of(destination) else {
            return Ok(None);
        };
        let Some(sidecar) = &listener.sidecar else {
            return Ok(None);
        };
        let object = || listener.object();
        if let Some(why) = &sidecar.uncertain {
            self.say(hop, Stage::Listener, || {
                let text = format!(
                    "what stands before {} is not known ({why}): nothing is assumed, and its policies are not asked",
                    listener.id.gateway
                );
                (text, object())
            });
            return Ok(None);
        }
        self.say(hop, Stage::Listener, || {
            (listener.describe().to_string(), object())
        });
        let (meeting, listener) = match from.opaque {
            true => way.meet_unread(from, listener, self.client),
            false => (way.meet(from, listener), listener),
        };
        let sender = match meeting {
            Meeting::Takes(sender) => sender,
            Meeting::Refuses(why) => return Err(Stop::deny(Refusal::Unreachable, why)),
        };
        self.say(hop, Stage::Listener, || {
            let name = sender.and_then(|sender| sender.certificate?.uris.first());
            let text = match name {
                Some(name) => format!("the gateway comes over mutual TLS, as `{name}`"),
                None => "the gateway comes over plain text, as nobody".to_owned(),
            };
            (text, None)
        });
        let notes = listener.not_understood.iter();
        let notes = notes.map(|note| format!("{}: {} is not understood", note.place, note.why));
        let guesses = [&sidecar.sender_unclear, &from.account.guessed];
        let guesses = guesses.into_iter().flatten().cloned();
        for doubt in notes
            .chain(guesses)
            .chain(way.unclear(from).map(str::to_owned))
        {
            self.say(hop, Stage::Listener, || (doubt, object()));
        }
        let answered = match from.opaque {
            true => self.read_inside(listener, sender, head)?,
            false => self.path_inside(listener, head)?,
        };
        if let Some(permit) = answered {
            return Ok(Some(permit));
        }
        let vhost = listener.hosts.select("");
        let at = Crossing {
            hop,
            listener,
            vhost,
            route: vhost.and_then(|vhost| vhost.routes.first().map(|route| &**route)),
            sender,
        };
        let through = self.filters(at, head, caller);
        match through {
            Ok(Through::Answered(permit)) => Ok(Some(permit)),
            Ok(Through::Route(_)) => Ok(None),
            Err(Stop::Denied(denial)) => {
                let reason = format!(
                    "{}: {}{}",
                    listener.describe(),
                    denial.reason,
                    allowing(listener, &denial.reason)
                );
                // What closes a connection leaves the gateway without an answer.
                let refusal = match listener.opaque {
                    true => Refusal::Unreachable,
                    false => denial.refusal,
                };
                Err(Stop::deny(refusal, reason))
            }
            Err(Stop::Ask(question)) => Err(Stop::Ask(question)),
        }
    }

    /// The path as a proxy behind a gateway reads it, after the gateway's routes.
    pub(crate) fn path_inside(
        &mut self,
        listener: &Listener,
        head: &mut Cow<'_, RequestHead>,
    ) -> Result<Option<Box<Permit>>, Stop> {
        if listener.opaque || PathRules::leave(&head.path) {
            return Ok(None);
        }
        match listener.intake.paths.apply(&head.path) {
            Ok(Normalised::Path(path)) => {
                if path != head.path {
                    head.to_mut().path = path;
                    self.changes.target_is(head);
                }
                Ok(None)
            }
            Ok(Normalised::Redirect(path)) => {
                head.to_mut().path = path;
                Ok(Some(self.redirect_inside(listener, &head.path_and_query())))
            }
            Err(BadPath(why)) => Err(Stop::deny(
                Refusal::CheckFailed(StatusCode::BAD_REQUEST),
                why,
            )),
        }
    }
}

impl<T: Trace> Decision<'_, T> {
    /// What a gateway has passed on unread, as the sidecar reads it. What it
    /// answers comes through.
    fn read_inside(
        &mut self,
        listener: &Listener,
        sender: Option<Sender<'_>>,
        head: &mut Cow<'_, RequestHead>,
    ) -> Result<Option<Box<Permit>>, Stop> {
        if listener.opaque {
            return Ok(None);
        }
        self.is_read = true;
        let target = head.path.clone();
        let client = sender.and_then(|sender| sender.certificate);
        let read = listener
            .intake
            .read(head.to_mut(), &target, (sender.is_some(), client));
        let refuse = |status, why| Err(Stop::deny(Refusal::CheckFailed(status), why));
        match read {
            Ok(()) => {
                self.changes.target_is(head);
                Ok(None)
            }
            Err(Unfit::Redirect(to)) => Ok(Some(self.redirect_inside(listener, &to))),
            Err(Unfit::Bad(why) | Unfit::Unread(why)) => refuse(StatusCode::BAD_REQUEST, why),
            Err(Unfit::Forbidden(why)) => refuse(StatusCode::FORBIDDEN, why),
            Err(Unfit::Closed(why)) => Err(Stop::deny(Refusal::Unreachable, why)),
        }
    }

    fn redirect_inside(&mut self, listener: &Listener, to: &str) -> Box<Permit> {
        let to = HeaderValue::from_str(to);
        let reply = Destination::Reply(Reply {
            status: StatusCode::TEMPORARY_REDIRECT,
            headers: to.into_iter().map(|to| (LOCATION, to)).collect(),
            body: bytes::Bytes::new(),
        });
        let response = std::mem::take(&mut self.changes.response);
        Box::new(Permit::reply(reply, response, listener.describe()))
    }
}

/// The ALLOW policies of a sidecar, where one of them had to match.
fn allowing(listener: &Listener, reason: &str) -> String {
    let policies = listener.authorization.policies.iter();
    let mut names: Vec<String> = policies
        .filter(|policy| policy.action == Action::Allow)
        .map(|policy| policy.object.to_string())
        .collect();
    if reason != NOT_ALLOWED {
        return String::new();
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match more {
        0 => format!(" ({})", names.join(", ")),
        more => format!(" ({} and {more} more)", names.join(", ")),
    }
}

/// Policies that are named.
const NAMED: usize = 3;
