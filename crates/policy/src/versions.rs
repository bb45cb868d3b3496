//! Istio's versions as an input: what changed when.

use std::fmt;

/// An Istio version: minor and, where it is known, patch.
///
/// `1.21` without a patch stands for the newest patch of that minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IstioVersion {
    /// Always 1 so far.
    pub major: u16,
    /// The minor version: 16 of 1.16.
    pub minor: u16,
    /// The patch version, [`IstioVersion::NEWEST_PATCH`] when not said.
    pub patch: u16,
}

/// The Envoy minor version that an Istio version brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvoyVersion {
    /// Always 1 so far.
    pub major: u16,
    /// The minor version.
    pub minor: u16,
}

impl IstioVersion {
    /// Patch of a version that names none.
    pub const NEWEST_PATCH: u16 = u16::MAX;

    /// The oldest version whose semantics are implemented.
    pub const OLDEST: Self = Self::minor(9);

    /// The newest version whose semantics are implemented.
    pub const NEWEST: Self = Self::minor(31);

    /// First version whose `hosts` ignore case.
    pub const HOSTS_IGNORE_CASE: Self = Self::first(12);

    /// First version with `headersToDownstreamOnAllow`.
    pub const DOWNSTREAM_ON_ALLOW: Self = Self::first(15);

    /// First version in which EnvoyFilters that match by Envoy's old filter
    /// names match nothing (istio commit c2225561517).
    pub const DEPRECATED_NAMES_DEAD: Self = Self::first(19);

    /// First version in which a broken provider denies only the requests its
    /// policies match, instead of all.
    pub const BAD_PROVIDER_SCOPED: Self = Self::first(20);

    /// First version with `targetRef`.
    pub const TARGET_REF: Self = Self::first(20);

    /// First version with the list `targetRefs`.
    pub const TARGET_REFS: Self = Self::first(22);

    /// First version in which an ExternalName Service is another name of what
    /// it points to, without a cluster of its own.
    pub const EXTERNAL_NAME_ALIAS: Self = Self::first(21);

    /// First version that splits `requestPrincipals` into issuer and subject,
    /// at first at the first `/`.
    pub const PRINCIPAL_SPLIT: Self = Self::first(21);

    /// First version that splits `requestPrincipals` at the last `/`.
    pub const PRINCIPAL_SPLIT_LAST: Self = Self {
        major: 1,
        minor: 21,
        patch: 1,
    };

    /// First version with path templates.
    pub const PATH_TEMPLATES: Self = Self::first(22);

    /// First version in which CORS preflights bring no token, whatever they carry.
    pub const PREFLIGHT_WITHOUT_TOKENS: Self = Self::first(13);

    /// First version with `outputClaimToHeaders`.
    pub const CLAIMS_TO_HEADERS: Self = Self::first(15);

    /// First version with `fromCookies`.
    pub const TOKENS_IN_COOKIES: Self = Self::first(21);

    /// First version with `spaceDelimitedClaims`.
    pub const SPACE_DELIMITED_CLAIMS: Self = Self::first(28);

    /// First version with `serviceAccounts`.
    pub const SERVICE_ACCOUNTS: Self = Self::first(25);

    /// First version that checks the characters of provider names, and in which
    /// a dry run of a CUSTOM policy denies.
    pub const PROVIDER_NAMES_CHECKED: Self = Self::first(30);

    /// First version with `trustDomains`.
    pub const TRUST_DOMAINS: Self = Self {
        major: 1,
        minor: 30,
        patch: 3,
    };

    /// First version with `connectionSettings` of proxies.
    pub const CONNECTION_SETTINGS: Self = Self::first(31);

    /// Redirects of VirtualServices replace prefixes from here on; before, the
    /// API server drops the field.
    pub const PREFIX_REWRITE: Self = Self::first(31);

    /// The newest patch of 1.`minor`.
    pub const fn minor(minor: u16) -> Self {
        Self {
            major: 1,
            minor,
            patch: Self::NEWEST_PATCH,
        }
    }

    const fn first(minor: u16) -> Self {
        Self {
            major: 1,
            minor,
            patch: 0,
        }
    }

    /// Reads `1.16` or `1.16.4`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        // `1.20.3-distroless`, `1.31-alpha.abc`: what follows is a build.
        let release = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = release.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = match parts.next() {
            None => Self::NEWEST_PATCH,
            Some(patch) => patch.parse().ok()?,
        };
        (major == 1 && parts.next().is_none()).then_some(Self {
            major,
            minor,
            patch,
        })
    }

    /// Reads `1.18..1.31`, two versions to compare, or one version, compared
    /// with itself.
    pub fn parse_range(text: &str) -> Option<(Self, Self)> {
        match text.split_once("..") {
            None => Self::parse(text).map(|one| (one, one)),
            Some((from, to)) => {
                let to = to.strip_prefix('=').unwrap_or(to);
                Some((Self::parse(from)?, Self::parse(to)?))
            }
        }
    }

    /// Every minor version that is implemented, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::OLDEST.minor..=Self::NEWEST.minor).map(Self::minor)
    }

    /// The Envoy that this version brings: 1.16 has 1.24, 1.31 has 1.39.
    pub fn envoy(self) -> EnvoyVersion {
        EnvoyVersion {
            major: 1,
            minor: self.minor.saturating_add(8),
        }
    }

    /// Whether several values of one header are compared one by one, instead
    /// of joined by commas (CVE-2026-26308; Istio 1.27.8, 1.28.5, 1.29.1).
    pub fn headers_individually(self) -> bool {
        match self.minor {
            0..=26 => false,
            27 => self.patch >= 8,
            28 => self.patch >= 5,
            29 => self.patch >= 1,
            _ => true,
        }
    }

    /// Whether `..;x` counts as `..` in paths (CVE-2026-73511; Istio 1.29.7,
    /// 1.30.4 and newer).
    pub fn dots_with_parameters(self) -> bool {
        match self.minor {
            0..=28 => false,
            29 => self.patch >= 7,
            30 => self.patch >= 4,
            _ => true,
        }
    }

    /// Whether headers that rules for tokens set are taken from every request
    /// first, and not only where a rule is tried (Envoy 1.40; Istio 1.29.7,
    /// 1.30.4 and newer).
    pub fn outputs_sanitized(self) -> bool {
        self.dots_with_parameters()
    }

    /// Whether `request.auth.audiences` looks into a list of audiences (not in
    /// 1.21.0 to 1.21.2 and 1.22.0; before, it saw the first one only).
    pub fn audiences_listed(self) -> bool {
        match self.minor {
            21 => self.patch >= 3,
            22 => self.patch >= 1,
            _ => true,
        }
    }

    /// Whether the metacharacters of regular expressions are literal in
    /// `namespaces` (1.28.7, 1.29.3, 1.30).
    pub fn namespaces_quoted(self) -> bool {
        match self.minor {
            0..=27 => false,
            28 => self.patch >= 7,
            29 => self.patch >= 3,
            _ => true,
        }
    }
}

impl EnvoyVersion {
    /// `1.minor`.
    pub const fn of(minor: u16) -> Self {
        Self { major: 1, minor }
    }

    /// The first Istio version that brings it.
    pub(crate) fn istio(self) -> IstioVersion {
        IstioVersion::first(self.minor.saturating_sub(8))
    }
}

impl fmt::Display for IstioVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != Self::NEWEST_PATCH && self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

impl fmt::Display for EnvoyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, expected) in [
            ("1.16", Some((16, IstioVersion::NEWEST_PATCH))),
            ("1.16.4", Some((16, 4))),
            ("v1.20.3-distroless", Some((20, 3))),
            ("1.31-alpha.6d38", Some((31, IstioVersion::NEWEST_PATCH))),
            ("2.0", None),
            ("1", None),
            ("1.x", None),
            ("1.2.3.4", None),
            ("", None),
        ] {
            let found = IstioVersion::parse(text).map(|v| (v.minor, v.patch));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let of = |text| IstioVersion::parse_range(text).map(|(a, b)| (a.minor, b.minor));
        assert_eq!(of("1.18..1.31"), Some((18, 31)));
        assert_eq!(of("1.18..=1.31"), Some((18, 31)));
        assert_eq!(of("1.20"), Some((20, 20)));
        assert_eq!(of("1.18.."), None);
    }

    #[test]
    fn envoys() {
        let all: Vec<String> = IstioVersion::all()
            .map(|v| format!("{v}/{}", v.envoy()))
            .collect();
        assert_eq!(all.len(), 23);
        for pair in ["1.9/1.17", "1.16/1.24", "1.21/1.29", "1.31/1.39"] {
            assert!(all.iter().any(|p| p == pair), "{pair}");
        }
    }

    #[test]
    fn patches_that_matter() {
        for (text, individually, dots, quoted) in [
            ("1.25", false, false, false),
            ("1.28.4", false, false, false),
            ("1.28.7", true, false, true),
            ("1.29.2", true, false, false),
            ("1.29.7", true, true, true),
            ("1.30.3", true, false, true),
            ("1.31", true, true, true),
        ] {
            let version = IstioVersion::parse(text).unwrap();
            assert_eq!(version.headers_individually(), individually, "{text}");
            assert_eq!(version.dots_with_parameters(), dots, "{text}");
            assert_eq!(version.namespaces_quoted(), quoted, "{text}");
        }
    }
}
