//! Who requests are from, as far as limits of routes and intents tell callers
//! apart.

use http::header::AUTHORIZATION;
use std::sync::Arc;

use policy::{
    Attribute, Bindings, Claims, Entrance, HostView, Limits, Matcher, Person, RequestHead,
    RouteAccess, ServiceAccount, Snapshot, TestValue, TokenHolder, Whom,
};

use crate::classes::Example;
use crate::intents::{Intent, Origin};
use crate::mdd::{Set, Sets};
use crate::universe::{Gathered, Kind, Universe};

/// Classes of bearer tokens, as access levels see them: none, one that they
/// do not take, one that they do.
pub(crate) const HELD_NONE: u16 = 0;
pub(crate) const HELD_BAD: u16 = 1;
pub(crate) const HELD_GOOD: u16 = 2;

/// What a bearer token stands behind.
pub(crate) const BEARER: &str = "Bearer ";

/// Who a request is from, beside what it says itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asker {
    /// Has a session.
    pub session: Option<Person>,
    /// Holds a token that verifies.
    pub token: Option<TokenHolder>,
    /// What a bearer token says that the login puts on requests with a session.
    pub login_token: Option<Claims>,
}

/// The callers that are told apart. Nobody is, where nobody asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Callers {
    pub(crate) accounts: Vec<ServiceAccount>,
    /// People who are logged in; empty where no intent speaks of them.
    pub(crate) persons: Vec<Person>,
    /// Tokens that verify are looked at where access levels are enforced.
    pub(crate) tokens: bool,
}

impl Callers {
    pub(crate) fn of(snapshots: &[&Snapshot], intents: &[Intent]) -> Self {
        let listeners = snapshots.iter().flat_map(|s| s.listeners());
        let hosts = listeners.flat_map(|listener| listener.hosts());
        Self::within(hosts.flat_map(limits_of), intents)
    }

    /// Those that these limits and intents tell apart.
    pub(crate) fn within(limits: impl Iterator<Item = Limits>, intents: &[Intent]) -> Self {
        use resources::intents::Identity;
        let mut out = Self {
            tokens: intents.iter().any(|i| i.identity == Identity::Token),
            ..Self::default()
        };
        let limits: Vec<Limits> = limits.collect();
        let mut users: Vec<&str> = Vec::new();
        let mut groups: Vec<&str> = Vec::new();
        for limits in &limits {
            for name in &limits.service_accounts {
                if let Some((namespace, name)) = name.split_once('/') {
                    out.add(account(namespace, name));
                }
            }
            for namespace in &limits.namespaces {
                out.add(account(namespace, "default"));
            }
            users.extend(limits.users.iter().map(|u| &**u));
            groups.extend(limits.groups.iter().map(|g| &**g));
        }
        // Virtual hosts come in no order.
        out.accounts
            .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        for intent in intents {
            match &intent.from {
                Origin::Accounts(accounts) => accounts.iter().for_each(|a| out.add(a.clone())),
                // One that no limit names stands for all others.
                Origin::Namespace(namespace) => {
                    let names = ["default", "another", "yet-another"].into_iter();
                    let mut free = names.map(|name| account(namespace, name));
                    if let Some(other) = free.find(|a| !out.accounts.contains(a)) {
                        out.add(other);
                    }
                }
                Origin::Anywhere | Origin::Outside | Origin::Inside => {}
            }
        }
        if intents.iter().any(|i| i.identity == Identity::Login) {
            users.sort_unstable();
            users.dedup();
            groups.sort_unstable();
            groups.dedup();
            out.persons = persons(&users, &groups);
        }
        out
    }

    /// The class of the ServiceAccount that a request is known to be of.
    pub(crate) fn class_of(&self, head: &RequestHead) -> u16 {
        let caller = head.workload.as_ref().map(|w| &w.service_account);
        let found = self.accounts.iter().position(|a| Some(a) == caller);
        found.and_then(|i| u16::try_from(i + 1).ok()).unwrap_or(0)
    }

    fn add(&mut self, account: ServiceAccount) {
        if !self.accounts.contains(&account) {
            self.accounts.push(account);
        }
    }
}

/// The limits of the routes of a virtual host that limit something, and
/// bindings as such.
pub(crate) fn limits_of(host: HostView<'_>) -> impl Iterator<Item = Limits> {
    host.routes().flat_map(|route| {
        let access = route.access();
        let bound = access
            .bindings
            .as_ref()
            .map(|bindings| named(bindings, access));
        let limits = (!access.limits.is_empty()).then(|| access.limits.clone());
        limits.into_iter().chain(bound)
    })
}

/// Whom bindings name. Who is meant without a name is stood for by an account
/// of the model's namespace.
fn named(bindings: &Bindings, access: &RouteAccess) -> Limits {
    let mut out = Limits::default();
    for bound in &bindings.bound {
        match &bound.whom {
            Whom::User(name) => out.users.push(Arc::clone(name)),
            Whom::Group(name) => out.groups.push(Arc::clone(name)),
            Whom::Account(account) => {
                let name = format!("{}/{}", account.namespace, account.name);
                out.service_accounts.push(name.into());
            }
            Whom::AccountsOf(namespace) => out.namespaces.push(Arc::clone(namespace)),
            Whom::Accounts | Whom::Everybody => {
                out.namespaces.push(Arc::clone(&access.target.namespace));
            }
        }
    }
    out
}

pub(crate) fn account(namespace: &str, name: &str) -> ServiceAccount {
    ServiceAccount {
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// Whether the bindings of a route let somebody through, if it has any.
fn is_bound(access: &RouteAccess, holder: impl FnOnce() -> TokenHolder) -> bool {
    let bindings = access.bindings.as_ref();
    bindings.is_none_or(|bindings| bindings.allows(&holder()).is_some())
}

/// Somebody nobody names first. To be in more lists never closes anything: who
/// is in all groups stands for whoever is in several.
fn persons(users: &[&str], groups: &[&str]) -> Vec<Person> {
    let person = |email: &str, groups: &[&str]| Person {
        email: email.into(),
        subject: email.into(),
        groups: groups.iter().map(|g| (*g).into()).collect(),
    };
    let mut out = vec![somebody()];
    for user in std::iter::once(&ANYBODY).chain(users) {
        if user != &ANYBODY {
            out.push(person(user, &[]));
        }
        if !groups.is_empty() {
            out.push(person(user, groups));
        }
    }
    if groups.len() > 1 {
        out.extend(groups.iter().map(|group| person(ANYBODY, &[group])));
    }
    out
}

/// Somebody with a session.
pub(crate) fn somebody() -> Person {
    Person {
        email: ANYBODY.into(),
        subject: ANYBODY.into(),
        groups: [].into(),
    }
}

/// Whom nobody names.
const ANYBODY: &str = "somebody@example.com";

fn bearer() -> (Attribute, TestValue) {
    (
        Attribute::Header(AUTHORIZATION.as_str().into()),
        TestValue::Text(Matcher::Prefix(BEARER.into())),
    )
}

impl Gathered {
    /// Where access levels look at bearer tokens, and somebody does.
    pub(crate) fn bearer(&mut self, snapshots: &[&Snapshot], callers: &Callers) {
        let (header, prefix) = bearer();
        if snapshots.iter().any(|snapshot| snapshot.enforces())
            && (callers.tokens || self.tests.contains_key(&header))
        {
            self.test(header, prefix);
            self.is_held = true;
        }
    }
}

impl Universe {
    /// The dimensions of callers.
    pub(crate) fn add_callers(&mut self, is_held: bool) {
        let classes: &[&str] = match is_held {
            true => &["none", "bad", "good"],
            false => &["none"],
        };
        let classes = classes.iter().map(|name| Example::Text((*name).to_owned()));
        self.held_dim = self.push(Kind::Held, classes.collect(), Vec::new());
        let named = |count: usize| {
            let names = (1..=count).map(|i| Example::Text(i.to_string()));
            std::iter::once(Example::Absent).chain(names).collect()
        };
        let accounts = named(self.callers.accounts.len());
        self.account_dim = self.push(Kind::Account, accounts, Vec::new());
        let persons = named(self.callers.persons.len());
        self.person_dim = self.push(Kind::Person, persons, Vec::new());
    }

    /// Requests by what access levels say of their bearer token.
    pub(crate) fn held(&self, sets: &mut Sets, class: u16) -> Set {
        let width = self.width(self.held_dim);
        sets.classes(self.held_dim, (0..width).map(|c| c == usize::from(class)))
    }

    /// The same of a request whose token nobody vouches for.
    pub(crate) fn held_class(&self, head: &RequestHead) -> u16 {
        let mut lines = head.headers.get_all(AUTHORIZATION).iter();
        let bearer = lines.any(|line| line.as_bytes().starts_with(BEARER.as_bytes()));
        match bearer && self.width(self.held_dim) > 1 {
            true => HELD_BAD,
            false => HELD_NONE,
        }
    }

    /// Requests without anything that is taken for a token.
    pub(crate) fn tokenless(&self, sets: &mut Sets) -> Set {
        let held = self.held(sets, HELD_NONE);
        let places = self.tokens.empty(sets);
        sets.and(held, places)
    }

    /// Requests whose bearer token is where it has to be, and good only where
    /// somebody asks about those.
    fn of_possible_bearers(&self, sets: &mut Sets, set: Set) -> Set {
        if self.width(self.held_dim) < 2 {
            return set;
        }
        let (header, prefix) = bearer();
        let bearer = self.attribute(sets, &header, &prefix);
        let none = self.held(sets, HELD_NONE);
        let without = sets.minus(none, bearer);
        let mut with = sets.minus(bearer, none);
        if !self.callers.tokens {
            let good = self.held(sets, HELD_GOOD);
            with = sets.minus(with, good);
        }
        let either = sets.or(with, without);
        sets.and(set, either)
    }

    /// Requests of ServiceAccounts; `None` stands for callers that none is
    /// known of.
    pub(crate) fn accounts(
        &self,
        sets: &mut Sets,
        holds: impl Fn(Option<&ServiceAccount>) -> bool,
    ) -> Set {
        let known = self.callers.accounts.iter().map(Some);
        let classes = std::iter::once(None).chain(known).map(holds);
        sets.classes(self.account_dim, classes)
    }

    /// Requests of people who are logged in; `None` stands for all others.
    pub(crate) fn persons(&self, sets: &mut Sets, holds: impl Fn(Option<&Person>) -> bool) -> Set {
        let known = self.callers.persons.iter().map(Some);
        let classes = std::iter::once(None).chain(known).map(holds);
        sets.classes(self.person_dim, classes)
    }

    /// Of these requests, those of callers that there can be: who is logged in
    /// brings nothing else, and outside only a token says whose it is.
    pub(crate) fn of_possible_callers(&self, sets: &mut Sets, set: Set, entrance: Entrance) -> Set {
        let set = self.of_possible_bearers(sets, set);
        let nobody = self.persons(sets, |person| person.is_none());
        let unknown = self.accounts(sets, |account| account.is_none());
        let without = self.tokenless(sets);
        let plain = sets.and(without, unknown);
        let people = sets.minus(plain, nobody);
        let others = match entrance {
            Entrance::External => {
                let valid = self.held(sets, HELD_GOOD);
                let told = sets.or(unknown, valid);
                sets.and(nobody, told)
            }
            Entrance::Local => nobody,
        };
        let callers = sets.or(people, others);
        sets.and(set, callers)
    }

    /// Requests of ServiceAccounts that are within the limits of a route, and bound.
    pub(crate) fn accounts_within(&self, sets: &mut Sets, access: &RouteAccess) -> Set {
        let limits = &access.limits;
        self.accounts(sets, |account| {
            account.is_some_and(|account| {
                let name = format!("{}/{}", account.namespace, account.name);
                let within = limits.is_empty()
                    || limits.namespaces.contains(&account.namespace)
                    || limits.service_accounts.iter().any(|a| **a == *name);
                within && is_bound(access, || TokenHolder::ServiceAccount(account.clone()))
            })
        })
    }

    /// Requests of people who are within the limits of a route, and bound.
    pub(crate) fn persons_within(&self, sets: &mut Sets, access: &RouteAccess) -> Set {
        let limits = &access.limits;
        self.persons(sets, |person| {
            person.is_some_and(|person| {
                let within = limits.is_empty()
                    || limits.users.contains(&person.email)
                    || person.groups.iter().any(|g| limits.groups.contains(g));
                within && is_bound(access, || TokenHolder::Person(person.clone()))
            })
        })
    }
}
