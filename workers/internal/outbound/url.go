package outbound

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// MaxURL is how many bytes a URL may have by default.
const MaxURL = 2048

// CheckURL returns why u cannot be an address of a request. It must be http or https, with a host, without
// user and fragment, and have at most MaxURL bytes. A host of numbers must be an IPv4 address in four decimal
// parts: resolvers read other forms, such as 2130706433, 0x7f.1 and 0177.0.0.1, in different ways. No error
// repeats what the URL holds, but for the host.
func CheckURL(u string) error { return checkURL(u, MaxURL) }

func checkURL(u string, limit int) error {
	if len(u) > limit {
		return fmt.Errorf("the URL has more than %d bytes", limit)
	}
	parsed, err := url.Parse(u)
	switch {
	case err != nil:
		return errors.New("the URL cannot be read")
	case parsed.Scheme != "https" && parsed.Scheme != "http":
		return errors.New("the URL is neither https nor http")
	case parsed.Hostname() == "" || parsed.Opaque != "":
		return errors.New("the URL has no host")
	case parsed.User != nil:
		return errors.New("the URL holds a user name")
	case parsed.Fragment != "":
		return errors.New("the URL has a fragment")
	}
	host := bare(parsed.Hostname())
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || numeric(host)) {
		return fmt.Errorf("the host %.64q is neither a name nor an address", host)
	}
	return nil
}

// bare returns a host without the dot at its end, which names the root of the DNS.
func bare(host string) string { return strings.TrimSuffix(host, ".") }

// numeric reports whether a host can be read as an IPv4 address in some form: its last part is a number
// (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func numeric(host string) bool {
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// CheckURL is the function CheckURL and, unless AllowPrivate is set, refuses a host that is not public as it
// is written: an address outside the public internet, or a name for the machine itself (RFC 6761). What other
// names lead to is checked when they are dialled. That error is a RefusedError.
func (g Guard) CheckURL(u string) error {
	if err := checkURL(u, cmp.Or(g.MaxURL, MaxURL)); err != nil || g.AllowPrivate {
		return err
	}
	parsed, err := url.Parse(u)
	if err != nil {
		return errors.New("the URL cannot be read")
	}
	host := strings.ToLower(bare(parsed.Hostname()))
	if a, err := netip.ParseAddr(host); err == nil && !Public(a) {
		return RefusedError{}
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return RefusedError{}
	}
	return nil
}
