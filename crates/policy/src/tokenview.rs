//! Rules for tokens, to read.

use std::sync::Arc;

use resources::{ObjectRef, Source};

use crate::answers::{Answers, TokenAnswer, TokenCheck};
use crate::carriers::Carrier;
use crate::request::RequestHead;
use crate::tokenrules::{TokenKeys, TokenRule};
use crate::tokens::{self, Fault, Outcome};
use crate::view::ListenerView;

/// A rule of a RequestAuthentication.
#[derive(Clone, Copy, Debug)]
pub struct TokenRuleView<'a>(&'a TokenRule);

/// What the rules of a listener say about the tokens of a request.
#[derive(Clone, Debug)]
pub enum TokenVerdict {
    /// Refused: 401.
    Refused,
    /// Refused because it is for another audience: 403.
    Forbidden,
    /// Passes, and no claims are known.
    Unseen,
    /// Passes, and the claims of a token are known.
    Seen {
        /// The request as it goes on.
        head: Box<RequestHead>,
    },
}

impl<'a> TokenRuleView<'a> {
    /// Whose tokens it takes, and where their keys are.
    pub fn keys(&self) -> &'a Arc<TokenKeys> {
        &self.0.keys
    }

    /// Where it looks for them.
    pub fn carriers(&self) -> &'a [Carrier] {
        &self.0.carriers
    }

    /// Audiences it wants, without scheme and trailing `/`; none wants none.
    pub fn audiences(&self) -> &'a [String] {
        &self.0.audiences
    }

    /// Claims that it shows taken apart at spaces.
    pub fn spaced(&self) -> &'a [String] {
        &self.0.spaced
    }

    /// Headers that it takes from clients and sets itself.
    pub fn outputs(&self) -> impl Iterator<Item = &'a http::HeaderName> + use<'a> {
        self.0.outputs()
    }

    /// Whether the token stays on the request.
    pub fn forwards(&self) -> bool {
        self.0.forward
    }

    /// The object, and where it is written.
    pub fn object(&self) -> (&'a ObjectRef, &'a Source) {
        (&self.0.object, &self.0.source)
    }
}

impl<'a> ListenerView<'a> {
    /// Rules for tokens, in the order in which they are tried.
    pub fn token_rules(&self) -> impl Iterator<Item = TokenRuleView<'a>> + use<'a> {
        self.listener.token_rules.iter().map(TokenRuleView)
    }

    /// What the rules say about a request whose tokens are all as `answer` says.
    pub fn judge_tokens(
        &self,
        head: &RequestHead,
        answer: impl Fn(&TokenCheck) -> TokenAnswer,
    ) -> TokenVerdict {
        let (rules, version) = (&self.listener.token_rules, self.version());
        let mut answers = Answers::new();
        loop {
            let checked = tokens::check(rules, version, 0, head, &answers);
            return match checked.outcome {
                Outcome::Ask(checks) => {
                    for check in checks {
                        answers.token_is(0, &check, answer(&check));
                    }
                    continue;
                }
                Outcome::Refused(Fault::Audience) => TokenVerdict::Forbidden,
                Outcome::Refused(_) => TokenVerdict::Refused,
                Outcome::Passed(None) => TokenVerdict::Unseen,
                Outcome::Passed(Some(_)) => TokenVerdict::Seen {
                    head: Box::new(checked.head.into_owned()),
                },
            };
        }
    }
}
