//! What a sidecar makes of requests that a gateway sends on, to read.

use crate::chain::FilterStep;
use crate::connection::{Certificate, ClientTls};
use crate::permit::Destination;
use crate::rules::Action;
use crate::sidecars::Meeting;
use crate::snapshot::{Listener, Snapshot};
use crate::view::ListenerView;

/// A sidecar, as requests of one gateway meet it.
#[derive(Clone, Copy, Debug)]
pub struct InsideView<'a> {
    /// Its listener.
    pub listener: ListenerView<'a>,
    /// The name that it knows the gateway by, none over plain text; or why the
    /// connection comes to nothing.
    pub sender: Result<Option<&'a str>, &'static str>,
    /// Whether that name is a guess.
    pub is_guess: bool,
    /// Whether it is not known that the pods have a sidecar: the decision
    /// assumes none.
    pub is_uncertain: bool,
    /// Whether something there is not understood and may change answers.
    pub is_unclear: bool,
    /// Whether it leaves every path as the gateway has read it.
    pub reads_alike: bool,
}

impl Snapshot {
    /// The sidecar that a destination is behind, by its index.
    pub fn next_sidecar(&self, destination: &Destination) -> Option<usize> {
        self.sidecars
            .get(&destination.service_port()?)
            .map(|way| way.listener)
    }
}

impl<'a> ListenerView<'a> {
    /// Whether it is a sidecar's.
    pub fn is_sidecar(&self) -> bool {
        self.listener.sidecar.is_some()
    }

    /// Whether it is not known that the pods have it.
    pub fn is_uncertain(&self) -> bool {
        let sidecar = self.listener.sidecar.as_ref();
        sidecar.is_some_and(|sidecar| sidecar.uncertain.is_some())
    }

    /// Whether plain text is taken: where nothing else is spoken, and by
    /// sidecars beside mutual TLS.
    pub fn takes_plain_text(&self) -> bool {
        self.listener.tls.is_none() || self.listener.takes_plain()
    }

    /// Whether it leaves every path as another listener has read it.
    pub fn reads_as(&self, before: ListenerView<'_>) -> bool {
        let rules = &self.listener.intake.paths;
        rules.leave_what(&before.listener.intake.paths)
    }

    /// Whether it is a sidecar's that passes on TLS of the mesh unread: what the
    /// pods make of it is not in the YAML.
    pub fn passes_unread(&self) -> bool {
        let sidecar = self.listener.sidecar.as_ref();
        self.listener.tls.is_none()
            && sidecar.is_some_and(|sidecar| self.listener.opaque || sidecar.raw.is_some())
    }

    /// What of a sidecar takes the connection of a client: for TLS that is not
    /// the mesh's a part of its own.
    pub fn for_client(self, tls: Option<&ClientTls>) -> Self {
        let listener = self.listener.passes(tls).unwrap_or(self.listener);
        Self { listener, ..self }
    }

    /// Whether a sidecar takes no connection of a client that shows this name,
    /// or of one that speaks plain text.
    pub fn refuses(&self, name: Option<&str>) -> bool {
        let Some(name) = name else {
            return !self.takes_plain_text();
        };
        let client = ClientTls {
            sni: None,
            certificate: Some(Certificate::of(name)),
        };
        let sidecar = self.listener.sidecar.as_ref();
        let foreign = sidecar.and_then(|sidecar| sidecar.refuses(&client));
        self.listener.tls.is_none() || foreign.is_some()
    }

    /// The sidecar that a destination is behind, where it can change what
    /// becomes of requests of this gateway.
    pub fn inside(&self, destination: &Destination) -> Option<InsideView<'a>> {
        if self.is_sidecar() {
            return None;
        }
        let (way, listener) = self.snapshot.sidecar_of(destination)?;
        let sidecar = listener.sidecar.as_ref()?;
        let sender = match way.meet(self.listener, listener) {
            Meeting::Takes(shown) => {
                let uri = shown.and_then(|shown| shown.certificate?.uris.first());
                Ok(uri.map(|uri| &**uri))
            }
            Meeting::Refuses(why) => Err(why),
        };
        let view = InsideView {
            listener: self.snapshot.view(way.listener)?,
            sender,
            is_guess: sidecar.sender_unclear.is_some() || self.listener.account.guessed.is_some(),
            is_uncertain: sidecar.uncertain.is_some(),
            is_unclear: !listener.not_understood.is_empty()
                || way.unclear(self.listener).is_some()
                // What is found in connections is not followed.
                || self.listener.opaque && (!self.listener.ends_tls() || sidecar.raw.is_some()),
            reads_alike: listener
                .intake
                .paths
                .leave_what(&self.listener.intake.paths),
        };
        let matters = view.is_unclear || view.sender.is_err() || listener.decides();
        matters.then_some(view)
    }
}

impl Listener {
    /// Whether some of its steps may end a request.
    fn decides(&self) -> bool {
        self.chain.filters.iter().any(|filter| match &filter.step {
            FilterStep::Gate(_)
            | FilterStep::Custom(_)
            | FilterStep::Authorizer(_)
            | FilterStep::Jwt
            | FilterStep::Rules(_)
            | FilterStep::Headers { .. } => true,
            FilterStep::Policies(action) => *action != Action::Audit && self.enforces(*action),
            FilterStep::Access
            | FilterStep::Fault
            | FilterStep::Cors
            | FilterStep::Other
            | FilterStep::Router => false,
        })
    }
}
