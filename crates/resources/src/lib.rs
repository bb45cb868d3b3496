//! Kubernetes, Istio, KServe and Kubeflow objects: parse, validate, generate what controllers would.
