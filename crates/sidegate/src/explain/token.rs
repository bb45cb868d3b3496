//! The token of `explain`: claims that are taken as verified, or a JWT that is
//! looked at with the keys that are written in the YAML.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use identity::Jwks;
use policy::{
    Caller, Carrier, Claims, Person, RequestHead, ServiceAccount, Settings, Snapshot, TokenAnswer,
    TokenCheck, TokenContent, TokenHolder,
};

use crate::output::BadInput;

/// What `--token` says.
#[derive(Default)]
pub(crate) struct AssumedToken {
    text: String,
    /// Taken as verified.
    claims: Option<Claims>,
    payload: String,
}

impl AssumedToken {
    /// A JSON object of claims, a JWT, or `@FILE` with either.
    pub(crate) fn read(argument: Option<&str>) -> anyhow::Result<Self> {
        let Some(argument) = argument else {
            return Ok(Self::default());
        };
        let text = match argument.strip_prefix('@') {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("`--token @{file}`"))?
            }
            None => argument.to_owned(),
        };
        let text = text.trim();
        if !text.starts_with('{') {
            return Ok(Self {
                text: text.to_owned(),
                ..Self::default()
            });
        }
        let claims = Claims::parse(text.as_bytes()).ok_or_else(|| {
            BadInput(vec![
                "`--token`: expected a JSON object of claims, a JWT, or `@FILE` with either"
                    .to_owned(),
            ])
        })?;
        let payload = URL_SAFE_NO_PAD.encode(text);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        Ok(Self {
            text: format!("{header}.{payload}.c2ln"),
            claims: Some(claims),
            payload,
        })
    }

    /// Puts the token where the listener of the request looks for those of its issuer.
    pub(crate) fn put(&self, snapshot: &Snapshot, head: &mut RequestHead) -> anyhow::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let issuer = self.content(None).and_then(|content| {
            let issuer = content.claims.text("iss");
            issuer.map(str::to_owned)
        });
        let mut listeners = snapshot.listeners();
        let listener = listeners.find(|l| l.entrance() == Some(head.entrance));
        let rules: Vec<_> = listener.iter().flat_map(|l| l.token_rules()).collect();
        let of_issuer = rules.iter().find(|rule| {
            let wanted = &rule.keys().issuer;
            wanted.is_empty() || Some(wanted) == issuer.as_ref()
        });
        let default = Carrier::Header {
            name: "authorization".into(),
            prefix: "Bearer ".into(),
        };
        let carrier = of_issuer
            .and_then(|rule| rule.carriers().first())
            .unwrap_or(&default);
        match carrier {
            Carrier::Header { name, prefix } => {
                let name = HeaderName::from_bytes(name.as_bytes())?;
                let value = HeaderValue::from_str(&format!("{prefix}{}", self.text))?;
                head.headers.insert(name, value);
            }
            Carrier::Parameter(name) => {
                let pair = format!("{name}={}", self.text);
                head.query = Some(match head.query.take() {
                    Some(query) => format!("{query}&{pair}"),
                    None => pair,
                });
            }
            Carrier::Cookie(name) => {
                let value = HeaderValue::from_str(&format!("{name}={}", self.text))?;
                head.headers.append(http::header::COOKIE, value);
            }
        }
        Ok(())
    }

    /// What a rule finds out about a token of the request.
    pub(crate) fn answer(&self, check: &TokenCheck) -> TokenAnswer {
        if *check.token == *self.text
            && let Some(content) = self.content(Some(()))
        {
            return TokenAnswer::Read(Box::new(content));
        }
        read(&check.token, &check.keys.jwks)
    }

    fn content(&self, assumed: Option<()>) -> Option<TokenContent> {
        if let Some(claims) = &self.claims {
            return Some(TokenContent {
                claims: claims.clone(),
                payload: self.payload.clone(),
                time: None,
                signature: None,
            });
        }
        match (assumed, read(&self.text, "")) {
            (None, TokenAnswer::Read(content)) => Some(*content),
            _ => None,
        }
    }

    /// Whom the token makes the caller, where Sidegate verifies it itself.
    pub(crate) fn caller(&self, settings: &Settings) -> Option<Caller> {
        let claims = self.claims.as_ref()?;
        let issuer = claims.text("iss").map(str::to_owned);
        let subject = claims.text("sub").unwrap_or_default();
        if issuer.is_some() && issuer == settings.login_issuer {
            return Some(Caller::Token(TokenHolder::Person(Person {
                email: claims.text("email").unwrap_or_default().into(),
                subject: subject.into(),
                groups: claims.texts("groups").into_iter().map(Into::into).collect(),
            })));
        }
        let account = subject.strip_prefix("system:serviceaccount:")?;
        let (namespace, name) = account.split_once(':')?;
        (issuer.is_some() && issuer == settings.cluster_issuer).then(|| {
            Caller::Token(TokenHolder::ServiceAccount(ServiceAccount {
                namespace: namespace.into(),
                name: name.into(),
            }))
        })
    }
}

fn read(token: &str, jwks: &str) -> TokenAnswer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |elapsed| elapsed.as_secs());
    if jwks.is_empty() {
        let why = "explain fetches no keys, and the rule has none written in it; say what the token claims with `--token`";
        return identity::read_token(token, Err(why), now);
    }
    identity::read_token(token, Ok(&Jwks::parse(jwks.as_bytes())), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_taken_as_verified() {
        let token = AssumedToken::read(Some(r#"{"iss": "https://a", "sub": "u"}"#)).unwrap();
        let content = token.content(Some(())).unwrap();
        assert_eq!(content.claims.text("sub"), Some("u"));
        assert!(content.signature.is_none());
        assert!(AssumedToken::read(Some("{")).is_err());
        assert!(AssumedToken::read(Some("@/does/not/exist")).is_err());
    }

    #[test]
    fn a_jwt_is_not() {
        let claims = AssumedToken::read(Some(r#"{"iss": "https://a"}"#)).unwrap();
        let token = AssumedToken::read(Some(&claims.text)).unwrap();
        assert!(token.content(Some(())).is_none());
        assert!(token.content(None).is_some());
    }
}
