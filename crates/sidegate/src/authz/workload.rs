//! What a cluster takes to run `sidegate authz`.

use policy::Snapshot;
use resources::Cluster;
use serde_json::{Value, json};

use super::manifests::{HEALTH, ManifestsArgs, NAME, PORT, REDIS_FOLDER};
use crate::signed_identity;

/// Leave to ask the API server whose tokens are and who may call models, by a role
/// that each cluster has.
fn may_ask(args: &ManifestsArgs) -> [Value; 2] {
    let account = json!({"name": NAME, "namespace": args.namespace});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
        "name": "system:auth-delegator"});
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME}, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": args.namespace}]}),
    ]
}

/// What the program takes in a pod, by what it is to do.
#[derive(Clone, Copy)]
pub(super) struct Needs {
    /// Upstreams are given ID tokens, which the mesh reads.
    pub(super) tokens: bool,
    /// Replicas share what they keep.
    shared: bool,
    /// The API server says who may call models.
    asks: bool,
    /// Replicas sign who is calling, with one key.
    signs: bool,
}

impl Needs {
    pub(super) fn of(
        args: &ManifestsArgs,
        cluster: &Cluster,
        snapshot: &Snapshot,
    ) -> anyhow::Result<Self> {
        let shared = args.redis.storage_in_a_pod(cluster)?;
        let signs = shared && signed_identity::of(cluster)?.is_some();
        Ok(Self {
            tokens: false,
            shared,
            asks: snapshot.is_reviewed(),
            signs,
        })
    }
}

/// The program itself, several times where replicas share what they keep. It talks to the API server only where that is to
/// say who may call models.
pub(super) fn workload(args: &ManifestsArgs, needs: Needs) -> Vec<Value> {
    let Needs {
        tokens,
        shared,
        asks,
        signs,
    } = needs;
    let labels = json!({"app": NAME});
    let mut arguments = vec![
        "authz".to_owned(),
        "-f".to_owned(),
        "/config".to_owned(),
        format!("--listen=0.0.0.0:{PORT}"),
        format!("--health=0.0.0.0:{HEALTH}"),
        "--data=/data/authz".to_owned(),
    ];
    let mut mounts = vec![
        json!({"name": "config", "mountPath": "/config", "readOnly": true}),
        json!({"name": "data", "mountPath": "/data"}),
    ];
    let data = match shared {
        true => json!({"name": "data", "emptyDir": {}}),
        false => json!({"name": "data", "persistentVolumeClaim": {"claimName": "sidegate-data"}}),
    };
    let mut volumes = vec![
        json!({"name": "config", "configMap": {"name": "sidegate-config"}}),
        data,
    ];
    if tokens {
        arguments.push("--identity-headers=authorization".to_owned());
    }
    let of_redis = args.redis.in_a_pod();
    if of_redis
        .iter()
        .any(|argument| argument.contains(REDIS_FOLDER))
    {
        mounts.push(json!({"name": "redis", "mountPath": REDIS_FOLDER, "readOnly": true}));
        volumes.push(json!({"name": "redis", "secret": {"secretName": "sidegate-redis"}}));
    }
    arguments.extend(of_redis);
    if signs {
        arguments.push("--identity-keys=/identity/identity.pem".to_owned());
        mounts.push(json!({"name": "identity", "mountPath": "/identity", "readOnly": true}));
        volumes.push(json!({"name": "identity", "secret": {"secretName": "sidegate-identity"}}));
    }
    if args.pass_key.is_some() {
        arguments.push("--pass-key=/pass/pass.pem".to_owned());
        mounts.push(json!({"name": "pass", "mountPath": "/pass", "readOnly": true}));
        volumes.push(json!({"name": "pass", "secret": {"secretName": "sidegate-pass"}}));
    }
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": HEALTH}, "periodSeconds": 2});
    let beside = match shared {
        true => json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": NAME, "namespace": args.namespace},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}}}),
        false => json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "sidegate-data", "namespace": args.namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}}}}),
    };
    let container = json!({
        "name": "authz", "image": args.image,
        "args": arguments,
        "ports": [{"name": "check", "containerPort": PORT},
            {"name": "health", "containerPort": HEALTH}],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        // Gateways learn that the pod goes before it does.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}},
        "volumeMounts": mounts,
    });
    let mut pod = json!({
        "automountServiceAccountToken": asks,
        "serviceAccountName": if asks { NAME } else { "default" },
        "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
        "containers": [container],
        "volumes": volumes,
    });
    let (replicas, strategy) = match shared {
        true => (
            2,
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}),
        ),
        // Sessions are in one file, which one program holds.
        false => (1, json!({"type": "Recreate"})),
    };
    if let (true, Some(pod)) = (shared, pod.as_object_mut()) {
        let apart = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": labels}}}]}});
        pod.insert("affinity".to_owned(), apart);
    }
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": NAME, "namespace": args.namespace, "labels": labels},
    "spec": {
        "replicas": replicas, "strategy": strategy,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }});
    let mut objects = vec![beside, deployment];
    if asks {
        objects.extend(may_ask(args));
    }
    objects
}
