// The Envoy configuration that Istio's own control plane computes for a gateway
// pod, for many small clusters at once.
//
// Every line on stdin is a batch in JSON, every line on stdout its answer. The
// listeners of a batch go into one file and its upstream clusters into another,
// both read by one Envoy: policies compare ports with the port of the socket,
// so ports stay as they are and clusters differ by loopback address.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"

	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pkg/config/schema/gatewayapi"
	"istio.io/istio/pkg/log"
)

// Batch is what is asked for.
type Batch struct {
	// Out is the folder that the files are written to.
	Out string `json:"out"`
	// Backend is the port that stands in for every upstream.
	Backend uint32 `json:"backend"`
	// Grpc is the port of the authorizer that speaks gRPC.
	Grpc uint32 `json:"grpc"`
	// Source is the address that gateways connect from to backends.
	Source string `json:"source"`
	// Identities are URIs that client certificates are made for.
	Identities []string  `json:"identities"`
	Clusters   []Cluster `json:"clusters"`
}

// Cluster is one cluster and the pod that is looked at.
type Cluster struct {
	Objects   []json.RawMessage `json:"objects"`
	Mesh      json.RawMessage   `json:"mesh"`
	Labels    map[string]string `json:"labels"`
	Namespace string            `json:"namespace"`
	Env       map[string]string `json:"env"`
	// Proxy is what the pod's annotation `proxy.istio.io/config` says, in YAML.
	Proxy string `json:"proxy"`
	// Address is the loopback address that stands for the pod.
	Address string `json:"address"`
	// Sidecar says that the pod is no gateway but has a sidecar, whose inbound side is looked at.
	Sidecar bool `json:"sidecar"`
	// Backend is a pod with a sidecar that routes of the gateway may lead to.
	Backend *Backend `json:"backend"`
}

// Backend is looked at beside the gateway: what the gateway sends to it crosses its sidecar.
type Backend struct {
	Labels    map[string]string `json:"labels"`
	Namespace string            `json:"namespace"`
	Address   string            `json:"address"`
	// Account is its ServiceAccount.
	Account string `json:"account"`
}

// Answer is what was written.
type Answer struct {
	Clusters []Translated `json:"clusters"`
	// Upstreams are the names by number; number n has the address of `upstreamAddress(n)`.
	Upstreams []string `json:"upstreams"`
	Error     string   `json:"error,omitempty"`
}

// Translated says how one cluster went.
type Translated struct {
	Error string `json:"error,omitempty"`
	// Rejected are the objects that Istio's validation refuses; they are loaded all the same.
	Rejected []string `json:"rejected,omitempty"`
	Ports    []uint32 `json:"ports"`
}

func main() {
	log.FindScope("default").SetOutputLevel(log.NoneLevel)
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	// Both need filters that only Istio's build of Envoy has.
	features.MetadataExchange = false
	// The API server that stands in has CRDs without the annotation that says their version.
	clear(gatewayapi.MinimumCRDVersions)
	authority, err := newAuthority()
	if err != nil {
		fmt.Fprintln(os.Stderr, "making certificates:", err)
		os.Exit(1)
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	decoder := json.NewDecoder(in)
	for {
		var batch Batch
		if err := decoder.Decode(&batch); err != nil {
			return
		}
		answer, err := translateBatch(batch, authority)
		if err != nil {
			answer.Error = err.Error()
		}
		if err := out.Encode(answer); err != nil {
			return
		}
	}
}

func translateBatch(batch Batch, authority *authority) (Answer, error) {
	results := make([]*Config, len(batch.Clusters))
	answer := Answer{Clusters: make([]Translated, len(batch.Clusters)), Upstreams: []string{}}
	work := make(chan int)
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for index := range work {
				results[index], answer.Clusters[index] = translate(batch.Clusters[index])
			}
		}()
	}
	for index := range batch.Clusters {
		work <- index
	}
	close(work)
	wait.Wait()
	files := newFiles(authority, batch)
	for index, config := range results {
		if config == nil {
			continue
		}
		if batch.Clusters[index].Sidecar {
			config.listeners = inbound(config.listeners)
		}
		ports, err := files.add(index, batch.Clusters[index].Address, config)
		answer.Clusters[index].Ports = ports
		if err == nil && config.backend != nil {
			_, err = files.add(index, batch.Clusters[index].Backend.Address, config.backend)
		}
		if err != nil {
			answer.Clusters[index].Error = err.Error()
		}
	}
	answer.Upstreams = files.upstreams
	return answer, files.write(batch)
}
