package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "k8s.io/apimachinery/pkg/runtime"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	kubelib "istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/spiffe"
	"istio.io/istio/pkg/test"
)

// Config is what Istio sends to a pod.
type Config struct {
	listeners []*listener.Listener
	routes    []*route.RouteConfiguration
	clusters  []*cluster.Cluster
	// identity is the URI in the certificate that the mesh gives the pod; empty where none is looked at.
	identity string
	// behind are the endpoints of clusters that lead to `backend`.
	behind  map[string]*endpoint.ClusterLoadAssignment
	backend *Config
}

// Settings of istiod are variables of its packages: clusters that change some
// are translated alone.
var settings sync.RWMutex

var switches = map[string]*bool{
	"PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS": &features.EnableMultipleCustomAuthzProviders,
	"ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY":     &features.EnableSelectorBasedK8sGatewayPolicy,
}

func translate(c Cluster) (result *Config, said Translated) {
	if len(c.Env) == 0 {
		settings.RLock()
		defer settings.RUnlock()
	} else {
		settings.Lock()
		defer settings.Unlock()
		for name, text := range c.Env {
			where, known := switches[name]
			value, err := strconv.ParseBool(text)
			if !known || err != nil {
				said.Error = fmt.Sprintf("setting `%s: %s` is not known here", name, text)
				return nil, said
			}
			before := *where
			*where = value
			defer func() { *where = before }()
		}
	}
	options, rejected, err := load(c)
	said.Rejected = rejected
	if err == nil {
		var broken any
		err = test.Wrap(func(t test.Failer) {
			// Objects that validation refuses may be more than Istio expects.
			defer func() {
				if broken = recover(); broken != nil {
					broken = fmt.Sprintf("%v in %s", broken, origin())
				}
			}()
			result = generate(t, options, c)
		})
		if err == nil && broken != nil {
			err = fmt.Errorf("istiod panics: %v", broken)
			result = nil
		}
	}
	if err != nil {
		said.Error = err.Error()
		return nil, said
	}
	return result, said
}

// origin is where a panic began, as seen from a deferred function.
func origin() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

func generate(t test.Failer, options xds.FakeOptions, c Cluster) *Config {
	server := xds.NewFakeDiscoveryServer(t, options)
	var own *model.NodeMetaProxyConfig
	if c.Proxy != "" {
		// What the injector puts into the pod.
		merged, err := mesh.MergeProxyConfig(c.Proxy, options.MeshConfig.DefaultConfig)
		if err != nil {
			t.Fatal(err)
		}
		own = (*model.NodeMetaProxyConfig)(merged)
	}
	kind := model.Router
	if c.Sidecar {
		kind = model.SidecarProxy
	}
	proxy := server.SetupProxy(&model.Proxy{
		ID:              "gateway-under-test." + c.Namespace,
		Type:            kind,
		ConfigNamespace: c.Namespace,
		DNSDomain:       c.Namespace + ".svc.cluster.local",
		IPAddresses:     []string{c.Address},
		Labels:          c.Labels,
		Metadata: &model.NodeMetadata{
			Namespace:    c.Namespace,
			IstioVersion: "1.31.0",
			ClusterID:    "Kubernetes",
			Labels:       c.Labels,
			ProxyConfig:  own,
		},
	})
	listeners := server.Listeners(proxy)
	config := &Config{
		listeners: listeners,
		routes:    server.RoutesFromListeners(proxy, listeners),
		clusters:  server.Clusters(proxy),
	}
	if c.Backend != nil {
		trust := options.MeshConfig.GetTrustDomain()
		config.identity = spiffe.MustGenSpiffeURIForTrustDomain(trust, c.Namespace, "default")
		config.behind = behind(server.Endpoints(proxy), c.Backend.Address)
		config.backend = sidecar(server, c.Backend)
		config.backend.identity = spiffe.MustGenSpiffeURIForTrustDomain(trust, c.Backend.Namespace, c.Backend.Account)
	}
	return config
}

// sidecar is the inbound side of a backend.
func sidecar(server *xds.FakeDiscoveryServer, backend *Backend) *Config {
	proxy := server.SetupProxy(&model.Proxy{
		ID:              "backend." + backend.Namespace,
		Type:            model.SidecarProxy,
		ConfigNamespace: backend.Namespace,
		DNSDomain:       backend.Namespace + ".svc.cluster.local",
		IPAddresses:     []string{backend.Address},
		Labels:          backend.Labels,
		Metadata: &model.NodeMetadata{
			Namespace:    backend.Namespace,
			IstioVersion: "1.31.0",
			ClusterID:    "Kubernetes",
			Labels:       backend.Labels,
		},
	})
	listeners := inbound(server.Listeners(proxy))
	return &Config{
		listeners: listeners,
		routes:    server.RoutesFromListeners(proxy, listeners),
		clusters:  server.Clusters(proxy),
	}
}

// behind are those that lead to an address.
func behind(all []*endpoint.ClusterLoadAssignment, address string) map[string]*endpoint.ClusterLoadAssignment {
	found := map[string]*endpoint.ClusterLoadAssignment{}
	for _, assignment := range all {
		for _, locality := range assignment.Endpoints {
			for _, one := range locality.LbEndpoints {
				if one.GetEndpoint().GetAddress().GetSocketAddress().GetAddress() == address {
					found[assignment.ClusterName] = assignment
				}
			}
		}
	}
	return found
}

// load sorts the objects: Istio's are configuration, the rest lies in the fake API server.
func load(c Cluster) (xds.FakeOptions, []string, error) {
	var options xds.FakeOptions
	var rejected []string
	settings := string(c.Mesh)
	if settings == "" || settings == "null" {
		settings = "{}"
	}
	meshConfig, err := mesh.ApplyMeshConfig(settings, mesh.DefaultMeshConfig())
	if err != nil {
		return options, nil, fmt.Errorf("mesh config: %w", err)
	}
	if c.Backend == nil {
		// Nobody is spoken to over mutual TLS.
		meshConfig.EnableAutoMtls.Value = false
	}
	options.MeshConfig = meshConfig
	now := time.Now()
	decode := kubelib.IstioCodec.UniversalDeserializer().Decode
	for _, raw := range c.Objects {
		var head struct {
			metav1.TypeMeta `json:",inline"`
			Metadata        metav1.ObjectMeta `json:"metadata"`
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			return options, nil, err
		}
		name := fmt.Sprintf("%s %s/%s", head.Kind, head.Metadata.Namespace, head.Metadata.Name)
		if !strings.Contains(head.APIVersion, "istio.io/") {
			if strings.HasPrefix(head.APIVersion, "gateway.networking.k8s.io/") {
				if raw, err = defaulted(raw); err != nil {
					return options, nil, err
				}
			}
			object, _, err := decode(raw, nil, nil)
			if err == nil {
				options.KubernetesObjects = append(options.KubernetesObjects, object)
			} else if !kube.IsNotRegisteredError(err) {
				return options, nil, fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		stored, err := convert(raw)
		if err != nil {
			return options, nil, fmt.Errorf("%s: %w", name, err)
		}
		if stored == nil {
			continue
		}
		schema, _ := collections.PilotGatewayAPI().FindByGroupVersionKind(stored.GroupVersionKind)
		if _, err := schema.ValidateConfig(*stored); err != nil {
			rejected = append(rejected, fmt.Sprintf("%s: %v", name, err))
		}
		if stored.CreationTimestamp.IsZero() {
			stored.CreationTimestamp = now
		}
		options.Configs = append(options.Configs, *stored)
	}
	return options, rejected, nil
}

// convert reads one object of Istio's as it comes from the API server. Kinds
// that no gateway needs are nil.
func convert(raw []byte) (*config.Config, error) {
	var object crd.IstioKind
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	kind := object.GroupVersionKind()
	schema, known := collections.PilotGatewayAPI().FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&kind))
	if !known {
		return nil, nil
	}
	if object.Namespace == "" {
		object.Namespace = "default"
	}
	return crd.ConvertObject(schema, &object, "cluster.local")
}
