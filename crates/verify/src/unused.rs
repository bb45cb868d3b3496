//! Routes that no request gets to, rules that match nothing that is routed, and
//! rules that others cover: by the sets themselves, not by how they are written.

use std::collections::{BTreeMap, BTreeSet};

use policy::{RuleAction, RuleView, Snapshot};
use resources::{ObjectRef, Source};

use crate::analysis::{Analysis, compile};
use crate::engine::Engine;
use crate::listener::ListenerPart;
use crate::mdd::Set;
use crate::parts::HostPart;
use crate::paths::Cell;
use crate::terms::{Here, Term};

/// Something that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// The object.
    pub object: ObjectRef,
    /// Where it is written.
    pub source: Source,
    /// `http[2]`, or `spec.rules[1]`.
    pub place: String,
    /// Why it has none.
    pub why: Why,
}

/// Why a route or rule has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its match holds for no request.
    RouteNeverMatches,
    /// These come first and take all requests that it would match.
    RouteCovered(Vec<String>),
    /// It matches no request that a route serves.
    RuleNeverMatches,
    /// Other rules of the same action match whatever it matches.
    RuleCovered(Vec<String>),
}

/// Rules times cells that are looked at; a larger configuration is left out.
const MAX_WORK: usize = 400_000;

/// What has no effect in a configuration; `None` if it is too large to say.
pub fn unused(snapshot: &Snapshot) -> Option<Vec<Unused>> {
    let mut engine = Engine::new(&[snapshot]);
    let analysis = Analysis::new(&mut engine, snapshot);
    let mut looked = Looked::default();
    for at in &analysis.listeners {
        let rules = rules(at);
        for host in at.hosts() {
            let part = analysis.host(&mut engine, at.view.index(), host)?;
            let mut compiled: Vec<Vec<Term>> = Vec::new();
            let mut strings = part.strings.clone();
            strings.extend(&at.ground.strings);
            for rule in &rules {
                let here = Here::of(&at.view);
                let terms = compile(
                    &mut engine,
                    here,
                    &part.authorities,
                    &rule.condition,
                    Set::ALL,
                )?;
                for text in terms.iter().flat_map(Term::strings) {
                    strings.add(text);
                }
                compiled.push(terms);
            }
            for text in strings.iter() {
                for region in [false, true] {
                    looked.work += rules.len() + part.routes.len();
                    if looked.work > MAX_WORK {
                        return None;
                    }
                    let cell = Cell { text, region };
                    let routed = looked.routes(&mut engine, at, &part, cell);
                    looked.rules(&mut engine, &rules, &compiled, routed, cell);
                }
            }
        }
    }
    if engine.sets.exhausted() || !engine.given_up.is_empty() {
        return None;
    }
    // Callers inside the mesh may take a route that no listener gets to.
    for route in snapshot.mesh_hosts().flat_map(|h| h.routes()) {
        looked
            .routes
            .remove(&(route.object().clone(), route.place().to_owned()));
    }
    Some(looked.found())
}

/// Rules that decide on a listener; those of a broken provider deny.
fn rules<'s>(at: &ListenerPart<'s>) -> Vec<RuleView<'s>> {
    let authorizers = at.view.authorizers().into_iter();
    let asked = authorizers.filter(|a| !a.denies_all);
    let mut out: Vec<RuleView<'s>> = asked.flat_map(|a| a.rules.unwrap_or_default()).collect();
    out.extend(at.view.rules());
    out
}

#[derive(Default)]
struct Looked {
    work: usize,
    routes: BTreeMap<(ObjectRef, String), Tally>,
    rules: BTreeMap<(ObjectRef, usize), Tally>,
}

/// What is known of a route or rule so far.
#[derive(Clone)]
struct Tally {
    source: Source,
    matches: bool,
    /// Some request is its own.
    counts: bool,
    before: BTreeSet<String>,
}

impl Tally {
    fn new(source: &Source) -> Self {
        Self {
            source: source.clone(),
            matches: false,
            counts: false,
            before: BTreeSet::new(),
        }
    }
}

impl Looked {
    /// Returns the requests of a cell that some route serves.
    fn routes(
        &mut self,
        engine: &mut Engine,
        at: &ListenerPart<'_>,
        part: &HostPart<'_>,
        cell: Cell<'_>,
    ) -> Set {
        // Once tokens were looked at, routes may match by claims.
        let matches = [Some(&part.matches), part.again.as_ref()];
        let mut routed = Set::NONE;
        for matches in matches.into_iter().flatten() {
            let here = matches.in_order(engine, cell).into_iter().collect();
            let found = self.routes_by(engine, at, part, cell, &here);
            routed = engine.sets.or(routed, found);
        }
        routed
    }

    fn routes_by(
        &mut self,
        engine: &mut Engine,
        at: &ListenerPart<'_>,
        part: &HostPart<'_>,
        cell: Cell<'_>,
        here: &BTreeMap<usize, Set>,
    ) -> Set {
        let mut taken: Vec<(String, Set)> = Vec::new();
        let mut left = at.domain;
        for (number, route) in part.routes.iter().enumerate() {
            let matched = here.get(&number).copied().unwrap_or(Set::NONE);
            let matched = engine.settle(matched, cell);
            let matched = engine.sets.and(matched, at.domain);
            let hit = engine.sets.and(left, matched);
            left = engine.sets.minus(left, matched);
            let key = (route.view.object().clone(), route.view.place().to_owned());
            let name = format!("{} {}", key.0, key.1);
            let source = route.view.source();
            let tally = self.routes.entry(key).or_insert_with(|| Tally::new(source));
            tally.matches |= !matched.is_none();
            tally.counts |= !hit.is_none();
            if !tally.counts && !matched.is_none() {
                for (earlier, set) in &taken {
                    if !engine.sets.and(*set, matched).is_none() {
                        tally.before.insert(earlier.clone());
                    }
                }
            }
            taken.push((name, hit));
        }
        engine.sets.minus(at.domain, left)
    }

    fn rules(
        &mut self,
        engine: &mut Engine,
        rules: &[RuleView<'_>],
        compiled: &[Vec<Term>],
        routed: Set,
        cell: Cell<'_>,
    ) {
        let mut all: Vec<(&RuleView<'_>, Set)> = Vec::new();
        for (rule, terms) in rules.iter().zip(compiled) {
            let mut matched = Set::NONE;
            for term in terms.iter().filter(|t| t.covers(cell)) {
                matched = engine.sets.or(matched, term.rest);
            }
            let matched = engine.settle(matched, cell);
            all.push((rule, engine.sets.and(matched, routed)));
        }
        for (index, (rule, matched)) in all.iter().enumerate() {
            let key = (rule.object.clone(), rule.index);
            let tally = self
                .rules
                .entry(key)
                .or_insert_with(|| Tally::new(rule.source));
            if matched.is_none() || tally.counts {
                continue;
            }
            tally.matches = true;
            let mut own = *matched;
            let mut before = BTreeSet::new();
            for (other, (by, set)) in all.iter().enumerate() {
                // Of two equal rules the later one is the one too many.
                let first = *set != *matched || other < index;
                if other == index || !first || !is_same_step(rule, by) {
                    continue;
                }
                if !engine.sets.and(own, *set).is_none() {
                    own = engine.sets.minus(own, *set);
                    before.insert(format!("{} spec.rules[{}]", by.object, by.index));
                }
            }
            tally.counts |= !own.is_none();
            tally.before.extend(before);
        }
    }

    fn found(self) -> Vec<Unused> {
        let routes = self.routes.into_iter().filter(|(_, t)| !t.counts);
        let routes = routes.map(|((object, place), tally)| Unused {
            object,
            source: tally.source,
            place,
            why: match tally.matches {
                true => Why::RouteCovered(tally.before.into_iter().collect()),
                false => Why::RouteNeverMatches,
            },
        });
        let rules = self.rules.into_iter().filter(|(_, t)| !t.counts);
        let rules = rules.map(|((object, index), tally)| Unused {
            object,
            source: tally.source,
            place: format!("spec.rules[{index}]"),
            why: match tally.matches {
                true => Why::RuleCovered(tally.before.into_iter().collect()),
                false => Why::RuleNeverMatches,
            },
        });
        routes.chain(rules).collect()
    }
}

/// Rules of one action add up; those that ask authorizers may ask different ones.
fn is_same_step(one: &RuleView<'_>, other: &RuleView<'_>) -> bool {
    one.action == other.action && (one.action != RuleAction::Custom || one.object == other.object)
}
