//! Writes down why claims hold, for a checker that knows nothing of sets.

use std::collections::BTreeSet;
use std::sync::Arc;

use certificate::{
    CellProof, Certificate, ClaimProof, HostProof, VERSION, authorizer_name, closes, is_checkable,
    listener_name, route_name, rule_name, shorten, sidecar_name,
};
use policy::{HostView, ListenerView, RouteStep, RuleView, Snapshot, StepView};

use crate::analysis::{Analysis, MAX_HOPS, compile};
use crate::cells::{Partition, Placed, Side};
use crate::claims::Claim;
use crate::engine::Engine;
use crate::intents::Intent;
use crate::mdd::Set;
use crate::parts::HostPart;
use crate::paths::Cell;
use crate::report::{Report, Verdict};
use crate::terms::{Here, Term, hosts_of};

/// The proofs of the claims that hold, of the built-in ones first.
pub fn certify(snapshot: &Snapshot, report: &Report) -> Certificate {
    let own = report.claims.iter().filter_map(|claim| match claim {
        Claim::Intent(intent) => Some(Intent::clone(intent)),
        _ => None,
    });
    let own: Vec<Intent> = own.collect();
    let stated = own.iter().map(|own| Claim::Intent(Arc::new(own.clone())));
    let mut claims: Vec<ClaimProof> = Claim::BUILT_IN
        .into_iter()
        .chain(stated)
        .filter(|claim| report.verdict(claim) == Verdict::Holds)
        .map(|claim| ClaimProof {
            claim: claim.id().to_owned(),
            intent: match &claim {
                Claim::Intent(intent) => Some(intent.written().clone()),
                _ => None,
            },
            hosts: Vec::new(),
        })
        .collect();
    claims.retain(|claim| is_checkable(claim.about(), snapshot));
    let mut engine = Engine::asked(&[snapshot], &own);
    let analysis = Analysis::asked(&mut engine, snapshot, &own);
    for listener in &analysis.listeners {
        for host in listener.hosts() {
            let Some(part) = analysis.host(&mut engine, listener.view.index(), host) else {
                continue;
            };
            let globals = part.ground.globals(&mut engine);
            let partition = Partition {
                own: &part.strings,
                globals: &globals,
            };
            let whole = ["/"].map(str::to_owned).into();
            for claim in &mut claims {
                let mut proof = HostProof {
                    listener: listener_name(&listener.view),
                    host: host.name().to_owned(),
                    cells: cells(&whole, |_| Vec::new()),
                };
                // Where nothing of the host concerns the claim, two cells do.
                if closes(&proof, claim.about(), snapshot) {
                    claim.hosts.push(proof);
                    continue;
                }
                let named = Named::of(&mut engine, &analysis, (listener, &part), host);
                let texts: BTreeSet<String> = partition.texts().map(str::to_owned).collect();
                proof.cells = cells(&texts, |cell| {
                    let side = Side::of(&mut engine, (listener, &part), cell);
                    named.at(&part, &side, cell)
                });
                shorten(&mut proof, claim.about(), snapshot);
                claim.hosts.push(proof);
            }
        }
    }
    // Of sidecars and of statements the checker does not follow all that the
    // engine does.
    let sidecars = snapshot.sidecars().next().is_some();
    claims.retain(|claim| {
        let mut hosts = claim.hosts.iter();
        let unsure = sidecars || claim.intent.is_some();
        !unsure || hosts.all(|proof| closes(proof, claim.about(), snapshot))
    });
    Certificate {
        version: VERSION,
        istio_version: snapshot.istio_version().to_string(),
        claims,
    }
}

fn cells(texts: &BTreeSet<String>, mut by: impl FnMut(Cell<'_>) -> Vec<String>) -> Vec<CellProof> {
    let all = texts
        .iter()
        .flat_map(|text| [false, true].map(|region| Cell { text, region }));
    all.map(|cell| CellProof {
        path: cell.text.to_owned(),
        below: cell.region,
        by: by(cell),
    })
    .collect()
}

/// Rules of a listener that can matter for a virtual host, and all that its
/// routes lead to.
struct Named {
    rules: Vec<(String, Vec<Term>)>,
    always: BTreeSet<String>,
}

impl Named {
    fn of<'s>(
        engine: &mut Engine,
        analysis: &Analysis<'s>,
        (listener, part): Placed<'_, 's>,
        host: HostView<'_>,
    ) -> Self {
        let mut out = Self {
            rules: Vec::new(),
            always: BTreeSet::new(),
        };
        for rule in rules(listener.view) {
            let terms = compile(
                engine,
                Here::of(&listener.view),
                &part.authorities,
                &rule.condition,
                Set::ALL,
            );
            match terms {
                Some(terms) if terms.is_empty() => {}
                Some(terms) => out.rules.push((rule_name(&rule), terms)),
                None => {
                    out.always.insert(rule_name(&rule));
                }
            }
        }
        for route in host.routes() {
            for step in 0..listener.steps.len() {
                if let RouteStep::Rules { rules, .. } = route.step(step) {
                    out.always.extend(rules.iter().map(rule_name));
                }
            }
        }
        out.authorizers(listener.view);
        out.beyond(analysis, part, 1);
        out
    }

    /// What the next listeners do to requests that go on.
    fn beyond(&mut self, analysis: &Analysis<'_>, part: &HostPart<'_>, hop: usize) {
        if hop == MAX_HOPS {
            return;
        }
        for way in part.routes.iter().flat_map(|route| &route.ways) {
            let Some(listener) = way.next_listener.and_then(|next| analysis.listener(next)) else {
                continue;
            };
            if way.inside.is_some() {
                // What it does to the requests of any host.
                self.always.insert(sidecar_name(&listener.view));
                let rules = rules(listener.view);
                self.always.extend(rules.iter().map(rule_name));
                self.authorizers(listener.view);
                continue;
            }
            for next in way.next.iter().filter_map(|(_, next)| next.as_ref()) {
                let routes = next.routes.iter().map(|route| route_name(route.view));
                self.always.extend(routes);
                let concerns = |rule: &RuleView<'_>| {
                    hosts_of(&rule.condition).is_none_or(|hosts| hosts.contains(&next.name))
                };
                let rules = rules(listener.view).into_iter().filter(concerns);
                self.always.extend(rules.map(|rule| rule_name(&rule)));
                self.authorizers(listener.view);
                self.beyond(analysis, next, hop + 1);
            }
        }
    }

    /// Those that are asked about every request.
    fn authorizers(&mut self, listener: ListenerView<'_>) {
        let steps = listener.steps().into_iter();
        let names = steps.filter_map(|step| match step {
            StepView::Authorizer(authorizer) => Some(authorizer_name(&authorizer)),
            _ => None,
        });
        self.always.extend(names);
    }

    fn at(&self, part: &HostPart<'_>, side: &Side, cell: Cell<'_>) -> Vec<String> {
        let routes = side.routes.iter();
        let mut out: BTreeSet<String> = routes
            .filter_map(|(number, _)| part.routes.get(*number))
            .map(|route| route_name(route.view))
            .collect();
        let covering = self
            .rules
            .iter()
            .filter(|(_, terms)| terms.iter().any(|term| term.covers(cell)));
        out.extend(covering.map(|(name, _)| name.clone()));
        out.extend(self.always.iter().cloned());
        out.into_iter().collect()
    }
}

fn rules<'s>(view: ListenerView<'s>) -> Vec<RuleView<'s>> {
    let steps = view.steps().into_iter();
    let all = steps.flat_map(|step| match step {
        StepView::Rules { rules, .. } => rules,
        StepView::Gate { authorizer, .. } => authorizer.rules.unwrap_or_default(),
        _ => Vec::new(),
    });
    all.collect()
}
