package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	netauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	upstreams "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	checkPrefix = "check|"
	grpcPrefix  = "grpc|"
)

// files collects the listeners of a batch and the upstreams they name.
type files struct {
	authority *authority
	batch     Batch
	listeners []*anypb.Any
	upstreams []string
	numbers   map[string]int
	// behind are the clusters that lead to pods that are looked at themselves, by name.
	behind map[string]*cluster.Cluster
}

func newFiles(authority *authority, batch Batch) *files {
	return &files{
		authority: authority, batch: batch, upstreams: []string{}, numbers: map[string]int{},
		behind: map[string]*cluster.Cluster{},
	}
}

// upstreamAddress tells upstreams apart by address, so that nothing in a request has to.
func upstreamAddress(number int) string {
	return fmt.Sprintf("127.64.%d.%d", number/250, number%250+1)
}

// view is the pod that is written at the moment.
type view struct {
	*files
	index  int
	config *Config
	known  map[string]*cluster.Cluster
	// own is the certificate of the pod in the mesh.
	own pair
}

func (f *files) add(index int, address string, config *Config) ([]uint32, error) {
	v := view{files: f, index: index, config: config, known: map[string]*cluster.Cluster{}}
	for _, c := range config.clusters {
		v.known[c.Name] = c
	}
	ports := []uint32{}
	if config.identity != "" {
		own, err := f.authority.named(3, config.identity)
		if err != nil {
			return ports, err
		}
		v.own = own
	}
	for _, l := range config.listeners {
		socket := l.GetAddress().GetSocketAddress()
		if socket == nil || l.GetUdpListenerConfig() != nil {
			continue
		}
		if err := v.listener(l); err != nil {
			return ports, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		l.Name = fmt.Sprintf("%d|%s", index, l.Name)
		socket.Address = address
		l.AdditionalAddresses = nil
		l.AccessLog = nil
		l.EnableReusePort = wrapperspb.Bool(false)
		l.BindToPort = nil
		packed, err := anypb.New(l)
		if err != nil {
			return ports, err
		}
		f.listeners = append(f.listeners, packed)
		ports = append(ports, socket.GetPortValue())
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

func (v view) listener(l *listener.Listener) error {
	chains := l.FilterChains
	if l.DefaultFilterChain != nil {
		chains = append(slices.Clone(chains), l.DefaultFilterChain)
	}
	for _, chain := range chains {
		// Filters that only Istio's build of Envoy has.
		chain.Filters = slices.DeleteFunc(chain.Filters, func(filter *listener.Filter) bool {
			return strings.HasPrefix(filter.Name, "istio.")
		})
		if err := v.secrets(chain.TransportSocket); err != nil {
			return err
		}
		for at, filter := range chain.Filters {
			// Istio puts one into several chains.
			chain.Filters[at] = proto.Clone(filter).(*listener.Filter)
		}
		for _, filter := range chain.Filters {
			typed := filter.GetTypedConfig()
			if typed != nil && typed.MessageIs(&netauthz.ExtAuthz{}) {
				if err := v.asked(filter, typed); err != nil {
					return err
				}
			}
			if typed != nil && typed.MessageIs(&tcp.TcpProxy{}) {
				if err := v.connections(filter, typed); err != nil {
					return err
				}
			}
			if typed == nil || !typed.MessageIs(&hcm.HttpConnectionManager{}) {
				continue
			}
			var manager hcm.HttpConnectionManager
			if err := typed.UnmarshalTo(&manager); err != nil {
				return err
			}
			if err := v.manager(&manager); err != nil {
				return err
			}
			packed, err := anypb.New(&manager)
			if err != nil {
				return err
			}
			filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: packed}
		}
	}
	return nil
}

// asked sends questions about connections to the upstreams of the batch.
func (v view) asked(filter *listener.Filter, typed *anypb.Any) error {
	var check netauthz.ExtAuthz
	if err := typed.UnmarshalTo(&check); err != nil {
		return err
	}
	if service := check.GetGrpcService().GetEnvoyGrpc(); service != nil {
		service.ClusterName = v.upstream(service.ClusterName, grpcPrefix)
	}
	packed, err := anypb.New(&check)
	if err != nil {
		return err
	}
	filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: packed}
	return nil
}

// connections sends what a TCP proxy forwards to the upstreams of the batch.
func (v view) connections(filter *listener.Filter, typed *anypb.Any) error {
	var proxy tcp.TcpProxy
	if err := typed.UnmarshalTo(&proxy); err != nil {
		return err
	}
	proxy.AccessLog = nil
	if name := proxy.GetCluster(); name != "" {
		to, err := v.destination(name, connectionPrefix)
		if err != nil {
			return err
		}
		proxy.ClusterSpecifier = &tcp.TcpProxy_Cluster{Cluster: to}
	}
	for _, weighted := range proxy.GetWeightedClusters().GetClusters() {
		to, err := v.destination(weighted.Name, connectionPrefix)
		if err != nil {
			return err
		}
		weighted.Name = to
	}
	packed, err := anypb.New(&proxy)
	if err != nil {
		return err
	}
	filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: packed}
	return nil
}

func (v view) manager(manager *hcm.HttpConnectionManager) error {
	manager.AccessLog = nil
	manager.AccessLogOptions = nil
	manager.Tracing = nil
	if rds := manager.GetRds(); rds != nil {
		table := &route.RouteConfiguration{Name: rds.RouteConfigName}
		for _, known := range v.config.routes {
			if known.Name == rds.RouteConfigName {
				table = proto.Clone(known).(*route.RouteConfiguration)
			}
		}
		manager.RouteSpecifier = &hcm.HttpConnectionManager_RouteConfig{RouteConfig: table}
	}
	if table := manager.GetRouteConfig(); table != nil {
		if err := v.routes(table); err != nil {
			return err
		}
	}
	manager.HttpFilters = slices.DeleteFunc(manager.HttpFilters, func(filter *hcm.HttpFilter) bool {
		// Filters that only Istio's build of Envoy has; none of them decides.
		return strings.HasPrefix(filter.Name, "istio.")
	})
	for _, filter := range manager.HttpFilters {
		typed := filter.GetTypedConfig()
		if typed == nil || !typed.MessageIs(&extauthz.ExtAuthz{}) {
			continue
		}
		var check extauthz.ExtAuthz
		if err := typed.UnmarshalTo(&check); err != nil {
			return err
		}
		if uri := check.GetHttpService().GetServerUri(); uri != nil && uri.GetCluster() != "" {
			uri.HttpUpstreamType = &core.HttpUri_Cluster{Cluster: v.upstream(uri.GetCluster(), checkPrefix)}
		}
		if service := check.GetGrpcService().GetEnvoyGrpc(); service != nil {
			service.ClusterName = v.upstream(service.ClusterName, grpcPrefix)
		}
		packed, err := anypb.New(&check)
		if err != nil {
			return err
		}
		filter.ConfigType = &hcm.HttpFilter_TypedConfig{TypedConfig: packed}
	}
	return nil
}

func (v view) routes(table *route.RouteConfiguration) error {
	// As for routes that come over the wire: a missing cluster is an answer, not an error.
	table.ValidateClusters = wrapperspb.Bool(false)
	for _, host := range table.VirtualHosts {
		for _, r := range host.Routes {
			action := r.GetRoute()
			if action == nil {
				continue
			}
			if name := action.GetCluster(); name != "" {
				to, err := v.destination(name, requestPrefix)
				if err != nil {
					return err
				}
				action.ClusterSpecifier = &route.RouteAction_Cluster{Cluster: to}
			}
			for _, weighted := range action.GetWeightedClusters().GetClusters() {
				to, err := v.destination(weighted.Name, requestPrefix)
				if err != nil {
					return err
				}
				weighted.Name = to
			}
			action.RequestMirrorPolicies = nil
		}
	}
	return nil
}

// upstream is the name in the batch; a cluster that the pod does not know stays unknown.
func (v view) upstream(name, prefix string) string {
	if v.known[name] == nil {
		return "missing|" + name
	}
	name = prefix + name
	if _, found := v.numbers[name]; !found {
		v.numbers[name] = len(v.upstreams)
		v.files.upstreams = append(v.files.upstreams, name)
	}
	return name
}

func (f *files) write(batch Batch) error {
	clusters := []*anypb.Any{}
	for _, made := range f.behind {
		packed, err := anypb.New(made)
		if err != nil {
			return err
		}
		clusters = append(clusters, packed)
	}
	for number, name := range f.upstreams {
		packed, err := anypb.New(f.cluster(number, name))
		if err != nil {
			return err
		}
		clusters = append(clusters, packed)
	}
	if err := store(filepath.Join(batch.Out, "lds.pb"), "listener.v3.Listener", f.listeners); err != nil {
		return err
	}
	if err := store(filepath.Join(batch.Out, "cds.pb"), "cluster.v3.Cluster", clusters); err != nil {
		return err
	}
	return f.authority.clients(batch.Out, batch.Identities)
}

func (f *files) cluster(number int, name string) *cluster.Cluster {
	port := f.batch.Backend
	made := &cluster.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(5e9),
	}
	if strings.HasPrefix(name, grpcPrefix) {
		port = f.batch.Grpc
		options, _ := anypb.New(&upstreams.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: &core.Http2ProtocolOptions{},
					},
				},
			},
		})
		made.TypedExtensionProtocolOptions = map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
		}
	}
	address := &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address:       upstreamAddress(number),
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
	made.LoadAssignment = &endpoint.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{
			HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: address}},
		}}}},
	}
	return made
}

func store(path, kind string, resources []*anypb.Any) error {
	response := &discovery.DiscoveryResponse{
		VersionInfo: "1",
		TypeUrl:     "type.googleapis.com/envoy.config." + kind,
		Resources:   resources,
	}
	data, err := proto.Marshal(response)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
