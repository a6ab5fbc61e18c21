package api

import (
	"net"
	"net/netip"
	"sync"
)

// LimitConnections returns l with at most so many open connections. Further clients wait in the system's
// queue until one is closed. One client, which is an IPv4 address or the /64 of an IPv6 address, has at most
// its Share. Further ones of that client are closed at once, and refused, which must return soon, is called.
// Proxies that a names are no clients: all the world comes from their addresses.
func LimitConnections(l net.Listener, connections int, a Access, refused func(client netip.Prefix),
) net.Listener {
	return &limited{
		Listener: l, guard: &guard{proxies: a.Proxies}, gate: newGate(connections, Share(connections)),
		free: make(chan struct{}, connections), ends: make(chan struct{}), refused: refused,
	}
}

// limited is a listener that LimitConnections made.
type limited struct {
	net.Listener
	guard   *guard // knows the proxies
	gate    *gate  // for clients
	refused func(netip.Prefix)
	free    chan struct{} // holds a value for each open connection
	once    sync.Once
	ends    chan struct{} // closed by Close
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.ends:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.free
			return nil, err
		}
		leave, client := l.enter(conn.RemoteAddr())
		if leave != nil {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { leave(); <-l.free })}, nil
		}
		l.refuse(conn, client)
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
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
