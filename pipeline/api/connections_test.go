package api

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// limitedListener returns a listener with at most so many connections, the connections that it accepts, and the
// clients that it refuses.
func limitedListener(t *testing.T, connections int, a Access) (at string, accepted chan net.Conn, refused chan netip.Prefix) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	accepted, refused = make(chan net.Conn, 100), make(chan netip.Prefix, 100)
	l = LimitConnections(l, connections, a, func(client netip.Prefix) { refused <- client })
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		must(t, l.Close())
		if err := pipelinetest.Receive(t, "the end of the listener", ended); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		close(accepted)
		for c := range accepted {
			must(t, c.Close())
		}
	})
	return l.Addr().String(), accepted, refused
}

// connect opens connections from a loopback address. The server may have reset them before it returns.
func connect(t *testing.T, from, to string, n int) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for range n {
		c, err := dialer.DialContext(pipelinetest.Context(t), "tcp", to)
		if errors.Is(err, syscall.ECONNRESET) {
			continue
		}
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
	}
}

// TestConnectionsOfOneClient: a client has three quarters of the connections; those that it gives back it may have
// again. When all are taken, the next client waits for one.
func TestConnectionsOfOneClient(t *testing.T) {
	at, accepted, refused := limitedListener(t, 8, Access{})
	connect(t, "127.0.0.1", at, 7)
	if client := pipelinetest.Receive(t, "a refusal", refused); client.String() != "127.0.0.1/32" {
		t.Errorf("refused: %v", client)
	}
	connect(t, "127.0.0.2", at, 2)
	var held []net.Conn
	for range 8 {
		held = append(held, pipelinetest.Receive(t, "a connection", accepted))
	}
	connect(t, "127.0.0.3", at, 1)
	must(t, held[0].Close())
	_ = held[0].Close() // twice, and yet it frees one place
	if c := pipelinetest.Receive(t, "the connection that waited", accepted); clientAddress(t, c) != "127.0.0.3" {
		t.Errorf("from %v", c.RemoteAddr())
	} else {
		must(t, c.Close())
	}
	connect(t, "127.0.0.1", at, 1)
	if c := pipelinetest.Receive(t, "a connection again", accepted); clientAddress(t, c) != "127.0.0.1" {
		t.Errorf("from %v", c.RemoteAddr())
	} else {
		held = append(held, c)
	}
	for _, c := range held[1:] {
		must(t, c.Close())
	}
	if len(refused) > 0 {
		t.Errorf("refused too: %v", <-refused)
	}
}

func clientAddress(t *testing.T, c net.Conn) string {
	t.Helper()
	peer, err := netip.ParseAddrPort(c.RemoteAddr().String())
	must(t, err)
	return peer.Addr().String()
}

// TestConnectionsOfStreams: a connection that a handler has taken over counts a quarter, and frees that at its end.
func TestConnectionsOfStreams(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	taken := make(chan net.Conn, 100)
	server := Server("", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		taken <- conn
	}))
	ended := make(chan error, 1)
	all := LimitConnections(l, 2, Access{}, func(client netip.Prefix) { t.Errorf("refused %v", client) })
	go func() { ended <- server.Serve(all) }()
	t.Cleanup(func() {
		must(t, server.Close())
		if err := pipelinetest.Receive(t, "the end of the server", ended); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	ask := func(from string) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := dialer.DialContext(pipelinetest.Context(t), "tcp", l.Addr().String())
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
	}
	var held []net.Conn
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		ask(from)
		held = append(held, pipelinetest.Receive(t, "a connection from "+from, taken))
	}
	ask("127.0.0.6") // three shares are left
	_ = held[0].Close()
	_ = held[0].Close() // twice, and yet it frees one share
	sixth := pipelinetest.Receive(t, "the connection that waited", taken)
	for _, c := range append(held[1:], sixth) {
		must(t, c.Close())
	}
	if n := len(all.(*limited).free); n > whole { // those that the next client will take
		t.Errorf("%d shares are taken", n)
	}
}

// TestConnectionsOfAProxy: a proxy may have all connections, since those of all clients come from it.
func TestConnectionsOfAProxy(t *testing.T) {
	at, accepted, refused := limitedListener(t, 8, Access{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	connect(t, "127.0.0.1", at, 8)
	for range 8 {
		c := pipelinetest.Receive(t, "a connection of the proxy", accepted)
		defer c.Close()
	}
	if len(refused) > 0 {
		t.Errorf("refused: %v", <-refused)
	}
}

// TestClientsOfConnections: the addresses of an IPv6 customer are one client, and an address is the same client
// in both notations.
func TestClientsOfConnections(t *testing.T) {
	l := LimitConnections(nil, 4, Access{}, nil).(*limited)
	for _, address := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::ffff:1]:9"} {
		if leave, client := l.enter(pretend(address)); leave == nil || client.String() != "2001:db8::/64" {
			t.Errorf("%s is %v", address, client)
		}
	}
	if leave, _ := l.enter(pretend("[2001:db8::3]:1")); leave != nil {
		t.Error("a fourth of the network entered")
	}
	if leave, client := l.enter(pretend("[::ffff:192.0.2.1]:1")); leave == nil || client.String() != "192.0.2.1/32" {
		t.Errorf("mapped: %v", client)
	}
}

// pretend is the address of a connection that is not made.
type pretend string

func (pretend) Network() string  { return "tcp" }
func (p pretend) String() string { return string(p) }
