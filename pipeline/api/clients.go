package api

import (
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// clientOf returns who sent a request, as far as limits for each client go: an IPv4 address, or the /64 of an
// IPv6 address, which is what one customer has. Behind proxies that Access.Proxies names, it is the last
// address in X-Forwarded-For that is none of them: what is in front of it the client may have made up. The
// header of anybody else is ignored. The zero Prefix is a client without an address, as in some tests.
func (g *guard) clientOf(r *http.Request) netip.Prefix {
	client := g.addressOf(r)
	if !client.IsValid() {
		return netip.Prefix{}
	}
	return network(client)
}

// addressOf returns the address that clientOf judges by; the zero Addr if there is none.
func (g *guard) addressOf(r *http.Request) netip.Addr {
	client, ok := peerOf(r.RemoteAddr)
	if !ok {
		return netip.Addr{}
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !g.isProxy(client) {
			break
		}
		before, ok := parseHop(hop)
		if !ok {
			break
		}
		client = before
	}
	return client.WithZone("")
}

// peerOf returns the address in that of a connection's other end. ok is false if there is none.
func peerOf(remote string) (a netip.Addr, ok bool) {
	peer, err := netip.ParseAddrPort(remote)
	return peer.Addr().Unmap(), err == nil
}

// isProxy reports whether X-Forwarded-For of an address is believed.
func (g *guard) isProxy(a netip.Addr) bool {
	return slices.ContainsFunc(g.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// noticeProxy warns, once, of a proxy that Access.Proxies does not name: all its users count as one client.
func (s *server) noticeProxy(r *http.Request) {
	peer, ok := peerOf(r.RemoteAddr)
	if r.Header.Get("X-Forwarded-For") == "" || !ok || s.guard.isProxy(peer) {
		return
	}
	s.proxies.Do(func() {
		s.cfg.Logger.Warn("a request says that it came through a proxy that --trusted-proxies does not name: if "+
			"it is yours, name it, since all its users count as one client until then", "proxy", peer)
	})
}

// parseHop reads an address of X-Forwarded-For, which may have a port.
func parseHop(hop string) (netip.Addr, bool) {
	hop = strings.TrimSpace(hop)
	if a, err := netip.ParseAddr(hop); err == nil {
		return a.Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddrPort(hop)
	return a.Addr().Unmap().WithZone(""), err == nil
}

// network returns the network that counts as one client.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // an invalid address
	}
	return p
}

// gate limits how many things of a kind are open at once, in total and for each client. So one client leaves
// room for others.
type gate struct {
	all, each int

	mu   sync.Mutex
	open int
	of   map[netip.Prefix]int
}

func newGate(all, each int) *gate { return &gate{all: all, each: each, of: map[netip.Prefix]int{}} }

// enter returns a function that must be called at the end, or nil if a limit is reached: that of the client,
// if own is true.
func (g *gate) enter(client netip.Prefix) (leave func(), own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.all {
		return nil, false
	}
	if g.of[client] >= g.each {
		return nil, true
	}
	g.open++
	g.of[client]++
	return func() { g.leave(client) }, false
}

func (g *gate) leave(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.of[client]--; g.of[client] == 0 {
		delete(g.of, client)
	}
}

// maxClients is how many clients have a rate of their own at once. Further ones share one: else an attacker
// with many addresses would fill the memory.
const maxClients = 50_000

// rates limits the requests of each client.
type rates struct {
	limit rate.Limit
	burst int

	mu     sync.Mutex
	of     map[netip.Prefix]*rate.Limiter
	others *rate.Limiter
	forgot time.Time // when forget last looked
}

// newRates allows perSecond requests of each client, and twice as many at once.
func newRates(perSecond int) *rates {
	r := &rates{limit: rate.Limit(perSecond), burst: 2 * perSecond, of: map[netip.Prefix]*rate.Limiter{}}
	r.others = rate.NewLimiter(r.limit, r.burst)
	return r
}

// allow reports whether a client may send a request now.
func (r *rates) allow(client netip.Prefix) bool { return r.limiter(client).Allow() }

func (r *rates) limiter(client netip.Prefix) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.of[client]
	if ok {
		return l
	}
	if len(r.of) >= maxClients {
		r.forget()
	}
	if len(r.of) >= maxClients {
		return r.others
	}
	l = rate.NewLimiter(r.limit, r.burst)
	r.of[client] = l
	return l
}

// forget drops the clients that may send as much as new ones, at most once a second: it looks at all.
func (r *rates) forget() {
	if time.Since(r.forgot) < time.Second {
		return
	}
	r.forgot = time.Now()
	for client, l := range r.of {
		if l.Tokens() >= float64(r.burst) {
			delete(r.of, client)
		}
	}
}

// Share returns three quarters of n, rounded up: what one client may have of it. A site whose backend uploads
// for all its users from one address hardly notices, and others still get in.
func Share(n int) int { return int(math.Ceil(float64(n) * 3 / 4)) }
