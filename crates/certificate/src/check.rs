//! Whether a document is a proof.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use policy::{AccessLevel, Entrance, HostView, ListenerView, Owner, RouteStep, Snapshot, StepView};
use resources::intents::Intent;

use crate::course::{Course, End, Here, IDENTITY, Possible};
use crate::document::{
    About, CellProof, Certificate, ClaimProof, HostProof, VERSION, authorizer_name, listener_name,
    route_name, rule_name, sidecar_name,
};
use crate::logic::Truth;
use crate::point::{Assumed, Atom, Authority, Listed, Paths, Point, Sender, Who};
use crate::statement::Statement;

/// Why a document is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Rejected {
    /// Claim, listener, virtual host and cell, as far as they are known.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

/// Path that Knative probes.
const PROBED: &str = "/healthz";

/// Assumptions that are tried for one cell.
const MAX_CASES: usize = 4_096;

/// Checks every proof of a document against a configuration, and that each
/// statement in it is one of these, by name and content; returns the names of
/// the claims that are proved.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    certificate: &Certificate,
    snapshot: &Snapshot,
    statements: &[(String, Intent)],
) -> Result<Vec<String>, Rejected> {
    let whole = |why: String| Rejected {
        place: "certificate".to_owned(),
        why,
    };
    if certificate.version != VERSION {
        let found = certificate.version;
        return Err(whole(format!("version {found}: expected {VERSION}")));
    }
    let version = snapshot.istio_version().to_string();
    if certificate.istio_version != version {
        return Err(whole(format!(
            "for Istio {}, and the configuration is for Istio {version}",
            certificate.istio_version
        )));
    }
    if let Some((_, what)) = snapshot.not_understood().next() {
        return Err(whole(format!(
            "{}: {}: {}, not understood: nothing is proved",
            what.object, what.place, what.why
        )));
    }
    let names = names(snapshot);
    let mut proved: Vec<String> = Vec::new();
    for proof in &certificate.claims {
        let rejected = |why: &str| Rejected {
            place: proof.claim.clone(),
            why: why.to_owned(),
        };
        let is_stated = |intent: &Intent| {
            let mut all = statements.iter();
            all.any(|(name, one)| *name == proof.claim && is_same(one, intent))
        };
        if proof
            .intent
            .as_ref()
            .is_some_and(|intent| !is_stated(intent))
        {
            return Err(rejected("nobody makes this statement here"));
        }
        let claim = Claim::of(proof.about(), snapshot).ok_or_else(|| rejected("no such claim"))?;
        if proved.contains(&proof.claim) {
            return Err(whole(format!("two proofs of {}", proof.claim)));
        }
        claim_holds(&claim, proof, snapshot, &names)?;
        proved.push(proof.claim.clone());
    }
    Ok(proved)
}

/// Whether proofs of a claim can be checked.
pub fn is_checkable(claim: About<'_>, snapshot: &Snapshot) -> bool {
    Claim::of(claim, snapshot).is_some()
}

/// Whether two statements say the same, wherever they are written.
fn is_same(one: &Intent, other: &Intent) -> bool {
    let place = |intent: &Intent| Intent {
        source: None,
        ..intent.clone()
    };
    place(one) == place(other)
}

/// All rules, routes and sidecars there are.
fn names(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut out: BTreeSet<String> = snapshot.sidecars().map(|at| sidecar_name(&at)).collect();
    for listener in snapshot.listeners().chain(snapshot.sidecars()) {
        let steps = listener.steps();
        for (index, step) in steps.iter().enumerate() {
            match step {
                StepView::Rules { rules, .. } => out.extend(rules.iter().map(rule_name)),
                StepView::Gate { authorizer, .. } => {
                    out.extend(authorizer.rules.iter().flatten().map(rule_name));
                }
                StepView::Authorizer(authorizer) => {
                    out.insert(authorizer_name(authorizer));
                }
                _ => {}
            }
            for route in listener.hosts().flat_map(|host| host.routes()) {
                if let RouteStep::Rules { rules, .. } = route.step(index) {
                    out.extend(rules.iter().map(rule_name));
                }
            }
        }
        let routes = listener.hosts().flat_map(|host| host.routes());
        out.extend(routes.map(route_name));
    }
    out
}

#[derive(Clone, Debug)]
enum Claim {
    PlatformNeedsLogin,
    NoForgedIdentity,
    ModelsAnswerWorkloads,
    ModelsClosedOutside,
    ForeignUntouched,
    LoginReachable,
    ProbesAnswered,
    Intent(Rc<Statement>),
}

impl Claim {
    fn of(about: About<'_>, snapshot: &Snapshot) -> Option<Self> {
        match (Self::built_in(about.claim), about.intent) {
            (None, Some(intent)) => Some(Self::Intent(Rc::new(Statement::of(intent, snapshot)?))),
            // A statement that is called like a built-in claim proves nothing of that.
            (Some(_), Some(_)) => None,
            (built_in, None) => built_in,
        }
    }

    fn built_in(name: &str) -> Option<Self> {
        Some(match name {
            "platform-needs-login" => Self::PlatformNeedsLogin,
            "no-forged-identity" => Self::NoForgedIdentity,
            "models-answer-workloads" => Self::ModelsAnswerWorkloads,
            "models-closed-outside" => Self::ModelsClosedOutside,
            "foreign-untouched" => Self::ForeignUntouched,
            "login-reachable" => Self::LoginReachable,
            "probes-answered" => Self::ProbesAnswered,
            _ => return None,
        })
    }

    /// Of whom it speaks.
    fn about(&self) -> Who {
        match self {
            Self::PlatformNeedsLogin | Self::ModelsClosedOutside | Self::LoginReachable => {
                Who::Stranger
            }
            // Whoever gets there without a session does with one.
            Self::NoForgedIdentity => Who::Session,
            Self::ModelsAnswerWorkloads | Self::ForeignUntouched | Self::ProbesAnswered => {
                Who::Anybody
            }
            Self::Intent(statement) => statement.who,
        }
    }

    fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Intent(statement) => Some(statement),
            _ => None,
        }
    }

    /// What is true of every request that it speaks of.
    fn assumed(&self) -> Assumed {
        match self {
            Self::NoForgedIdentity => Assumed::from([(Atom::with_header(IDENTITY), true)]),
            Self::ProbesAnswered => Assumed::from([(Atom::method("GET"), true)]),
            _ => Assumed::new(),
        }
    }
}

fn claim_holds(
    claim: &Claim,
    proof: &ClaimProof,
    snapshot: &Snapshot,
    names: &BTreeSet<String>,
) -> Result<(), Rejected> {
    let mut given: BTreeMap<(&str, &str), &HostProof> = BTreeMap::new();
    for host in &proof.hosts {
        if given.insert((&host.listener, &host.host), host).is_some() {
            return Err(Rejected {
                place: format!("{}, {}, `{}`", proof.claim, host.listener, host.host),
                why: "given twice".to_owned(),
            });
        }
    }
    let described: Vec<_> = snapshot
        .listeners()
        .map(|listener| (listener, listener_name(&listener)))
        .collect();
    for (listener, described) in &described {
        let entrance = listener.side();
        for host in listener.hosts() {
            let place = format!("{}, {described}, `{}`", proof.claim, host.name());
            let Some(host_proof) = given.remove(&(described.as_str(), host.name())) else {
                return Err(Rejected {
                    place,
                    why: "no cells for this virtual host".to_owned(),
                });
            };
            let at = At {
                claim: claim.clone(),
                snapshot,
                listener: *listener,
                host,
                entrance,
                place: &place,
            };
            at.check(host_proof, names)?;
        }
    }
    match given.into_keys().next() {
        None => Ok(()),
        Some((listener, host)) => Err(Rejected {
            place: format!("{}, {listener}, `{host}`", proof.claim),
            why: "no such virtual host".to_owned(),
        }),
    }
}

/// Whether each cell of a virtual host is closed by what is named there.
pub fn closes(proof: &HostProof, claim: About<'_>, snapshot: &Snapshot) -> bool {
    let Some(at) = At::of(proof, claim, snapshot) else {
        return false;
    };
    let listed: Listed = proof.cells.iter().map(|cell| cell.path.clone()).collect();
    let mut cells = proof.cells.iter();
    cells.all(|cell| {
        let named = cell.by.iter().map(String::as_str).collect();
        at.cell(&listed, cell, &named).is_ok()
    })
}

/// Leaves out of a proof of one virtual host what is not needed: rules and
/// routes that are named and close nothing.
pub fn shorten(proof: &mut HostProof, claim: About<'_>, snapshot: &Snapshot) {
    let Some(at) = At::of(proof, claim, snapshot) else {
        return;
    };
    let listed: Listed = proof.cells.iter().map(|cell| cell.path.clone()).collect();
    for cell in &mut proof.cells {
        let closes = |names: &[String], cell: &CellProof| {
            let named = names.iter().map(String::as_str).collect();
            at.cell(&listed, cell, &named).is_ok()
        };
        if closes(&[], cell) {
            cell.by.clear();
            continue;
        }
        let mut index = 0;
        while index < cell.by.len() {
            let mut fewer = cell.by.clone();
            fewer.remove(index);
            if closes(&fewer, cell) {
                cell.by = fewer;
            } else {
                index += 1;
            }
        }
    }
}

/// One virtual host of an entrance.
struct At<'a> {
    claim: Claim,
    snapshot: &'a Snapshot,
    listener: ListenerView<'a>,
    host: HostView<'a>,
    entrance: Entrance,
    place: &'a str,
}

impl<'a> At<'a> {
    /// What a proof is about.
    fn of(proof: &HostProof, claim: About<'_>, snapshot: &'a Snapshot) -> Option<Self> {
        let claim = Claim::of(claim, snapshot)?;
        snapshot.listeners().find_map(|listener| {
            let here = listener_name(&listener) == proof.listener;
            let host = listener.named(&proof.host).filter(|_| here)?;
            Some(Self {
                claim: claim.clone(),
                snapshot,
                listener,
                host,
                entrance: listener.side(),
                place: "",
            })
        })
    }

    fn rejected(&self, cell: &str, why: impl Into<String>) -> Rejected {
        Rejected {
            place: format!("{}, {cell}", self.place),
            why: why.into(),
        }
    }

    fn check(&self, proof: &HostProof, names: &BTreeSet<String>) -> Result<(), Rejected> {
        let listed = self.cover(proof)?;
        for cell in &proof.cells {
            let text = if cell.below {
                format!("below `{}`", cell.path)
            } else {
                format!("`{}`", cell.path)
            };
            let named: BTreeSet<&str> = cell.by.iter().map(String::as_str).collect();
            if let Some(unknown) = named.iter().find(|name| !names.contains(**name)) {
                return Err(self.rejected(&text, format!("there is no `{unknown}`")));
            }
            self.cell(&listed, cell, &named)
                .map_err(|why| self.rejected(&text, why))?;
        }
        Ok(())
    }

    fn cell(
        &self,
        listed: &Listed,
        cell: &CellProof,
        named: &BTreeSet<&str>,
    ) -> Result<(), String> {
        if !self.is_concerned() {
            return Ok(());
        }
        for authority in self.authorities() {
            let point = Point {
                listed,
                paths: Paths {
                    text: cell.path.clone(),
                    below: cell.below,
                    rewritten: None,
                },
                authority: authority.clone(),
                port: self.listener.port(),
                who: self.claim.about(),
                claimed: false,
                changes: Vec::new(),
                queries_change: false,
                sent_on: false,
                sender: Sender::Client,
            };
            let path = self.claim.statement().and_then(|own| own.path.as_ref());
            if path.is_some_and(|path| point.path(path) == Truth::No) {
                continue;
            }
            let mut cases = 0;
            let ordinary = self.is_ordinary(&point.authority);
            self.closed(&point, ordinary, named, &self.claim.assumed(), &mut cases)?;
        }
        Ok(())
    }

    /// The cells are all paths: `/`, and with each path what is below it.
    fn cover(&self, proof: &HostProof) -> Result<Listed, Rejected> {
        let mut at = BTreeSet::new();
        let mut below = BTreeSet::new();
        for cell in &proof.cells {
            let list = if cell.below { &mut below } else { &mut at };
            if !cell.path.starts_with('/') {
                return Err(self.rejected(&cell.path, "expected a path"));
            }
            if !list.insert(cell.path.clone()) {
                return Err(self.rejected(&cell.path, "given twice"));
            }
        }
        if !at.contains("/") {
            return Err(self.rejected("`/`", "no cell for it"));
        }
        if let Some(alone) = at.symmetric_difference(&below).next() {
            return Err(self.rejected(
                &format!("`{alone}`"),
                "expected a cell for it and one for what is below it",
            ));
        }
        Ok(at)
    }

    /// Whether the claim speaks of anything that arrives here.
    fn is_concerned(&self) -> bool {
        let Some(statement) = self.claim.statement() else {
            return true;
        };
        // Where there are no rules for tokens, no token verifies.
        let verifies = !matches!(statement.who, Who::Token { .. })
            || self.listener.token_rules().next().is_some();
        statement.is_about(self.entrance) && verifies
    }

    /// Authorities that lead to the virtual host and that the claim speaks of,
    /// in groups.
    fn authorities(&self) -> Vec<Authority> {
        let wanted = self.claim.statement().and_then(|own| own.host.as_deref());
        let mut all = match wanted {
            None => self.authorities_of(self.host.name()),
            Some(wanted) => match wanted.strip_prefix('*') {
                None => match self.listener.host(wanted) {
                    Some(host) if host.name() == self.host.name() => self.authorities_of(wanted),
                    _ => Vec::new(),
                },
                Some(suffix) => {
                    let name = self.host.name();
                    match name.starts_with('*') || name.ends_with(suffix) {
                        true => self.authorities_of(name),
                        false => Vec::new(),
                    }
                }
            },
        };
        let odd = self.claim.statement();
        if odd.is_some_and(Statement::leaves_out_odd_authorities) {
            all.retain(|authority| self.is_ordinary(authority));
            all = all
                .into_iter()
                .map(|authority| match authority {
                    Authority::One(text) => Authority::Exactly(text),
                    other => other,
                })
                .collect();
        }
        all
    }

    fn authorities_of(&self, name: &str) -> Vec<Authority> {
        if name.starts_with('*') {
            return vec![Authority::Any {
                listener: self.listener.index(),
                host: name.to_owned(),
            }];
        }
        let mut out = vec![
            Authority::One(name.to_owned()),
            Authority::OtherPort(name.to_owned()),
        ];
        let ports = BTreeSet::from([80, 443, self.listener.port()]);
        out.extend(
            ports
                .into_iter()
                .map(|port| Authority::One(format!("{name}:{port}"))),
        );
        out
    }

    /// Whether clients send it, also where applications of others are meant.
    fn is_ordinary(&self, authority: &Authority) -> bool {
        !matches!(authority, Authority::OtherPort(_))
    }

    /// No request of a point breaks the claim, whatever else is true of it.
    fn closed(
        &self,
        point: &Point<'_>,
        ordinary: bool,
        named: &BTreeSet<&str>,
        assumed: &Assumed,
        cases: &mut usize,
    ) -> Result<(), String> {
        *cases += 1;
        if *cases > MAX_CASES {
            return Err(format!("more than {MAX_CASES} cases"));
        }
        let breaks = |possible: &Possible<'_>| self.breaks(point, ordinary, possible);
        let mut course = Course {
            snapshot: self.snapshot,
            entrance: self.entrance,
            opaque: self.listener.is_opaque(),
            named,
            assumed,
            wanted: Vec::new(),
            breaks: &breaks,
            broken: false,
            target: self.claim.statement().and_then(|own| own.target.as_ref()),
        };
        let cleaned = self.snapshot.enforces();
        let here = Here {
            at: self.listener,
            host: Some(self.host),
            last: None,
            hop: 0,
            sent: None,
        };
        course.crossing(here, point.clone(), cleaned);
        if !course.broken {
            return Ok(());
        }
        let Some(atom) = course.wanted.into_iter().next() else {
            return Err(format!(
                "the named rules and routes do not close it{}",
                told(assumed)
            ));
        };
        for holds in [true, false] {
            let mut more = assumed.clone();
            more.insert(atom.clone(), holds);
            self.closed(point, ordinary, named, &more, cases)?;
        }
        Ok(())
    }

    /// Whether what may happen breaks the claim.
    fn breaks(&self, point: &Point<'_>, ordinary: bool, possible: &Possible<'_>) -> bool {
        let end = possible.end;
        if let Claim::Intent(statement) = &self.claim {
            return possible.leads && statement.is_broken_by(end);
        }
        if matches!(self.claim, Claim::ProbesAnswered) {
            let probed = !point.paths.below && point.paths.text == PROBED;
            return probed && self.has_models() && end == End::NoRoute;
        }
        let Some(route) = possible.route else {
            return false;
        };
        let access = route.access();
        let owner = access.owner;
        match &self.claim {
            Claim::PlatformNeedsLogin => owner == Owner::Platform && end == End::Reaches,
            Claim::NoForgedIdentity => {
                owner == Owner::Platform && end == End::Reaches && !possible.cleaned
            }
            Claim::ModelsAnswerWorkloads => {
                owner == Owner::Model && end == End::Login && self.entrance == Entrance::Local
            }
            Claim::ModelsClosedOutside => {
                owner == Owner::Model
                    && end == End::Reaches
                    && self.entrance == Entrance::External
                    && access.external != AccessLevel::Public
            }
            Claim::ForeignUntouched => owner == Owner::Foreign && end == End::Login && ordinary,
            Claim::LoginReachable => {
                let open = !point.paths.below
                    && self.snapshot.provider_paths().contains(&point.paths.text);
                let enforced = self.snapshot.enforces();
                owner == Owner::LoginMachinery
                    && self.entrance == Entrance::External
                    && match end {
                        End::Denied => !enforced || open,
                        End::Login => enforced && open,
                        _ => false,
                    }
            }
            Claim::ProbesAnswered | Claim::Intent(_) => false,
        }
    }

    fn has_models(&self) -> bool {
        let mut routes = self.host.routes();
        routes.any(|route| route.access().owner == Owner::Model)
    }
}

fn told(assumed: &Assumed) -> String {
    let all: Vec<String> = assumed
        .iter()
        .map(|(atom, holds)| Atom::told(atom, *holds))
        .collect();
    if all.is_empty() {
        String::new()
    } else {
        format!(", for example where {}", all.join(" and "))
    }
}
