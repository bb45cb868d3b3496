//! Classes of single attributes, by an example of each.

use std::net::IpAddr;

use ipnet::IpNet;
use policy::{Matcher, TestValue};

use crate::language::{self, classes_within, holds_for};

/// An example of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Example {
    Absent,
    Text(String),
    Lines(Vec<String>),
    Ip(IpAddr),
}

impl Example {
    pub(crate) fn lines(&self) -> &[String] {
        match self {
            Self::Lines(lines) => lines,
            Self::Absent | Self::Text(_) | Self::Ip(_) => &[],
        }
    }

    pub(crate) fn satisfies(&self, test: &TestValue) -> bool {
        match (self, test) {
            (Self::Text(text), test) => holds_for(test, text),
            (Self::Lines(lines), test) => lines.iter().any(|line| holds_for(test, line)),
            (Self::Ip(ip), TestValue::Net(net)) => net.contains(ip),
            (Self::Absent | Self::Ip(_), _) => false,
        }
    }
}

pub(crate) fn distinct(tests: &[TestValue], names: impl Iterator<Item = String>) -> Vec<Example> {
    let mut seen: Vec<Vec<bool>> = Vec::new();
    let mut out = Vec::new();
    for name in names {
        let holds: Vec<bool> = tests.iter().map(|t| holds_for(t, &name)).collect();
        if !seen.contains(&holds) {
            seen.push(holds);
            out.push(Example::Text(name));
        }
    }
    out
}

/// An address of every interval between the borders of the networks.
pub(crate) fn peers(nets: &[TestValue]) -> Vec<Example> {
    let default: IpAddr = IpAddr::from([203, 0, 113, 7]);
    let mut candidates = vec![default];
    for test in nets {
        let TestValue::Net(net) = test else {
            continue;
        };
        candidates.push(net.network());
        candidates.extend(after(net));
    }
    let mut seen: Vec<Vec<bool>> = Vec::new();
    let mut out = Vec::new();
    for ip in candidates {
        let example = Example::Ip(ip);
        let holds: Vec<bool> = nets.iter().map(|t| example.satisfies(t)).collect();
        if !seen.contains(&holds) {
            seen.push(holds);
            out.push(example);
        }
    }
    out
}

fn after(net: &IpNet) -> Option<IpAddr> {
    match net.broadcast() {
        IpAddr::V4(last) => u32::from(last).checked_add(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(last) => u128::from(last)
            .checked_add(1)
            .map(|n| IpAddr::V6(n.into())),
    }
}

/// What a header line can carry: printable, without space at either end.
pub(crate) fn is_header_value(text: &str) -> bool {
    is_before_token(text) && text.trim_end() == text
}

/// The same where a token may follow.
pub(crate) fn is_before_token(text: &str) -> bool {
    text.bytes().all(|b| (0x20..0x7f).contains(&b)) && text.trim_start() == text
}

pub(crate) fn is_query_value(text: &str) -> bool {
    text.bytes()
        .all(|b| b > 0x20 && b < 0x7f && b != b'&' && b != b'#')
}

const MAX_HEADER_CLASSES: usize = 256;

/// Several lines of one header satisfy what any of them satisfies. Says whether
/// all combinations are there.
pub(crate) fn close_under_repetition(all: &mut Vec<(Vec<bool>, Example)>) -> bool {
    let mut at = 1;
    while at < all.len() && all.len() < MAX_HEADER_CLASSES {
        for other in 1..at {
            let (Some((a, ea)), Some((b, eb))) = (all.get(at), all.get(other)) else {
                break;
            };
            let union: Vec<bool> = a.iter().zip(b).map(|(x, y)| *x || *y).collect();
            if !all.iter().skip(1).any(|(known, _)| *known == union) {
                let lines = ea.lines().iter().chain(eb.lines()).cloned().collect();
                all.push((union, Example::Lines(lines)));
            }
        }
        at += 1;
    }
    at >= all.len()
}

/// The classes of authorities of one virtual host, each by an example.
pub(crate) struct Authorities {
    pub(crate) examples: Vec<String>,
    /// Whether those are all: what stands behind the colon is left out where
    /// more ends are asked about than are tried.
    pub(crate) complete: bool,
}

/// Ends of authorities that are tried behind a colon.
const MAX_ENDS: usize = 256;

/// The classes of authorities of one virtual host: those that no test and no
/// `signature` tells apart; `within` are patterns of hosts that do.
pub(crate) fn authorities<S: PartialEq>(
    tests: &[&TestValue],
    within: &[String],
    named: impl Iterator<Item = String>,
    belongs: impl Fn(&str) -> bool,
    signature: impl Fn(&str) -> S,
) -> Result<Authorities, language::TooComplex> {
    let named: Vec<String> = named.collect();
    let mut candidates: Vec<String> = named.iter().filter(|name| belongs(name)).cloned().collect();
    // What belongs with one port does with any.
    let with_port = named.iter().filter(|name| belongs(&format!("{name}:80")));
    let with_port: Vec<&String> = with_port.collect();
    // Ordinary ports before odd ones: the first of a class is its example.
    for port in ["80", "443", "1"] {
        candidates.extend(with_port.iter().map(|name| format!("{name}:{port}")));
    }
    for name in &with_port {
        candidates.extend(spelled(tests, name)?);
    }
    let ends = ends(tests);
    let complete = ends.len() <= MAX_ENDS;
    if complete && !ends.is_empty() {
        for beginning in beginnings(tests, &with_port, &signature) {
            for end in &ends {
                let (filler, behind) = match end.rsplit_once(':') {
                    Some((_, behind)) => ("", behind),
                    None => ("x", *end),
                };
                candidates.push(format!("{beginning}{filler}{behind}"));
            }
        }
    }
    let mut seen: Vec<(Vec<bool>, S)> = Vec::new();
    let mut out = Vec::new();
    let found = classes_within(tests, within, &belongs)?;
    let also = found.into_iter().map(|c| c.example);
    let upper: Vec<String> = candidates.iter().map(|c| c.to_ascii_uppercase()).collect();
    for text in candidates.into_iter().chain(also).chain(upper) {
        if !belongs(&text) {
            continue;
        }
        let holds: Vec<bool> = tests.iter().map(|t| holds_for(t, &text)).collect();
        let class = (holds, signature(&text));
        if !seen.contains(&class) {
            seen.push(class);
            out.push(text);
        }
    }
    Ok(Authorities {
        examples: out,
        complete,
    })
}

/// Spellings of one name that are looked at.
const MAX_SPELLINGS: usize = 1_024;

/// A name in upper and lower case as beginnings and ends have it that tests ask
/// about with their case: routers and most rules do not.
fn spelled(tests: &[&TestValue], name: &str) -> Result<Vec<String>, language::TooComplex> {
    let (mut before, mut behind) = (vec![""], vec![""]);
    for test in tests {
        let TestValue::Text(matcher) = test else {
            continue;
        };
        if let Matcher::Exact(text) | Matcher::Prefix(text) = matcher
            && name
                .get(..text.len())
                .is_some_and(|own| own.eq_ignore_ascii_case(text))
        {
            before.push(text);
        }
        let start = |text: &str| name.len().checked_sub(text.len());
        if let Matcher::Suffix(text) = matcher
            && let Some(start) = start(text)
            && name
                .get(start..)
                .is_some_and(|own| own.eq_ignore_ascii_case(text))
        {
            behind.push(text);
        }
    }
    let mut out = Vec::new();
    if before.len() == 1 && behind.len() == 1 {
        return Ok(out);
    }
    for start in &before {
        for end in &behind {
            let Some(to) = name
                .len()
                .checked_sub(end.len())
                .filter(|to| start.len() <= *to)
            else {
                continue;
            };
            let middle = name.get(start.len()..to).unwrap_or_default();
            for middle in [middle.to_ascii_uppercase(), middle.to_ascii_lowercase()] {
                let text = format!("{start}{middle}{end}");
                out.push(format!("{text}:80"));
                out.push(text);
            }
        }
        if out.len() > MAX_SPELLINGS {
            return Err(language::TooComplex);
        }
    }
    Ok(out)
}

/// The ends that tests ask about.
fn ends<'t>(tests: &[&'t TestValue]) -> Vec<&'t str> {
    let ends = tests.iter().filter_map(|test| match test {
        TestValue::Text(Matcher::Suffix(end))
        | TestValue::TextIgnoringCase(Matcher::Suffix(end)) => Some(end.as_str()),
        _ => None,
    });
    ends.collect()
}

/// What an authority can begin with up to its colon and beyond, each kind
/// once. Routers cut off whatever stands behind the last colon, rules do not.
fn beginnings<S: PartialEq>(
    tests: &[&TestValue],
    names: &[&String],
    signature: impl Fn(&str) -> S,
) -> Vec<String> {
    let asked = tests.iter().filter_map(|test| match test {
        TestValue::Text(Matcher::Prefix(start))
        | TestValue::TextIgnoringCase(Matcher::Prefix(start)) => Some(start),
        _ => None,
    });
    let asked: Vec<&String> = asked.collect();
    let mut seen = Vec::new();
    let mut out: Vec<String> = Vec::new();
    let own = names.iter().map(|name| format!("{name}:"));
    let longer = asked.iter().filter(|start| start.contains(':'));
    for beginning in own.chain(longer.map(|start| (*start).clone())) {
        let folded = beginning.to_ascii_lowercase();
        let holds = asked
            .iter()
            .map(|start| folded.starts_with(&start.to_ascii_lowercase()));
        let kind = (
            holds.collect::<Vec<bool>>(),
            signature(&format!("{beginning}80")),
        );
        if !seen.contains(&kind) {
            seen.push(kind);
            out.push(beginning);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, tests: &[TestValue]) -> Vec<String> {
        let belongs = |text: &str| {
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
            host.eq_ignore_ascii_case(name)
        };
        let tests: Vec<&TestValue> = tests.iter().collect();
        let within: Vec<String> = language::authorities_of(name).into_iter().collect();
        let named = std::iter::once(name.to_owned());
        let found = authorities(&tests, &within, named, belongs, |_| ()).unwrap();
        found.examples
    }

    /// Hosts are looked up in any case, and rules may have a case of their own.
    #[test]
    fn names_are_spelled_as_tests_ask() {
        let text = TestValue::Text;
        let regex = |pattern: &str| text(Matcher::of_regex(pattern).unwrap());
        for tests in [
            vec![regex(r"A\.t.*")],
            vec![
                regex(r"A\.tesT(:[0-9]+)?"),
                text(Matcher::Prefix("a".into())),
            ],
            vec![text(Matcher::Prefix("A.t".into()))],
            vec![
                text(Matcher::Prefix("a.t".into())),
                text(Matcher::Suffix("est".into())),
            ],
            vec![
                text(Matcher::Prefix("a".into())),
                text(Matcher::Prefix("a.t".into())),
            ],
        ] {
            let found = found("a.test", &tests);
            let holds =
                |text: &str| -> Vec<bool> { tests.iter().map(|t| holds_for(t, text)).collect() };
            let known: Vec<Vec<bool>> = found.iter().map(|text| holds(text)).collect();
            let letters = [0, 2, 3, 4, 5];
            for bits in 0..1_u32 << letters.len() {
                let mut name = b"a.test".to_vec();
                for (bit, at) in letters.iter().enumerate() {
                    if bits >> bit & 1 == 1 {
                        name[*at] = name[*at].to_ascii_uppercase();
                    }
                }
                let name = String::from_utf8(name).unwrap();
                assert!(known.contains(&holds(&name)), "{name}: {tests:?} {found:?}");
            }
        }
    }
}
