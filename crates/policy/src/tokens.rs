//! Tokens of a request, checked against the rules of a listener as Envoy does
//! (`jwt_authn/verifier.cc`, `authenticator.cc`), with the requirement that
//! Istio makes of the rules: any of them, or each of them or no token for it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::answers::{Answers, TokenAnswer, TokenCheck, TokenContent};
use crate::carriers::{Carrier, without_parameter};
use crate::claims::Claims;
use crate::permit::HeaderChange;
use crate::request::RequestHead;
use crate::settings::IstioVersion;
use crate::tokenrules::TokenRule;

/// What rules say about the tokens of a request.
pub(crate) struct Checked<'h> {
    pub(crate) outcome: Outcome,
    /// What became of the request on the way.
    pub(crate) head: Cow<'h, RequestHead>,
    pub(crate) changes: Vec<HeaderChange>,
    /// A query parameter was taken away.
    pub(crate) query_changed: bool,
    /// What was said about each token, by rule.
    pub(crate) said: Vec<Said>,
}

pub(crate) enum Outcome {
    /// Passes; with the claims of a token, if there is a good one.
    Passed(Option<Verified>),
    /// Refused.
    Refused(Fault),
    /// Not known yet.
    Ask(Vec<TokenCheck>),
}

/// What is known of the caller by a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verified {
    /// The claims as conditions see them.
    pub(crate) claims: Claims,
    /// `issuer/subject`, where that is one text (up to Istio 1.20).
    pub(crate) whole: Option<String>,
}

/// What one rule said about one token, for the trace.
pub(crate) struct Said {
    pub(crate) rule: usize,
    pub(crate) carrier: usize,
    pub(crate) fault: Option<Fault>,
}

/// Why a rule does not take a token, or has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Missing,
    Issuer,
    Audience,
    /// Anything else, with the reason.
    Other(Arc<str>),
}

impl Fault {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Missing => "there is no token",
            Self::Issuer => "its issuer is another one",
            Self::Audience => "it is for another audience",
            Self::Other(why) => why,
        }
    }
}

impl Verified {
    /// Of a token that a rule with these `spaced` claims accepted.
    pub(crate) fn of(claims: &Claims, spaced: &[String], version: IstioVersion) -> Self {
        if version >= IstioVersion::PRINCIPAL_SPLIT {
            return Self {
                claims: claims.spaced(spaced.iter().map(String::as_str)),
                whole: None,
            };
        }
        let part = |name| claims.text(name).filter(|text| !text.is_empty());
        Self {
            claims: claims.before_split(),
            whole: part("iss")
                .zip(part("sub"))
                .map(|(issuer, subject)| format!("{issuer}/{subject}")),
        }
    }
}

/// Checks the tokens of a request.
pub(crate) fn check<'h>(
    rules: &[TokenRule],
    version: IstioVersion,
    hop: u8,
    head: &'h RequestHead,
    answers: &Answers,
) -> Checked<'h> {
    let mut run = Run {
        rules,
        version,
        hop,
        answers,
        head: Cow::Borrowed(head),
        changes: Vec::new(),
        query_changed: false,
        verified: None,
        said: Vec::new(),
        missing: Vec::new(),
    };
    if version.outputs_sanitized() {
        for rule in rules {
            run.sanitize(rule);
        }
    }
    let bypassed = version >= IstioVersion::PREFLIGHT_WITHOUT_TOKENS && head.has_preflight_values();
    let outcome = if bypassed {
        Outcome::Passed(None)
    } else {
        run.requirement()
    };
    Checked {
        outcome,
        head: run.head,
        changes: run.changes,
        query_changed: run.query_changed,
        said: run.said,
    }
}

struct Run<'a, 'h> {
    rules: &'a [TokenRule],
    version: IstioVersion,
    hop: u8,
    answers: &'a Answers,
    head: Cow<'h, RequestHead>,
    changes: Vec<HeaderChange>,
    query_changed: bool,
    verified: Option<Verified>,
    said: Vec<Said>,
    missing: Vec<TokenCheck>,
}

/// A token has to be found out about first.
struct Unknown;

impl Run<'_, '_> {
    fn requirement(&mut self) -> Outcome {
        self.ask_ahead();
        let fault = match self.any_or_each() {
            Err(Unknown) => return Outcome::Ask(std::mem::take(&mut self.missing)),
            Ok(fault) => fault,
        };
        match fault {
            None => Outcome::Passed(self.verified.take()),
            Some(fault) => Outcome::Refused(fault),
        }
    }

    /// All tokens that there are to begin with are asked about at once.
    fn ask_ahead(&mut self) {
        for (index, rule) in self.rules.iter().enumerate() {
            for carrier in &rule.carriers {
                for token in carrier.tokens(&self.head) {
                    let _ = self.content(index, &token);
                }
            }
        }
    }

    fn any_or_each(&mut self) -> Result<Option<Fault>, Unknown> {
        if !self.missing.is_empty() {
            return Err(Unknown);
        }
        let mut last = Fault::Missing;
        for index in 0..self.rules.len() {
            match self.rule(index)? {
                None => return Ok(None),
                Some(fault) => last = prefer(last, fault),
            }
        }
        if self.rules.len() < 2 {
            return Ok((last != Fault::Missing).then_some(last));
        }
        for index in 0..self.rules.len() {
            match self.rule(index)? {
                None | Some(Fault::Missing) => {}
                Some(fault) => return Ok(Some(prefer(last, fault))),
            }
        }
        Ok(None)
    }

    /// What one rule says: every token in its places has to be good.
    fn rule(&mut self, index: usize) -> Result<Option<Fault>, Unknown> {
        let rules = self.rules;
        let Some(rule) = rules.get(index) else {
            return Ok(Some(Fault::Missing));
        };
        self.sanitize(rule);
        let mut tokens: Vec<(usize, String)> = Vec::new();
        for (number, carrier) in rule.carriers.iter().enumerate() {
            let found = carrier.tokens(&self.head);
            tokens.extend(found.into_iter().map(|token| (number, token)));
        }
        if tokens.is_empty() {
            return Ok(Some(Fault::Missing));
        }
        while let Some((number, token)) = tokens.pop() {
            let answer = self.content(index, &token).ok_or(Unknown)?;
            let fault = fault(rule, &answer);
            self.said.push(Said {
                rule: index,
                carrier: number,
                fault: fault.clone(),
            });
            match (fault, answer) {
                (None, TokenAnswer::Read(content)) => {
                    if let Err(why) = self.accept(rule, number, &content) {
                        return Ok(Some(Fault::Other(why.into())));
                    }
                }
                (fault, _) => return Ok(Some(fault.unwrap_or(Fault::Missing))),
            }
        }
        Ok(None)
    }

    fn content(&mut self, index: usize, token: &str) -> Option<TokenAnswer> {
        let rule = self.rules.get(index)?;
        let check = TokenCheck {
            rule: u16::try_from(index).unwrap_or(u16::MAX),
            keys: Arc::clone(&rule.keys),
            token: token.into(),
        };
        let known = self.answers.token(self.hop, &check).cloned();
        if known.is_none() && !self.missing.contains(&check) {
            self.missing.push(check);
        }
        known
    }

    /// What a good token changes on the request.
    fn accept(
        &mut self,
        rule: &TokenRule,
        carrier: usize,
        content: &TokenContent,
    ) -> Result<(), String> {
        if let Some(name) = &rule.payload_header {
            self.add(name, &content.payload)?;
        }
        for (name, claim) in &rule.claim_headers {
            if let Some(value) = content.claims.find(claim.split('.')).and_then(header_text) {
                self.add(name, &value)?;
            }
        }
        if !rule.forward {
            match rule.carriers.get(carrier) {
                Some(Carrier::Header { name, .. }) => {
                    if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                        self.change(HeaderChange::Remove(name));
                    }
                }
                Some(Carrier::Parameter(name)) => {
                    let query = self.head.query.as_deref().unwrap_or_default();
                    let query = without_parameter(query, name);
                    self.head.to_mut().query = query;
                    self.query_changed = true;
                }
                // Envoy leaves cookies as they are.
                Some(Carrier::Cookie(_)) | None => {}
            }
        }
        self.verified = Some(Verified::of(&content.claims, &rule.spaced, self.version));
        Ok(())
    }

    fn add(&mut self, name: &HeaderName, value: &str) -> Result<(), String> {
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("what it says for `{name}` is not a header value"))?;
        self.change(HeaderChange::Add(name.clone(), value));
        Ok(())
    }

    fn sanitize(&mut self, rule: &TokenRule) {
        for name in rule.outputs() {
            if self.head.headers.contains_key(name) {
                self.change(HeaderChange::Remove(name.clone()));
            }
        }
    }

    fn change(&mut self, change: HeaderChange) {
        change.apply(&mut self.head.to_mut().headers);
        self.changes.push(change);
    }
}

/// Of several reasons the last that is neither a missing token nor another
/// issuer; of those two the second (Envoy `AnyVerifierImpl`).
fn prefer(before: Fault, next: Fault) -> Fault {
    let weak = matches!(next, Fault::Missing | Fault::Issuer);
    if weak && before != Fault::Missing {
        before
    } else {
        next
    }
}

/// Issuer, time, audience, signature, in this order.
fn fault(rule: &TokenRule, answer: &TokenAnswer) -> Option<Fault> {
    let content = match answer {
        TokenAnswer::Malformed(why) => return Some(Fault::Other(why.clone())),
        TokenAnswer::Read(content) => content,
    };
    let issuer = content.claims.text("iss").unwrap_or_default();
    if !rule.keys.issuer.is_empty() && rule.keys.issuer != issuer {
        return Some(Fault::Issuer);
    }
    if let Some(why) = &content.time {
        return Some(Fault::Other(why.clone()));
    }
    if !rule.accepts(&content.claims.texts("aud")) {
        return Some(Fault::Audience);
    }
    content.signature.clone().map(Fault::Other)
}

/// A claim as the value of a header (Envoy `addJWTClaimToHeader`).
fn header_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => whole.to_string(),
            None => decimal(number.as_f64()?),
        },
        Value::Array(_) | Value::Object(_) => {
            base64::engine::general_purpose::STANDARD.encode(value.to_string())
        }
        Value::Null => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn decimal(number: f64) -> String {
    /// 2^64.
    const LIMIT: f64 = 18_446_744_073_709_551_616.0;
    if number.fract() == 0.0 && (0.0..LIMIT).contains(&number) {
        format!("{number:.0}")
    } else {
        format!("{number:.6}")
    }
}

/// Answers by what is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenAnswers(HashMap<(u8, u16, Arc<str>), TokenAnswer>);

impl TokenAnswers {
    pub(crate) fn insert(&mut self, hop: u8, check: &TokenCheck, answer: TokenAnswer) {
        self.0
            .insert((hop, check.rule, Arc::clone(&check.token)), answer);
    }

    pub(crate) fn get(&self, hop: u8, check: &TokenCheck) -> Option<&TokenAnswer> {
        self.0.get(&(hop, check.rule, Arc::clone(&check.token)))
    }
}

#[cfg(test)]
mod tests;
