// Package bustest starts real NATS servers for tests, and stops each when its test ends. It does not import
// package bus, so that the tests inside that package can use it. Only tests import it.
package bustest

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// Connect starts an embedded broker in the folder dir and connects to it within the process.
func Connect(t testing.TB, dir string) *nats.Conn {
	t.Helper()
	s, err := embedded.Start(pipelinetest.Context(t), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	conn, err := s.Conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// Start starts a server and waits until it takes connections. Unless o says otherwise, it listens on a free
// port of the loopback interface and keeps its data in a temporary folder.
func Start(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	s := launch(t, o)
	awaitReady(t, s)
	return s
}

func launch(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.NoSigs, o.NoLog = true, true
	if o.Host == "" {
		o.Host, o.Port = "127.0.0.1", server.RANDOM_PORT
	}
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func awaitReady(t testing.TB, s *server.Server) {
	t.Helper()
	if !s.ReadyForConnections(pipelinetest.Left(t)) {
		t.Fatalf("NATS server %s does not start", s.Name())
	}
}

// Cluster starts three servers on loopback ports. It returns them and their addresses for clients,
// separated by commas, when they have a leader that knows them all: the cluster does not answer earlier
// requests.
func Cluster(t testing.TB) (servers []*server.Server, urls string) {
	t.Helper()
	var routes []*url.URL
	for range 3 {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: pipelinetest.FreeAddress(t)})
	}
	for i, route := range routes {
		port, err := strconv.Atoi(route.Port())
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, launch(t, &server.Options{
			ServerName: fmt.Sprint("n", i), JetStream: true, JetStreamMaxStore: 64 << 30, JetStreamMaxMemory: 1 << 30,
			Cluster: server.ClusterOpts{Name: "test", Host: route.Hostname(), Port: port}, Routes: routes,
		}))
	}
	var clients []string
	for _, s := range servers {
		awaitReady(t, s)
		clients = append(clients, s.ClientURL())
	}
	pipelinetest.Until(t, "the cluster has a leader", func() bool {
		return slices.ContainsFunc(servers, func(s *server.Server) bool {
			return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers)
		})
	})
	return servers, strings.Join(clients, ",")
}
