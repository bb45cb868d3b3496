//! What is known from before, taken up: virtual hosts that a change can concern
//! are looked at again.

use std::collections::BTreeSet;

use policy::{Attribute, ListenerView};
use rustc_hash::FxHashSet;

use super::compared::{Pair, Rules, has_like_hosts, same_rules_of};
use super::{HostKnown, HostWork, Kept, ListenerKnown, Work};
use crate::questions::Asked;
use crate::tally::Whose;
use crate::universe::{IDENTITY, PREFLIGHT};

/// What is another than before.
struct Changes {
    /// Something leads elsewhere or is refused elsewhere.
    any: bool,
    /// By listener: virtual hosts came or went.
    renamed: Vec<bool>,
}

impl<'s> Work<'s> {
    pub(super) fn take_up(&mut self, kept: Kept, asked: &Asked) {
        let old = kept.snapshot;
        self.known = kept.known;
        self.known.tests.mark();
        let pairs: Vec<Pair<'_, '_>> = old.listeners().zip(self.snapshot.listeners()).collect();
        let have_same = same_rules_of(&pairs);
        let sidecars = old.sidecars().zip(self.snapshot.sidecars());
        let others = sidecars.filter(|pair| !pair.1.has_rules_of(&pair.0) || !has_like_hosts(pair));
        let others: BTreeSet<usize> = others.map(|(_, is)| is.index()).collect();
        let same_rules = have_same.iter().all(|same| *same) && others.is_empty();
        let ruled = |work: &Self| -> BTreeSet<Attribute> {
            work.known.rules.tests.keys().cloned().collect()
        };
        let mut by_rules = ruled(self);
        let by_path = self.known.by_path.clone();
        if !same_rules {
            self.gather_rules(asked);
            by_rules.extend(ruled(self));
        }
        let mut changes = Changes {
            any: !same_rules,
            renamed: Vec::new(),
        };
        for ((_, is), listener) in pairs.iter().zip(kept.listeners) {
            let matched = self.matched(*is, listener, &mut changes);
            self.listeners.push(matched);
        }
        let callers = self.callers(asked);
        let differing = self.known.tests.differing();
        let tokens = pairs
            .iter()
            .any(|(_, is)| is.token_rules().next().is_some());
        let everywhere = callers != self.known.callers
            || !differing.is_empty() && tokens
            || differing
                .iter()
                .any(|attribute| concerns_all(attribute) || by_rules.contains(attribute));
        self.known.callers = callers;
        let rules = by_path.iter().zip(&self.known.by_path);
        let states = changes.renamed.iter().zip(have_same).zip(rules);
        let listeners = pairs.iter().zip(&mut self.listeners).zip(states);
        for (((was, is), listener), ((renamed, same), (paths_were, paths))) in listeners {
            let rules = match same {
                true => None,
                false => Some([Rules::of(*was), Rules::of(*is)]),
            };
            let everywhere = everywhere
                || rules
                    .as_ref()
                    .is_some_and(|[was, is]| !was.has_anywhere_of(is));
            let numbers = match std::sync::Arc::ptr_eq(paths_were, paths) {
                true => None,
                false => Some(paths.numbers(paths_were)),
            };
            listener.is_as_before = !renamed && numbers.is_none();
            for HostWork { known, .. } in &mut listener.hosts {
                let again = everywhere
                    || changes.any && known.leads.to_gateways
                    || known.leads.to_sidecars.iter().any(|sidecar| others.contains(sidecar))
                    // Which authorities are its own depends on the others.
                    || *renamed && known.name.starts_with('*')
                    || rules.as_ref().is_some_and(|[was, is]| !was.is_like(is, &known.name))
                    || differing.iter().any(|a| known.asks.tests.contains_key(a));
                if again {
                    known.answers = None;
                }
                if let Some(numbers) = &numbers {
                    let tried = known.tried.take();
                    known.tried = tried.and_then(|tried| tried.renumbered(numbers));
                }
            }
        }
    }

    /// The virtual hosts of a listener, with what is known of those that are the
    /// same.
    fn matched(
        &mut self,
        listener: ListenerView<'s>,
        kept: ListenerKnown<HostKnown>,
        changes: &mut Changes,
    ) -> ListenerKnown<HostWork<'s>> {
        let mut hosts = Vec::with_capacity(kept.hosts.len());
        let mut renamed = false;
        for known in kept.hosts {
            let Some(view) = listener.named(&known.name) else {
                renamed = true;
                self.forget(listener.index(), known);
                continue;
            };
            if known.digest.is_some() && known.digest == view.digest() {
                hosts.push(HostWork { view, known });
                continue;
            }
            changes.any = true;
            self.known.tests.remove(&known.asks);
            let mut host = self.host(listener, view);
            host.known.told = known.told;
            host.known.tried = known.tried;
            hosts.push(host);
        }
        if listener.hosts().count() != hosts.len() {
            renamed = true;
            let names: FxHashSet<&str> = hosts.iter().map(|host| host.view.name()).collect();
            let new = listener.hosts().filter(|view| !names.contains(view.name()));
            let new: Vec<_> = new.collect();
            hosts.extend(new.into_iter().map(|view| self.host(listener, view)));
            hosts.sort_by_key(|host| host.view.name());
        }
        changes.any |= renamed;
        changes.renamed.push(renamed);
        ListenerKnown {
            hosts,
            told: kept.told,
            is_as_before: false,
        }
    }

    /// A virtual host that is no more.
    fn forget(&mut self, listener: usize, known: HostKnown) {
        self.known.tests.remove(&known.asks);
        let place = (listener, Whose::Host(known.name));
        self.known
            .tally
            .exchange(&place, known.told.as_deref(), None);
    }
}

/// Whether answers look at an attribute also where no rule and no route does.
fn concerns_all(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Header(name) => {
            let own = [IDENTITY, "authorization", "cookie"].into_iter();
            let mut own = own.chain(PREFLIGHT);
            own.any(|own| own == &**name) || name.starts_with("x-forwarded-")
        }
        _ => true,
    }
}
