package api

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api/apitest"
	"github.com/reelmill/reelmill/storage"
)

// FuzzAfterOf: the place in a stream of events that a client names is a number that a database can count to, and
// is the one that the client wrote.
func FuzzAfterOf(f *testing.F) {
	f.Add("12", "", "")
	f.Add("", "9223372036854775808", "-1")
	f.Add("0x1", "+1", "1_000")
	f.Fuzz(func(t *testing.T, header, after, cursor string) {
		r := &http.Request{
			Header: http.Header{"Last-Event-Id": {header}},
			URL:    &url.URL{RawQuery: url.Values{"after": {after}, "cursor": {cursor}}.Encode()},
		}
		n, given, err := afterOf(r)
		if err != nil || !given {
			if n != 0 || err == nil && header+after+cursor != "" {
				t.Errorf("%d, %v, %v", n, given, err)
			}
			return
		}
		text := header
		for _, next := range []string{after, cursor} {
			if text == "" {
				text = next
			}
		}
		digits := strings.TrimLeft(strconv.FormatUint(n, 10), "0")
		if n > math.MaxInt64 || strings.TrimLeft(text, "0") != digits {
			t.Errorf("%q is %d", text, n)
		}
	})
}

// FuzzWait: an accepted time to wait is between nothing and the longest.
func FuzzWait(f *testing.F) {
	for _, text := range []string{"30", "1.5", "30s", "1h", "NaN", "-Inf", "Inf", "1e400", "-1", "-0", "2562047h48m", "0x1p9"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseWait(text); err == nil && (d < 0 || d > maxWait) {
			t.Errorf("%q is %s", text, d)
		}
	})
}

// FuzzQuery: an accepted query has known parameters only, each once. A refusal points to one of what was sent.
func FuzzQuery(f *testing.F) {
	for _, raw := range []string{"limit=1&cursor=a", "limit=1&limit=2", "%zz", "a;b=1", "limit=1&x~/y=2", "%00=1", "=", "&&"} {
		f.Add(raw)
	}
	known := []string{"limit", "cursor"}
	f.Fuzz(func(t *testing.T, raw string) {
		err := checkQuery(&url.URL{RawQuery: raw}, known...)
		q, unread := url.ParseQuery(raw)
		fine := unread == nil
		for name, values := range q {
			fine = fine && slices.Contains(known, name) && len(values) == 1
		}
		if fine != (err == nil) {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

// FuzzVideoID: an accepted Idempotency-Key gives a name that can be in paths; keys and projects share no videos.
func FuzzVideoID(f *testing.F) {
	f.Add("a", "b")
	f.Add("", strings.Repeat("x", 255))
	f.Add("a\nb", strings.Repeat("é", 128))
	f.Fuzz(func(t *testing.T, one, other string) {
		first, err := videoID("default", one)
		if (err != nil) != (len(one) > 255) || err == nil && checkVideo(first) != nil {
			t.Fatalf("%q gives %q, %v", one, first, err)
		}
		second, failed := videoID("default", other)
		if err != nil || failed != nil || one == "" {
			return
		}
		if same := first == second; same != (one == other) {
			t.Errorf("%q gives %s, %q gives %s", one, first, other, second)
		}
		if foreign, err := videoID("other", one); err != nil || foreign == first {
			t.Errorf("%q gives %s in two projects, %v", one, first, err)
		}
	})
}

// FuzzClient: whatever a client writes in front of what a proxy adds, the client counts as itself. Whoever is no
// proxy counts by its own address.
func FuzzClient(f *testing.F) {
	for _, made := range []string{
		"198.51.100.1", "10.0.0.1, 10.0.0.2", ",,", "[::1]:80", "fe80::1%eth0", "::ffff:10.0.0.1", "a\r\nb", "1.2.3.4:99999",
	} {
		f.Add(made)
	}
	g, err := newGuard(Access{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "")
	must(f, err)
	f.Fuzz(func(t *testing.T, made string) {
		r := &http.Request{Header: http.Header{"X-Forwarded-For": {made}}, RemoteAddr: "10.1.1.1:1"}
		c := g.clientOf(r)
		if bits := c.Bits(); c != c.Masked() || bits != 32 && bits != 64 || c.Addr().Zone() != "" || c.Addr().Is4In6() {
			t.Errorf("%q is %s", made, c)
		}
		for _, added := range [][]string{{made + ",203.0.113.9"}, {made, "203.0.113.9:1, 10.9.9.9"}} {
			r.Header["X-Forwarded-For"] = added
			if c := g.clientOf(r); c.String() != "203.0.113.9/32" {
				t.Errorf("%q is %s", added, c)
			}
		}
		r.Header["X-Forwarded-For"], r.RemoteAddr = []string{made}, "[2001:db8::9]:1"
		if c := g.clientOf(r); c.String() != "2001:db8::/64" {
			t.Errorf("%q of nobody's proxy is %s", made, c)
		}
	})
}

// FuzzRange: the answer to any Range is the object, the part of it that Content-Range names, a few parts, or a
// problem document.
func FuzzRange(f *testing.F) {
	for _, text := range []string{
		"bytes=0-3", "bytes=-5", "bytes=99-", "bytes=0-0,2-2", "bytes=9-0", "bytes=-0", "bytes=0-18446744073709551616",
		"bytes=" + strings.Repeat("0-,", 9) + "0-", "items=0-1", "bytes= 1 - 2 ", "bytes=,", "bytes=0x1-",
	} {
		f.Add(text, "")
	}
	f.Add("bytes=0-3", `"x"`)
	parts := apitest.Open(f)
	const text = "0123456789"
	object := pipeline.Object{Key: "default/vid_a/seg.m4s", Size: int64(len(text))}
	_, err := parts.Store.Put(f.Context(), object.Key, strings.NewReader(text), storage.PutOptions{})
	must(f, err)
	s := &server{cfg: Config{Store: parts.Store}.withDefaults()}
	f.Fuzz(func(t *testing.T, asked, ifRange string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Range"], r.Header["If-Range"] = []string{asked}, []string{ifRange}
		w := httptest.NewRecorder()
		describeContent(r, w.Header(), "video/iso.segment", viewing{}.cache(playSeconds), etag(object))
		content := &objectReader{ctx: t.Context(), store: parts.Store, key: object.Key, size: object.Size}
		http.ServeContent(&rangeProblem{ResponseWriter: w, s: s, r: r}, r, "", time.Time{}, content)
		must(t, content.close())
		body, kind := w.Body.String(), w.Header().Get("Content-Type")
		switch {
		case w.Code == http.StatusOK && body == text:
		case w.Code == http.StatusRequestedRangeNotSatisfiable && kind == problemType && strings.Contains(body, string(codeRange)):
		case w.Code == http.StatusPartialContent && strings.HasPrefix(kind, "multipart/byteranges;"):
			if n := strings.Count(body, "Content-Range:"); n < 2 || n > maxRanges {
				t.Errorf("%q: %d parts", asked, n)
			}
		case w.Code == http.StatusPartialContent:
			var first, last, size int
			named := w.Header().Get("Content-Range")
			if _, err := fmt.Sscanf(named, "bytes %d-%d/%d", &first, &last, &size); err != nil || size != len(text) ||
				first < 0 || last >= size || first > last || body != text[first:last+1] {
				t.Errorf("%q: %q is %q", asked, named, body)
			}
		default:
			t.Errorf("%q: %d, %q", asked, w.Code, body)
		}
	})
}
