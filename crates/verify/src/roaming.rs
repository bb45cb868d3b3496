//! Rules about hosts that could be any (`*.team.example`, `notHosts`) concern
//! every virtual host: what stands behind the last colon of an authority is cut
//! off before virtual hosts are looked for, and not before rules are. Virtual
//! hosts whose authorities all tests see alike have the same classes of
//! authorities, but for the name, and share what those rules match.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use policy::{Attribute, HostView, Matcher, TestValue, host_name};

use crate::analysis::compile;
use crate::engine::Engine;
use crate::ground::Ground;
use crate::language::key;
use crate::listener::ListenerPart;
use crate::looks::tests_of;
use crate::terms::Here;

/// How a test on the authority sees those of a virtual host without a wildcard.
/// They are its name in any case, alone or before a colon and something without
/// one. Here what stands behind the name decides, and nothing else of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Sight {
    /// It holds for none.
    Never,
    /// As it says, of what stands behind any name that does not satisfy it.
    Behind,
    /// The same where the name satisfies what it says of the name's end.
    Ending,
    /// The name and this behind it, in any case.
    Exact(String),
    /// The name and what begins so.
    Prefix(String),
}

impl Sight {
    /// `None` where more decides than what stands behind the name.
    fn of(test: &TestValue, name: &str) -> Option<Self> {
        let (matcher, fold) = match test {
            TestValue::Text(matcher) => (matcher, false),
            TestValue::TextIgnoringCase(matcher) => (matcher, true),
            TestValue::Net(_) | TestValue::Port(_) => return None,
        };
        let found = match matcher {
            Matcher::Present => return Some(Self::Behind),
            Matcher::Suffix(end) => {
                // What of it is before the colon meets the end of the name.
                let (before, has_colon) = match end.split_once(':') {
                    Some((before, _)) => (before, true),
                    None => (end.as_str(), false),
                };
                if before.is_empty() {
                    return Some(Self::Behind);
                }
                match (ends_with(name, before), has_colon) {
                    (true, _) => Self::Ending,
                    (false, true) => Self::Never,
                    (false, false) => Self::Behind,
                }
            }
            Matcher::Exact(text) => match host_name(text) == name {
                true => Self::Exact(text.get(name.len()..)?.to_ascii_lowercase()),
                false => Self::Never,
            },
            Matcher::Prefix(start) => {
                let start = start.to_ascii_lowercase();
                match start.strip_prefix(name) {
                    Some(rest) if rest.is_empty() || rest.starts_with(':') => {
                        Self::Prefix(rest.to_owned())
                    }
                    None if name.starts_with(&start) => Self::Prefix(String::new()),
                    _ => Self::Never,
                }
            }
            Matcher::PathPrefix(_) | Matcher::Regex(_) => return None,
        };
        // Where case matters it matters how the name is spelled.
        let spelled = matches!(found, Self::Ending | Self::Exact(_) | Self::Prefix(_));
        (fold || !spelled).then_some(found)
    }
}

/// Whether a text ends so, in any case.
fn ends_with(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    let rest = start.and_then(|start| text.as_bytes().get(start..));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(end.as_bytes()))
}

/// What virtual hosts of a listener have in common that share classes of
/// authorities and rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Likeness {
    listener: usize,
    /// How the tests of the rules about any host see them.
    roaming: Vec<Sight>,
    /// How those see them that their own rules and routes have.
    own: BTreeSet<(Sight, Option<Arc<str>>)>,
}

impl Likeness {
    /// `None` where there is nothing to share, or nobody to share it with.
    pub(crate) fn of(at: &ListenerPart<'_>, host: HostView<'_>) -> Option<Self> {
        let name = host.name();
        let roaming = at.rules.roaming_tests();
        if roaming.is_empty() || name.is_empty() || name.contains(['*', ':', '[', ']']) {
            return None;
        }
        let roaming: Option<Vec<Sight>> = roaming.iter().map(|t| Sight::of(t, name)).collect();
        let mut own = BTreeSet::new();
        let mut add = |test: &TestValue| {
            let sight = Sight::of(test, name)?;
            let itself = matches!(sight, Sight::Behind | Sight::Ending);
            let itself = itself.then(|| key(test).into());
            own.insert((sight, itself));
            Some(())
        };
        for rule in at.rules.naming(name) {
            for (_, test) in &rule.authority {
                add(test)?;
            }
        }
        for route in host.routes() {
            let condition = route.condition();
            let mut tests = Vec::new();
            tests_of(&condition, &Attribute::Authority, &mut tests);
            for test in tests {
                add(test)?;
            }
        }
        Some(Self {
            listener: at.view.index(),
            roaming: roaming?,
            own,
        })
    }
}

/// What virtual hosts share that are alike.
#[derive(Debug)]
pub(crate) struct Kindred {
    /// What stands behind the name, in an example of each class of authorities.
    behind: Vec<String>,
    /// The rules that name no host, and those about hosts that could be any.
    pub(crate) ground: Rc<Ground>,
}

impl Kindred {
    /// By the classes of the authorities of the first of them.
    pub(crate) fn new(
        engine: &mut Engine,
        at: &ListenerPart<'_>,
        name: &str,
        authorities: &[String],
    ) -> Option<Self> {
        let behind = authorities.iter().map(|a| a.get(name.len()..));
        let behind = behind.map(|behind| behind.map(str::to_owned));
        let behind: Vec<String> = behind.collect::<Option<_>>()?;
        let mut all = Vec::new();
        for rule in at.rules.roaming() {
            let known = at.known_at(rule.step);
            let here = Here::of(&at.view);
            match compile(engine, here, authorities, &rule.condition, known) {
                Some(terms) => all.extend(terms.into_iter().map(|term| (rule.step, term))),
                None => engine.give_up("a rule has too many combinations".to_owned()),
            }
        }
        let ground = Rc::new(at.ground.with(all));
        Some(Self { behind, ground })
    }

    /// The classes of authorities of a virtual host, each by an example.
    pub(crate) fn authorities(&self, name: &str) -> Rc<[String]> {
        let all = self.behind.iter();
        all.map(|behind| format!("{name}{behind}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Analysis;
    use crate::language::holds_for;

    /// Two hosts with a rule on `host:8080`, one of each kind that is seen
    /// otherwise by a rule about any host, and the rest.
    #[test]
    fn hosts_share_that_are_seen_alike_and_no_others() {
        let hosts = [
            "a.test",
            "b.test",
            "c.test",
            "d.test",
            "app.test",
            "x.team.test",
            "e.test",
            "*.w.test",
        ];
        let rules = [
            "hosts: ['*.team.test']",
            "hosts: ['app*']",
            "notHosts: ['e.test']",
            "hosts: ['c.test:8080', 'd.test:8080'], paths: ['/own']",
        ];
        let mut text = "
apiVersion: v1
kind: Service
metadata: {name: gw, namespace: istio-system}
spec: {selector: {app: gw}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: istio-system}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec: {selector: {app: gw}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
"
        .to_owned();
        for (number, host) in hosts.iter().enumerate() {
            text.push_str(&format!(
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{number}, namespace: istio-system}}\n\
                 spec: {{hosts: ['{host}'], gateways: [gw], http: [{{route: [{{destination: {{host: app}}}}]}}]}}\n"
            ));
        }
        for (number, rule) in rules.iter().enumerate() {
            text.push_str(&format!(
                "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{number}, namespace: istio-system}}\n\
                 spec: {{selector: {{matchLabels: {{app: gw}}}}, action: DENY, rules: [{{to: [{{operation: {{{rule}}}}}]}}]}}\n"
            ));
        }
        let cluster = resources::parse_layers(&[vec![("test.yaml".into(), text)]]).unwrap();
        let snapshot = policy::Snapshot::compile(&cluster, &policy::Settings::default()).unwrap();
        let mut engine = Engine::new(&[&snapshot]);
        let analysis = Analysis::new(&mut engine, &snapshot);
        let at = &analysis.listeners[0];
        let likeness = |name: &str| {
            let host = at.hosts().into_iter().find(|host| host.name() == name);
            Likeness::of(at, host.unwrap())
        };
        let alike = |one: &str, other: &str| likeness(one) == likeness(other);
        assert!(likeness("*.w.test").is_none());
        assert!(alike("a.test", "b.test") && alike("c.test", "d.test"));
        let different = ["a.test", "c.test", "app.test", "x.team.test", "e.test"];
        for (index, one) in different.iter().enumerate() {
            assert!(likeness(one).is_some(), "{one}");
            for other in &different[index + 1..] {
                assert!(!alike(one, other), "{one} and {other}");
            }
        }
        let mut ground = |name: &str| {
            let host = at.hosts().into_iter().find(|host| host.name() == name);
            let part = analysis.host(&mut engine, 0, host.unwrap()).unwrap();
            let ordinary = part.authorities.first().cloned();
            assert_eq!(ordinary.as_deref(), Some(name));
            Rc::clone(&part.ground)
        };
        let (a, b, c, d) = (
            ground("a.test"),
            ground("b.test"),
            ground("c.test"),
            ground("d.test"),
        );
        assert!(Rc::ptr_eq(&a, &b) && Rc::ptr_eq(&c, &d) && !Rc::ptr_eq(&a, &c));
    }

    /// What is said of a test is what it says of authorities: those with the
    /// same behind the name are treated alike, and as other names that are seen
    /// so.
    #[test]
    fn what_stands_behind_the_name_decides() {
        let names = ["a.test", "b.a.test", "aa.test", "x.example"];
        let texts = [
            "",
            "a.test",
            ".test",
            "test",
            "t",
            "a",
            "b.",
            ":80",
            ":8",
            "A.TEST",
            "a.test:",
            "a.test:80",
            ".test:80",
            "x.a.test",
            ".a.test",
            "b.a.test:8",
            "80",
            "x.example:",
            "a.tes",
            ".example",
            "x:y:80",
        ];
        let behind = [
            "",
            ":80",
            ":8",
            ":x.a.test",
            ":a.test",
            ":TEST",
            ":",
            ":x.example",
            ":t",
        ];
        let mut seen: std::collections::BTreeMap<_, Vec<bool>> = Default::default();
        let mut shared = 0;
        for name in names {
            for text in texts {
                let text = || text.to_owned();
                let matchers = [
                    Matcher::Exact(text()),
                    Matcher::Prefix(text()),
                    Matcher::Suffix(text()),
                    Matcher::Present,
                ];
                for (number, matcher) in matchers.into_iter().enumerate() {
                    for test in [
                        TestValue::Text(matcher.clone()),
                        TestValue::TextIgnoringCase(matcher.clone()),
                    ] {
                        let Some(sight) = Sight::of(&test, name) else {
                            continue;
                        };
                        let lower = name.to_owned();
                        let odd = name.replace('a', "A").replace('t', "T");
                        for name in [lower, name.to_ascii_uppercase(), odd] {
                            let holds =
                                behind.map(|behind| holds_for(&test, &format!("{name}{behind}")));
                            let itself = matches!(sight, Sight::Behind | Sight::Ending);
                            let itself = itself.then(|| (number, key(&test)));
                            match seen.get(&(sight.clone(), itself.clone())) {
                                Some(known) => {
                                    shared += 1;
                                    assert_eq!(known[..], holds, "{test:?} of {name}: {sight:?}");
                                }
                                None => {
                                    seen.insert((sight.clone(), itself), holds.to_vec());
                                }
                            }
                        }
                    }
                }
            }
        }
        assert!(shared > 500, "only {shared} were compared");
    }
}
