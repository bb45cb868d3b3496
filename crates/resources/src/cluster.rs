//! All objects of one configuration.

use std::path::PathBuf;

use crate::core::{
    ConfigMap, Endpoints, Namespace, Profile, Secret, Service, ServiceAccount, Workload,
};
use crate::error::LoadError;
use crate::gateway_api::{GatewayClass, KubeGateway, ReferenceGrant, Route};
use crate::ingress::{Ingress, IngressClass};
use crate::istio::{
    AuthorizationPolicy, EnvoyFilter, Gateway, PeerAuthentication, RequestAuthentication, Sidecar,
    VirtualService, WasmPlugin,
};
use crate::kserve::{DeployConfig, InferenceService, IngressConfig};
use crate::mesh::MeshConfig;
use crate::meta::{Object, ObjectRef, ServiceName, Source};
use crate::places::Places;
use crate::rbac::{Binding, Role};
use crate::sidegate::Sidegate;
use crate::subsets::DestinationRule;

/// Every known object of a configuration, and the settings read out of its
/// ConfigMaps. Vectors are in the order files and documents were read;
/// generated objects come last.
#[derive(Clone, Debug, Default)]
#[expect(
    missing_docs,
    reason = "each field holds the objects of the kind it is named after"
)]
pub struct Cluster {
    pub namespaces: Vec<Object<Namespace>>,
    pub workloads: Vec<Object<Workload>>,
    pub services: Vec<Object<Service>>,
    pub service_accounts: Vec<Object<ServiceAccount>>,
    pub config_maps: Vec<Object<ConfigMap>>,
    pub secrets: Vec<Object<Secret>>,
    pub endpoints: Vec<Object<Endpoints>>,
    pub gateways: Vec<Object<Gateway>>,
    pub virtual_services: Vec<Object<VirtualService>>,
    pub gateway_classes: Vec<Object<GatewayClass>>,
    pub kube_gateways: Vec<Object<KubeGateway>>,
    pub http_routes: Vec<Object<Route>>,
    pub grpc_routes: Vec<Object<Route>>,
    pub reference_grants: Vec<Object<ReferenceGrant>>,
    pub ingress_classes: Vec<Object<IngressClass>>,
    pub ingresses: Vec<Object<Ingress>>,
    pub authorization_policies: Vec<Object<AuthorizationPolicy>>,
    pub request_authentications: Vec<Object<RequestAuthentication>>,
    pub peer_authentications: Vec<Object<PeerAuthentication>>,
    pub destination_rules: Vec<Object<DestinationRule>>,
    pub envoy_filters: Vec<Object<EnvoyFilter>>,
    pub wasm_plugins: Vec<Object<WasmPlugin>>,
    /// Sidecars.
    pub sidecars: Vec<Object<Sidecar>>,
    pub inference_services: Vec<Object<InferenceService>>,
    /// KServe's InferenceGraphs; which models they call decides nothing.
    pub inference_graphs: Vec<Object<()>>,
    /// Kubeflow's Profiles; namespace and policy of each are generated.
    pub profiles: Vec<Object<Profile>>,
    /// RoleBindings that Kubeflow's access management made for contributors;
    /// the policy of each is generated.
    pub contributors: Vec<Object<()>>,
    /// Roles and ClusterRoles.
    pub roles: Vec<Object<Role>>,
    /// RoleBindings, those of contributors too, and ClusterRoleBindings.
    pub bindings: Vec<Object<Binding>>,
    pub sidegate: Option<Object<Sidegate>>,
    /// `mesh` of ConfigMap `istio` in the root namespace.
    pub mesh: MeshConfig,
    /// Istio version of the mesh ConfigMap's annotation `sidegate.dev/istio-version`.
    pub mesh_istio_version: Option<String>,
    /// `ingress` of ConfigMap `inferenceservice-config`.
    pub ingress: IngressConfig,
    /// `deploy` of the same.
    pub deploy: DeployConfig,
    /// Services that stand for the predictor of an InferenceService.
    pub predictors: Vec<PredictorService>,
    /// Objects that were read, known or not.
    pub objects: usize,
    /// Kinds that are not known, with how often each occurs.
    pub unknown_kinds: Vec<(String, usize)>,
    /// Objects of known kinds whose API version is not read, and which is.
    pub unread: Vec<Unread>,
    /// Fields and words that no schema has, of objects that are read all the same.
    pub unknown_fields: Vec<LoadError>,
    /// Lines of the fields of objects that decide about requests; only asked
    /// until the configuration is compiled.
    pub places: Places,
    /// Files that were read, for watching.
    pub files: Vec<PathBuf>,
}

/// An object of a known kind in an API version that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The object.
    pub object: ObjectRef,
    /// Where it is written.
    pub source: Source,
    /// `security.istio.io/v1alpha1`.
    pub version: String,
}

/// A Service whose requests a model answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictorService {
    /// The Service.
    pub service: ServiceName,
    /// The InferenceService.
    pub model: ObjectRef,
}

impl Cluster {
    /// The ConfigMap of that namespace and name.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&Object<ConfigMap>> {
        self.config_maps
            .iter()
            .find(|c| c.meta.namespace == namespace && c.meta.name == name)
    }

    /// How many objects were read or generated, unknown kinds not counted.
    pub fn object_count(&self) -> usize {
        self.namespaces.len()
            + self.workloads.len()
            + self.services.len()
            + self.service_accounts.len()
            + self.config_maps.len()
            + self.secrets.len()
            + self.endpoints.len()
            + self.gateways.len()
            + self.virtual_services.len()
            + self.gateway_classes.len()
            + self.kube_gateways.len()
            + self.http_routes.len()
            + self.grpc_routes.len()
            + self.reference_grants.len()
            + self.ingress_classes.len()
            + self.ingresses.len()
            + self.authorization_policies.len()
            + self.request_authentications.len()
            + self.peer_authentications.len()
            + self.destination_rules.len()
            + self.envoy_filters.len()
            + self.wasm_plugins.len()
            + self.inference_services.len()
            + self.inference_graphs.len()
            + self.profiles.len()
            + self.contributors.len()
            + usize::from(self.sidegate.is_some())
    }

    /// The Service of that name.
    pub fn service(&self, name: &ServiceName) -> Option<&Object<Service>> {
        self.services
            .iter()
            .find(|s| *s.meta.namespace == *name.namespace && *s.meta.name == *name.name)
    }
}
