//! The built-in questions about the seed's cluster, and the engine against the
//! decision.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod agreement;
mod behind_sidecars;
mod bounds;
mod certificates;
mod clusters;
mod connections;
mod identity;
mod intents;
mod joined;
mod kept;
mod kinds;
mod reading;
mod roaming;
mod scripts;
mod seed;
mod sidecars;
mod tokens;
mod unused;

use policy::{Settings, Snapshot};
use resources::File;

fn settings() -> Settings {
    Settings {
        provider_paths: vec!["/dex/auth".into(), "/dex/token".into(), "/dex/keys".into()],
        login_paths: vec!["/login/oidc".into(), "/authservice/logout".into()],
        login_issuer: Some("http://dex.auth.svc.cluster.local:5556/dex".into()),
        cluster_issuer: Some("https://kubernetes.default.svc.cluster.local".into()),
        ..Settings::default()
    }
}

fn compile(texts: &[&str]) -> Snapshot {
    let layers: Vec<Vec<File>> = texts
        .iter()
        .map(|t| vec![("test.yaml".into(), (*t).to_owned())])
        .collect();
    let cluster = resources::parse_layers(&layers).unwrap();
    Snapshot::compile(&cluster, &settings()).unwrap()
}
