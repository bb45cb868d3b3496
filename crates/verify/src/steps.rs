//! What the steps of a listener make of requests, before it matters where they
//! are routed: computed for all requests at once, and met with those at hand.

use std::rc::Rc;

use policy::{AccessLevel, Owner};

use crate::analysis::{Analysis, Outcome};
use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::listener::{ListenerPart, Login, StepKind};
use crate::mdd::{Dim, Set};
use crate::parts::{Change, RoutePart};
use crate::paths::Cell;

/// Who ends at a step, and who goes on.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) ended: Vec<(Outcome<'static>, Set)>,
    /// Who passed the rules for tokens, by their branch: they go on with
    /// [`Entry::Behind`]. With whether the identity header of the client is
    /// gone.
    pub(crate) passed: Vec<(usize, Set, bool)>,
    pub(crate) left: Set,
    /// Those of them from whom the identity header of the client is gone.
    pub(crate) cleaned: Set,
}

/// All that steps depend on, where no route changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StepsKey {
    listener: usize,
    front: FrontId,
    access: Access,
    /// Whether there is a route, and whether its settings count.
    routed: bool,
    settled: bool,
    answers_preflights: bool,
    aborts: bool,
    session: bool,
    entry: Entry,
}

/// Where steps begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Start,
    /// Behind the rules for tokens.
    Behind {
        branch: usize,
        /// With another route, whose access levels have to be asked.
        other_route: bool,
    },
}

/// What the access levels of a route say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    /// They are not enforced.
    None,
    /// The login answers itself.
    Answered,
    /// Preflights are answered first, then some are sent away.
    Levels {
        preflights: bool,
        sent: Option<Sent>,
    },
}

/// Who may go on by an access level, and what others are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    /// People who are logged in and within limits.
    Login { within: Set },
    /// ServiceAccounts within limits, by channel or by token; whether those
    /// nobody knows are asked for a token or told that they may not.
    Accounts {
        within: Set,
        is_limited: bool,
        asks: bool,
    },
    /// Nobody: all are asked for a token.
    Token,
}

/// Where steps are taken.
#[derive(Clone, Copy)]
pub(crate) struct At<'a, 's> {
    pub(crate) listener: &'a ListenerPart<'s>,
    pub(crate) cell: Cell<'a>,
    pub(crate) front: FrontId,
    pub(crate) hop: usize,
    /// The request came in from outside.
    pub(crate) external: bool,
    /// Logins let everybody through.
    pub(crate) session: bool,
    /// A redirect to HTTPS stands in for the route, without its settings.
    pub(crate) requires_tls: bool,
}

impl<'s> Analysis<'s> {
    /// The steps of the listener, in their order, for all requests.
    pub(crate) fn steps(
        &self,
        engine: &mut Engine,
        at: At<'_, 's>,
        route: Option<&RoutePart<'s>>,
        entry: Entry,
    ) -> Rc<Steps> {
        let settled = route.filter(|_| !at.requires_tls);
        let key = StepsKey {
            listener: at.listener.view.index(),
            front: at.front,
            access: match route {
                Some(route) => self.access(engine, at, route),
                None => Access::None,
            },
            routed: route.is_some(),
            settled: settled.is_some(),
            answers_preflights: settled.is_some_and(|route| route.view.answers_preflights()),
            aborts: settled.is_some_and(|route| route.view.aborts()),
            session: at.session,
            entry,
        };
        let changed = settled.is_some_and(|route| !route.changes.is_empty());
        if !changed && let Some(known) = self.steps.borrow().get(&key) {
            return Rc::clone(known);
        }
        let mut course = Course {
            engine,
            at,
            left: Set::ALL,
            ended: Vec::new(),
            passed: Vec::new(),
            asked: Set::NONE,
            cleaned: Set::NONE,
            told: Set::NONE,
            puts: Vec::new(),
            vouched: Set::NONE,
        };
        course.run(&key, settled, self.snapshot.enforces());
        let made = Rc::new(Steps {
            ended: course.ended,
            passed: course.passed,
            left: course.left,
            cleaned: course.cleaned,
        });
        if !changed {
            self.steps.borrow_mut().insert(key, Rc::clone(&made));
        }
        made
    }

    /// Access levels.
    fn access(&self, engine: &mut Engine, at: At<'_, 's>, route: &RoutePart<'s>) -> Access {
        if !self.snapshot.enforces() {
            return Access::None;
        }
        let access = route.view.access();
        let external = at.external;
        let platform = matches!(access.owner, Owner::Platform | Owner::LoginMachinery);
        let exact =
            |paths: &[String]| !at.cell.region && paths.iter().any(|path| path == at.cell.text);
        if platform && external && at.hop == 0 && exact(self.snapshot.login_paths()) {
            return Access::Answered;
        }
        let mut level = if external {
            access.external
        } else {
            access.local
        };
        if access.owner == Owner::LoginMachinery
            && external
            && !exact(self.snapshot.provider_paths())
        {
            level = AccessLevel::Login;
        }
        let (universe, sets) = (&engine.universe, &mut engine.sets);
        Access::Levels {
            preflights: access.owner == Owner::Model && !route.view.answers_preflights(),
            sent: match level {
                AccessLevel::Public | AccessLevel::AsWritten => None,
                AccessLevel::Cluster
                    if !external && access.limits.is_empty() && access.bindings.is_none() =>
                {
                    None
                }
                AccessLevel::Cluster if external => Some(Sent::Token),
                AccessLevel::Cluster | AccessLevel::Token => Some(Sent::Accounts {
                    within: universe.accounts_within(sets, access),
                    is_limited: !access.limits.is_empty() || access.bindings.is_some(),
                    asks: level == AccessLevel::Token,
                }),
                AccessLevel::Login => Some(Sent::Login {
                    within: universe.persons_within(sets, access),
                }),
            },
        }
    }
}

pub(crate) struct Course<'a, 's> {
    pub(crate) engine: &'a mut Engine,
    at: At<'a, 's>,
    pub(crate) left: Set,
    ended: Vec<(Outcome<'static>, Set)>,
    passed: Vec<(usize, Set, bool)>,
    /// Asked authorizers that are no login: known only once nothing else refuses.
    asked: Set,
    cleaned: Set,
    /// Requests that a login service let through with headers of its own, and
    /// what these concern.
    told: Set,
    puts: Vec<Dim>,
    /// Requests whose claims are what enforcement knows of the caller.
    vouched: Set,
}

impl<'s> Course<'_, 's> {
    pub(crate) fn end(&mut self, outcome: Outcome<'static>, set: Set) {
        if !set.is_none() {
            self.ended.push((outcome, set));
        }
        self.left = self.engine.sets.minus(self.left, set);
    }

    fn run(&mut self, key: &StepsKey, settled: Option<&RoutePart<'s>>, enforces: bool) {
        let at = self.at;
        let mut gates: Vec<(usize, Set)> = Vec::new();
        let mut maps: Vec<&(Dim, Vec<u16>)> = Vec::new();
        let from = match key.entry {
            Entry::Start => 0,
            Entry::Behind {
                branch,
                other_route,
            } => {
                let tokens = &at.listener.tokens;
                let from = at.listener.tokens_at.saturating_add(1);
                self.pass_by(key, settled, from, &mut gates, &mut maps);
                if enforces && at.listener.view.token_rules().next().is_some() {
                    self.vouched = self.engine.vouched();
                }
                let branch = tokens.branches.get(branch);
                maps.extend(branch.iter().flat_map(|branch| &branch.maps));
                if other_route {
                    self.access(key.access);
                }
                from
            }
        };
        for (index, step) in at.listener.steps.iter().enumerate().skip(from) {
            if self.left.is_none() {
                return;
            }
            let change = settled.and_then(|route| {
                let mut all = route.changes.iter();
                all.find(|(step, _)| *step == index)
                    .map(|(_, change)| change)
            });
            match change {
                Some(Change::Off) => continue,
                None if step.disabled => continue,
                Some(Change::Unread { cleans }) => {
                    if *cleans {
                        self.cleaned = Set::ALL;
                    }
                    continue;
                }
                Some(Change::Refused) => {
                    self.end(Outcome::Denied, self.left);
                    return;
                }
                Some(Change::Rules { denies, terms }) => {
                    let mut matched = Set::NONE;
                    for term in terms.iter().filter(|t| t.covers(at.cell)) {
                        matched = self.engine.sets.or(matched, term.rest);
                    }
                    let matched = self.engine.settle(matched, at.cell);
                    self.leave_vouched(matched);
                    let matched = self.engine.mapped(matched, &maps);
                    self.refuse(matched, *denies);
                    continue;
                }
                Some(Change::On) | None => {}
            }
            let matched = self.engine.fronts.at(at.front, index);
            self.leave_vouched(matched);
            let matched = self.engine.mapped(matched, &maps);
            match &step.kind {
                StepKind::Access => self.access(key.access),
                StepKind::Gate { broken: true, .. } => self.refuse(matched, true),
                StepKind::Gate { provider, .. } => gates.push((*provider, matched)),
                StepKind::Custom { provider, login } => {
                    let mut open = gates.iter();
                    let gate = open
                        .find(|(p, _)| p == provider)
                        .map_or(Set::NONE, |(_, set)| *set);
                    if key.routed {
                        self.ask(gate, login.as_ref());
                    }
                }
                StepKind::Asked { login } => {
                    if key.routed {
                        self.ask(Set::ALL, login.as_ref());
                    }
                }
                StepKind::Broken => {
                    if key.routed {
                        self.refuse(Set::ALL, true);
                    }
                }
                StepKind::Tokens => return self.tokens(&maps, enforces),
                StepKind::Deny => self.refuse(matched, true),
                StepKind::Allow => self.refuse(matched, false),
                StepKind::Headers { maps: more, cleans } => {
                    maps.extend(more);
                    if *cleans {
                        self.cleaned = Set::ALL;
                    }
                }
                StepKind::Fault => {
                    if key.aborts {
                        self.end(Outcome::Answered, self.left);
                    }
                }
                StepKind::Cors => {
                    if key.answers_preflights {
                        let preflight = self.preflight(self.left);
                        self.end(Outcome::Answered, preflight);
                    }
                }
                StepKind::Other => {}
            }
        }
        let asked = self.engine.sets.and(self.asked, self.left);
        self.end(Outcome::Authorizer, asked);
    }

    /// Refuses what matches, or what does not.
    fn refuse(&mut self, matched: Set, denies: bool) {
        self.leave_uncertain(matched);
        let refused = match denies {
            true => matched,
            false => self.engine.sets.not(matched),
        };
        let refused = self.certainly(refused);
        let refused = self.engine.sets.and(self.left, refused);
        self.end(Outcome::Denied, refused);
    }

    /// Asks an authorizer about some requests; a login service sends strangers
    /// away, and lets through who has a session.
    fn ask(&mut self, about: Set, login: Option<&Login>) {
        self.leave_uncertain(about);
        let here = self.engine.sets.and(self.left, about);
        self.asked_before(here, login);
        let Some(login) = login else { return };
        let people = self.people();
        if login.cleans {
            let surely = self.certainly(about);
            let cleaned = self.engine.sets.and(surely, people);
            self.cleaned = self.engine.sets.or(self.cleaned, cleaned);
        }
        let strangers = self.engine.sets.not(people);
        let sets = &mut self.engine.sets;
        // What another authorizer was asked before is decided by that one.
        let sent = sets.and(here, strangers);
        let sent = sets.minus(sent, self.asked);
        self.end(Outcome::Login, sent);
    }

    /// Requests of people who are logged in.
    fn people(&mut self) -> Set {
        let (universe, sets) = (&self.engine.universe, &mut self.engine.sets);
        match self.at.session {
            true => Set::ALL,
            false => universe.persons(sets, |person| person.is_some()),
        }
    }

    /// Of these requests, those that are among them whatever a login put there.
    fn certainly(&mut self, set: Set) -> Set {
        let others = self.engine.sets.not(set);
        let others = self.possibly(others);
        self.engine.sets.not(others)
    }

    /// The same with those that may be, by what a login put there.
    fn possibly(&mut self, set: Set) -> Set {
        if self.told.is_none() {
            return set;
        }
        let may = self.engine.whatever(set, &self.puts);
        let may = self.engine.sets.and(may, self.told);
        self.engine.sets.or(set, may)
    }

    /// Ends those whom a login service gave headers that decide here: what it
    /// puts there is not known. Where everybody has a session, both ways are
    /// looked at instead.
    fn leave_uncertain(&mut self, matched: Set) {
        if self.at.session {
            return;
        }
        let told = self.engine.sets.and(self.left, self.told);
        if told.is_none() {
            return;
        }
        let support = self.engine.sets.support(matched);
        if support.iter().any(|dim| self.puts.contains(dim)) {
            self.end(Outcome::Authorizer, told);
        }
    }

    /// Ends those whom enforcement vouches for where claims decide: what it
    /// knows of them takes the place of claims.
    fn leave_vouched(&mut self, matched: Set) {
        if !self.vouched.is_none() && self.engine.looks_at_claims(matched) {
            let known = self.engine.sets.and(self.left, self.vouched);
            self.end(Outcome::Authorizer, known);
        }
    }

    /// Refuses bad tokens; the others go on by branches.
    fn tokens(&mut self, maps: &[&(Dim, Vec<u16>)], enforces: bool) {
        let tokens = &self.at.listener.tokens;
        if self.at.session {
            for (number, branch) in tokens.branches.iter().enumerate() {
                let set = self.engine.mapped(branch.set, maps);
                let set = self.possibly(set);
                self.pass(number, set, branch.cleans);
            }
            self.left = Set::NONE;
            return;
        }
        // With enforcement a 401 says that a token is wanted, whoever says it.
        let refused = match enforces {
            true => Outcome::Token,
            false => Outcome::Denied,
        };
        let ends = [tokens.refused, tokens.forbidden];
        for set in ends
            .into_iter()
            .chain(tokens.branches.iter().map(|b| b.set))
        {
            let set = self.engine.mapped(set, maps);
            self.leave_uncertain(set);
        }
        if enforces {
            // Who was let in is not asked for tokens of others; who was let in
            // depends on the route.
            let refused = self.engine.sets.or(tokens.refused, tokens.forbidden);
            let refused = self.engine.mapped(refused, maps);
            let vouched = self.engine.vouched();
            let known = self.engine.sets.and(refused, vouched);
            let known = self.engine.sets.and(known, self.left);
            self.end(Outcome::Authorizer, known);
        }
        for (outcome, set) in [
            (refused, tokens.refused),
            (Outcome::Denied, tokens.forbidden),
        ] {
            let set = self.engine.mapped(set, maps);
            let set = self.engine.sets.and(set, self.left);
            self.end(outcome, set);
        }
        for (number, branch) in tokens.branches.iter().enumerate() {
            let set = self.engine.mapped(branch.set, maps);
            self.pass(number, set, branch.cleans);
        }
        self.left = Set::NONE;
    }

    fn pass(&mut self, branch: usize, set: Set, cleans: bool) {
        let sets = &mut self.engine.sets;
        let set = sets.and(set, self.left);
        let gone = if cleans { Set::ALL } else { self.cleaned };
        for (part, cleaned) in [(sets.and(set, gone), true), (sets.minus(set, gone), false)] {
            if !part.is_none() {
                self.passed.push((branch, part, cleaned));
            }
        }
    }

    /// What the steps before the rules for tokens leave behind: open gates,
    /// who was asked, changed headers.
    fn pass_by<'m>(
        &mut self,
        key: &StepsKey,
        settled: Option<&RoutePart<'s>>,
        until: usize,
        gates: &mut Vec<(usize, Set)>,
        maps: &mut Vec<&'m (Dim, Vec<u16>)>,
    ) where
        's: 'm,
        Self: 'm,
    {
        let at = self.at;
        let is_off = |index| {
            let mut changes = settled.into_iter().flat_map(|route| &route.changes);
            let change = changes.find(|(step, _)| *step == index);
            change.map(|(_, change)| matches!(change, Change::Off))
        };
        for (index, step) in at.listener.steps.iter().enumerate().take(until) {
            if is_off(index).unwrap_or(step.disabled) {
                continue;
            }
            match &step.kind {
                StepKind::Gate { provider, .. } => {
                    let matched = self.engine.fronts.at(at.front, index);
                    gates.push((*provider, self.engine.mapped(matched, maps)));
                }
                StepKind::Custom { provider, login } if key.routed => {
                    let open = gates.iter().find(|(p, _)| p == provider);
                    let gate = open.map_or(Set::NONE, |(_, set)| *set);
                    self.asked_before(gate, login.as_ref());
                }
                StepKind::Asked { login } if key.routed => {
                    self.asked_before(Set::ALL, login.as_ref());
                }
                StepKind::Headers { maps: more, .. } => maps.extend(more),
                _ => {}
            }
        }
    }

    /// What is left of having asked an authorizer.
    fn asked_before(&mut self, about: Set, login: Option<&Login>) {
        let about = self.possibly(about);
        let Some(login) = login else {
            self.asked = self.engine.sets.or(self.asked, about);
            return;
        };
        let people = self.people();
        let sets = &mut self.engine.sets;
        let people = sets.and(about, people);
        if !people.is_none() && !login.puts.is_empty() {
            self.told = sets.or(self.told, people);
            self.puts.extend(&login.puts);
        }
    }

    pub(crate) fn preflight(&mut self, set: Set) -> Set {
        let all = self.engine.universe.preflight(&mut self.engine.sets);
        self.engine.sets.and(set, all)
    }
}
