//! `web.clientRemoteIP`: where a request comes from, behind proxies that say so.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::ConfigError;
use super::raw::RawClientIp;

/// Which header of which proxies is believed. Limits on guesses and the networks of sessions are of who it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIp {
    header: HeaderName,
    trusted: Vec<IpNet>,
}

/// More entries than any way through proxies has.
const MAX_HOPS: usize = 32;

impl ClientIp {
    pub(super) fn check(raw: RawClientIp) -> Result<Option<Self>, ConfigError> {
        if raw.header.is_empty() && raw.trusted_proxies.is_empty() {
            return Ok(None);
        }
        if raw.trusted_proxies.is_empty() {
            return Err(ConfigError::Missing {
                field: "web.clientRemoteIP.trustedProxies".to_owned(),
                expected: "networks of the proxies that set the header, or everybody could",
            });
        }
        let header = HeaderName::try_from(&raw.header).map_err(|_| ConfigError::Invalid {
            field: "web.clientRemoteIP.header".to_owned(),
            value: raw.header,
            expected: "the name of a header, such as `X-Forwarded-For`",
        })?;
        let mut trusted = Vec::new();
        for (index, text) in raw.trusted_proxies.into_iter().enumerate() {
            let network = text.parse().ok();
            let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            trusted.push(network.ok_or(ConfigError::Invalid {
                field: format!("web.clientRemoteIP.trustedProxies[{index}]"),
                value: text,
                expected: "a network such as `10.0.0.0/8`",
            })?);
        }
        Ok(Some(Self { header, trusted }))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// Whom a request comes from that arrives from `peer`: the last of the header that is no trusted proxy, as each
    /// proxy adds whom it heard from, and what stands further left can be anybody's invention.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let lines: Vec<&str> = headers
            .get_all(&self.header)
            .iter()
            .map(|line| line.to_str().unwrap_or_default())
            .collect();
        let entries = lines.iter().flat_map(|line| line.split(','));
        let entries: Vec<&str> = entries.map(str::trim).collect();
        for entry in entries.into_iter().rev().take(MAX_HOPS) {
            if !self.trusts(client) {
                break;
            }
            let Some(named) = address(entry) else {
                break;
            };
            client = named;
        }
        client
    }
}

/// With a port or without, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    let alone = plain.parse().ok();
    alone.or_else(|| {
        text.parse::<SocketAddr>()
            .ok()
            .map(|with_port| with_port.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(header: &str, trusted: &[&str]) -> Result<Option<ClientIp>, ConfigError> {
        ClientIp::check(RawClientIp {
            header: header.to_owned(),
            trusted_proxies: trusted.iter().map(|text| (*text).to_owned()).collect(),
        })
    }

    #[test]
    fn only_what_trusted_proxies_add_counts() {
        let rule = rule("X-Forwarded-For", &["10.0.0.0/8", "2001:db8::1"])
            .unwrap()
            .unwrap();
        for (peer, lines, expected) in [
            ("10.0.0.1", &["203.0.113.7"][..], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            (
                "10.0.0.1",
                &["198.51.100.1", "203.0.113.7,10.1.1.1"],
                "203.0.113.7",
            ),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7"),
            ("2001:db8::1", &["[2001:db8::7]"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            // Whoever is no proxy says nothing about others.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let client = rule.client(peer.parse().unwrap(), &headers);
            assert_eq!(
                client,
                expected.parse::<IpAddr>().unwrap(),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn a_header_without_trusted_proxies_is_refused() {
        assert!(rule("", &[]).unwrap().is_none());
        for (header, trusted, field) in [
            ("X-Real-IP", &[][..], "web.clientRemoteIP.trustedProxies"),
            ("a b", &["10.0.0.0/8"], "web.clientRemoteIP.header"),
            ("", &["10.0.0.0/8"], "web.clientRemoteIP.header"),
            (
                "X-Real-IP",
                &["10.0.0.0/8", "x"],
                "web.clientRemoteIP.trustedProxies[1]",
            ),
        ] {
            let error = rule(header, trusted).unwrap_err();
            assert_eq!(error.field(), Some(field));
        }
    }
}
