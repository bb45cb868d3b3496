//! Several logins: which of them is a host's.

use std::sync::Arc;

use super::RelyingParty;

/// Hosts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Names, `*.` before those that all names below are meant with; none for
    /// all hosts that no other names mean.
    ///
    /// # Errors
    /// The first that is no such name.
    pub fn new(names: &[String]) -> Result<Self, String> {
        let plain = |name: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            !name.is_empty() && !name.starts_with('.') && name.bytes().all(known)
        };
        for name in names {
            if !plain(name.strip_prefix("*.").unwrap_or(name)) {
                return Err(name.clone());
            }
        }
        let lower = names.iter().map(|name| name.to_ascii_lowercase());
        Ok(Self(lower.collect()))
    }

    /// How closely a host is meant: the more, the longer the name; `None` if it is not.
    fn means(&self, host: &str) -> Option<usize> {
        let by_name = |name: &String| match name.strip_prefix('*') {
            Some(suffix) => {
                let below = host.len() > suffix.len() && host.ends_with(suffix);
                below.then_some(suffix.len())
            }
            // Before all that have a star.
            None => (host == name).then_some(usize::MAX),
        };
        self.0.iter().filter_map(by_name).max()
    }
}

/// The logins of an installation. A session counts where the login is that made it.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    of_hosts: Vec<(Hosts, Arc<RelyingParty>)>,
    rest: Option<Arc<RelyingParty>>,
}

impl Logins {
    /// One for all hosts, or none.
    pub fn one(login: Option<Arc<RelyingParty>>) -> Self {
        Self {
            of_hosts: Vec::new(),
            rest: login,
        }
    }

    /// With a login of these hosts.
    #[must_use]
    pub fn with(mut self, hosts: Hosts, login: Arc<RelyingParty>) -> Self {
        self.of_hosts.push((hosts, login));
        self
    }

    /// The login of an authority, with or without a port: of the most exact name.
    pub fn of(&self, authority: &str) -> Option<&Arc<RelyingParty>> {
        let host = policy::host_name(authority);
        let meant = self.of_hosts.iter().filter_map(|(hosts, login)| {
            let how = hosts.means(&host)?;
            Some((how, login))
        });
        let most = meant.max_by_key(|(how, _)| *how);
        most.map(|(_, login)| login).or(self.rest.as_ref())
    }

    /// The login of all hosts that no other is for.
    pub fn rest(&self) -> Option<&Arc<RelyingParty>> {
        self.rest.as_ref()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RelyingParty>> {
        let named = self.of_hosts.iter().map(|(_, login)| login);
        named.chain(&self.rest)
    }

    /// Whether nobody can log in.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(names: &[&str], host: &str) -> Option<usize> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(&names).unwrap().means(host)
    }

    #[test]
    fn hosts_are_meant_by_name_or_from_a_star_on() {
        assert_eq!(how(&["a.example"], "a.example"), Some(usize::MAX));
        assert_eq!(how(&["A.example"], "a.example"), Some(usize::MAX));
        for other in [
            "b.a.example",
            "xa.example",
            "a.example.evil",
            "",
            "a.examplf",
        ] {
            assert_eq!(how(&["a.example"], other), None, "{other}");
        }
        assert_eq!(how(&["*.a.example"], "b.a.example"), Some(10));
        assert_eq!(how(&["*.a.example"], "c.b.a.example"), Some(10));
        for other in ["a.example", ".a.example", "ba.example"] {
            assert_eq!(how(&["*.a.example"], other), None, "{other}");
        }
        assert!(how(&["*.b.a.example", "*.a.example"], "c.b.a.example") > Some(10));
        for wrong in ["", "*", "*.", "a.*", "https://a", "a:80", "*.*.a", ".a"] {
            assert_eq!(Hosts::new(&[wrong.to_owned()]), Err(wrong.to_owned()));
        }
    }
}
