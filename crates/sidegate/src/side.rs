//! One configuration, read and compiled.

use std::path::Path;

use policy::Snapshot;
use resources::Cluster;

use crate::cli::ClusterArgs;
use crate::inputs::Inputs;
use crate::live;

/// A configuration with what it was read from.
pub(crate) struct Side {
    /// How people call it.
    pub(crate) name: String,
    pub(crate) cluster: Cluster,
    pub(crate) snapshot: Snapshot,
}

impl Side {
    /// A path, several joined by commas, or `example:NAME`.
    pub(crate) fn read(path: &Path, version: Option<&str>) -> anyhow::Result<Self> {
        let text = path.to_string_lossy();
        let paths = text.split(',').map(Into::into).collect();
        let inputs = Inputs::new(paths, &ClusterArgs::default())?;
        Self::of(&inputs, version)
    }

    pub(crate) fn of(inputs: &Inputs, version: Option<&str>) -> anyhow::Result<Self> {
        let cluster = inputs.read_some()?;
        let settings = live::settings(&cluster, version)?;
        Ok(Self {
            name: inputs.describe(),
            snapshot: live::compile(&cluster, &settings)?,
            cluster,
        })
    }
}
