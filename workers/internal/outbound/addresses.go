package outbound

import "net/netip"

// forbidden4 are the networks outside the public internet of IPv4. Sources: IANA's special-purpose address
// registry (RFC 6890 and successors) as of 2025, and addresses of clouds that are public by number only.
var forbidden4 = prefixes(
	"0.0.0.0/8",          // this network
	"10.0.0.0/8",         // private
	"100.64.0.0/10",      // carrier-grade NAT; Alibaba's metadata service
	"127.0.0.0/8",        // loopback
	"169.254.0.0/16",     // link-local, cloud metadata
	"172.16.0.0/12",      // private
	"192.0.0.0/24",       // protocol assignments; Oracle's metadata service
	"192.0.2.0/24",       // documentation
	"192.31.196.0/24",    // AS112
	"192.52.193.0/24",    // AMT
	"192.88.99.0/24",     // 6to4 relays
	"192.168.0.0/16",     // private
	"192.175.48.0/24",    // AS112
	"198.18.0.0/15",      // benchmarks
	"198.51.100.0/24",    // documentation
	"203.0.113.0/24",     // documentation
	"224.0.0.0/4",        // multicast
	"240.0.0.0/4",        // reserved, and broadcast
	"168.63.129.16/32",   // Azure's host
	"255.255.255.255/32", // broadcast
)

// global6 is the part of IPv6 that may be dialled, without forbidden6. So these are forbidden, too: loopback
// and unspecified (::/128, ::1), IPv4-compatible (::/96), NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), discard
// (100::/64), segment routing (5f00::/16), ULA (fc00::/7), link-local (fe80::/10), site-local (fec0::/10) and
// multicast (ff00::/8).
var (
	global6    = netip.MustParsePrefix("2000::/3")
	forbidden6 = prefixes(
		"2001::/23",         // Teredo, benchmarks, ORCHID and other assignments
		"2001:20::/28",      // ORCHIDv2
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

// Public reports whether an address is on the public internet. An IPv4-mapped IPv6 address (::ffff:0:0/96)
// counts as the IPv4 address in it. An address with a zone, and the zero Addr, are not public.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	forbidden := forbidden4
	if a.Is6() {
		if !global6.Contains(a) {
			return false
		}
		forbidden = forbidden6
	}
	for _, p := range forbidden {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
