package main

import (
	"fmt"
	"slices"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"istio.io/istio/pilot/pkg/model"
)

// originalDestination is the listener filter that finds the port that a
// connection was for before it was redirected to the sidecar.
const originalDestination = "envoy.filters.listener.original_dst"

// inbound makes of a sidecar's listener, which connections to all ports are
// redirected to, one listener for each port of the pod: nothing redirects here,
// and policies see the port that they would see.
func inbound(all []*listener.Listener) []*listener.Listener {
	made := []*listener.Listener{}
	for _, l := range all {
		if l.Name != model.VirtualInboundListenerName {
			continue
		}
		chains := map[uint32][]*listener.FilterChain{}
		own := l.GetAddress().GetSocketAddress().GetPortValue()
		for _, chain := range l.FilterChains {
			port := chain.GetFilterChainMatch().GetDestinationPort().GetValue()
			if port != 0 && port != own {
				chains[port] = append(chains[port], chain)
			}
		}
		for port, chains := range chains {
			one := proto.Clone(l).(*listener.Listener)
			one.Name = fmt.Sprintf("%s_%d", l.Name, port)
			one.FilterChains = nil
			for _, chain := range chains {
				one.FilterChains = append(one.FilterChains, proto.Clone(chain).(*listener.FilterChain))
			}
			one.DefaultFilterChain = nil
			one.Address.GetSocketAddress().PortSpecifier = &core.SocketAddress_PortValue{PortValue: port}
			one.ListenerFilters = slices.DeleteFunc(one.ListenerFilters, func(filter *listener.ListenerFilter) bool {
				return filter.Name == originalDestination
			})
			made = append(made, one)
		}
	}
	return made
}
