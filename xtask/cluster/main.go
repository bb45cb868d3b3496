// A real control plane on loopback: etcd, Kubernetes' API server, and those of its
// controllers that write what authorization and authentication go by (the rules of
// aggregated ClusterRoles, the tokens of Secrets).
//
//	cluster DIR PORT [FLAGS OF kube-apiserver]
//
// DIR holds etcd's data; the system picks the port if it is 0. When the API server is
// ready a line on stderr says where.
package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	accounts "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

const patience = 2 * time.Minute

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: cluster DIR PORT [FLAGS OF kube-apiserver]")
		os.Exit(2)
	}
	if err := run(server.SetupSignalContext(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder, port string, flags []string) error {
	store, err := startEtcd(filepath.Join(folder, "etcd"))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer store.Close()
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	completed, err := complete(ctx, listener, append(flags,
		"--etcd-servers=http://"+store.Clients[0].Addr().String(),
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16",
	))
	if err != nil {
		return err
	}
	config, err := app.NewConfig(completed)
	if err != nil {
		return err
	}
	full, err := config.Complete()
	if err != nil {
		return err
	}
	chain, err := app.CreateServerChain(full)
	if err != nil {
		return err
	}
	prepared, err := chain.PrepareRun()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- prepared.Run(ctx) }()
	loopback := chain.GenericAPIServer.LoopbackClientConfig
	if err := ready(ctx, loopback, ended); err != nil {
		return err
	}
	if err := control(ctx, loopback, completed.ServiceAccountSigningKeyFile); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "ready on", listener.Addr())
	return <-ended
}

// startEtcd starts a member that is alone, with a data folder that may have been used.
func startEtcd(folder string) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Dir = folder
	config.LogLevel = "error"
	// A crash of the machine is none of our concerns.
	config.UnsafeNoFsync = true
	any, err := url.Parse("http://127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	config.ListenClientUrls = []url.URL{*any}
	config.AdvertiseClientUrls = []url.URL{*any}
	config.ListenPeerUrls = []url.URL{*any}
	config.AdvertisePeerUrls = []url.URL{*any}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	store, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-store.Server.ReadyNotify():
		return store, nil
	case <-time.After(patience):
		store.Close()
		return nil, fmt.Errorf("not ready after %s", patience)
	}
}

// complete makes of flags what the command kube-apiserver makes of them.
func complete(ctx context.Context, listener net.Listener, flags []string) (options.CompletedOptions, error) {
	var none options.CompletedOptions
	run := options.NewServerRunOptions()
	run.SecureServing.Listener = listener
	run.SecureServing.BindPort = listener.Addr().(*net.TCPAddr).Port
	run.SecureServing.ExternalAddress = net.IPv4(127, 0, 0, 1)
	set := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, part := range run.Flags().FlagSets {
		set.AddFlagSet(part)
	}
	if err := set.Parse(flags); err != nil {
		return none, err
	}
	if err := run.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return none, err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	klog.SetOutput(os.Stderr)
	completed, err := run.Complete(ctx)
	if err != nil {
		return none, err
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return none, fmt.Errorf("%v", errs)
	}
	return completed, nil
}

func ready(ctx context.Context, loopback *rest.Config, ended <-chan error) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-ended:
			return false, fmt.Errorf("the API server ended: %w", err)
		default:
		}
		status := 0
		client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
		return status == 200, nil
	})
}

// control runs the controllers.
func control(ctx context.Context, loopback *rest.Config, keyFile string) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	key, err := keyutil.PrivateKeyFromFile(keyFile)
	if err != nil {
		return err
	}
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, key)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	roles := clusterroleaggregation.NewClusterRoleAggregation(factory.Rbac().V1().ClusterRoles(), client.RbacV1())
	tokens, err := accounts.NewTokensController(klog.FromContext(ctx),
		factory.Core().V1().ServiceAccounts(), factory.Core().V1().Secrets(), client,
		accounts.TokensControllerOptions{TokenGenerator: generator})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	go roles.Run(ctx, 1)
	go tokens.Run(ctx, 1)
	return nil
}
