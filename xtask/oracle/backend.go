package main

import (
	"fmt"
	"slices"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	requestPrefix    = "request|"
	connectionPrefix = "connection|"
)

// destination is where a route leads: to the pod that is looked at beside the
// gateway, over what Istio says that the gateway speaks to it, else to the
// upstreams of the batch.
func (v view) destination(name, kind string) (string, error) {
	assignment, known := v.config.behind[name], v.known[name]
	if assignment == nil || known == nil {
		return v.upstream(name, ""), nil
	}
	own := fmt.Sprintf("%s%d|%s", kind, v.index, name)
	if v.behind[own] != nil {
		return own, nil
	}
	made := &cluster.Cluster{
		Name:                          own,
		ClusterDiscoveryType:          &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		ConnectTimeout:                durationpb.New(5e9),
		LoadAssignment:                assignment,
		TypedExtensionProtocolOptions: known.TypedExtensionProtocolOptions,
		TransportSocketMatches:        known.TransportSocketMatches,
		TransportSocket:               known.TransportSocket,
	}
	made = proto.Clone(made).(*cluster.Cluster)
	made.UpstreamBindConfig = &core.BindConfig{SourceAddress: &core.SocketAddress{
		Address:       v.batch.Source,
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: 0},
	}}
	made.LoadAssignment.ClusterName = own
	for _, locality := range made.LoadAssignment.Endpoints {
		// The place of a pod means nothing here.
		locality.Priority = 0
	}
	sockets := []*core.TransportSocket{made.TransportSocket}
	for _, match := range made.TransportSocketMatches {
		sockets = append(sockets, match.TransportSocket)
	}
	for _, socket := range sockets {
		if kind == requestPrefix {
			if err := announced(socket); err != nil {
				return "", err
			}
		}
		if err := v.secrets(socket); err != nil {
			return "", err
		}
	}
	v.behind[own] = made
	return own, nil
}

// What proxies of the mesh offer for requests. Istio's build of Envoy has a
// filter that puts it in the place of what the cluster says.
var (
	ofRequests = []string{"istio-http/1.1", "istio", "http/1.1"}
	ofStreams  = []string{"istio-h2", "istio", "h2"}
)

// announced says for requests what that filter would.
func announced(socket *core.TransportSocket) error {
	typed := socket.GetTypedConfig()
	if typed == nil || !typed.MessageIs(&tls.UpstreamTlsContext{}) {
		return nil
	}
	var context tls.UpstreamTlsContext
	if err := typed.UnmarshalTo(&context); err != nil {
		return err
	}
	said := context.GetCommonTlsContext().GetAlpnProtocols()
	if !slices.Contains(said, "istio") {
		return nil
	}
	context.CommonTlsContext.AlpnProtocols = ofRequests
	if slices.Contains(said, "h2") {
		context.CommonTlsContext.AlpnProtocols = ofStreams
	}
	packed, err := anypb.New(&context)
	if err != nil {
		return err
	}
	socket.ConfigType = &core.TransportSocket_TypedConfig{TypedConfig: packed}
	return nil
}
