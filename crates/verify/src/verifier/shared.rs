//! Virtual hosts that are divided among threads: each is answered alone, by an
//! engine of the thread's own.

use std::num::NonZero;

use policy::HostView;
use rustc_hash::FxHashMap;

use super::Work;
use crate::analysis::Analysis;
use crate::claims::Claim;
use crate::engine::Engine;
use crate::questions::Asked;
use crate::tally::Answers;
use crate::universe::Universe;

/// Virtual hosts for which a thread is worth it: what they share is found out
/// in each.
const HOSTS_EACH: usize = 128;

/// Those that one thread takes at a time.
const NEIGHBOURS: usize = 32;

/// Each has sets of its own, and may take as much memory.
const MAX_THREADS: usize = 4;

/// What threads found out, by listener and virtual host.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) answers: FxHashMap<(usize, usize), Option<Answers>>,
    pub(super) given_up: Vec<String>,
    pub(super) is_exhausted: bool,
}

impl Shared {
    fn take_in(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.given_up.extend(other.given_up);
        self.is_exhausted |= other.is_exhausted;
    }
}

impl<'s> Work<'s> {
    /// As many as there are cores, where there is enough to do for each.
    pub(super) fn threads(&self) -> usize {
        let listeners = self.listeners.iter();
        let hosts = listeners.flat_map(|listener| &listener.hosts);
        let to_do = hosts.filter(|host| host.known.answers.is_none()).count();
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        (to_do / HOSTS_EACH).min(cores).min(MAX_THREADS)
    }

    /// Has other threads look at their part of the virtual hosts that are to
    /// do, where these are many, while this one looks at its own; a virtual host
    /// is answered alone.
    pub(super) fn share(
        &self,
        threads: usize,
        asked: &Asked,
        claims: &[Claim],
        classes: &Universe,
    ) -> Shared {
        let listeners = self.listeners.iter().enumerate();
        let to_do: Vec<(usize, usize, HostView<'s>)> = listeners
            .flat_map(|(listener, known)| {
                let hosts = known.hosts.iter().enumerate();
                let hosts = hosts.filter(|(_, host)| host.known.answers.is_none());
                hosts.map(move |(number, host)| (listener, number, host.view))
            })
            .collect();
        if threads < 2 || to_do.is_empty() {
            return Shared::default();
        }
        // Neighbours are often alike, and then share what was found out.
        let chunks: Vec<_> = to_do.chunks(NEIGHBOURS).collect();
        let part = |thread: usize| {
            let mut engine = Engine::over(classes.clone());
            let sets = &self.known.sets;
            let analysis = Analysis::with(&mut engine, self.snapshot, &asked.intents, sets);
            let mut out = Shared::default();
            for (listener, number, view) in chunks
                .iter()
                .skip(thread)
                .step_by(threads)
                .copied()
                .flatten()
            {
                let Some(at) = analysis.listeners.get(*listener) else {
                    continue;
                };
                if engine.sets.exhausted() {
                    break;
                }
                let answers = Answers::of(&mut engine, &analysis, claims, at, *view);
                out.answers.insert((*listener, *number), answers);
                analysis.done_with_last();
            }
            out.is_exhausted = engine.sets.exhausted();
            out.given_up = engine.given_up;
            out
        };
        let part = &part;
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|thread| scope.spawn(move || part(thread)))
                .collect();
            let mut all = part(0);
            for other in others {
                match other.join() {
                    Ok(other) => all.take_in(other),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use policy::{Settings, Snapshot};

    use super::*;
    use crate::callers::Callers;

    const PLATFORM: &str = "
---
apiVersion: sidegate.dev/v1alpha1
kind: Sidegate
metadata: {name: sidegate, namespace: istio-system}
spec:
  mode: as-written
  entrances: {external: istio-system/outside, local: istio-system/inside}
  platform: {namespaces: [team0, team1], gateways: [istio-system/outside]}
";

    /// What three threads say of each virtual host is what one says.
    #[test]
    fn threads_say_what_one_says() {
        let text = format!("{}{PLATFORM}", testkit::Synthetic::of_size(1_000).yaml());
        let cluster = resources::parse_layers(&[vec![("synthetic.yaml".into(), text)]]).unwrap();
        let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
        let asked = Asked::default();
        let claims = asked.claims();
        let work = Work::new(&snapshot, &asked, None);
        let classes = Universe::of(&[&snapshot], Callers::of(&[&snapshot], &[]));
        let say = |threads| {
            let shared = work.share(threads, &asked, &claims, &classes);
            assert!(!shared.is_exhausted && shared.given_up.is_empty());
            let mut all: Vec<_> = shared.answers.into_iter().collect();
            all.sort_by_key(|(place, _)| *place);
            all
        };
        let (two, three) = (say(2), say(3));
        let mut engine = Engine::over(classes.clone());
        let analysis = Analysis::with(&mut engine, &snapshot, &[], &work.known.sets);
        let mut findings = 0;
        assert_eq!(two.len(), three.len());
        for (((listener, number), two), (_, three)) in two.iter().zip(&three) {
            let at = analysis.listeners.get(*listener).unwrap();
            let host = work
                .listeners
                .get(*listener)
                .unwrap()
                .hosts
                .get(*number)
                .unwrap();
            let one = Answers::of(&mut engine, &analysis, &claims, at, host.view);
            let one = format!("{one:?}");
            assert_eq!(one, format!("{two:?}"), "{}", host.view.name());
            assert_eq!(one, format!("{three:?}"), "{}", host.view.name());
            findings += two.as_ref().unwrap().findings.len();
        }
        assert!(
            two.len() >= 100 && findings > 100,
            "{}, {findings}",
            two.len()
        );
    }
}
