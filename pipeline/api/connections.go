package api

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// whole is how many shares a connection takes. One that was taken over from net/http, for a stream of events,
// takes one of them: it opens no file, and net/http holds no memory for it.
const whole = 4

// LimitConnections returns l with at most so many open connections, of which those of event streams and
// WebSockets count a quarter if the server is one of Server. Further clients wait in the system's queue until
// one is closed. One client, which is an IPv4 address or the /64 of an IPv6 address, has at most its Share.
// Further ones of that client are closed at once, and refused, which must return soon, is called. Proxies
// that a names are no clients: all the world comes from their addresses.
func LimitConnections(l net.Listener, connections int, a Access, refused func(client netip.Prefix),
) net.Listener {
	return &limited{
		Listener: l, guard: &guard{proxies: a.Proxies}, gate: newGate(whole*connections, Share(connections)),
		free: make(chan struct{}, whole*connections), ends: make(chan struct{}), refused: refused,
	}
}

// limited is a listener that LimitConnections made.
type limited struct {
	net.Listener
	guard   *guard // knows the proxies
	gate    *gate  // for clients
	refused func(netip.Prefix)
	free    chan struct{} // holds the shares of each open connection
	once    sync.Once
	ends    chan struct{} // closed by Close
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for range whole {
		select {
		case l.free <- struct{}{}:
		case <-l.ends:
			return nil, net.ErrClosed
		}
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.give(whole)
			return nil, err
		}
		leave, client := l.enter(conn.RemoteAddr())
		if leave != nil {
			return &counted{Conn: conn, of: l, leave: leave, shares: whole}, nil
		}
		l.refuse(conn, client)
	}
}

// give gives back shares of a connection.
func (l *limited) give(shares int) {
	for range shares {
		<-l.free
	}
}

// enter counts a connection of a client. leave is nil if the client has too many.
func (l *limited) enter(a net.Addr) (leave func(), client netip.Prefix) {
	peer, ok := peerOf(a.String())
	if !ok || l.guard.isProxy(peer) {
		return func() {}, client
	}
	client = network(peer)
	leave, _ = l.gate.enter(client)
	return leave, client
}

// refuse closes a connection with a reset: an ordinary end would occupy the system for a minute.
func (l *limited) refuse(conn net.Conn, client netip.Prefix) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it, the end is an ordinary one
	}
	_ = conn.Close() // nothing was written
	l.refused(client)
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.ends) })
	return l.Listener.Close()
}

// counted is a connection of a limited listener.
type counted struct {
	net.Conn
	of     *limited
	leave  func()
	mu     sync.Mutex
	shares int // 0 after Close
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.mu.Lock()
	if c.shares > 0 {
		defer c.leave()
	}
	defer c.of.give(c.shares)
	c.shares = 0
	c.mu.Unlock()
	return c.Conn.Close()
}

// takenOver is for http.Server.ConnState: a connection that a handler has taken over keeps one share.
func takenOver(conn net.Conn, state http.ConnState) {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	c, ok := conn.(*counted)
	if !ok || state != http.StateHijacked {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shares > 1 {
		c.of.give(c.shares - 1)
		c.shares = 1
	}
}
