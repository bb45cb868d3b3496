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
use crate::universe::{TOKEN_INVALID, TOKEN_VALID};

/// Who ends at a step, and who goes on.
#[derive(Debug)]
pub(crate) struct Steps {
    /// With whether the identity header of the client was gone by then.
    pub(crate) ended: Vec<(Outcome<'static>, Set, bool)>,
    pub(crate) left: Set,
    /// The identity header of the client is gone for those who go on.
    pub(crate) cleans: bool,
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
}

/// What the access levels of a route say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Access {
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
enum Sent {
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
            asked: Set::NONE,
            cleaned: false,
            told: Set::NONE,
            puts: Vec::new(),
        };
        course.run(&key, settled, self.snapshot.enforces());
        let made = Rc::new(Steps {
            ended: course.ended,
            left: course.left,
            cleans: course.cleaned,
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
                AccessLevel::Cluster if !external && access.limits.is_empty() => None,
                AccessLevel::Cluster if external => Some(Sent::Token),
                AccessLevel::Cluster | AccessLevel::Token => Some(Sent::Accounts {
                    within: universe.accounts_within(sets, &access.limits),
                    is_limited: !access.limits.is_empty(),
                    asks: level == AccessLevel::Token,
                }),
                AccessLevel::Login => Some(Sent::Login {
                    within: universe.persons_within(sets, &access.limits),
                }),
            },
        }
    }
}

struct Course<'a, 's> {
    engine: &'a mut Engine,
    at: At<'a, 's>,
    left: Set,
    ended: Vec<(Outcome<'static>, Set, bool)>,
    /// Asked authorizers that are no login: known only once nothing else refuses.
    asked: Set,
    cleaned: bool,
    /// Requests that a login service let through with headers of its own, and
    /// what these concern.
    told: Set,
    puts: Vec<Dim>,
}

impl<'s> Course<'_, 's> {
    fn end(&mut self, outcome: Outcome<'static>, set: Set) {
        if !set.is_none() {
            self.ended.push((outcome, set, self.cleaned));
        }
        self.left = self.engine.sets.minus(self.left, set);
    }

    fn run(&mut self, key: &StepsKey, settled: Option<&RoutePart<'s>>, enforces: bool) {
        let at = self.at;
        let mut gates: Vec<(usize, Set)> = Vec::new();
        let mut maps: Vec<&(Dim, Vec<u16>)> = Vec::new();
        for (index, step) in at.listener.steps.iter().enumerate() {
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
                    let matched = self.engine.mapped(matched, &maps);
                    self.refuse(matched, *denies);
                    continue;
                }
                Some(Change::On) | None => {}
            }
            let matched = self.engine.fronts.at(at.front, index);
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
                StepKind::Tokens => {
                    if !enforces && at.listener.view.token_rules().next().is_some() {
                        let universe = &self.engine.universe;
                        let invalid = universe.token(&mut self.engine.sets, TOKEN_INVALID);
                        let preflight = self.preflight(Set::ALL);
                        let invalid = self.engine.sets.minus(invalid, preflight);
                        self.refuse(invalid, true);
                    }
                }
                StepKind::Deny => self.refuse(matched, true),
                StepKind::Allow => self.refuse(matched, false),
                StepKind::Headers { maps: more, cleans } => {
                    maps.extend(more);
                    self.cleaned |= cleans;
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
        let sets = &mut self.engine.sets;
        let refused = if denies {
            sets.and(self.left, matched)
        } else {
            sets.minus(self.left, matched)
        };
        self.end(Outcome::Denied, refused);
    }

    /// Asks an authorizer about some requests; a login service sends strangers
    /// away, and lets through who has a session.
    fn ask(&mut self, about: Set, login: Option<&Login>) {
        let here = self.engine.sets.and(self.left, about);
        let Some(login) = login else {
            self.asked = self.engine.sets.or(self.asked, here);
            return;
        };
        let (universe, sets) = (&self.engine.universe, &mut self.engine.sets);
        let strangers = universe.persons(sets, |person| person.is_none());
        let people = sets.minus(here, strangers);
        if !people.is_none() && !login.puts.is_empty() {
            self.told = sets.or(self.told, people);
            self.puts.extend(&login.puts);
        }
        // What another authorizer was asked before is decided by that one.
        let sent = sets.and(here, strangers);
        let sent = sets.minus(sent, self.asked);
        self.end(Outcome::Login, sent);
    }

    /// Ends those whom a login service gave headers that decide here: what it
    /// puts there is not known.
    fn leave_uncertain(&mut self, matched: Set) {
        let told = self.engine.sets.and(self.left, self.told);
        if told.is_none() {
            return;
        }
        let support = self.engine.sets.support(matched);
        if support.iter().any(|dim| self.puts.contains(dim)) {
            self.end(Outcome::Authorizer, told);
        }
    }

    fn preflight(&mut self, set: Set) -> Set {
        let universe = &self.engine.universe;
        let sets = &mut self.engine.sets;
        let options = universe.with_method(sets, "OPTIONS");
        let origin = universe.with_header(sets, "origin");
        let asked = universe.with_header(sets, "access-control-request-method");
        let all = sets.and(options, origin);
        let all = sets.and(all, asked);
        sets.and(set, all)
    }

    fn access(&mut self, access: Access) {
        let (preflights, sent) = match access {
            Access::None => return,
            Access::Answered => return self.end(Outcome::Answered, self.left),
            Access::Levels { preflights, sent } => (preflights, sent),
        };
        if preflights {
            let preflight = self.preflight(self.left);
            self.end(Outcome::Answered, preflight);
        }
        match sent {
            None => {}
            Some(Sent::Token) => self.end(Outcome::Token, self.left),
            Some(Sent::Login { within }) => self.persons(within),
            Some(Sent::Accounts {
                within,
                is_limited,
                asks,
            }) => self.accounts(within, is_limited, asks),
        }
    }

    /// Leaves who calls as a ServiceAccount that may.
    fn accounts(&mut self, within: Set, is_limited: bool, asks: bool) {
        let (universe, sets) = (&self.engine.universe, &mut self.engine.sets);
        let known = universe.accounts(sets, |account| account.is_some());
        let valid = universe.token(sets, TOKEN_VALID);
        let invalid = universe.token(sets, TOKEN_INVALID);
        let unknown = sets.minus(self.left, known);
        let by_token = sets.and(unknown, valid);
        let bad = sets.and(unknown, invalid);
        let others = sets.minus(unknown, valid);
        let others = sets.minus(others, invalid);
        let outside = sets.minus(known, within);
        let mut refused = sets.and(self.left, outside);
        if is_limited {
            refused = sets.or(refused, by_token);
        }
        self.end(Outcome::Denied, refused);
        self.end(Outcome::Token, bad);
        let told = if asks {
            Outcome::Token
        } else {
            Outcome::Denied
        };
        self.end(told, others);
    }

    /// Leaves people who are logged in and may.
    fn persons(&mut self, within: Set) {
        let (universe, sets) = (&self.engine.universe, &mut self.engine.sets);
        let logged_in = universe.persons(sets, |person| person.is_some());
        let valid = universe.token(sets, TOKEN_VALID);
        let invalid = universe.token(sets, TOKEN_INVALID);
        // A machine is no person.
        let known = sets.or(logged_in, valid);
        let refused = sets.and(self.left, known);
        let refused = sets.minus(refused, within);
        let bad = sets.and(self.left, invalid);
        let others = sets.minus(self.left, known);
        let others = sets.minus(others, invalid);
        self.end(Outcome::Denied, refused);
        self.end(Outcome::Token, bad);
        self.end(Outcome::Login, others);
    }
}
