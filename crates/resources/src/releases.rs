//! Which releases of KServe and Kubeflow generate what the YAML leaves out.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cluster::Cluster;

/// Major and minor version of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
}

impl Release {
    pub(crate) const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Reads `0.14`, `v0.14.1` or `v1.10.0-rc.2`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split(['.', '-', '+']).next()?;
        let number = |text: &str| {
            let plain = text.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten()
        };
        Some(Self::new(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for Release {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;

        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("expected a version like `0.14`, found `{text}`"))
        })
    }
}

impl Serialize for Release {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The releases whose controllers are followed where nothing tells which ones
/// are there.
const KSERVE: Release = Release::new(0, 20);
const KUBEFLOW: Release = Release::new(1, 10);

/// KServe's: the Sidegate object's, that of the controller's image, what
/// `inferenceservice-config` tells, or the newest.
pub(crate) fn kserve(cluster: &Cluster) -> Release {
    let sidegate = cluster.sidegate.as_ref();
    sidegate
        .and_then(|sidegate| sidegate.spec.kserve_version)
        .or_else(|| of_image(cluster, &["kserve-controller", "kfserving-controller"]))
        .or_else(|| {
            // Up to 0.9 it lists the predictors there are.
            let maps = cluster.config_maps.iter();
            let mut maps = maps.filter(|map| map.meta.name == "inferenceservice-config");
            let old = maps.any(|map| map.spec.data.contains_key("predictors"));
            old.then_some(Release::new(0, 9))
        })
        .unwrap_or(KSERVE)
}

/// Kubeflow's profile controller's: the Sidegate object's, that of its image,
/// or the newest.
pub(crate) fn kubeflow(cluster: &Cluster) -> Release {
    let sidegate = cluster.sidegate.as_ref();
    sidegate
        .and_then(|sidegate| sidegate.spec.kubeflow_version)
        .or_else(|| of_image(cluster, &["profile-controller"]))
        .unwrap_or(KUBEFLOW)
}

/// The tag of a container whose image is called like this, in whatever registry.
fn of_image(cluster: &Cluster, names: &[&str]) -> Option<Release> {
    let pods = cluster.workloads.iter().map(|workload| &workload.spec.pod);
    let images = pods.flat_map(|pod| pod.containers.iter().map(|c| c.image.as_str()));
    images
        .filter_map(|image| {
            let image = image.split('@').next()?;
            let (_, last) = image.rsplit_once('/').unwrap_or(("", image));
            let (name, tag) = last.split_once(':')?;
            names.contains(&name).then(|| Release::parse(tag))?
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        for (text, expected) in [
            ("0.14", Some((0, 14))),
            ("v0.14.1", Some((0, 14))),
            ("v1.10.0-rc.2", Some((1, 10))),
            ("1.3-rc.0", Some((1, 3))),
            ("latest", None),
            ("vmaster-ga49f658f", None),
            ("1", None),
            ("1.x", None),
            ("", None),
        ] {
            let expected = expected.map(|(major, minor)| Release::new(major, minor));
            assert_eq!(Release::parse(text), expected, "{text}");
        }
        assert!(Release::new(0, 9) < Release::new(0, 10));
    }
}
