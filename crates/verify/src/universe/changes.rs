//! How gateways change a request on its way, in classes.

use policy::{Attribute, HeaderChange};

use super::Universe;
use crate::classes::Example;
use crate::language::holds_for;
use crate::mdd::Dim;

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
        let (C::Set(name, _) | C::Add(name, _) | C::Remove(name)) = change;
        let dim = self.header_dim(name.as_str())?;
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
        let map = info.examples.iter().map(|example| match change {
            C::Set(_, value) => class_of(&[String::from_utf8_lossy(value.as_bytes()).into_owned()]),
            C::Add(_, value) => {
                let mut lines = example.lines().to_vec();
                lines.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
                class_of(&lines)
            }
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
}
