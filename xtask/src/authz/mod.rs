//! `sidegate authz` on the seed's cluster, behind Envoy as Istio configures it and behind other gateways.

mod away;
mod browser;
mod bypasses;
mod certificates;
mod clients;
mod demo;
mod exempt;
mod fast;
mod foreign;
mod kubeflow;
mod mesh;
mod odd;
mod open;
mod others;
mod peers;
mod pipelines;
mod program;
mod rows;
mod seed;
mod streams;
mod tokens;
mod told;
mod wire;

use anyhow::{Context, Result, bail};

use self::kubeflow::Version::{Current, V1_3, V1_8, V1_10};
use self::kubeflow::standard::{self, Routes};
use self::mesh::Form;
pub(crate) use self::mesh::{dex_config, pass_key};
use self::others::Other;
pub(crate) use self::program::Authz;
use self::seed::Topology;
pub(crate) use self::seed::own_secrets;
use crate::oracle::Check;

/// A check for each form and topology.
pub(crate) fn suite() -> Vec<Check> {
    let seed = |topology, form| -> Box<dyn FnOnce() -> Result<()>> {
        Box::new(move || rows::run(topology, form))
    };
    let ours = |version, form| -> Box<dyn FnOnce() -> Result<()>> {
        Box::new(move || kubeflow::ours(version, form))
    };
    let in_place = |version| -> Box<dyn FnOnce() -> Result<()>> {
        Box::new(move || kubeflow::in_place(version))
    };
    let behind =
        |other| -> Box<dyn FnOnce() -> Result<()>> { Box::new(move || rows::behind(other)) };
    vec![
        (
            "authz over gRPC, gateways on the same pods",
            seed(Topology::Shared, Form::Grpc),
        ),
        (
            "authz over gRPC, a local gateway of its own",
            seed(Topology::Separate, Form::Grpc),
        ),
        (
            "authz over HTTP, gateways on the same pods",
            seed(Topology::Shared, Form::Http),
        ),
        (
            "authz over HTTP, a local gateway of its own",
            seed(Topology::Separate, Form::Http),
        ),
        (
            "authz with the fast path, gateways on the same pods",
            seed(Topology::Shared, Form::Fast),
        ),
        ("authz with people in Chromium", Box::new(browser::run)),
        (
            "authz with people in Chromium, over HTTP",
            Box::new(browser::apart),
        ),
        ("authz as the demonstration shows it", Box::new(demo::check)),
        ("authz in Kubeflow 1.3", ours(V1_3, Form::Grpc)),
        ("authz in Kubeflow 1.8", ours(V1_8, Form::Http)),
        ("authz in Kubeflow 1.10", ours(V1_10, Form::Http)),
        ("authz in Kubeflow of today", ours(Current, Form::Grpc)),
        (
            "authz before models without Knative, by Ingress",
            Box::new(|| standard::run(Routes::Ingress, Form::Grpc)),
        ),
        (
            "authz before models without Knative, by the Gateway API",
            Box::new(|| standard::run(Routes::GatewayApi, Form::Http)),
        ),
        ("authz in the place of Kubeflow 1.3's login", in_place(V1_3)),
        ("authz in the place of Kubeflow 1.8's login", in_place(V1_8)),
        (
            "authz in the place of Kubeflow 1.10's login",
            in_place(V1_10),
        ),
        (
            "authz in the place of the login of Kubeflow of today",
            in_place(Current),
        ),
        (
            "authz and the SDK of Kubeflow Pipelines",
            Box::new(kubeflow::pipelines::run),
        ),
        (
            "authz says which login has to go first",
            Box::new(kubeflow::named_first),
        ),
        ("authz behind nginx", behind(Other::Nginx)),
        (
            "authz behind Envoy alone, over gRPC",
            behind(Other::Envoy { http: false }),
        ),
        (
            "authz behind Envoy alone, over HTTP",
            behind(Other::Envoy { http: true }),
        ),
        ("authz behind Caddy", behind(Other::Caddy)),
    ]
}

/// What runs beside other suites, for it mostly waits.
pub(crate) const BESIDE: (&str, fn() -> Result<()>) =
    ("authz with WebSockets that stay open", open::run);

/// One of them by its name, or all: `cargo xtask authz [NAME]`; or what they are about, shown.
pub(crate) fn run(wanted: Option<&str>) -> Result<()> {
    if wanted == Some("--demo") {
        return demo::run();
    }
    let mut ran = 0;
    let (name, check) = BESIDE;
    let beside: Check = (name, Box::new(check));
    for (name, check) in suite().into_iter().chain([beside]) {
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
