//! Tokens as classes: where a request carries one, whether it is good, and
//! what of its claims rules tell apart. What a listener says about them is what
//! the decision says about a request of each class.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use policy::{
    Attribute, Carrier, ClaimPath, Claims, Connection, Entrance, IstioVersion, ListenerView,
    Matcher, RequestHead, Scheme, Snapshot, TestValue, TokenAnswer, TokenVerdict,
};
use serde_json::{Map, Value};

use crate::classes::{Example, close_under_repetition};
use crate::language::classes;
use crate::mdd::{Dim, Set, Sets};
use crate::standins::{BAD_TOKEN, answer, claims_of, insert, put, text};
use crate::universe::{Gathered, IDENTITY, Kind, Universe};

/// Classes of a place: nothing there that is taken for a token.
pub(crate) const NONE: u16 = 0;
/// Something that no rule takes, whoever its issuer is.
pub(crate) const BAD: u16 = 1;
/// A token that the keys of its issuer verify. All of a request say the same.
pub(crate) const GOOD: u16 = 2;

/// What classes become, by dimension.
type Maps = Vec<(Dim, Vec<u16>)>;

/// What a client says of itself, and no token says.
const FORGED: &str = "forged";

/// More classes of tokens than this are not looked at.
const MAX_CLASSES: usize = 4_096;

/// The dimensions of tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenSpace {
    pub(crate) carriers: Vec<(Carrier, Dim)>,
    pub(crate) claims: Vec<(ClaimPath, Dim)>,
    known: Dim,
    /// Headers that conditions look at.
    pub(crate) named: BTreeSet<String>,
}

/// What the rules of one listener say.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Requests whose tokens are refused with 401.
    pub(crate) refused: Set,
    /// Requests whose tokens are for another audience: 403.
    pub(crate) forbidden: Set,
    /// Where the others go on.
    pub(crate) branches: Vec<Branch>,
}

/// Requests that go on in one way; those of all branches are disjoint.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) set: Set,
    /// Whether claims are known, and headers that are gone, with their tokens.
    pub(crate) maps: Maps,
    /// The query is another one.
    pub(crate) query: bool,
    /// There is a good token: the route is found anew.
    pub(crate) again: bool,
    /// The client's identity header is gone.
    pub(crate) cleans: bool,
}

impl Judged {
    /// As if there were no rules.
    pub(crate) fn nothing() -> Self {
        Self {
            refused: Set::NONE,
            forbidden: Set::NONE,
            branches: vec![Branch::all()],
        }
    }
}

impl Branch {
    fn all() -> Self {
        Self {
            set: Set::ALL,
            maps: Vec::new(),
            query: false,
            again: false,
            cleans: false,
        }
    }
}

/// The places and conditions that rules for tokens make.
pub(crate) fn gather(
    snapshots: &[&Snapshot],
    mut test: impl FnMut(Attribute, TestValue),
) -> (BTreeSet<Carrier>, Vec<String>) {
    let mut carriers = BTreeSet::new();
    let mut problems = Vec::new();
    let mut keys: BTreeMap<&str, &policy::TokenKeys> = BTreeMap::new();
    let claim = |name: &str| Attribute::Claim([name.to_owned()].into());
    for rule in snapshots
        .iter()
        .flat_map(|s| s.listeners().chain(s.sidecars()))
        .flat_map(|listener| listener.token_rules())
    {
        let issuer = rule.keys().issuer.as_str();
        let known = keys.entry(issuer).or_insert(rule.keys());
        if (&known.jwks, &known.jwks_uri) != (&rule.keys().jwks, &rule.keys().jwks_uri) {
            problems.push(format!(
                "rules give issuer `{issuer}` different keys: which of them a token is signed by is not modelled"
            ));
        }
        carriers.extend(rule.carriers().iter().cloned());
        if !issuer.is_empty() {
            let exact = Matcher::Exact(issuer.to_owned());
            test(claim("iss"), TestValue::Text(exact));
        }
        for audience in rule.audiences() {
            test(
                claim("aud"),
                TestValue::Text(Matcher::of_audience(audience)),
            );
        }
        if rule
            .spaced()
            .iter()
            .any(|name| matches!(name.as_str(), "iss" | "sub" | "aud"))
        {
            problems.push(format!(
                "a rule for issuer `{issuer}` takes its registered claims apart at spaces"
            ));
        }
    }
    if keys.len() > 1 && keys.contains_key("") {
        problems.push(
            "a rule takes tokens of any issuer beside rules for some: which keys sign what is not modelled".to_owned(),
        );
    }
    let mut headers: BTreeMap<&str, usize> = BTreeMap::new();
    for carrier in &carriers {
        if let Carrier::Header { name, prefix } = carrier {
            *headers.entry(name).or_default() += 1;
            let contains = TestValue::Text(Matcher::containing(prefix));
            test(Attribute::Header(name.as_str().into()), contains);
        }
    }
    for (name, count) in headers {
        if count > 1 {
            problems.push(format!(
                "rules look for tokens in header `{name}` in {count} ways, which are not told apart"
            ));
        }
    }
    problems.sort();
    problems.dedup();
    (carriers, problems)
}

impl Universe {
    /// The dimensions of tokens, where rules look for any.
    pub(crate) fn add_tokens(&mut self, gathered: &Gathered, carriers: BTreeSet<Carrier>) {
        if carriers.is_empty() {
            return;
        }
        for carrier in carriers {
            let classes = ["none", "bad", "good"].map(|name| Example::Text(name.to_owned()));
            let dim = self.push(Kind::Carrier(carrier.clone()), classes.into(), Vec::new());
            self.tokens.carriers.push((carrier, dim));
        }
        let no_yes = ["no", "yes"].map(|name| Example::Text(name.to_owned()));
        self.tokens.known = self.push(Kind::Known, no_yes.into(), Vec::new());
        for (attribute, tests) in &gathered.tests {
            let Attribute::Claim(path) = attribute else {
                continue;
            };
            let tests: Vec<TestValue> = tests.values().map(|test| test.value.clone()).collect();
            let borrowed: Vec<&TestValue> = tests.iter().collect();
            let Ok(single) = classes(&borrowed, |_| true) else {
                self.opaque_tests(attribute, &tests);
                continue;
            };
            // Issuer and subject are single by what a token is.
            let is_single = matches!(&**path, [name] if matches!(name.as_str(), "iss" | "sub"));
            let example = |text: String| match is_single {
                true => Example::Text(text),
                false => Example::Lines(vec![text]),
            };
            let mut all = vec![(vec![false; tests.len()], Example::Absent)];
            all.extend(single.into_iter().map(|c| (c.holds, example(c.example))));
            if !is_single && !close_under_repetition(&mut all) {
                self.too_many.push(format!("claim {}", path.join(".")));
            }
            let examples = all.into_iter().map(|(_, example)| example).collect();
            let dim = self.push(Kind::Claim(path.clone()), examples, tests);
            self.by_attribute.insert(attribute.clone(), dim);
            self.tokens.claims.push((path.clone(), dim));
        }
    }
}

impl TokenSpace {
    fn dim_of(&self, name: &str) -> Option<Dim> {
        let mut all = self.claims.iter();
        let found = all.find(|(path, _)| matches!(&**path, [only] if only == name));
        found.map(|(_, dim)| *dim)
    }

    /// Headers that tokens are in.
    pub(crate) fn headers(&self) -> Vec<String> {
        let all = self.carriers.iter();
        let names = all.filter_map(|(carrier, _)| match carrier {
            Carrier::Header { name, .. } => Some(name.clone()),
            Carrier::Parameter(_) | Carrier::Cookie(_) => None,
        });
        names.collect()
    }

    /// Requests whose claims are known at the crossing at hand.
    pub(crate) fn known(&self, sets: &mut Sets) -> Set {
        match self.carriers.is_empty() {
            true => Set::NONE,
            false => sets.classes(self.known, [false, true]),
        }
    }

    /// Requests with nothing in any place.
    pub(crate) fn empty(&self, sets: &mut Sets) -> Set {
        let mut all = Set::ALL;
        for (_, dim) in &self.carriers {
            let here = sets.classes(*dim, [true, false, false]);
            all = sets.and(all, here);
        }
        all
    }

    /// Requests without a bad token in a header.
    pub(crate) fn not_bad_in(&self, sets: &mut Sets, header: &str) -> Set {
        let mut all = Set::ALL;
        for (carrier, dim) in &self.carriers {
            if matches!(carrier, Carrier::Header { name, .. } if name == header) {
                let here = sets.classes(*dim, [true, false, true]);
                all = sets.and(all, here);
            }
        }
        all
    }

    /// What a new value of a header changes of tokens.
    pub(crate) fn put_by(&self, header: &str) -> Vec<Dim> {
        let carries = |carrier: &Carrier| match carrier {
            Carrier::Header { name, .. } => name == header,
            Carrier::Cookie(_) => header == "cookie",
            Carrier::Parameter(_) => false,
        };
        let places = self.carriers.iter();
        let mut dims: Vec<Dim> = places
            .filter(|(carrier, _)| carries(carrier))
            .map(|(_, dim)| *dim)
            .collect();
        if !dims.is_empty() {
            dims.push(self.known);
            dims.extend(self.claims.iter().map(|(_, dim)| *dim));
        }
        dims
    }

    /// Requests whose tokens say whom they are about, as every login's do.
    pub(crate) fn with_subject(&self, universe: &Universe, sets: &mut Sets) -> Set {
        let subject = Attribute::Claim(["sub".to_owned()].into());
        let some = TestValue::Text(Matcher::not_empty());
        match self.dim_of("sub") {
            Some(_) => universe.attribute(sets, &subject, &some),
            None => Set::ALL,
        }
    }

    /// Requests with a good token.
    pub(crate) fn good(&self, sets: &mut Sets) -> Set {
        let mut all = Set::NONE;
        for (_, dim) in &self.carriers {
            let here = sets.classes(*dim, [false, false, true]);
            all = sets.or(all, here);
        }
        all
    }

    /// The requests that there can be: a token is in a header that contains
    /// what stands before it, and claims do not lie inside of others.
    pub(crate) fn domain(&self, universe: &Universe, sets: &mut Sets) -> Set {
        let mut all = Set::ALL;
        for (carrier, dim) in &self.carriers {
            let none = sets.classes(*dim, [true, false, false]);
            match carrier {
                Carrier::Header { name, prefix } => {
                    let contains = TestValue::Text(Matcher::containing(prefix));
                    let attribute = Attribute::Header(name.as_str().into());
                    let contains = universe.attribute(sets, &attribute, &contains);
                    let without = sets.minus(none, contains);
                    let with = sets.minus(contains, none);
                    let both = sets.or(without, with);
                    all = sets.and(all, both);
                }
                Carrier::Parameter(name) => {
                    let present = universe.with_query(sets, name);
                    let never = sets.and(none, present);
                    all = sets.minus(all, never);
                }
                Carrier::Cookie(_) => {
                    if universe.header_dim("cookie").is_some() {
                        let present = universe.with_header(sets, "cookie");
                        let some = sets.minus(Set::ALL, none);
                        let never = sets.minus(some, present);
                        all = sets.minus(all, never);
                    }
                }
            }
        }
        for (outer, a) in &self.claims {
            for (inner, b) in &self.claims {
                if inner.len() > outer.len() && inner.starts_with(outer) {
                    let a = present(universe, sets, *a);
                    let b = present(universe, sets, *b);
                    let never = sets.and(a, b);
                    all = sets.minus(all, never);
                }
            }
        }
        all
    }

    /// What the rules of a listener say about every class, or why that is not
    /// looked at.
    pub(crate) fn judge(
        &self,
        universe: &Universe,
        sets: &mut Sets,
        view: &ListenerView<'_>,
        version: IstioVersion,
    ) -> Result<Judged, String> {
        let mut judged = Judged::nothing();
        let rules: Vec<_> = view.token_rules().collect();
        if rules.is_empty() {
            return Ok(judged);
        }
        judged.branches.clear();
        let outputs: Vec<_> = rules.iter().flat_map(|rule| rule.outputs()).collect();
        let mut named = outputs.iter();
        if let Some(name) = named.find(|name| self.named.contains(name.as_str())) {
            return Err(format!(
                "rules for tokens set header `{name}`, which rules or routes look at"
            ));
        }
        let is_identity = |name: &HeaderName| name == IDENTITY;
        let any = outputs.iter().any(|name| is_identity(name));
        let wide = version.outputs_sanitized();
        let bypassed = match version >= IstioVersion::PREFLIGHT_WITHOUT_TOKENS {
            true => universe.full_preflight(sets),
            false => Set::NONE,
        };
        let mut left = sets.not(bypassed);
        let classes = self.classes(universe)?;
        let mut effects: BTreeMap<_, (Set, Maps)> = BTreeMap::new();
        for class in classes {
            let mut set = Set::ALL;
            for (dim, number) in &class.points {
                let width = universe.width(*dim);
                let one = sets.classes(*dim, (0..width).map(|c| c == usize::from(*number)));
                set = sets.and(set, one);
            }
            set = sets.minus(set, bypassed);
            let head = self.sample(&class)?;
            let good = text(&class.claims);
            let verdict = view.judge_tokens(&head, |check| {
                if *check.token == *good {
                    answer(&good)
                } else {
                    TokenAnswer::Malformed("it is none".into())
                }
            });
            match verdict {
                TokenVerdict::Forbidden => {
                    judged.forbidden = sets.or(judged.forbidden, set);
                    left = sets.minus(left, set);
                }
                TokenVerdict::Refused => {
                    judged.refused = sets.or(judged.refused, set);
                    left = sets.minus(left, set);
                }
                TokenVerdict::Unseen => {}
                TokenVerdict::Seen { head: after } => {
                    left = sets.minus(left, set);
                    let mut maps = self.gone(universe, &head, &after);
                    maps.push((self.known, vec![1, 1]));
                    let dims: Vec<_> = maps.iter().map(|(dim, _)| *dim).collect();
                    let kept = after.headers.get_all(IDENTITY).iter();
                    let cleans = !kept.into_iter().any(|value| value == FORGED);
                    let entry = effects
                        .entry((dims, head.query != after.query, cleans))
                        .or_insert_with(|| (Set::NONE, maps));
                    entry.0 = sets.or(entry.0, set);
                }
            }
        }
        let unknown = |set, cleans| Branch {
            set,
            maps: vec![(self.known, vec![0, 0])],
            query: false,
            again: false,
            cleans,
        };
        judged.branches.push(unknown(bypassed, any && wide));
        judged.branches.push(unknown(left, any));
        for ((_, query, cleans), (set, maps)) in effects {
            judged.branches.push(Branch {
                set,
                maps,
                query,
                again: true,
                cleans,
            });
        }
        Ok(judged)
    }

    /// Every combination of places, and of issuers and audiences where there
    /// is a good token.
    fn classes(&self, universe: &Universe) -> Result<Vec<Class>, String> {
        let mut all = vec![Class::default()];
        for (_, dim) in &self.carriers {
            all = all
                .iter()
                .flat_map(|class| [NONE, BAD, GOOD].map(|number| class.with(*dim, number)))
                .collect();
            if all.len() > MAX_CLASSES {
                return Err("rules look for tokens in too many places".to_owned());
            }
        }
        for name in ["iss", "aud"] {
            let Some(dimension) = self
                .dim_of(name)
                .and_then(|dim| Some((dim, universe.dimension(dim)?)))
            else {
                continue;
            };
            let (dim, dimension) = dimension;
            let mut next = Vec::new();
            for class in all {
                if !class.points.iter().any(|(_, number)| *number == GOOD) {
                    next.push(class);
                    continue;
                }
                for (number, example) in dimension.examples.iter().enumerate() {
                    let number = u16::try_from(number).unwrap_or(u16::MAX);
                    let mut more = class.with(dim, number);
                    insert(&mut more.claims, &[name.to_owned()], example);
                    next.push(more);
                }
            }
            all = next;
            if all.len() > MAX_CLASSES {
                return Err("rules tell too many issuers and audiences apart".to_owned());
            }
        }
        Ok(all)
    }

    fn sample(&self, class: &Class) -> Result<RequestHead, String> {
        let forged = (
            HeaderName::from_static(IDENTITY),
            HeaderValue::from_static(FORGED),
        );
        let mut head = RequestHead {
            entrance: Entrance::External,
            method: Method::GET,
            scheme: Scheme::Http,
            authority: "sample".to_owned(),
            path: "/".to_owned(),
            query: None,
            headers: HeaderMap::from_iter([forged]),
            peer: SocketAddr::from(([203, 0, 113, 7], 50_000)),
            connection: Connection::default(),
            workload: None,
        };
        for ((carrier, _), (_, number)) in self.carriers.iter().zip(&class.points) {
            let token = match *number {
                GOOD => text(&class.claims),
                BAD => BAD_TOKEN.to_owned(),
                _ => continue,
            };
            put(&mut head, carrier, "", &token)
                .ok_or_else(|| format!("rules look for tokens in {carrier:?}, which cannot be"))?;
        }
        Ok(head)
    }

    /// Headers and tokens that are gone after a good token.
    fn gone(&self, universe: &Universe, before: &RequestHead, after: &RequestHead) -> Maps {
        let mut maps = Vec::new();
        for (carrier, dim) in &self.carriers {
            if carrier.tokens(before).is_empty() || !carrier.tokens(after).is_empty() {
                continue;
            }
            maps.push((*dim, vec![NONE; 3]));
            if let Carrier::Header { name, .. } = carrier
                && let Some(header) = universe.header_dim(name)
            {
                maps.push((header, vec![0; universe.width(header)]));
            }
        }
        maps
    }

    /// Whether tokens are looked for in that header.
    pub(crate) fn are_in(&self, header: &http::HeaderName) -> bool {
        let mut carriers = self.carriers.iter();
        carriers.any(|(carrier, _)| {
            matches!(carrier, Carrier::Header { name, .. } if header == name.as_str())
        })
    }

    /// What a change of a header does to the tokens in it.
    pub(crate) fn header_maps(&self, change: &policy::HeaderChange) -> Maps {
        use policy::HeaderChange as C;
        let mut maps = Vec::new();
        for (carrier, dim) in &self.carriers {
            let Carrier::Header { name, prefix } = carrier else {
                continue;
            };
            let holds = |value: &HeaderValue| {
                String::from_utf8_lossy(value.as_bytes()).contains(prefix.as_str())
            };
            let map = match change {
                _ if change.name() != name.as_str() => continue,
                C::Set(_, value) | C::Add(_, value) if holds(value) => vec![BAD; 3],
                C::Add(..) | C::AddIfAbsent(..) | C::SetIfPresent(..) => continue,
                C::Set(..) | C::Remove(_) => vec![NONE; 3],
            };
            maps.push((*dim, map));
        }
        maps
    }

    /// The class of a request in a dimension of tokens.
    pub(crate) fn carrier_class(carrier: &Carrier, head: &RequestHead) -> u16 {
        let tokens = carrier.tokens(head);
        if tokens.is_empty() {
            NONE
        } else if tokens.iter().all(|token| claims_of(token).is_some()) {
            GOOD
        } else {
            BAD
        }
    }

    /// What the good tokens of a request say: nothing, one thing, or several.
    pub(crate) fn claims_in(&self, head: &RequestHead) -> Option<Claims> {
        let tokens = self.carriers.iter().flat_map(|(c, _)| c.tokens(head));
        let mut all = tokens.filter_map(|token| claims_of(&token));
        let Some(first) = all.next() else {
            return Some(Claims::default());
        };
        all.all(|other| other == first).then_some(first)
    }
}

fn present(universe: &Universe, sets: &mut Sets, dim: Dim) -> Set {
    let width = universe.width(dim);
    sets.classes(dim, (0..width).map(|class| class != 0))
}

/// One combination.
#[derive(Clone, Default)]
struct Class {
    points: Vec<(Dim, u16)>,
    claims: Map<String, Value>,
}

impl Class {
    fn with(&self, dim: Dim, number: u16) -> Self {
        let mut more = self.clone();
        more.points.push((dim, number));
        more
    }
}
