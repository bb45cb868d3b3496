//! Request principals: who a verified token speaks of, `issuer/subject`
//! (istio `authz/model/generator.go`, `requestPrincipalGenerator`, from 1.22 on).

use crate::caller::{Caller, TokenHolder};
use crate::matcher::Matcher;
use crate::settings::{IstioVersion, Settings};

/// The principal of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestPrincipal {
    pub(crate) issuer: String,
    pub(crate) subject: String,
}

/// A value of `requestPrincipals`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PrincipalMatcher {
    /// Issuer and subject, each by itself.
    Split { issuer: Matcher, subject: Matcher },
    /// One text `issuer/subject` (up to Istio 1.20).
    Whole(Matcher),
}

impl RequestPrincipal {
    /// The principal of a caller whose credentials were verified here. A
    /// person with a session counts: the session stands for their ID token.
    pub(crate) fn of(caller: &Caller, settings: &Settings) -> Option<Self> {
        match caller {
            Caller::Session(person) | Caller::Token(TokenHolder::Person(person)) => Some(Self {
                issuer: settings.login_issuer.clone()?,
                subject: person.subject.to_string(),
            }),
            Caller::Token(TokenHolder::ServiceAccount(account)) => Some(Self {
                issuer: settings.cluster_issuer.clone()?,
                subject: account.user_name(),
            }),
            Caller::Anonymous | Caller::BadToken(_) => None,
        }
    }
}

impl PrincipalMatcher {
    /// Split at the last `/` (1.21.0: at the first); a star begins or ends
    /// either part, never both.
    pub(crate) fn compile(value: &str, version: IstioVersion) -> Result<Self, String> {
        if version < IstioVersion::PRINCIPAL_SPLIT {
            return Matcher::of_policy_string(value).map(Self::Whole);
        }
        let some = || Matcher::of_policy_string("*");
        let exact = |text: &str| Ok(Matcher::Exact(text.to_owned()));
        let parts = if version >= IstioVersion::PRINCIPAL_SPLIT_LAST {
            value.rsplit_once('/')
        } else {
            value.split_once('/')
        };
        let (issuer, subject) = match (value, parts) {
            ("*", _) => (some(), some()),
            (_, Some(("*", subject))) => (some(), exact(subject)),
            (_, Some((issuer, subject))) if issuer.starts_with('*') => (
                Ok(Matcher::Suffix(issuer.trim_start_matches('*').to_owned())),
                exact(subject),
            ),
            (_, Some((issuer, "*"))) => (exact(issuer), some()),
            (_, Some((issuer, subject))) => match subject.strip_suffix('*') {
                Some(prefix) => (exact(issuer), Ok(Matcher::Prefix(prefix.to_owned()))),
                None => (exact(issuer), exact(subject)),
            },
            (value, None) => match (value.strip_prefix('*'), value.strip_suffix('*')) {
                (Some(suffix), _) => (some(), Ok(Matcher::Suffix(suffix.to_owned()))),
                (_, Some(prefix)) => (Ok(Matcher::Prefix(prefix.to_owned())), some()),
                _ => (exact(value), exact("")),
            },
        };
        Ok(Self::Split {
            issuer: issuer?,
            subject: subject?,
        })
    }

    pub(crate) fn matches(&self, principal: &RequestPrincipal) -> bool {
        match self {
            Self::Split { issuer, subject } => {
                issuer.matches(&principal.issuer) && subject.matches(&principal.subject)
            }
            Self::Whole(whole) => {
                whole.matches(&format!("{}/{}", principal.issuer, principal.subject))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let principal = RequestPrincipal {
            issuer: "https://idp.example/dex".into(),
            subject: "alice".into(),
        };
        for (value, expected) in [
            ("*", true),
            ("https://idp.example/dex/alice", true),
            ("https://idp.example/dex/*", true),
            ("https://idp.example/dex/al*", true),
            ("https://idp.example/dex/bob", false),
            ("*/alice", true),
            ("*/dex/alice", true),
            ("*ice", true),
            ("https://idp.example/dex", false),
            ("https://*", false),
        ] {
            let matcher = PrincipalMatcher::compile(value, IstioVersion::NEWEST).unwrap();
            assert_eq!(matcher.matches(&principal), expected, "{value}");
        }
        let empty = RequestPrincipal {
            subject: String::new(),
            ..principal
        };
        let any = PrincipalMatcher::compile("*", IstioVersion::NEWEST).unwrap();
        assert!(!any.matches(&empty));
    }
}
