//! Core Kubernetes objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yaml::Inside;

/// A Namespace has no fields of its own that matter here; its labels and
/// annotations do.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Namespace {}

/// A Profile of Kubeflow: a namespace for a person.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Profile {
    /// Whose it is.
    pub owner: Owner,
}

/// The owner of a Profile.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Owner {
    /// `User`, `Group` or `ServiceAccount`; a user if empty.
    pub kind: String,
    /// Name, as the login provider writes it.
    pub name: String,
}

/// A Pod, or the pod template of a Deployment, StatefulSet or DaemonSet.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// ServiceAccount; Kubernetes fills in `default`.
    pub service_account_name: Option<String>,
    /// It is in the network of its node, where no sidecar is put.
    pub host_network: bool,
    /// Containers, for named ports.
    pub containers: Vec<Container>,
    /// Containers that start before those, sidecars among them.
    pub init_containers: Vec<Container>,
}

/// One container of a pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Container name.
    pub name: String,
    /// Image with its tag.
    pub image: String,
    /// Ports it declares.
    pub ports: Vec<ContainerPort>,
    /// Environment with literal values.
    pub env: Vec<EnvVar>,
}

/// A declared container port.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Name that a Service's `targetPort` may use.
    pub name: Option<String>,
    /// Port number.
    pub container_port: u16,
}

/// An environment variable of a container.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Variable name.
    pub name: String,
    /// Literal value; `None` when it comes from elsewhere.
    pub value: Option<String>,
}

/// A workload: the labels and service account that policies select by.
/// Deployments, StatefulSets, DaemonSets and bare Pods all become one.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Labels of the pod (template), not of the controller.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pod (template).
    pub annotations: BTreeMap<String, String>,
    /// The pod's spec.
    pub pod: Pod,
}

/// A Service.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// `ClusterIP`, `ExternalName`, …
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Target host of an `ExternalName` Service.
    pub external_name: Option<String>,
    /// Virtual address; `None` in letters for none.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// Labels of the pods behind it.
    pub selector: BTreeMap<String, String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name.
    pub name: Option<String>,
    /// Port that clients use.
    pub port: u16,
    /// Port of the pod; absent means `port`.
    pub target_port: Option<PortRef>,
    /// What is spoken there; goes before what the name says.
    pub app_protocol: Option<String>,
}

/// A port by number or by name.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum PortRef {
    /// A number.
    Number(u16),
    /// A name of a container port, or a number in quotes.
    Name(String),
}

/// A ServiceAccount has no fields that matter here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ServiceAccount {}

/// A ConfigMap (its `data`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConfigMap {
    /// Text values by key.
    pub data: BTreeMap<String, String>,
    /// Where they stand in the file, of those that others than the loader read: Dex's configuration.
    #[serde(skip)]
    pub places: BTreeMap<String, Inside>,
}

/// A Secret (decoded `data` and `stringData`); never printed.
#[derive(Clone, Default)]
pub struct Secret {
    /// Values by key.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("keys", &self.data.keys())
            .finish_non_exhaustive()
    }
}

/// Addresses behind a Service, from EndpointSlice, Endpoints or ServiceEntry.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// Host of the Service (`name.ns.svc.cluster.local`) or of the ServiceEntry.
    pub host: String,
    /// IP addresses or DNS names.
    pub addresses: Vec<String>,
    /// Port name (may be empty) and number on the address.
    pub ports: Vec<(String, u16)>,
}
