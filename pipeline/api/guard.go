package api

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Access says by which names people reach a server, and which web pages may use it. The zero Access is for a
// server on one machine: it answers loopback names and IP addresses, and no page of another site may use the
// API. Everybody may play.
type Access struct {
	// Hosts are names of the server in addition to loopback names, IP addresses and the name in PublicURL, such
	// as video.lan, without a port. "*" allows every name; then a page whose name leads here by DNS can do all
	// that its visitor can. CheckHost says what else is refused.
	Hosts []string
	// Origins are those of web pages on other sites that may use the API, such as https://app.example.com; see
	// CheckOrigin. The API then answers them with CORS headers. It takes no cookies, so none are allowed.
	Origins []string
	// PlayOrigins are the origins of web pages whose scripts may read what /play answers. Empty, or "*": those
	// of all pages. "none": only pages of the server itself.
	PlayOrigins []string
	// Proxies are the networks of proxies whose X-Forwarded-For is believed, so that the limits for each client
	// are for those behind the proxy. Empty: no one's.
	Proxies []netip.Prefix
}

// anyone allows all hosts, or all origins; noOne allows no origin.
const (
	anyone = "*"
	noOne  = "none"
)

// CheckHost returns why a name cannot be one of Access.Hosts, or nil.
func CheckHost(name string) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:@?#[]\*"'`, r) }
	if name != anyone && (name == "" || len(name) > maxHost || strings.ContainsFunc(name, bad)) {
		return fmt.Errorf("%q is not the name of a host; write a name without scheme and port, such as "+
			"video.example.com", name)
	}
	return nil
}

// CheckOrigin returns why an origin cannot be one of Access.Origins, or nil.
func CheckOrigin(origin string) error {
	_, err := canonicalOrigin(origin)
	return err
}

// CheckPlayOrigins returns why origins cannot be Access.PlayOrigins, or nil.
func CheckPlayOrigins(origins []string) error {
	for _, o := range origins {
		if o == anyone || o == noOne {
			if len(origins) > 1 {
				return fmt.Errorf("%q stands alone, or leave it out and list origins", o)
			}
			return nil
		}
		if err := CheckOrigin(o); err != nil {
			return err
		}
	}
	return nil
}

// canonicalOrigin writes an origin as browsers do: in lower case and without the scheme's own port.
func canonicalOrigin(origin string) (string, error) {
	u, err := url.Parse(strings.ToLower(strings.TrimSuffix(origin, "/")))
	if err != nil || u.Scheme == "" || !isHost(u.Hostname()) || u.User != nil || u.Path != "" ||
		strings.ContainsAny(origin, "?#*") {
		return "", fmt.Errorf("%q is not an origin; write scheme and host, such as https://app.example.com", origin)
	}
	if own := map[string]string{"http": "80", "https": "443"}[u.Scheme]; own != "" && u.Port() == own {
		u.Host = strings.TrimSuffix(u.Host, ":"+own)
	}
	return u.Scheme + "://" + u.Host, nil
}

// isHost reports whether host is a name or an IP address.
func isHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || CheckHost(host) == nil
}

// guard refuses what a web page elsewhere does through the browser of a person who can reach the server. Such
// a page cannot be told from its visitor by address, so a server that listens on loopback needs it, too.
//
//   - A page may make its own name lead to this server (DNS rebinding). Then the browser takes the server for
//     a part of the page's site; but the Host header has the page's name, which the guard does not know.
//   - A page may send a form, or a request that needs no permission, to this server. Then the browser says so
//     in Sec-Fetch-Site or, if it is old, in Origin, which the guard refuses for all methods that change
//     something. What a page reads in that way the browser keeps from it, without CORS headers.
//
// Programs other than browsers send neither header, and whatever Host leads them here.
type guard struct {
	hosts   map[string]bool
	anyHost bool
	writes  *http.CrossOriginProtection
	origins []string // of Access, canonical
	play    []string // of Access, canonical; empty: all
	proxies []netip.Prefix
}

func newGuard(a Access, publicURL string) (*guard, error) {
	g := &guard{
		hosts: map[string]bool{"localhost": true}, writes: http.NewCrossOriginProtection(), proxies: a.Proxies,
	}
	for _, name := range a.Hosts {
		if err := CheckHost(name); err != nil {
			return nil, fmt.Errorf("Hosts: %w", err)
		}
		g.hosts[hostName(name)], g.anyHost = true, g.anyHost || name == anyone
	}
	if publicURL != "" {
		u, err := url.Parse(publicURL)
		if err != nil {
			return nil, fmt.Errorf("PublicURL: %w", err)
		}
		g.hosts[hostName(u.Host)] = true
		// Old browsers send Origin alone, and a proxy may have replaced Host.
		if _, err := g.allowWrites(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("PublicURL: %w", err)
		}
	}
	for _, o := range a.Origins {
		o, err := g.allowWrites(o)
		if err != nil {
			return nil, fmt.Errorf("Origins: %w", err)
		}
		g.origins = append(g.origins, o)
	}
	return g, g.allowPlay(a.PlayOrigins)
}

// allowWrites lets pages of an origin change something, and returns the origin as browsers write it.
func (g *guard) allowWrites(origin string) (string, error) {
	o, err := canonicalOrigin(origin)
	if err != nil {
		return "", err
	}
	return o, g.writes.AddTrustedOrigin(o)
}

func (g *guard) allowPlay(origins []string) error {
	if err := CheckPlayOrigins(origins); err != nil {
		return fmt.Errorf("PlayOrigins: %w", err)
	}
	for _, o := range origins {
		switch o {
		case anyone:
		case noOne:
			g.play = append(g.play, noOne)
		default:
			o, err := canonicalOrigin(o)
			if err != nil {
				return err
			}
			g.play = append(g.play, o)
		}
	}
	return nil
}

// check refuses a request to an unknown host, and one that changes something for a page of another site.
func (g *guard) check(r *http.Request) error {
	if !g.knows(r.Host) {
		return unknownHost(r.Host)
	}
	if _, ok := tokenIn(r.URL.Path); ok { // whoever has the token may send, from any page: see corsOfUpload
		return nil
	}
	if createsByToken(r) { // likewise; a token that is not ours is refused later, whatever the server asks for
		return nil
	}
	if err := g.writes.Check(r); err != nil {
		return crossOrigin(r.Header.Get("Origin")).because(err)
	}
	return nil
}

// checkWebSocket refuses a WebSocket for a page of another site. It begins with a GET, which check lets pass.
func (g *guard) checkWebSocket(r *http.Request) error {
	as := *r
	as.Method = http.MethodPost
	if err := g.writes.Check(&as); err != nil {
		return crossOrigin(r.Header.Get("Origin")).because(err)
	}
	return nil
}

// knows reports whether a Host header names this server. An IP address does: the guard is against names that
// lead elsewhere first and here later, and no DNS answer changes where an address leads. Health probes send
// addresses, such as that of a pod. An empty header does, too: only programs that speak HTTP/1.0 have none,
// and browsers always send one.
func (g *guard) knows(host string) bool {
	name := hostName(host)
	if g.anyHost || host == "" || g.hosts[name] {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// maxHost is how many characters the name of a host may have (RFC 1035).
const maxHost = 253

// hostName returns the name in a Host header: in lower case, without port, brackets and the dot of the root.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func unknownHost(host string) *failure {
	f := fail(codeHostUnknown, "The request is for the host %.80q, which is not a name of this server.",
		printable(host))
	if name := hostName(host); CheckHost(name) == nil {
		f.remedy = fmt.Sprintf("If the name leads to this server, start it with --allow-host %[1]s, or with "+
			"REELMILL_ALLOW_HOST=%[1]s in its environment, or add %[1]s to allow_host in its configuration file. "+
			"If it has other names, too, list all, separated by commas. Its IP address needs no flag.", name)
	}
	return f
}

func crossOrigin(origin string) *failure {
	f := fail(codeCrossOrigin, "A web page of another site (%.80q) sent the request.", printable(origin))
	if o, err := canonicalOrigin(origin); err == nil {
		f.remedy = fmt.Sprintf("If the page is yours, start the server with --allow-origin %s.", o)
	}
	return f
}

// Protect returns a handler that answers as next does, with the guard, headers and limits that the API has.
// It is for what is served beside the API, such as metrics. Of the limits, only the rate of a client counts.
// The logger may be nil.
func Protect(
	a Access, publicURL string, l Limits, log *slog.Logger, next http.Handler,
) (http.Handler, error) {
	g, err := newGuard(a, publicURL)
	if err != nil {
		return nil, err
	}
	s := &server{cfg: Config{Limits: l, Logger: log}.withDefaults(), guard: g}
	s.rates = newRates(s.cfg.Limits.MaxClientRate)
	return s.edge(next), nil
}
