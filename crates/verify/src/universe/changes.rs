//! How gateways change a request on its way, in classes.

use http::HeaderValue;
use policy::{Attribute, HeaderChange};

use super::Universe;
use crate::classes::Example;
use crate::language::holds_for;
use crate::mdd::{Dim, Set, Sets};

impl Universe {
    /// How a fixed header value maps the classes of its dimension: for a
    /// header that a route sets, adds or removes.
    pub(crate) fn header_maps(&self, change: &HeaderChange) -> Vec<(Dim, Vec<u16>)> {
        let mut all = self.tokens.header_maps(change);
        all.extend(self.header_map(change));
        all
    }

    fn header_map(&self, change: &HeaderChange) -> Option<(Dim, Vec<u16>)> {
        use HeaderChange as C;
        let dim = self.header_dim(change.name().as_str())?;
        let info = self.dimension(dim)?;
        let holds_of = |lines: &[String]| -> Vec<bool> {
            let holds = |t| lines.iter().any(|line| holds_for(t, line));
            info.tests.iter().map(holds).collect()
        };
        let class_of = |lines: &[String]| -> u16 {
            let wanted = holds_of(lines);
            let found = info.examples.iter().position(|e| {
                let same_presence = matches!(e, Example::Absent) == lines.is_empty();
                same_presence && holds_of(e.lines()) == wanted
            });
            found.map_or(0, |i| u16::try_from(i).unwrap_or(0))
        };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let map = info.examples.iter().map(|example| match change {
            C::Set(_, value) => class_of(&[text(value)]),
            C::Add(_, value) => {
                let mut lines = example.lines().to_vec();
                lines.push(text(value));
                class_of(&lines)
            }
            C::AddIfAbsent(name, values) => match example.lines() {
                [] => {
                    let lines: Vec<String> = values.iter().map(text).collect();
                    match self.joined.contains(name.as_str()) {
                        true => class_of(&[lines.join(",")]),
                        false => class_of(&lines),
                    }
                }
                lines => class_of(lines),
            },
            C::SetIfPresent(_, value) => match example.lines() {
                [] => class_of(&[]),
                _ => class_of(&[text(value)]),
            },
            C::Remove(_) => class_of(&[]),
        });
        Some((dim, map.collect()))
    }

    /// What a gateway that sends a request on to another one makes of its
    /// connection: plain text, and nobody's.
    pub(crate) fn sent_on(&self) -> Vec<(Dim, Vec<u16>)> {
        let plain = [Attribute::Sni, Attribute::Identity, Attribute::Scheme];
        let dims = plain.iter().filter_map(|a| self.by_attribute.get(a));
        dims.map(|dim| (*dim, vec![0; self.width(*dim)])).collect()
    }

    /// What a sidecar makes of the connection of a gateway: one of the name
    /// that it knows the gateway by.
    pub(crate) fn known_as(&self, sender: Result<Option<&str>, &str>) -> Vec<(Dim, Vec<u16>)> {
        let name = sender.ok().flatten();
        let plain = self.by_attribute.get(&Attribute::Sni);
        let plain = plain.map(|dim| (*dim, vec![0; self.width(*dim)]));
        let known = self.class_of_identity(name);
        let known = known.map(|(dim, class)| (dim, vec![class; self.width(dim)]));
        plain.into_iter().chain(known).collect()
    }

    /// Requests of clients that show this name, or none.
    pub(crate) fn shown_as(&self, sets: &mut Sets, name: Option<&str>) -> Set {
        let Some((dim, class)) = self.class_of_identity(name) else {
            return Set::ALL;
        };
        let classes = (0..self.width(dim)).map(|c| c == usize::from(class));
        sets.classes(dim, classes)
    }

    fn class_of_identity(&self, name: Option<&str>) -> Option<(Dim, u16)> {
        let dim = *self.by_attribute.get(&Attribute::Identity)?;
        let info = self.dimension(dim)?;
        let shown = match name {
            Some(name) => Example::Lines(vec![name.to_owned()]),
            None => Example::Absent,
        };
        let same = |example: &Example| {
            let mut tests = info.tests.iter();
            (*example == Example::Absent) == name.is_none()
                && tests.all(|t| example.satisfies(t) == shown.satisfies(t))
        };
        let class = info.examples.iter().position(same)?;
        Some((dim, u16::try_from(class).ok()?))
    }

    /// Whether what a sidecar makes of requests depends on something that is
    /// not known of the gateway: its address, the server name it asks for, and
    /// its name, where that is a guess.
    pub(crate) fn depends_on_sender(&self, sets: &Sets, set: Set, is_guess: bool) -> bool {
        let unknown = [Attribute::PeerIp, Attribute::RemoteIp, Attribute::Sni];
        let named = is_guess.then_some(Attribute::Identity);
        let all = unknown.into_iter().chain(named);
        let dims: Vec<Dim> = all
            .filter_map(|a| self.by_attribute.get(&a).copied())
            .collect();
        sets.support(set).iter().any(|dim| dims.contains(dim))
    }
}
