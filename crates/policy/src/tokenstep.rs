//! The step of a listener at which tokens are checked.

use std::borrow::Cow;

use crate::answers::Question;
use crate::caller::Caller;
use crate::decide::{Decision, Granted, Stop};
use crate::denial::Refusal;
use crate::enforce;
use crate::permit::HeaderChange;
use crate::principal;
use crate::request::RequestHead;
use crate::routes::Route;
use crate::settings::IstioVersion;
use crate::snapshot::Listener;
use crate::tokens::{self, Fault, Outcome, Said, Verified};
use crate::trace::{Stage, Trace};
use crate::walk::{Crossing, Through, same};

/// What the tokens of a request say.
#[derive(Default)]
pub(crate) struct Tokens {
    pub(crate) verified: Option<Verified>,
    /// A good token: Envoy finds the route anew.
    find_again: bool,
}

impl<'a, T: Trace> Decision<'a, T> {
    /// Checks the tokens of a request, and finds its route again where they
    /// say something: routes may depend on claims.
    pub(crate) fn tokens(
        &mut self,
        at: Crossing<'a>,
        head: &mut Cow<'_, RequestHead>,
        caller: &mut Caller,
    ) -> Result<(Option<Verified>, Through<'a>), Stop> {
        let before = at.route;
        let tokens = self.check_tokens(at.hop, at.listener, head, caller)?;
        // A sidecar has one route.
        if tokens.find_again && at.listener.sidecar.is_none() {
            let claims = tokens.verified.as_ref().map(|v| &v.claims);
            let route = self.find_route(at.hop, at.vhost, head, claims);
            if let Some(answered) = self.entered(at.hop, before, route, head, caller)? {
                return Ok((tokens.verified, answered));
            }
            return Ok((tokens.verified, Through::Route(route)));
        }
        if self.snapshot.enforce
            && let Some(route) = before
        {
            self.identify(route, head, caller);
        }
        Ok((tokens.verified, Through::Route(before)))
    }

    /// With enforcement, what the access level of the new route says, and the
    /// identity that belongs to it: nobody gets by a claim to what the first
    /// route was not.
    pub(crate) fn entered(
        &mut self,
        hop: u8,
        before: Option<&Route>,
        route: Option<&'a Route>,
        head: &mut Cow<'_, RequestHead>,
        caller: &mut Caller,
    ) -> Result<Option<Through<'a>>, Stop> {
        if !self.snapshot.enforce {
            return Ok(None);
        }
        if !same(before, route) {
            if let Some(before) = before {
                let given = enforce::identity_headers(before.access.owner, caller);
                let given = given.iter().flat_map(|given| given.iter());
                let taken = given.filter_map(|change| match change {
                    HeaderChange::Set(name, _) => Some(HeaderChange::Remove(name.clone())),
                    HeaderChange::Add(..)
                    | HeaderChange::AddIfAbsent(..)
                    | HeaderChange::SetIfPresent(..)
                    | HeaderChange::Remove(_) => None,
                });
                self.apply(head, &taken.collect());
            }
            let Some(route) = route else { return Ok(None) };
            match self.access(hop, route, head)? {
                Granted::Go(Caller::Anonymous) => {}
                Granted::Go(granted) => *caller = granted,
                Granted::Login(granted) => {
                    let login = crate::permit::Destination::Login;
                    let permit = self.changes.permit(login, granted, route);
                    return Ok(Some(Through::Answered(Box::new(permit))));
                }
                Granted::Preflight(permit) => return Ok(Some(Through::Answered(permit))),
            }
        }
        if let Some(route) = route {
            self.identify(route, head, caller);
        }
        Ok(None)
    }

    /// Says who is calling, where the route is promised that.
    pub(crate) fn identify(
        &mut self,
        route: &Route,
        head: &mut Cow<'_, RequestHead>,
        caller: &Caller,
    ) {
        if let Some(identity) = enforce::identity_headers(route.access.owner, caller) {
            self.apply(head, &identity);
        }
    }

    fn check_tokens(
        &mut self,
        hop: u8,
        listener: &Listener,
        head: &mut Cow<'_, RequestHead>,
        caller: &Caller,
    ) -> Result<Tokens, Stop> {
        let rules = &listener.token_rules;
        let version = self.snapshot.istio_version();
        let checked = tokens::check(rules, version, hop, head, self.answers);
        for said in &checked.said {
            self.say_token(hop, listener, said);
        }
        let good = checked.said.iter().any(|said| said.fault.is_none());
        let vouched = self.stands_in(listener, caller, version);
        // With enforcement, who was let in by credentials of our own is not
        // asked for those of others.
        let known =
            self.snapshot.enforce && matches!(caller, Caller::Session(_) | Caller::Token(_));
        match checked.outcome {
            Outcome::Ask(checks) => Err(Stop::Ask(Question::Tokens { hop, checks })),
            Outcome::Refused(_) if known => {
                let outputs = rules.iter().flat_map(|rule| rule.outputs());
                let removed = outputs.cloned().map(HeaderChange::Remove).collect();
                self.apply(head, &removed);
                Ok(Tokens {
                    verified: vouched,
                    find_again: false,
                })
            }
            Outcome::Refused(fault) => Err(refused(&fault)),
            Outcome::Passed(verified) => {
                let changed = match checked.head {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(changed) => Some(changed),
                };
                let (changes, query_changed) = (checked.changes, checked.query_changed);
                if let Some(changed) = changed {
                    *head = Cow::Owned(changed);
                    self.changes.request.extend(&changes.into());
                    if query_changed {
                        self.changes.target_is(head);
                    }
                }
                Ok(Tokens {
                    verified: vouched.or(verified),
                    find_again: good,
                })
            }
        }
    }

    /// What a caller whom enforcement let in is to policies, where a rule
    /// takes tokens of the same issuer.
    fn stands_in(
        &self,
        listener: &Listener,
        caller: &Caller,
        version: IstioVersion,
    ) -> Option<Verified> {
        if !self.snapshot.enforce || listener.token_rules.is_empty() {
            return None;
        }
        let claims = principal::stands_for(caller, &self.snapshot.settings)?;
        let issuer = claims.text("iss")?;
        let rule = listener
            .token_rules
            .iter()
            .find(|r| r.keys.issuer == issuer)?;
        Some(Verified::of(&claims, &rule.spaced, version))
    }

    fn say_token(&mut self, hop: u8, listener: &Listener, said: &Said) {
        let Some(rule) = listener.token_rules.get(said.rule) else {
            return;
        };
        self.say(hop, Stage::Token, || {
            let carrier = rule.carriers.get(said.carrier);
            let place = carrier.map_or_else(String::new, |carrier| carrier.describe());
            let issuer = &rule.keys.issuer;
            let text = match &said.fault {
                None => format!(
                    "rule {} takes the token in {place}: it is of `{issuer}`",
                    rule.index
                ),
                Some(fault) => format!(
                    "rule {} (issuer `{issuer}`) does not take the token in {place}: {}",
                    rule.index,
                    fault.reason()
                ),
            };
            (text, Some((rule.object.clone(), rule.source.clone())))
        });
    }
}

fn refused(fault: &Fault) -> Stop {
    match fault {
        Fault::Audience => Stop::deny(
            Refusal::Forbidden("the token is for another audience".to_owned()),
            "no RequestAuthentication takes the token: it is for another audience",
        ),
        fault => Stop::deny(
            Refusal::Token {
                invalid: Some("no issuer that is accepted here vouches for it".to_owned()),
            },
            format!(
                "no RequestAuthentication takes the token: {}",
                fault.reason()
            ),
        ),
    }
}
