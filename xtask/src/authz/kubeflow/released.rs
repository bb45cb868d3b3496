//! Policies and Gateways of our clusters are those of Kubeflow's releases, where these lie beside the checkout.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Kinds that say who gets through; of the others ours have what the rows need.
const KINDS: [&str; 2] = ["AuthorizationPolicy", "Gateway"];

/// Compares each of our files with the folder of its release; how many objects were the same.
pub(super) fn compare(files: &[(&'static str, String)], release: &str) -> Result<()> {
    let Some(fixtures) = std::env::var_os("SIDEGATE_FIXTURES") else {
        println!("not compared with {release}: SIDEGATE_FIXTURES names no folder");
        return Ok(());
    };
    let folder = Path::new(&fixtures).join(release);
    let mut released: HashMap<String, Vec<Value>> = HashMap::new();
    for file in yaml_below(&folder)? {
        let text = std::fs::read_to_string(&file)?;
        for (name, spec) in objects(&text) {
            released.entry(name).or_default().push(spec);
        }
    }
    let mut same = 0;
    for (name, spec) in files.iter().flat_map(|(_, text)| objects(text)) {
        // Without a counterpart it is ours: a foreign application's, or a model's.
        let Some(known) = released.get(&name) else {
            continue;
        };
        // What overlays patch is in several files.
        let fields = spec.as_object().into_iter().flatten();
        for (field, value) in fields {
            if !known.iter().any(|one| one.get(field) == Some(value)) {
                bail!("{name}: `{field}` is {value}, and of {release} {known:?}");
            }
        }
        same += 1;
    }
    ensure!(same > 0, "nothing of {release} is in our files");
    Ok(())
}

fn objects(text: &str) -> Vec<(String, Value)> {
    let documents = text.split("\n---");
    let parsed = documents.filter_map(|one| serde_saphyr::from_str::<Value>(one).ok());
    parsed
        .filter_map(|object| {
            let kind = object.get("kind")?.as_str()?;
            let name = object.pointer("/metadata/name")?.as_str()?;
            let spec = object.get("spec")?.clone();
            KINDS
                .contains(&kind)
                .then(|| (format!("{kind} {name}"), spec))
        })
        .collect()
}

fn yaml_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                found.push(path);
            }
        }
    }
    Ok(found)
}
