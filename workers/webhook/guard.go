package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// reserved are the networks outside the public internet, and those that are translated to other addresses.
// Sources: IANA's special-purpose address registries for IPv4 (RFC 6890 and successors) and IPv6, as of
// 2025.
var reserved = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier-grade NAT
	"127.0.0.0/8",      // loopback
	"169.254.0.0/16",   // link-local, cloud metadata
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.31.196.0/24",  // AS112
	"192.52.193.0/24",  // AMT
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"192.175.48.0/24",  // AS112
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"168.63.129.16/32", // Azure's host: public by number only
	"2001:20::/28",     // ORCHIDv2; the rest of 2001::/23 is in translated
)

// global is the part of IPv6 that may be dialled, except the networks in translated.
var (
	global     = netip.MustParsePrefix("2000::/3")
	translated = prefixes(
		"2001::/23",         // Teredo, benchmarks, ORCHID and other assignments
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4: holds an IPv4 address
		"2620:4f:8000::/48", // AS112
		"3fff::/20",         // documentation
	)
)

func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// public reports whether an address is on the public internet. IPv4-mapped IPv6 addresses (::ffff:0:0/96)
// count as IPv4. No other IPv6 address outside 2000::/3 is public: loopback, ULA, link-local, multicast,
// NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), IPv4-compatible.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	forbidden := reserved
	if a.Is6() {
		if !global.Contains(a) {
			return false
		}
		forbidden = translated
	}
	for _, p := range forbidden {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// guard is a net.Dialer's Control: it checks the address that is dialled, after every resolution.
func guard(network, address string, _ syscall.RawConn) error {
	host, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !public(host.Addr()) {
		return refusedAddress(address)
	}
	return nil
}

type refusedAddress string

func (e refusedAddress) Error() string { return "the address is not public" }

// CheckURL returns why u cannot be the address of a webhook, with CodeWebhookRefused. It must be http or
// https, with a host, without user and fragment, and have at most 2,048 bytes. The address of the host is
// checked when it is dialled, because the name may resolve to another one by then.
func CheckURL(u string) error {
	if len(u) > maxURL {
		return pipeline.Fail(pipeline.CodeWebhookRefused, "the URL has more than %d bytes", maxURL)
	}
	parsed, err := url.Parse(u)
	switch {
	case err != nil:
		return pipeline.Fail(pipeline.CodeWebhookRefused, "the URL cannot be read")
	case parsed.Scheme != "https" && parsed.Scheme != "http":
		return pipeline.Fail(pipeline.CodeWebhookRefused, "the URL is neither https nor http")
	case parsed.Hostname() == "" || parsed.Opaque != "":
		return pipeline.Fail(pipeline.CodeWebhookRefused, "the URL has no host")
	case parsed.User != nil:
		return pipeline.Fail(pipeline.CodeWebhookRefused, "the URL holds a user name")
	case parsed.Fragment != "":
		return pipeline.Fail(pipeline.CodeWebhookRefused, "the URL has a fragment")
	}
	return nil
}

const maxURL = 2048

// dialer returns a dial function; a guarded one dials only public addresses.
func dialer(
	guarded bool, timeout time.Duration,
) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: timeout}
	if guarded {
		d.Control = guard
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		return conn, nil
	}
}
