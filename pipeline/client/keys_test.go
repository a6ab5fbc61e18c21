package client

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// TestKeyIsSent: each request to the server, also that for a stream, has the key and the project; without them it
// has neither header.
func TestKeyIsSent(t *testing.T) {
	for _, key := range []string{"", "rm_live_x"} {
		var sent []http.Header
		p := &peer{answer: func(_ int, r *http.Request) (*http.Response, error) {
			sent = append(sent, r.Header)
			if r.Header.Get("Accept") == "text/event-stream" {
				return reply(204, ""), nil
			}
			return reply(200, `{"id":"key_a","secret":"rm_live_y","data":[]}`), nil
		}}
		config := Config{URL: "http://mill.example", HTTP: &http.Client{Transport: p}}
		want, project := []string(nil), []string(nil)
		if key != "" {
			config.Key, config.Project = secret.New(key), "shop"
			want, project = []string{"Bearer " + key}, []string{"shop"}
		}
		client := Open(config)
		_, text, err := client.CreateKey(t.Context(), access.NewKey{Scopes: []access.Scope{access.Read}})
		must(t, err)
		if text.Reveal() != "rm_live_y" {
			t.Errorf("the secret of the new key is %q", text.Reveal())
		}
		_, err = client.Video(t.Context(), "vid_a")
		must(t, err)
		must(t, client.Events(t.Context(), "vid_a", 0, nil))
		must(t, client.RevokeKey(t.Context(), "key_a"))
		for _, h := range sent {
			if !slices.Equal(h.Values("Authorization"), want) || !slices.Equal(h.Values("X-Reelmill-Project"), project) {
				t.Errorf("with the key %q: %v", key, h)
			}
		}
		if len(sent) != 4 {
			t.Errorf("%d requests", len(sent))
		}
	}
}

// TestRefusedKeyIsNotSentAgain: 401 and 403 end a call and a stream at once.
func TestRefusedKeyIsNotSentAgain(t *testing.T) {
	for status, code := range map[int]string{401: "unauthorized", 403: "insufficient_scope"} {
		client, p := asking(func(int, *http.Request) (*http.Response, error) {
			return reply(status, `{"code":"`+code+`","detail":"no"}`, "Content-Type", "application/problem+json"), nil
		})
		client.retry = func(int) time.Duration { return 0 }
		_, call := client.Video(t.Context(), "vid_a")
		for _, err := range []error{call, client.Events(t.Context(), "vid_a", 0, nil)} {
			if e, ok := errors.AsType[*Error](err); !ok || e.Status != status || e.Code != code {
				t.Errorf("%d: %v", status, err)
			}
		}
		if p.n != 2 {
			t.Errorf("%d: %d requests", status, p.n)
		}
	}
}
