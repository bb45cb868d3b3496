//! Routes to what the configuration does not hold.

use resources::ServiceName;

use crate::context::Context;
use crate::finding::{Finding, Lint, Severity};

const MISSING: Lint = Lint(
    "R7",
    Severity::High,
    "route to a Service that is not among the objects",
);

pub(crate) fn lints(context: &Context<'_>, found: &mut Vec<Finding>) {
    for service in &context.cluster.virtual_services {
        let mut told: Vec<String> = Vec::new();
        for (index, http) in service.spec.http.iter().enumerate() {
            for (position, to) in http.route.iter().enumerate() {
                let written = to.destination.host.as_str();
                let host = match written.contains('.') {
                    true => written.to_owned(),
                    false => format!("{written}.{}.svc.cluster.local", service.meta.namespace),
                };
                if http.origin.is_some() || is_known(context, &host) || told.contains(&host) {
                    continue;
                }
                let message = format!(
                    "there is no Service or ServiceEntry `{host}` here, so the route answers 503 and counts as closed; \
                     if the cluster has it, claims say nothing about who reaches it: add it to what is read"
                );
                let field = format!("spec.http[{index}].route[{position}].destination.host");
                found.push(MISSING.on(service, field, message));
                told.push(host);
            }
        }
    }
}

/// Whether the mesh has such a place, under this very name.
fn is_known(context: &Context<'_>, host: &str) -> bool {
    let name = ServiceName::from_host(host, "").filter(|name| name.host() == host);
    name.is_some_and(|name| context.cluster.service(&name).is_some())
        || context
            .cluster
            .endpoints
            .iter()
            .any(|e| e.spec.host == host)
}
