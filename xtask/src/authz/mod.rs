//! `sidegate authz` behind Envoy as Istio configures it, on the seed's cluster.

mod fast;
mod mesh;
mod peers;
mod program;
mod rows;
mod told;

use anyhow::{Context, Result, bail};

use self::mesh::{Form, Topology};
use crate::oracle::Check;

/// A check for each form and topology.
pub(crate) fn suite() -> Vec<Check> {
    let run = |topology, form| -> Box<dyn FnOnce() -> Result<()>> {
        Box::new(move || rows::run(topology, form))
    };
    vec![
        (
            "authz over gRPC, gateways on the same pods",
            run(Topology::Shared, Form::Grpc),
        ),
        (
            "authz over gRPC, a local gateway of its own",
            run(Topology::Separate, Form::Grpc),
        ),
        (
            "authz over HTTP, gateways on the same pods",
            run(Topology::Shared, Form::Http),
        ),
        (
            "authz over HTTP, a local gateway of its own",
            run(Topology::Separate, Form::Http),
        ),
        (
            "authz with the fast path, gateways on the same pods",
            run(Topology::Shared, Form::Fast),
        ),
    ]
}

/// One of them by its name, or all: `cargo xtask authz [NAME]`.
pub(crate) fn run(wanted: Option<&str>) -> Result<()> {
    let mut ran = 0;
    for (name, check) in suite() {
        if wanted.is_none_or(|wanted| name.contains(wanted)) {
            ran += 1;
            println!("{name}");
            check().with_context(|| name.to_owned())?;
        }
    }
    if ran == 0 {
        bail!("no check is called so");
    }
    Ok(())
}
