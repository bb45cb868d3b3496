//! Ports in policies, and port translation of Gateways.

use resources::Object;
use resources::istio::AuthorizationPolicy;

use crate::context::{Context, lists};
use crate::finding::{Finding, Lint, Severity};

const SERVICE_PORT: Lint = Lint(
    "H1",
    Severity::High,
    "Service port where a listener port is expected",
);
const AMBIGUOUS: Lint = Lint(
    "H10",
    Severity::High,
    "Gateway port that two Services translate",
);
const NO_LISTENER: Lint = Lint("S5", Severity::Medium, "port that no listener has");

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for policy in &context.cluster.authorization_policies {
        if context.on_gateways(policy) {
            wrong_port(context, policy, found);
        }
    }
    ambiguous(context, found);
}

fn wrong_port(
    context: &Context<'_>,
    policy: &Object<AuthorizationPolicy>,
    found: &mut Vec<Finding>,
) {
    let pods = context.pods_of(policy);
    let listeners: Vec<u16> = pods.iter().flat_map(|p| p.listeners()).collect();
    for list in lists(&policy.spec) {
        if !matches!(list.name, "ports" | "notPorts" | "destination.port") {
            continue;
        }
        for (field, value) in list.items() {
            let Ok(number) = value.parse::<u16>() else {
                continue;
            };
            if listeners.contains(&number) {
                continue;
            }
            let never = if list.negated {
                "so it excludes nothing"
            } else {
                "so the rule never matches"
            };
            let exposed = pods
                .iter()
                .flat_map(|p| p.exposed())
                .find(|exposed| exposed.port == number);
            if let Some(exposed) = exposed {
                let (target, service) = (exposed.listener, &exposed.service.name);
                let message = format!(
                    "`{value}` is a port of Service `{service}`; policies compare the listener's port, which is `{target}`, {never}; write `{target}`"
                );
                found.push(
                    SERVICE_PORT
                        .on(policy, field, message)
                        .fix(format!("\"{target}\"")),
                );
            } else {
                let mut known = listeners.clone();
                known.sort_unstable();
                known.dedup();
                let known: Vec<String> = known.iter().map(|p| format!("`{p}`")).collect();
                let message = format!(
                    "no listener of these pods has port `{value}`, {never}; there are {}",
                    known.join(", ")
                );
                found.push(NO_LISTENER.on(policy, field, message));
            }
        }
    }
}

fn ambiguous(context: &Context<'_>, found: &mut Vec<Finding>) {
    for pods in context.pods.iter().filter(|p| p.is_gateway()) {
        for gateway in &pods.gateways {
            for (i, server) in gateway.spec.servers.iter().enumerate() {
                let number = server.port.number;
                let mut through = pods
                    .exposed()
                    .iter()
                    .filter(|exposed| exposed.translates && exposed.port == number);
                let Some(first) = through.next() else {
                    continue;
                };
                let other = through.find(|exposed| exposed.listener != first.listener);
                if let Some(other) = other.filter(|_| gateway.spec.attached.is_none()) {
                    let (chosen, service) = (&first.service.name, &other.service.name);
                    let (first, other) = (first.listener, other.listener);
                    let message = format!(
                        "Services `{chosen}` and `{service}` translate port `{number}` to `{first}` and to `{other}`: the older one wins, and to create it anew moves the listener; put the label `experimental.istio.io/disable-gateway-port-translation: \"true\"` on the Service that is not meant"
                    );
                    found.push(AMBIGUOUS.on(
                        gateway,
                        format!("spec.servers[{i}].port.number"),
                        message,
                    ));
                }
            }
        }
    }
}
