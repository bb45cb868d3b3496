//! Who gets straight to pods with a sidecar, past every gateway.

use std::collections::BTreeMap;

use ::verify::Through;
use policy::{Channel, Channels, Destination, ListenerView, Snapshot};
use resources::core::Service;
use resources::intents::{RouteOwner, Target};
use resources::{Cluster, Object, ServiceName};
use serde_json::{Value, json};

/// A port of a Service, and what pods of each namespace get there.
pub(super) struct Straight {
    service: ServiceName,
    port: u16,
    mode: &'static str,
    callers: Vec<Caller>,
}

/// Pods of a namespace that come in the same way.
struct Caller {
    namespace: String,
    channel: Channel,
    answer: &'static str,
}

/// The ports of the target's Services whose pods have a sidecar; none for
/// targets that name a host or a path.
pub(super) fn ask(cluster: &Cluster, snapshot: &Snapshot, target: &Target) -> Vec<Straight> {
    let channels = Channels::new(cluster);
    let mut all = Vec::new();
    for (service, port) in targets(cluster, target) {
        let name = name_of(service);
        let destination = Destination::Service {
            service: name.clone(),
            port,
        };
        let Some(index) = snapshot.next_sidecar(&destination) else {
            continue;
        };
        let Some(view) = snapshot.sidecars().find(|view| view.index() == index) else {
            continue;
        };
        if view.is_uncertain() {
            continue;
        }
        // By namespace and channel, each once.
        let mut callers: BTreeMap<(&str, Channel), ()> = BTreeMap::new();
        for workload in &cluster.workloads {
            let channel = channels.of(workload, service, port);
            callers.insert((&workload.meta.namespace, channel), ());
        }
        all.push(Straight {
            service: name,
            port,
            mode: mode(&view),
            callers: answers(snapshot, index, callers.into_keys()),
        });
    }
    all
}

fn answers<'c>(
    snapshot: &Snapshot,
    index: usize,
    callers: impl Iterator<Item = (&'c str, Channel)>,
) -> Vec<Caller> {
    let callers: Vec<(&str, Channel)> = callers.collect();
    let names = callers.iter().map(|(_, channel)| match channel {
        Channel::As(name) => Some(name.as_str()),
        Channel::Plain | Channel::Unknown => None,
    });
    let names: Vec<Option<&str>> = names.collect();
    let found = ::verify::straight(snapshot, index, &names);
    let all = callers.into_iter().zip(found);
    all.map(|((namespace, channel), through)| Caller {
        namespace: namespace.to_owned(),
        answer: match through {
            _ if channel == Channel::Unknown => "not decided",
            Through::All => "yes",
            Through::Some => "some requests",
            Through::None => "no",
            Through::NotDecided => "not decided",
        },
        channel,
    })
    .collect()
}

fn targets<'c>(cluster: &'c Cluster, target: &Target) -> Vec<(&'c Object<Service>, u16)> {
    if target.host.is_some() || target.path.is_some() {
        return Vec::new();
    }
    let wanted: Vec<(ServiceName, Option<u16>)> = match (&target.service, target.owner) {
        (Some(service), _) => {
            let named = resources::intents::service(service);
            let named = named.map(|(namespace, name, port)| {
                let (namespace, name) = (namespace.into(), name.into());
                (ServiceName { namespace, name }, port)
            });
            named.into_iter().collect()
        }
        (None, Some(RouteOwner::Model)) => {
            let predictors = cluster.predictors.iter();
            predictors.map(|p| (p.service.clone(), None)).collect()
        }
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (name, only) in wanted {
        let Some(service) = cluster.service(&name) else {
            continue;
        };
        let ports = service.spec.ports.iter().map(|port| port.port);
        let ports = ports.filter(|port| only.is_none_or(|only| only == *port));
        found.extend(ports.map(|port| (service, port)));
    }
    found
}

fn name_of(service: &Object<Service>) -> ServiceName {
    ServiceName {
        namespace: service.meta.namespace.as_str().into(),
        name: service.meta.name.as_str().into(),
    }
}

fn mode(view: &ListenerView<'_>) -> &'static str {
    match (view.tls().is_some(), view.takes_plain_text()) {
        (true, true) => "mutual TLS and plain text",
        (true, false) => "mutual TLS only",
        (false, _) => "plain text only",
    }
}

impl Caller {
    fn comes(&self) -> String {
        match &self.channel {
            Channel::As(name) => format!("as {name}"),
            Channel::Plain => "over plain text, as nobody".to_owned(),
            Channel::Unknown => "in a way that is not known".to_owned(),
        }
    }
}

impl Straight {
    pub(super) fn as_text(&self) -> String {
        let mut out = format!(
            "\nStraight to the pods of {}:{}, past the gateways; their sidecar takes {}:\n\n",
            self.service, self.port, self.mode
        );
        for caller in &self.callers {
            let name = format!("pods of {}", caller.namespace);
            out.push_str(&format!(
                "{name:<28}{:<16}{}\n",
                caller.answer,
                caller.comes()
            ));
        }
        out
    }

    pub(super) fn as_json(&self) -> Vec<Value> {
        let callers = self.callers.iter();
        callers
            .map(|caller| {
                json!({
                    "straightTo": format!("{}:{}", self.service, self.port),
                    "from": {"namespace": caller.namespace},
                    "comes": caller.comes(),
                    "answer": caller.answer,
                })
            })
            .collect()
    }
}
