package outbound

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

func TestPublic(t *testing.T) {
	for _, a := range []string{
		"0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
		"172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1",
		"2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
		"fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2620:4f:8000::1", "100.100.100.200",
		"192.0.0.192", "::ffff:168.63.129.16", "::ffff:0:127.0.0.1", "fd20:ce::254", "2001:0:7f00:1::1", "64:ff9b:1:7f00:1::",
		"ff0e::1", "::ffff:255.255.255.255", "2606:4700:4700::1111%eth0",
	} {
		if Public(netip.MustParseAddr(a)) {
			t.Errorf("%s counts as public", a)
		}
	}
	for _, a := range []string{
		"1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1",
		"::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1",
	} {
		if !Public(netip.MustParseAddr(a)) {
			t.Errorf("%s counts as private", a)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address counts as public")
	}
}

func TestCheckURL(t *testing.T) {
	for _, u := range []string{
		"", "example.org", "ftp://example.org", "file:///etc/passwd", "http://", "https:///x", "http:example.org",
		"https://user:pass@example.org", "https://@example.org", "https://example.org/#x", "https://exa mple.org",
		"gopher://x", "unix:/x", "https://example.org/" + strings.Repeat("x", MaxURL), "javascript:alert(1)", "https://\x00",
		"http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://0/",
		"http://017700000001/", "http://127.0.0.1.5/", "http://1.2.3.0x4/", "http://127.000.000.001/", "http://./",
		"http://0x/", "http://127.1./",
	} {
		if err := CheckURL(u); err == nil || errors.As(err, new(RefusedError)) {
			t.Errorf("%q: %v", u, err)
		}
	}
	for _, u := range []string{
		"https://example.org", "http://example.org:8080/hook?x=1", "https://[2606:4700::1]/", "http://127.0.0.1/",
		"http://example.org./", "http://127.0.0.1./", "http://1.example/", "http://0x1.example/", "http://[fe80::1%25eth0]/",
	} {
		if err := CheckURL(u); err != nil {
			t.Errorf("%q: %v", u, err)
		}
	}
}

func TestGuardRefusesLiteralAddresses(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "127.0.0.1.", "10.0.0.1:8080", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"[fe80::1%25eth0]", "[2606:4700::1%25eth0]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::]", "0.0.0.0", "localhost",
		"LOCALHOST", "localhost.", "a.localhost", "a.localhost.",
	} {
		if err := (Guard{}).CheckURL("http://" + host + "/a?b=c"); !errors.As(err, new(RefusedError)) {
			t.Errorf("%s: %v", host, err)
		}
		if err := (Guard{AllowPrivate: true}).CheckURL("http://" + host + "/a?b=c"); err != nil {
			t.Errorf("%s, which is allowed: %v", host, err)
		}
	}
	for _, host := range []string{"example.org", "8.8.8.8", "[2606:4700::1]", "localhost.example.org", "mylocalhost"} {
		if err := (Guard{}).CheckURL("https://" + host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// FuzzCheckURL: what the guard lets pass is http or https, has a host and no user, and an address in it is public.
func FuzzCheckURL(f *testing.F) {
	for _, u := range []string{
		"https://example.com/hook?a=b", "http://[::1]:80/", "http:example.com", "https://user:pass@example.com",
		"file:///etc/passwd", "https://:443/", "https://a#b", "http://%zz", "http://0x7f.1/", "http://[::ffff:10.0.0.1]/",
		"http://[fe80::1%25a]/", "http://127.0.0.1./", "http://1.2.3.4:5/", "http://localhost./",
	} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if (Guard{}).CheckURL(address) != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
			len(address) > MaxURL || strings.ContainsAny(address, "\r\n\x00") {
			t.Fatalf("accepted %q: %+v, %v", address, u, err)
		}
		if a, err := netip.ParseAddr(strings.TrimSuffix(u.Hostname(), ".")); err == nil && !Public(a) {
			t.Errorf("accepted %q", address)
		}
	})
}

// FuzzPublic: no way to write an IPv4 address in IPv6 makes it public.
func FuzzPublic(f *testing.F) {
	for _, a := range []string{"127.0.0.1", "10.1.2.3", "8.8.8.8", "169.254.169.254", "255.255.255.255"} {
		four := netip.MustParseAddr(a).As4()
		f.Add(binary.BigEndian.Uint32(four[:]))
	}
	f.Fuzz(func(t *testing.T, n uint32) {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], n)
		a := netip.AddrFrom4(four)
		if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
			if Public(a) {
				t.Errorf("%s counts as public", a)
			}
		}
		if Public(netip.AddrFrom16(a.As16())) != Public(a) {
			t.Errorf("%s differs when it is mapped", a)
		}
		for prefix, at := range map[string]int{"::": 12, "64:ff9b::": 12, "64:ff9b:1::": 12, "2002::": 2, "2001::": 12, "::ffff:0:0:0": 12} {
			six := netip.MustParseAddr(prefix).As16()
			copy(six[at:], four[:])
			if Public(netip.AddrFrom16(six)) {
				t.Errorf("%s counts as public", netip.AddrFrom16(six))
			}
		}
	})
}

// names is a DNS server on loopback that answers every question for an IPv4 address with the next of its lists.
type names struct {
	net.PacketConn
	lists [][]netip.Addr
	asked int
}

func startNames(t *testing.T, lists ...[]netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n, done := &names{PacketConn: conn, lists: lists}, make(chan struct{})
	go func() { defer close(done); n.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", conn.LocalAddr().String())
	}}
}

func (n *names) serve() {
	buffer := make([]byte, 512)
	for {
		length, from, err := n.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = n.WriteTo(n.answer(buffer[:length]), from)
	}
}

// answer answers a query of one question (RFC 1035, 4.1).
func (n *names) answer(query []byte) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	kind := binary.BigEndian.Uint16(query[end+1:])
	answer := append([]byte{}, query[:end+5]...)
	answer[2], answer[3] = 0x81, 0x80
	copy(answer[6:12], make([]byte, 6))
	if kind != 1 { // only addresses of IPv4
		return answer
	}
	list := n.lists[min(n.asked, len(n.lists)-1)]
	n.asked++
	answer[7] = byte(len(list))
	for _, a := range list {
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		answer = append(answer, a.AsSlice()...)
	}
	return answer
}

// TestNameWithSeveralAddresses: only the allowed ones of a name are dialled, whatever their order; and a name is
// looked at again at each dial.
func TestNameWithSeveralAddresses(t *testing.T) {
	good, bad := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")
	var reached [2]atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached[0].Add(1) }))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	other, err := net.Listen("tcp4", good.String()+port)
	if err != nil {
		t.Fatal(err)
	}
	allowed := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached[1].Add(1) }))
	_ = allowed.Listener.Close()
	allowed.Listener = other
	allowed.Start()
	defer allowed.Close()

	for name, c := range map[string]struct {
		lists [][]netip.Addr
		ok    []bool
	}{
		"one forbidden":       {[][]netip.Addr{{bad}}, []bool{false}},
		"forbidden first":     {[][]netip.Addr{{bad, good}}, []bool{true}},
		"forbidden last":      {[][]netip.Addr{{good, bad}}, []bool{true}},
		"forbidden in middle": {[][]netip.Addr{{bad, good, bad}}, []bool{true}},
		"rebound":             {[][]netip.Addr{{good}, {bad}, {good}}, []bool{true, false, true}},
	} {
		d := dialer{resolver: startNames(t, c.lists...), public: func(a netip.Addr) bool { return a == good }}
		client := &http.Client{Transport: &http.Transport{DialContext: d.dial, DisableKeepAlives: true}}
		for i, ok := range c.ok {
			before := reached[1].Load()
			answer, err := client.Get("http://name.example" + port)
			if err == nil {
				_ = answer.Body.Close()
			}
			if (err == nil) != ok || !ok && !errors.As(err, new(RefusedError)) || reached[1].Load()-before != int32(map[bool]int{true: 1}[ok]) {
				t.Errorf("%s, %d: %v, reached %d times", name, i, err, reached[1].Load()-before)
			}
		}
	}
	if n := reached[0].Load(); n != 0 {
		t.Errorf("the forbidden address was reached %d times", n)
	}
}

// TestPublicAddressThatIsDown: a name with a forbidden address and one that does not answer is no refusal.
func TestPublicAddressThatIsDown(t *testing.T) {
	closed, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(closed.Addr().String())
	_ = closed.Close()
	good, bad := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")
	d := dialer{resolver: startNames(t, []netip.Addr{bad, good}), public: func(a netip.Addr) bool { return a == good }}
	if _, err := d.dial(t.Context(), "tcp", "name.example:"+port); err == nil || errors.As(err, new(RefusedError)) {
		t.Error(err)
	}
}

func TestRedirects(t *testing.T) {
	var referers []string
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/hop/", func(w http.ResponseWriter, r *http.Request) {
		referers = append(referers, r.Header.Get("Referer"))
		http.Redirect(w, r, "/hop"+r.URL.Path[len("/hop"):]+"x?token=t#f", http.StatusFound)
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("u"))
		w.WriteHeader(http.StatusFound)
	})
	get := func(g Guard, path string) (int, error) {
		answer, err := g.Client().Get(server.URL + path)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	if status, err := get(Guard{AllowPrivate: true}, "/hop/"); status != http.StatusFound || err != nil {
		t.Errorf("without redirects: %d, %v", status, err)
	}
	referers = nil
	if _, err := get(Guard{AllowPrivate: true, Redirects: 3}, "/hop/"); !errors.As(err, new(RedirectError)) || len(referers) != 4 {
		t.Errorf("a loop: %v after %q", err, referers)
	}
	if all := strings.Join(referers, ""); all != "" {
		t.Errorf("told servers %q", all)
	}
	for _, to := range []string{"ftp://example.org/", "http://u:p@example.org/", "file:///etc/passwd", "http://0x7f.1/", "//"} {
		_, err := get(Guard{AllowPrivate: true, Redirects: 3}, "/to?u="+url.QueryEscape(to))
		if !errors.As(err, new(RedirectError)) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestRedirectIsChecked: the guard checks where a redirect leads as it checks the first URL, and never goes from
// https to http.
func TestRedirectIsChecked(t *testing.T) {
	before := []*http.Request{{URL: &url.URL{Scheme: "https", Host: "example.org"}}}
	for to, want := range map[string]error{
		"https://127.0.0.1/": RefusedError{}, "https://localhost/": RefusedError{}, "https://[::1]/": RefusedError{},
		"http://example.org/": RedirectError{"a redirect leads from https to http"}, "https://example.com/": nil,
	} {
		next, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Guard{Redirects: 3}).checkRedirect(next, before); err != want {
			t.Errorf("%s: %v, want %v", to, err, want)
		}
	}
}

// TestNoProxy: a proxy of the environment is not asked: it would look names up elsewhere, unguarded.
func TestNoProxy(t *testing.T) {
	if transport := (Guard{}).Client().Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("the client asks the environment for a proxy")
	}
}
