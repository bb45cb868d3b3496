//! Which InferenceService or InferenceGraph an object was made for.

use std::collections::HashMap;

use resources::core::Service;
use resources::rbac::ModelKind;
use resources::{Cluster, Metadata, Object, ServiceName, Source};

/// The models of a cluster, by namespace and name.
pub(crate) struct Models<'c> {
    services: HashMap<(&'c str, &'c str), &'c Metadata>,
    graphs: HashMap<(&'c str, &'c str), &'c Metadata>,
    /// Predictors with a name of their own, by what KServe makes of it.
    named: HashMap<String, Vec<&'c Metadata>>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Model<'c> {
    pub(crate) kind: ModelKind,
    pub(crate) meta: &'c Metadata,
}

impl Model<'_> {
    /// Kind, namespace and name: no other has these.
    pub(crate) fn key(&self) -> (ModelKind, &str, &str) {
        (self.kind, &self.meta.namespace, &self.meta.name)
    }
}

/// The label of Knative's that says for which of its Services an object is.
const ROUTE: &str = "serving.knative.dev/route";

/// Labels of pods.
const INFERENCE_SERVICE: &str = "serving.kserve.io/inferenceservice";
const KNATIVE_SERVICE: &str = "serving.knative.dev/service";

/// What KServe calls the parts of a model, before 0.11 with `-default` behind it.
const PARTS: [&str; 3] = ["-predictor", "-transformer", "-explainer"];

impl<'c> Models<'c> {
    pub(crate) fn of(cluster: &'c Cluster) -> Self {
        let services = &cluster.inference_services;
        let mut named: HashMap<String, Vec<&Metadata>> = HashMap::new();
        for service in services {
            if let Some(own) = &service.spec.predictor.name {
                let name = format!("{}-{own}-predictor", service.meta.name);
                named.entry(name).or_default().push(&service.meta);
            }
        }
        let key = |meta: &'c Metadata| ((&*meta.namespace, &*meta.name), meta);
        Self {
            services: services.iter().map(|service| key(&service.meta)).collect(),
            graphs: cluster
                .inference_graphs
                .iter()
                .map(|graph| key(&graph.meta))
                .collect(),
            named,
        }
    }

    /// The model that an object was generated for, here or by KServe and Knative,
    /// whose names and labels tell it.
    pub(crate) fn made(&self, meta: &Metadata, source: &Source) -> Option<Model<'c>> {
        let generated = source.generated_from.as_ref().and_then(|from| {
            let key = (&*from.namespace, &*from.name);
            match &*from.kind {
                "InferenceService" => service(self.services.get(&key)),
                "InferenceGraph" => graph(self.graphs.get(&key)),
                _ => None,
            }
        });
        let label = || self.called(&meta.namespace, meta.labels.get(ROUTE)?);
        generated
            .or_else(|| self.called(&meta.namespace, &meta.name))
            .or_else(label)
    }

    /// The model that a Service stands before: by the name of a part or of a revision, or by the pods that it selects.
    pub(crate) fn behind(
        &self,
        name: &ServiceName,
        service: Option<&Object<Service>>,
    ) -> Option<Model<'c>> {
        let plain = name.name.strip_suffix("-private").unwrap_or(&name.name);
        let revision = plain.rsplit_once('-').filter(|(_, number)| {
            number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let selects = |label: &str| service?.spec.selector.get(label);
        let of_pods = || {
            let named = selects(INFERENCE_SERVICE).or_else(|| selects(KNATIVE_SERVICE));
            let named = named.map(String::as_str);
            let app = || selects("app")?.strip_prefix("isvc.");
            self.called(&name.namespace, named.or_else(app)?)
        };
        self.called(&name.namespace, plain)
            .or_else(|| self.called(&name.namespace, revision?.0))
            .or_else(of_pods)
    }

    /// The model of that name, or with a part of that name.
    fn called(&self, namespace: &str, name: &str) -> Option<Model<'c>> {
        let part = || {
            let part = name.strip_suffix("-default").unwrap_or(name);
            let whole = PARTS.iter().find_map(|end| part.strip_suffix(end))?;
            self.services.get(&(namespace, whole))
        };
        let own = || {
            let mut all = self.named.get(name)?.iter();
            all.find(|meta| meta.namespace == namespace)
        };
        service(self.services.get(&(namespace, name)))
            .or_else(|| service(part()))
            .or_else(|| service(own()))
            .or_else(|| graph(self.graphs.get(&(namespace, name))))
    }
}

fn service<'c>(found: Option<&&'c Metadata>) -> Option<Model<'c>> {
    found.map(|meta| Model {
        kind: ModelKind::Service,
        meta,
    })
}

fn graph<'c>(found: Option<&&'c Metadata>) -> Option<Model<'c>> {
    found.map(|meta| Model {
        kind: ModelKind::Graph,
        meta,
    })
}
