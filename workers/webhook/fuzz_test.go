package webhook

import (
	"net/url"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/workers/internal/outbound"
)

// FuzzCheckURL: an accepted address is http or https, has a host, and holds no password that a log could show.
func FuzzCheckURL(f *testing.F) {
	for _, u := range []string{
		"https://example.com/hook?a=b", "http://[::1]:80/", "http:example.com", "https://user:pass@example.com",
		"https://@example.com", "file:///etc/passwd", "//example.com", "https://:443/", "https://a#b", "http://%zz",
	} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if CheckURL(address) != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
			len(address) > outbound.MaxURL || strings.ContainsAny(address, "\r\n\x00") {
			t.Errorf("accepted %q: %+v, %v", address, u, err)
		}
	})
}
