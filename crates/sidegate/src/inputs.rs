//! From the command line to resources: built-in examples, files, folders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum as _;
use resources::{Cluster, LoadErrors};

use crate::cli::{ClusterArgs, Example};
use crate::output::{self, BadInput, Style};

/// Where the YAML comes from; can be read again.
#[derive(Clone, Debug)]
pub(crate) enum Inputs {
    /// A built-in example.
    Example(Example),
    /// Files and folders, and the text of standard input if `-` is among them.
    Paths {
        paths: Vec<PathBuf>,
        stdin: Option<String>,
    },
}

/// One layer of YAML: file names and texts.
type Layer = Vec<(Arc<str>, String)>;

macro_rules! example_file {
    ($path:literal) => {
        (
            concat!("examples/", $path),
            include_str!(concat!("../../../examples/", $path)),
        )
    };
}

const CLUSTER: &[(&str, &str)] = &[example_file!("seed/cluster.yaml")];
const BLOG_FIX: &[(&str, &str)] = &[example_file!("seed/blog-fix.yaml")];
const SIDEGATE: &[(&str, &str)] = &[example_file!("seed/sidegate.yaml")];
const KUBEFLOW: &[(&str, &str)] = &[example_file!("kubeflow/cluster.yaml")];

/// The iris model of the examples, in place of the bucket.
pub(crate) const EXAMPLE_MODEL: &[u8] =
    include_bytes!("../../../examples/models/sklearn-iris/model.joblib");

/// The bucket folder of the examples' model.
pub(crate) const EXAMPLE_MODEL_URI: &str = "gs://kfserving-examples/models/sklearn/1.0/model";

/// A word for who gives parts to what puts them together.
const KUSTOMIZE: &str =
    "there are parts for kustomize, try `kubectl kustomize FOLDER | sidegate … -`";

/// A platform for YAML that has no Gateway of its own.
const PLATFORM: &[(&str, &str)] = &[("built-in platform", include_str!("platform.yaml"))];

/// What is the platform's there, unless the YAML says it itself.
const PLATFORM_ENFORCED: &[(&str, &str)] =
    &[("built-in platform", include_str!("platform-enforced.yaml"))];

impl Inputs {
    /// What the command line names; the example `seed` if nothing.
    pub(crate) fn new(paths: Vec<PathBuf>, args: &ClusterArgs) -> anyhow::Result<Self> {
        match (args.example, paths.is_empty()) {
            (Some(_), false) => Err(BadInput(vec![
                "both `--example` and files are given; expected one of them".into(),
            ])
            .into()),
            (Some(example), true) => Ok(Self::Example(example)),
            (None, true) => Ok(Self::Example(Example::Seed)),
            (None, false) => {
                if let [path] = paths.as_slice()
                    && let Some(name) = path.to_str().and_then(|p| p.strip_prefix("example:"))
                {
                    return Ok(Self::Example(example_named(name)?));
                }
                let wanted = paths.iter().find(|path| path.as_os_str() == "-");
                let stdin = wanted.map(|path| resources::read_files(std::slice::from_ref(path)));
                let stdin = stdin.transpose().map_err(|errors| {
                    BadInput(errors.errors.iter().map(ToString::to_string).collect())
                })?;
                let stdin = stdin.and_then(|files| files.into_iter().next());
                Ok(Self::Paths {
                    paths,
                    stdin: stdin.map(|(_, text)| text),
                })
            }
        }
    }

    /// Reads and parses everything.
    ///
    /// # Errors
    /// [`BadInput`] with every error at once.
    pub(crate) fn read(&self) -> anyhow::Result<Cluster> {
        Ok(self.layered(None)?.cluster)
    }

    /// The same for commands that answer questions about it: nothing at all is
    /// more likely a mistake than a configuration of which everything holds.
    ///
    /// # Errors
    /// [`BadInput`], also when there is no object.
    pub(crate) fn read_some(&self) -> anyhow::Result<Cluster> {
        let read = self.layered(None)?;
        if read.objects == 0 {
            let hint = match self {
                Self::Paths { stdin: Some(_), .. } => "did what writes to it fail?",
                Self::Paths { paths, .. }
                    if paths.iter().any(|p| p.join("kustomization.yaml").exists()) =>
                {
                    KUSTOMIZE
                }
                _ => "expected files *.yaml, *.yml or *.json",
            };
            let message = format!("no Kubernetes object in {}: {hint}", self.describe());
            return Err(BadInput(vec![message]).into());
        }
        if !read.gateways {
            let message = format!(
                "no Gateway in {}: looked at behind the built-in platform",
                self.describe()
            );
            output::note(&Style::Plain, &message);
        }
        Ok(read.cluster)
    }

    /// The same, with more YAML on top.
    pub(crate) fn read_with(&self, yaml: &str) -> anyhow::Result<Cluster> {
        Ok(self.layered(Some(yaml))?.cluster)
    }

    fn layered(&self, top: Option<&str>) -> anyhow::Result<Read> {
        let top = top.map(|yaml| vec![(Arc::from("the change"), yaml.to_owned())]);
        let read = match self {
            Self::Example(example) => {
                let layers: &[&[(&str, &str)]] = match example {
                    Example::Seed => &[CLUSTER, SIDEGATE],
                    Example::SeedBroken => &[CLUSTER],
                    Example::SeedBlogFix => &[CLUSTER, BLOG_FIX],
                    Example::Kubeflow => &[KUBEFLOW],
                };
                let layers: Vec<Layer> = layers
                    .iter()
                    .map(|layer| embedded(layer))
                    .chain(top)
                    .collect();
                resources::parse_layers(&layers).map(Read::of)
            }
            Self::Paths { paths, stdin } => read_paths(paths, stdin.as_deref(), top),
        };
        read.map_err(|errors| {
            let all = errors.errors.iter();
            let mut lines: Vec<String> = all.map(|e| format!("{e}{}", meant(&e.file))).collect();
            lines.extend(self.kustomize(&errors));
            BadInput(lines).into()
        })
    }

    /// The same, where what is wrong stands beside a kustomization.
    fn kustomize(&self, errors: &LoadErrors) -> Option<String> {
        let mut files = errors.errors.iter().map(|error| Path::new(&*error.file));
        files.find(|file| file.with_file_name("kustomization.yaml").exists())?;
        Some(format!("{}: {KUSTOMIZE}", self.describe()))
    }

    /// Files and folders to watch for changes.
    pub(crate) fn watched(&self) -> &[PathBuf] {
        match self {
            Self::Example(_) => &[],
            Self::Paths { paths, .. } => paths,
        }
    }

    /// The built-in example, if it is one.
    pub(crate) fn example(&self) -> Option<Example> {
        match self {
            Self::Example(example) => Some(*example),
            Self::Paths { .. } => None,
        }
    }

    /// How the summary calls it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Example(example) => format!("example `{}`", example_name(*example)),
            Self::Paths { paths, .. } => {
                let names: Vec<String> = paths.iter().map(|p: &PathBuf| display(p)).collect();
                names.join(", ")
            }
        }
    }
}

/// Each argument is a layer; a platform goes below them if they have no Gateway.
fn read_paths(
    paths: &[PathBuf],
    stdin: Option<&str>,
    top: Option<Layer>,
) -> Result<Read, LoadErrors> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            layers.push(vec![("-".into(), stdin.unwrap_or_default().to_owned())]);
            continue;
        }
        match resources::read_files(std::slice::from_ref(path)) {
            Ok(files) => layers.push(files),
            Err(more) => errors.extend(more.errors),
        }
    }
    layers.extend(top);
    let cluster = match resources::parse_layers(&layers) {
        Ok(cluster) => cluster,
        Err(more) => {
            errors.extend(more.errors);
            return Err(LoadErrors { errors });
        }
    };
    if !errors.is_empty() {
        return Err(LoadErrors { errors });
    }
    let read = Read::of(cluster);
    if read.gateways {
        return Ok(read);
    }
    let mut below = vec![embedded(PLATFORM)];
    if read.cluster.sidegate.is_none() {
        below.push(embedded(PLATFORM_ENFORCED));
    }
    below.extend(layers);
    Ok(Read {
        cluster: resources::parse_layers(&below)?,
        ..read
    })
}

/// A configuration, and what of it was there before a platform went below it.
struct Read {
    cluster: Cluster,
    objects: usize,
    gateways: bool,
}

impl Read {
    fn of(cluster: Cluster) -> Self {
        Self {
            objects: cluster.objects,
            gateways: !cluster.gateways.is_empty(),
            cluster,
        }
    }
}

fn display(path: &Path) -> String {
    if path.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    }
}

fn example_named(name: &str) -> anyhow::Result<Example> {
    let found = Example::from_str(name, false);
    found.map_err(|_| {
        let all = Example::value_variants().iter().map(|e| example_name(*e));
        let all: Vec<&str> = all.collect();
        BadInput(vec![format!(
            "no example `{name}`; there are: {}",
            all.join(", ")
        )])
        .into()
    })
}

/// A word for who writes the name of an example where a path is expected.
fn meant(file: &str) -> String {
    match Example::from_str(file, false) {
        Ok(_) if !Path::new(file).exists() => {
            format!("; the built-in example is `--example {file}`")
        }
        _ => String::new(),
    }
}

pub(crate) fn example_name(example: Example) -> &'static str {
    match example {
        Example::Seed => "seed",
        Example::SeedBroken => "seed-broken",
        Example::SeedBlogFix => "seed-blog-fix",
        Example::Kubeflow => "kubeflow",
    }
}

fn embedded(files: &[(&str, &str)]) -> Layer {
    files
        .iter()
        .map(|(name, text)| (Arc::from(*name), (*text).to_owned()))
        .collect()
}
