//! From the claims of a verified token to a person.

use std::sync::Arc;

use policy::Person;

use crate::jose::{Claims, JwtError};

/// More groups than this are refused rather than cut: a header could not carry them.
const MAX_GROUPS: usize = 500;

/// User names that people cannot have: ServiceAccounts and programs have them.
const RESERVED: [&str; 2] = ["system:", "service:"];

/// The claims that say who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityClaims {
    /// Claim of the user id, `email` for Kubeflow.
    pub user_id: String,
    /// Claim of the groups.
    pub groups: String,
    /// The user id is an address, whatever its claim is called: its domain decides who gets through.
    pub by_domain: bool,
}

impl Default for IdentityClaims {
    fn default() -> Self {
        Self {
            user_id: "email".to_owned(),
            groups: "groups".to_owned(),
            by_domain: false,
        }
    }
}

impl IdentityClaims {
    /// The claims of an ID token that does not name the user, with what userinfo says: about the same
    /// person (OpenID Connect Core §5.3.2), and never in the place of what was signed.
    pub(crate) fn completed(&self, claims: &Claims, userinfo: &Claims) -> Result<Claims, JwtError> {
        if claims.text("sub").is_none() || claims.get("sub") != userinfo.get("sub") {
            return Err(JwtError::Claim("sub".to_owned()));
        }
        let mut claims = claims.clone();
        // Whether an address is verified is told by whoever tells the address.
        for name in [&*self.user_id, "email_verified"] {
            claims.set(name, userinfo.get(name));
        }
        if !claims.has(&self.groups) {
            claims.set(&self.groups, userinfo.get(&self.groups));
        }
        Ok(claims)
    }

    pub(crate) fn person(&self, claims: &Claims) -> Result<Person, JwtError> {
        let wrong = |name: &str| JwtError::Claim(name.to_owned());
        let subject = claims
            .text("sub")
            .filter(|subject| is_plain(subject))
            .ok_or_else(|| wrong("sub"))?;
        let user_id = claims
            .text(&self.user_id)
            .filter(|id| is_plain(id) && !RESERVED.iter().any(|prefix| id.starts_with(prefix)))
            .ok_or_else(|| wrong(&self.user_id))?;
        if self.user_id == "email" || self.by_domain {
            // A user could else take another's address at the provider.
            let verified = claims.get("email_verified");
            if verified.is_some_and(|value| value != true && value != "true") {
                return Err(wrong("email_verified"));
            }
            if user_id.matches('@').count() != 1 {
                return Err(wrong(&self.user_id));
            }
        }
        let groups = groups(claims, &self.groups)?;
        Ok(Person {
            email: user_id.into(),
            subject: subject.into(),
            groups,
        })
    }
}

/// The groups in a claim; none where there is no such claim.
pub(crate) fn groups(claims: &Claims, name: &str) -> Result<Arc<[Arc<str>]>, JwtError> {
    let wrong = || JwtError::Claim(name.to_owned());
    let groups = claims
        .texts(name)
        .filter(|groups| groups.len() <= MAX_GROUPS)
        .ok_or_else(wrong)?;
    // A comma would make two groups of one in `kubeflow-groups`.
    if groups
        .iter()
        .any(|group| !is_plain(group) || group.contains(','))
    {
        return Err(wrong());
    }
    Ok(groups.into_iter().map(Arc::from).collect())
}

/// Fit for a header: not empty, not long, nothing invisible, no space at the ends.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 512
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claims: &str, expected: Result<(&str, &[&str]), &str>) {
        let parsed = Claims::parse(claims.as_bytes()).unwrap();
        match (IdentityClaims::default().person(&parsed), expected) {
            (Ok(person), Ok((email, groups))) => {
                assert_eq!(&*person.email, email, "{claims}");
                let found: Vec<_> = person.groups.iter().map(|group| &**group).collect();
                assert_eq!(found, groups, "{claims}");
            }
            (Err(error), Err(claim)) => assert_eq!(error, JwtError::Claim(claim.to_owned())),
            (found, _) => panic!("{claims}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_user_id_whose_domain_counts_is_one_verified_address() {
        let by_domain = IdentityClaims {
            user_id: "preferred_username".to_owned(),
            by_domain: true,
            ..IdentityClaims::default()
        };
        for (claims, expected) in [
            (r#"{"sub":"1","preferred_username":"a@b.c"}"#, Ok("a@b.c")),
            (
                r#"{"sub":"1","preferred_username":"a@evil@b.c"}"#,
                Err("preferred_username"),
            ),
            (
                r#"{"sub":"1","preferred_username":"a"}"#,
                Err("preferred_username"),
            ),
            (
                r#"{"sub":"1","preferred_username":"a@b.c","email_verified":false}"#,
                Err("email_verified"),
            ),
        ] {
            let parsed = Claims::parse(claims.as_bytes()).unwrap();
            let found = by_domain.person(&parsed).map(|person| person.email);
            let expected = expected
                .map(Arc::from)
                .map_err(|claim| JwtError::Claim(claim.to_owned()));
            assert_eq!(found, expected, "{claims}");
        }
        // Elsewhere it is a name like any other.
        let plain = IdentityClaims {
            by_domain: false,
            ..by_domain
        };
        let parsed = br#"{"sub":"1","preferred_username":"a","email_verified":false}"#;
        assert!(plain.person(&Claims::parse(parsed).unwrap()).is_ok());
    }

    #[test]
    fn claims_become_a_person_or_nobody() {
        check(r#"{"sub":"1","email":"a@b.c"}"#, Ok(("a@b.c", &[])));
        check(
            r#"{"sub":"1","email":"a@b.c","email_verified":true,"groups":["x","y"]}"#,
            Ok(("a@b.c", &["x", "y"])),
        );
        check(
            r#"{"sub":"1","email":"a@b.c","groups":"x"}"#,
            Ok(("a@b.c", &["x"])),
        );
        check(
            r#"{"sub":"1","email":"a@b.c","groups":null}"#,
            Ok(("a@b.c", &[])),
        );
        check(
            r#"{"sub":"1","email":"a@b.c","email_verified":false}"#,
            Err("email_verified"),
        );
        check(
            r#"{"sub":"1","email":"a@b.c","email_verified":"false"}"#,
            Err("email_verified"),
        );
        check(r#"{"sub":"1","email":"a@evil@b.c"}"#, Err("email"));
        check(r#"{"sub":"1","email":"a"}"#, Err("email"));
        check(r#"{"sub":"1","email":["a@b.c"]}"#, Err("email"));
        check(r#"{"sub":"1","email":"a@b.c\r\nx: y"}"#, Err("email"));
        check(r#"{"sub":"1","email":" a@b.c"}"#, Err("email"));
        check(r#"{"sub":"1"}"#, Err("email"));
        check(r#"{"email":"a@b.c"}"#, Err("sub"));
        check(r#"{"sub":"","email":"a@b.c"}"#, Err("sub"));
        check(
            r#"{"sub":"1","email":"a@b.c","groups":["x,admin"]}"#,
            Err("groups"),
        );
        check(
            r#"{"sub":"1","email":"a@b.c","groups":["x",1]}"#,
            Err("groups"),
        );
        check(
            r#"{"sub":"1","email":"a@b.c","groups":{"x":1}}"#,
            Err("groups"),
        );
    }
}
