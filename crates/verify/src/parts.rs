//! A virtual host with its routes, compiled for the classes of its authorities.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use policy::{
    Destination, HostView, InsideView, ListenerView, Owner, RewriteView, RouteStep, RouteView,
    RuleAction,
};

use crate::analysis::{Analysis, MAX_HOPS, PROBED, compile};
use crate::engine::Engine;
use crate::ground::Ground;
use crate::intents::Intent;
use crate::listener::ListenerPart;
use crate::looks::looks_at_tokens;
use crate::mdd::{Dim, Set};
use crate::paths::Strings;
use crate::scope::Scope;
use crate::terms::{Here, Term};
use crate::universe::{AUTHORITY, IDENTITY};

/// A virtual host, for some authorities.
pub(crate) struct HostPart<'s> {
    /// Empty where there is no virtual host.
    pub(crate) name: String,
    pub(crate) authorities: Rc<[String]>,
    /// Rules that are compiled for others, too.
    pub(crate) ground: Rc<Ground>,
    /// The other ones.
    pub(crate) scope: RefCell<Scope>,
    pub(crate) routes: Vec<RoutePart<'s>>,
    /// What the routes match, by their position.
    pub(crate) matches: Scope,
    /// The same once tokens were looked at, where that may be something else.
    pub(crate) again: Option<Scope>,
    /// Strings that divide paths here besides those that divide them on the
    /// whole listener.
    pub(crate) strings: Strings,
    pub(crate) requires_tls: bool,
    /// What routes change or lead to looks at more of a path than its cell.
    pub(crate) looks_further: bool,
}

pub(crate) struct RoutePart<'s> {
    pub(crate) view: RouteView<'s>,
    pub(crate) ways: Vec<WayPart<'s>>,
    /// What EnvoyFilters change here, by step of the listener.
    pub(crate) changes: Vec<(usize, Change)>,
}

/// What a route changes about a step.
pub(crate) enum Change {
    Off,
    On,
    Refused,
    /// Tokens are not looked at.
    Unread {
        /// The identity header of the client is gone.
        cleans: bool,
    },
    /// Requests that match are denied, or those that do not.
    Rules {
        denies: bool,
        terms: Vec<Term>,
    },
}

pub(crate) struct WayPart<'s> {
    pub(crate) destination: Option<&'s Destination>,
    /// Where it goes on, by classes of the authority.
    pub(crate) next: Vec<(Set, Option<Rc<HostPart<'s>>>)>,
    pub(crate) next_listener: Option<usize>,
    /// Where that is a sidecar: how it meets the gateway.
    pub(crate) inside: Option<InsideView<'s>>,
    pub(crate) headers: Vec<(Dim, Vec<u16>)>,
    /// It puts a value of its own into the identity header.
    pub(crate) sets_identity: bool,
}

impl<'s> Analysis<'s> {
    pub(crate) fn part(
        &self,
        engine: &mut Engine,
        listener: usize,
        host: Option<HostView<'s>>,
        authorities: Rc<[String]>,
        shared: Option<Rc<Ground>>,
        depth: usize,
    ) -> Option<Rc<HostPart<'s>>> {
        let name = host.map_or("", |host| host.name());
        let key = (listener, name.to_owned(), authorities.clone(), depth);
        if let Some(known) = self.parts.borrow().get(&key) {
            return Some(known.clone());
        }
        let part = self.listener(listener)?;
        if part.chooses_again && host.is_some_and(|host| part.view.may_choose_another(host)) {
            engine.give_up(format!(
                "a filter on {} changes headers and has the route chosen anew, and routes of `{name}` look at headers that may have changed by then",
                part.view.describe()
            ));
        }
        let mut scope = Scope::default();
        let here = Here::of(&part.view);
        let rules = match host {
            Some(host) if shared.is_some() => part.rules.naming(host.name()),
            Some(host) => part.rules.of_host(host.name()),
            // Without a virtual host there is no route, and rules still deny.
            None => part.rules.local().collect(),
        };
        for rule in &rules {
            let compiled = compile(
                engine,
                here,
                &authorities,
                &rule.condition,
                part.known_at(rule.step),
            );
            match compiled {
                Some(terms) => terms.into_iter().for_each(|t| scope.add(rule.step, t)),
                None => engine.give_up("a rule has too many combinations".to_owned()),
            }
        }
        let mut strings: Strings = std::iter::empty().collect();
        for path in self.intents.iter().filter_map(Intent::path) {
            strings.add(path);
        }
        scope.strings(&mut strings);
        let mut routes = Vec::new();
        let mut matches = Scope::default();
        let mut again = Scope::default();
        let mut found_again = false;
        let mut looks_further = false;
        for view in host.iter().flat_map(|host| host.routes()) {
            let condition = view.condition();
            let after = (part.has_good_tokens())
                .then(|| compile(engine, here, &authorities, &condition, part.known));
            let changed = after.is_some() && looks_at_tokens(&condition, &part.changing);
            found_again |= changed;
            for term in after.flatten().into_iter().flatten() {
                again.add(routes.len(), term);
            }
            let Some(terms) = compile(engine, here, &authorities, &condition, Set::NONE) else {
                engine.give_up(format!(
                    "{} {} has too many combinations",
                    view.object(),
                    view.place()
                ));
                continue;
            };
            for term in terms {
                matches.add(routes.len(), term);
            }
            if view.access().owner == Owner::Model {
                strings.add(PROBED);
            }
            if matches!(view.access().owner, Owner::Platform | Owner::LoginMachinery) {
                for path in self.snapshot.open_paths() {
                    strings.add(path);
                }
            }
            let from = &part.view;
            let ways = self.ways(engine, (from, view), &authorities, depth, &mut strings);
            looks_further |= ways.iter().flat_map(|way| &way.next).any(|(_, next)| {
                next.as_ref()
                    .is_some_and(|next| next.looks_at_paths(engine))
            });
            looks_further |= ways.iter().filter_map(|way| way.next_listener).any(|next| {
                self.listener(next)
                    .is_some_and(|next| next.ground.looks_at_paths(engine))
            });
            let changes = changes(engine, part, here, &authorities, view, &mut strings);
            looks_further |= changes.iter().any(|(_, change)| match change {
                Change::Rules { terms, .. } => terms.iter().any(|t| engine.looks_at_path(t.rest)),
                Change::Off | Change::On | Change::Refused | Change::Unread { .. } => false,
            });
            routes.push(RoutePart {
                view,
                ways,
                changes,
            });
        }
        matches.strings(&mut strings);
        again.strings(&mut strings);
        if found_again
            && routes
                .iter()
                .any(|route| route.view.has_filters_of_its_own(&part.view))
        {
            engine.give_up(format!(
                "routes of `{name}` look at tokens, and some switch filters off for requests that have another route at last"
            ));
        }
        let again = found_again.then_some(again);
        looks_further |= again
            .as_ref()
            .is_some_and(|again| again.looks_at_paths(engine));
        let made = Rc::new(HostPart {
            name: name.to_owned(),
            authorities,
            ground: shared.unwrap_or_else(|| Rc::clone(&part.ground)),
            scope: RefCell::new(scope),
            routes,
            matches,
            again,
            looks_further,
            strings,
            requires_tls: host.is_some_and(|host| host.requires_tls()),
        });
        self.parts.borrow_mut().insert(key, made.clone());
        Some(made)
    }

    fn ways(
        &self,
        engine: &mut Engine,
        (from, view): (&ListenerView<'s>, RouteView<'s>),
        authorities: &Rc<[String]>,
        depth: usize,
        strings: &mut Strings,
    ) -> Vec<WayPart<'s>> {
        let mut out = Vec::new();
        for way in view.ways() {
            // A Service that is not there is answered with an error.
            let destination = way.destination.filter(|_| !way.missing);
            let leads_on = |to| {
                self.snapshot
                    .next_listener(to)
                    .filter(|_| !from.is_sidecar())
            };
            let gateway = destination.and_then(leads_on);
            let inside = destination
                .filter(|_| gateway.is_none())
                .and_then(|to| from.inside(to));
            let next_listener = gateway.or(inside.map(|inside| inside.listener.index()));
            let mut next: Vec<(Set, Option<Rc<HostPart<'s>>>)> = Vec::new();
            if let Some(listener) = next_listener
                && (inside.is_some() || depth + 1 < MAX_HOPS)
            {
                next = self.next_parts(engine, listener, way.authority, authorities, depth);
                for (_, part) in &next {
                    if let Some(part) = part {
                        map_back(part.strings.iter(), view.rewrite(), strings);
                    }
                }
                if let Some(listener) = self.listener(listener) {
                    map_back(listener.ground.strings.iter(), view.rewrite(), strings);
                }
            }
            let headers = way.headers.iter();
            let mut headers: Vec<(Dim, Vec<u16>)> =
                headers.flat_map(|h| engine.header_maps(h)).collect();
            match inside {
                Some(inside) => headers.extend(engine.universe.known_as(inside.sender)),
                None if gateway.is_some() => headers.extend(engine.universe.sent_on()),
                None => {}
            }
            let sets_identity = way.headers.iter().any(|change| {
                let (policy::HeaderChange::Set(name, _)
                | policy::HeaderChange::SetIfPresent(name, _)
                | policy::HeaderChange::Remove(name)) = change
                else {
                    return false;
                };
                name == IDENTITY
            });
            out.push(WayPart {
                sets_identity,
                destination,
                next,
                next_listener,
                inside,
                headers,
            });
        }
        out
    }

    /// Where requests go on at another listener, by classes of the authority.
    fn next_parts(
        &self,
        engine: &mut Engine,
        listener: usize,
        authority: Option<&str>,
        authorities: &Rc<[String]>,
        depth: usize,
    ) -> Vec<(Set, Option<Rc<HostPart<'s>>>)> {
        let Some(part) = self.listener(listener) else {
            return Vec::new();
        };
        if let Some(authority) = authority {
            let fixed: Rc<[String]> = vec![authority.to_owned()].into();
            let host = part.select(authority);
            let next = self.part(engine, listener, host, fixed, None, depth + 1);
            return vec![(Set::ALL, next)];
        }
        let mut groups: BTreeMap<Option<&str>, (Option<HostView<'s>>, Vec<bool>)> = BTreeMap::new();
        for (index, authority) in authorities.iter().enumerate() {
            let host = part.select(authority);
            let (_, members) = groups
                .entry(host.map(|h| h.name()))
                .or_insert_with(|| (host, vec![false; authorities.len()]));
            if let Some(slot) = members.get_mut(index) {
                *slot = true;
            }
        }
        let mut out = Vec::new();
        for (host, members) in groups.into_values() {
            let set = engine.sets.classes(AUTHORITY, members);
            let next = self.part(engine, listener, host, authorities.clone(), None, depth + 1);
            out.push((set, next));
        }
        out
    }
}

impl HostPart<'_> {
    /// Whether its rules, routes or what they lead to look at more of a path
    /// than its cell.
    fn looks_at_paths(&self, engine: &mut Engine) -> bool {
        self.looks_further
            || self.matches.looks_at_paths(engine)
            || self.scope.borrow().looks_at_paths(engine)
            || self.ground.looks_at_paths(engine)
    }

    /// Whether a model is behind one of its routes.
    pub(crate) fn has_models(&self) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.view.access().owner == Owner::Model)
    }

    /// Requests with an authority under which a model serves some path here:
    /// these are what Knative probes.
    pub(crate) fn served_by_models(&self, engine: &mut Engine) -> Set {
        let is_model = |number: usize| {
            let route = self.routes.get(number);
            route.is_some_and(|route| route.view.access().owner == Owner::Model)
        };
        let mut out = Set::NONE;
        for set in self.matches.sets_of(is_model) {
            let widened = engine.sets.widened(set);
            out = engine.sets.or(out, widened);
        }
        out
    }
}

/// A path as it is after a rewrite, and the strings of what comes next as they
/// are before it.
fn map_back<'n>(
    next: impl Iterator<Item = &'n str>,
    rewrite: RewriteView<'_>,
    strings: &mut Strings,
) {
    for text in next {
        match rewrite {
            RewriteView::None => strings.add(text),
            RewriteView::Prefix { from, to } => {
                if let Some(rest) = text.strip_prefix(to) {
                    strings.add(&format!("{from}{rest}"));
                }
            }
            RewriteView::Whole(_) | RewriteView::Regex => {}
        }
    }
}

/// What EnvoyFilters change on a route, compiled.
fn changes(
    engine: &mut Engine,
    part: &ListenerPart<'_>,
    here: Here,
    authorities: &[String],
    view: RouteView<'_>,
    strings: &mut Strings,
) -> Vec<(usize, Change)> {
    let mut out = Vec::new();
    for step in 0..part.steps.len() {
        let change = match view.step(step) {
            RouteStep::AsListener => continue,
            RouteStep::Off => Change::Off,
            RouteStep::On => Change::On,
            RouteStep::Refused(_) => Change::Refused,
            RouteStep::Unread => {
                let mut outputs = part.view.token_rules().flat_map(|rule| rule.outputs());
                Change::Unread {
                    cleans: outputs.any(|name| name == IDENTITY),
                }
            }
            RouteStep::Rules { action, rules } => {
                let mut all = Vec::new();
                for rule in rules {
                    let known = part.known_at(step);
                    match compile(engine, here, authorities, &rule.condition, known) {
                        Some(terms) => all.extend(terms),
                        None => engine.give_up("a rule has too many combinations".to_owned()),
                    }
                }
                for text in all.iter().flat_map(Term::strings) {
                    strings.add(text);
                }
                Change::Rules {
                    denies: action == RuleAction::Deny,
                    terms: all,
                }
            }
        };
        out.push((step, change));
    }
    out
}
