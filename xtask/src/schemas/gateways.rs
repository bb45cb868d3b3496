//! Schemas of the objects that `sidegate authz manifests --for` prints for Envoy Gateway, Contour and Traefik, as these
//! projects publish them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use crate::shell;

/// Where the definitions of a project are, and whose of its kinds and fields are printed.
struct Project {
    name: &'static str,
    module: &'static str,
    version: &'static str,
    file: &'static str,
    /// Kinds, and of large ones the fields of `spec` that matter; the others are left out.
    kinds: &'static [(&'static str, &'static [&'static str])],
}

const PROJECTS: [Project; 3] = [
    Project {
        name: "envoy-gateway",
        module: "github.com/envoyproxy/gateway",
        version: "v1.9.1",
        file: "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_securitypolicies.yaml",
        kinds: &[("SecurityPolicy", &["targetRefs", "extAuth"])],
    },
    Project {
        name: "contour",
        module: "github.com/projectcontour/contour",
        version: "v1.33.8",
        file: "examples/contour/01-crds.yaml",
        kinds: &[("ExtensionService", &[]), ("HTTPProxy", &["virtualhost"])],
    },
    Project {
        name: "traefik",
        module: "github.com/traefik/traefik/v3",
        version: "v3.7.13",
        file: "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml",
        kinds: &[
            ("IngressRoute", &[]),
            ("Middleware", &["forwardAuth", "addPrefix"]),
        ],
    },
];

/// Settings of connections, which are long and not printed.
const LEFT_OUT: [&str; 2] = ["backendSettings", "healthCheck"];

/// Writes the schemas down anew, or compares them with what is written; how many kinds there are.
pub(super) fn record(check: bool) -> Result<usize> {
    let mut count = 0;
    for project in &PROJECTS {
        let mut kinds = Map::new();
        let file = project.folder()?.join(project.file);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let all: Vec<Value> =
            serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())?;
        for (kind, fields) in project.kinds {
            let named = |definition: &&Value| {
                definition
                    .pointer("/spec/names/kind")
                    .and_then(Value::as_str)
                    == Some(kind)
            };
            let definition = all.iter().find(named);
            let spec = definition.and_then(|definition| {
                definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
            });
            let mut spec =
                plain(spec.with_context(|| format!("{} has no {kind}", file.display()))?);
            if let Some(known) = spec.get_mut("properties").and_then(Value::as_object_mut)
                && !fields.is_empty()
            {
                known.retain(|name, _| fields.contains(&name.as_str()));
            }
            kinds.insert((*kind).to_owned(), spec);
        }
        count += kinds.len();
        let mut text = serde_json::to_string_pretty(&Value::Object(kinds))?;
        text.push('\n');
        let name = format!("crates/sidegate/tests/schemas/{}.json", project.name);
        let path = shell::root().join(name);
        if !check {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(&path, text)?;
        } else if std::fs::read_to_string(&path)? != text {
            bail!(
                "{}: the schemas say otherwise by now: run `cargo xtask record --schemas`",
                path.display()
            );
        }
    }
    Ok(count)
}

impl Project {
    fn folder(&self) -> Result<PathBuf> {
        let (module, version) = (self.module, self.version);
        let answer = shell::output(
            Command::new("go")
                .args(["mod", "download", "-json"])
                .arg(format!("{module}@{version}"))
                .current_dir(std::env::temp_dir()),
        );
        let answer: Value =
            serde_json::from_str(&answer).with_context(|| format!("the Go module {module}"))?;
        let folder = answer.get("Dir").and_then(Value::as_str);
        Ok(PathBuf::from(folder.with_context(|| {
            format!("the Go module {module} has no folder")
        })?))
    }
}

/// Without words for people, and what is left out.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| {
                !(*name == "description" && value.is_string() || LEFT_OUT.contains(&name.as_str()))
            });
            Value::Object(
                kept.map(|(name, value)| (name.clone(), plain(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}
