package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// Guard says what requests may reach. The zero Guard is the strictest.
type Guard struct {
	AllowPrivate bool          // allows addresses that are not public
	MaxURL       int           // bytes of a URL; default: the constant MaxURL
	Redirects    int           // how many are followed; 0: none, and the answer is the redirect itself
	Timeout      time.Duration // of a dial, a handshake, and the wait for a header; default 15 s
}

// RefusedError says that a request was refused because its host is not on the public internet. It does not
// say what address a name leads to: whoever chose the name must not learn it.
type RefusedError struct{}

// Error is always the same.
func (RefusedError) Error() string { return "the address is not public" }

// RedirectError says why a redirect was not followed.
type RedirectError struct{ Reason string }

// Error is the reason.
func (e RedirectError) Error() string { return e.Reason }

// maxHeader is how many bytes the header of an answer may have.
const maxHeader = 16 << 10

// Client returns a client for requests that g allows. Its errors hold a RefusedError or a RedirectError if g
// did not allow the request. It keeps no connections: requests are rare, and servers many. It does not undo
// the compression of an answer.
func (g Guard) Client() *http.Client {
	timeout := cmp.Or(max(g.Timeout, 0), 15*time.Second)
	d := dialer{timeout: timeout, public: Public}
	if g.AllowPrivate {
		d.public = nil
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.dial, DisableKeepAlives: true, TLSHandshakeTimeout: timeout,
			ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
		},
		CheckRedirect: g.checkRedirect,
	}
}

// dialer dials the addresses of a name that are public.
type dialer struct {
	timeout  time.Duration
	public   func(netip.Addr) bool // nil: all are
	resolver *net.Resolver         // nil: the system's
}

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	by, allowed := net.Dialer{Timeout: d.timeout, Resolver: d.resolver}, atomic.Bool{}
	if d.public != nil {
		by.Control = func(network, address string, _ syscall.RawConn) error {
			err := d.check(network, address)
			if err == nil {
				allowed.Store(true)
			}
			return err
		}
	}
	conn, err := by.DialContext(ctx, network, address)
	if errors.As(err, new(RefusedError)) && allowed.Load() { // which may answer later
		return nil, errors.New("dial: no public address of the host answers")
	}
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return conn, nil
}

// check is a net.Dialer's Control: it checks the address that is dialled, after every resolution.
func (d dialer) check(network, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !d.public(at.Addr()) {
		return RefusedError{}
	}
	return nil
}

// checkRedirect is an http.Client's CheckRedirect.
func (g Guard) checkRedirect(next *http.Request, before []*http.Request) error {
	if g.Redirects == 0 {
		return http.ErrUseLastResponse
	}
	next.Header.Del("Referer") // the URL before may hold a token
	next.URL.Fragment, next.URL.RawFragment = "", ""
	if len(before) > g.Redirects {
		return RedirectError{fmt.Sprintf("more than %d redirects", g.Redirects)}
	}
	if before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return RedirectError{"a redirect leads from https to " + next.URL.Scheme}
	}
	err := g.CheckURL(next.URL.String())
	if err == nil || errors.As(err, new(RefusedError)) {
		return err
	}
	return RedirectError{"a redirect cannot be followed: " + err.Error()}
}
