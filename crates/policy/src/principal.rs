//! Request principals: who a verified token speaks of, `issuer/subject`
//! (istio `authz/model/generator.go`, `requestPrincipalGenerator`, from 1.22 on).

use serde_json::json;

use crate::caller::{Caller, Key, TokenHolder};
use crate::claims::Claims;
use crate::matcher::Matcher;
use crate::settings::{IstioVersion, Settings};
use crate::tokens::Verified;

/// A value of `requestPrincipals`.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum PrincipalMatcher {
    /// Issuer and subject, each by itself.
    Split { issuer: Matcher, subject: Matcher },
    /// One text `issuer/subject` (up to Istio 1.20).
    Whole(Matcher),
}

/// The claims that stand behind a caller whose credentials were verified
/// here: a person with a session counts, it stands for their ID token.
pub(crate) fn stands_for(caller: &Caller, settings: &Settings) -> Option<Claims> {
    let holder = match caller {
        Caller::Session(person) => &TokenHolder::Person(person.clone()),
        Caller::Token(holder) | Caller::Key(Key { holder, .. }) => holder,
        Caller::Anonymous | Caller::BadToken(_) => return None,
    };
    let claims = match holder {
        TokenHolder::Person(person) => {
            let groups: Vec<&str> = person.groups.iter().map(|group| &**group).collect();
            json!({
                "iss": settings.login_issuer.as_ref()?, "sub": &*person.subject,
                "email": &*person.email, "groups": groups,
            })
        }
        TokenHolder::ServiceAccount(account) => {
            json!({"iss": settings.cluster_issuer.as_ref()?, "sub": account.user_name()})
        }
        // No token of an issuer that policies could name.
        TokenHolder::Service(_) => return None,
    };
    claims.as_object().cloned().map(Claims::new)
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

    pub(crate) fn matches(&self, verified: &Verified) -> bool {
        let claims = &verified.claims;
        match self {
            Self::Split { issuer, subject } => {
                claims.matches_text("iss", issuer) && claims.matches_text("sub", subject)
            }
            Self::Whole(whole) => {
                let principal = verified.whole.as_deref();
                principal.is_some_and(|principal| whole.matches(principal))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let of = |subject: &str, version| {
            let claims = json!({"iss": "https://idp.example/dex", "sub": subject});
            let claims = Claims::new(claims.as_object().unwrap().clone());
            Verified::of(&claims, &[], version)
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
            let verified = of("alice", IstioVersion::NEWEST);
            assert_eq!(matcher.matches(&verified), expected, "{value}");
        }
        for version in [IstioVersion::NEWEST, IstioVersion::minor(20)] {
            let any = PrincipalMatcher::compile("*", version).unwrap();
            assert!(any.matches(&of("alice", version)));
            assert!(!any.matches(&of("", version)));
        }
    }
}
