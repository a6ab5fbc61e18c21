package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

func mustBreakers(t *testing.T, c BreakerConfig) *Breakers {
	t.Helper()
	b, err := NewBreakers(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receiver returns a server that counts its requests, and the configuration to deliver to it.
func receiver(t *testing.T, answer http.HandlerFunc, c BreakerConfig) (url string, requests *atomic.Int32, _ Config) {
	t.Helper()
	requests = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests, Config{Secret: signing, AllowPrivate: true, Breakers: mustBreakers(t, c)}
}

// hang does not answer until the sender gives up.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the connection end
	<-r.Context().Done()
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// TestBreakerOpens delivers to receivers that fail in each way, five times with a request and twenty
// times without. Each error names the last answer, even if nothing was sent.
func TestBreakerOpens(t *testing.T) {
	for name, host := range map[string]struct {
		answer http.HandlerFunc
		last   string
	}{
		"500":   {status(500), "the receiver answered 500"},
		"503":   {status(503), "the receiver answered 503"},
		"hangs": {hang, "the receiver did not answer: no answer within 100ms"},
		"breaks off": {
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the receiver did not answer: EOF",
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, requests, c := receiver(t, host.answer, BreakerConfig{})
			if name == "hangs" {
				c.Timeout = 100 * time.Millisecond
			}
			before := time.Now()
			for i := range 25 {
				_, err := deliver(t, c, delivery(url+"/hook?token=hidden"))
				if code(err) != pipeline.CodeWebhookFailed || !pipeline.ProblemOf(err).Retryable {
					t.Fatalf("delivery %d: %v", i, err)
				}
				if named := strings.Contains(err.Error(), url) &&
					strings.Contains(err.Error(), "nothing is sent there before 20"); named != (i >= 5) ||
					!strings.Contains(err.Error(), host.last) || strings.Contains(err.Error(), "hidden") {
					t.Errorf("delivery %d: %v", i, err)
				}
			}
			// On a slow machine a request may time out before it arrives.
			if n := requests.Load(); n > 5 || n < 5 && name != "hangs" {
				t.Errorf("%d requests", n)
			}
			want := []BreakerStatus{{Host: url, State: "open", Failures: 5, Opened: 1}}
			if diff := cmp.Diff(want, c.Breakers.Status()); diff != "" || c.Breakers.Opened() != 1 {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if until := c.Breakers.of(url).until.Load(); until < before.Add(30*time.Second).UnixNano() {
				t.Errorf("tried again at %s, begun at %s", time.Unix(0, until), before)
			}
		})
	}
}

func TestBreakerOpensWhenRefused(t *testing.T) {
	url, _, c := receiver(t, status(200), BreakerConfig{})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for range 6 {
		if _, err := deliver(t, c, delivery(gone.URL)); code(err) != pipeline.CodeWebhookFailed {
			t.Error(err)
		}
	}
	if _, err := deliver(t, c, delivery(url)); err != nil {
		t.Errorf("deliveries to another host fail: %v", err)
	}
	for _, s := range c.Breakers.Status() {
		if s.State == "open" != (s.Host == gone.URL) {
			t.Errorf("%+v", s)
		}
	}
}

// TestBreakerStaysClosed: a host that answers works, whatever it answers below 500.
func TestBreakerStaysClosed(t *testing.T) {
	for _, answer := range []int{204, 302, 404, 410, 429} {
		url, requests, c := receiver(t, status(answer), BreakerConfig{Failures: 1})
		for range 10 {
			_, err := deliver(t, c, delivery(url))
			if answer == 410 && (code(err) != pipeline.CodeWebhookRefused || pipeline.ProblemOf(err).Retryable) {
				t.Errorf("410: %v", err)
			}
		}
		if s := c.Breakers.Status(); requests.Load() != 10 || s[0].State != "closed" || s[0].Failures != 0 {
			t.Errorf("%d: %d requests, %+v", answer, requests.Load(), s)
		}
	}
}

// TestBreakerAfterSuccess: only failures in a row count.
func TestBreakerAfterSuccess(t *testing.T) {
	n := 0
	url, requests, c := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n%5 != 0 {
			w.WriteHeader(500)
		}
	}, BreakerConfig{})
	for range 50 {
		_, _ = deliver(t, c, delivery(url))
	}
	if requests.Load() != 50 || c.Breakers.Opened() != 0 {
		t.Errorf("%d requests, %+v", requests.Load(), c.Breakers.Status())
	}
}

// TestBreakerRecovers repairs the receiver. The pause is over before the next delivery.
func TestBreakerRecovers(t *testing.T) {
	var well atomic.Bool
	url, requests, c := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(500)
		}
	}, BreakerConfig{Pause: 1})
	for range 7 { // two of them are probes
		_, _ = deliver(t, c, delivery(url))
	}
	well.Store(true)
	for range 3 {
		if _, err := deliver(t, c, delivery(url)); err != nil {
			t.Error(err)
		}
	}
	want := []BreakerStatus{{Host: url, State: "closed", Opened: 3}}
	if diff := cmp.Diff(want, c.Breakers.Status()); diff != "" || requests.Load() != 10 {
		t.Errorf("%d requests, status (-want +got):\n%s", requests.Load(), diff)
	}
}

// TestBreakerIgnores errors that say nothing about the host: a refused address, an abandoned delivery.
func TestBreakerIgnores(t *testing.T) {
	url, requests, c := receiver(t, status(200), BreakerConfig{Failures: 1})
	c.AllowPrivate = false
	for range 3 {
		if _, err := deliver(t, c, delivery(url)); code(err) != pipeline.CodeWebhookRefused {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Breakers.of(url).send(ctx, func() (int, error) { return 0, ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := c.Breakers.Status(); requests.Load() != 0 || s[0].State != "closed" || s[0].Failures != 0 {
		t.Errorf("%d requests, %+v", requests.Load(), s)
	}
}

// TestBreakerTime checks the default pause on a fake clock.
func TestBreakerTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustBreakers(t, BreakerConfig{})
		h := b.of("https://example.org/hook")
		fails := func() (int, error) { return 500, nil }
		never := func() (int, error) { t.Error("sent while the breaker is open"); return 200, nil }
		for range 5 {
			if status, err := h.send(t.Context(), fails); status != 500 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		}
		time.Sleep(30 * time.Second)
		if _, err := h.send(t.Context(), never); code(err) != pipeline.CodeWebhookFailed ||
			!strings.Contains(err.Error(), pipeline.Clock(time.Now())) {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		answer := make(chan int)
		done := make(chan error)
		go func() {
			_, err := h.send(t.Context(), func() (int, error) { return <-answer, nil })
			done <- err
		}()
		synctest.Wait()
		if _, err := h.send(t.Context(), never); code(err) != pipeline.CodeWebhookFailed {
			t.Errorf("besides the probe: %v", err)
		}
		if s := b.Status()[0]; s.State != "half-open" || s.Failures != 5 {
			t.Errorf("while it is probed: %+v", s)
		}
		answer <- 200
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := BreakerStatus{Host: "https://example.org:443", State: "closed", Opened: 1}
		if s := b.Status()[0]; s != want {
			t.Errorf("got %+v, want %+v", s, want)
		}
	})
}

func TestBreakerHosts(t *testing.T) {
	for address, want := range map[string]string{
		"https://Example.ORG./a?b=c":    "https://example.org:443",
		"https://example.org:443/":      "https://example.org:443",
		"http://example.org":            "http://example.org:80",
		"http://example.org:8080/x":     "http://example.org:8080",
		"https://[2606:4700::1]/x":      "https://[2606:4700::1]:443",
		"https://[2606:4700::1]:8443/x": "https://[2606:4700::1]:8443",
	} {
		if got := hostOf(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	b := mustBreakers(t, BreakerConfig{Hosts: 3, Failures: 1})
	for _, i := range []int{1, 2, 3, 1, 4} {
		_, _ = b.of(fmt.Sprintf("http://h%d", i)).send(t.Context(), func() (int, error) { return 500, nil })
	}
	var hosts []string
	for _, s := range b.Status() {
		hosts = append(hosts, s.Host)
	}
	if diff := cmp.Diff([]string{"http://h1:80", "http://h3:80", "http://h4:80"}, hosts); diff != "" || b.Opened() != 4 {
		t.Errorf("opened %d, hosts (-want +got):\n%s", b.Opened(), diff)
	}
}

func TestBreakerConfig(t *testing.T) {
	for field, c := range map[string]BreakerConfig{
		"Failures": {Failures: -1}, "Pause": {Pause: -1}, "Hosts": {Hosts: -1},
	} {
		if _, err := NewBreakers(c); err == nil || !strings.Contains(err.Error(), field+" is ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
