//! Every file of a folder loads: the one that `SIDEGATE_FIXTURES` names, or
//! the project's own examples. File by file, because overlays repeat objects.
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::path::{Path, PathBuf};

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_file_loads() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let folder = std::env::var("SIDEGATE_FIXTURES").unwrap_or_else(|_| own.to_owned());
    let mut files = Vec::new();
    yaml_files(Path::new(&folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no YAML below {folder}");
    let failures: Vec<String> = files
        .iter()
        // A layer deletes what only the layer below it has.
        .filter(|file| !file.ends_with("seed/blog-fix.yaml"))
        .filter_map(|file| resources::load(std::slice::from_ref(file)).err())
        .map(|errors| errors.to_string())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn example(name: &str) -> resources::File {
    let path = format!("{}/../../examples/seed/{name}", env!("CARGO_MANIFEST_DIR"));
    (name.into(), std::fs::read_to_string(path).unwrap())
}

#[test]
fn the_seed_has_three_variants() {
    let layers = |names: &[&str]| {
        let layers: Vec<_> = names.iter().map(|name| vec![example(name)]).collect();
        resources::parse_layers(&layers).unwrap()
    };
    let broken = layers(&["cluster.yaml"]);
    assert_eq!(broken.envoy_filters.len(), 1);
    assert_eq!(broken.mesh_istio_version.as_deref(), Some("1.16"));
    assert!(broken.mesh.extension_providers.is_empty());
    assert_eq!(broken.unknown_kinds, []);
    assert!(
        broken
            .predictors
            .iter()
            .any(|p| &*p.service.name == "sklearn-iris-predictor-00001")
    );

    let fixed = layers(&["cluster.yaml", "blog-fix.yaml"]);
    assert!(fixed.envoy_filters.is_empty());
    assert_eq!(fixed.authorization_policies.len(), 1);
    let provider = &fixed.mesh.extension_providers[0];
    let authorizer = provider.envoy_ext_authz_http.as_ref().unwrap();
    assert_eq!(
        (provider.name.as_str(), authorizer.port),
        ("dex-auth-provider", 8080)
    );

    // The same, written out.
    let whole = layers(&["blog-fix/cluster.yaml"]);
    assert_eq!(whole.envoy_filters.len(), 0);
    assert_eq!(whole.authorization_policies.len(), 1);
    assert_eq!(whole.mesh.extension_providers.len(), 1);

    let enforced = layers(&["cluster.yaml", "sidegate.yaml"]);
    let sidegate = &enforced.sidegate.as_ref().unwrap().spec;
    assert_eq!(sidegate.mode, resources::sidegate::Mode::Enforce);
}
