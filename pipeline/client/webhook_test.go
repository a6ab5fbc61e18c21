package client

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// signed returns the header of a message that each secret has signed at a time.
func signed(t testing.TB, body string, at time.Time, secrets ...string) http.Header {
	t.Helper()
	var all []string
	for _, secret := range secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		must(t, err)
		signature, err := signer.Sign("evt_1", at, []byte(body))
		must(t, err)
		all = append(all, signature)
	}
	return http.Header{
		"Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"Webhook-Signature": {strings.Join(all, " ")},
	}
}

const message = `{"type":"video.ready","timestamp":"2026-11-28T07:00:00Z","data":{"id":"vid_1","status":"ready"}}`

// TestUnwrap checks what is accepted, also while a secret is changed, and what is not.
func TestUnwrap(t *testing.T) {
	now := time.Now()
	without := func(name string) http.Header {
		h := signed(t, message, now, oldSecret)
		h.Del(name)
		return h
	}
	other := signed(t, message, now, oldSecret)
	other.Set("webhook-id", "evt_2")
	for name, c := range map[string]struct {
		body    string
		header  http.Header
		secrets []string
		refused bool
	}{
		"one secret":                 {message, signed(t, message, now, oldSecret), []string{oldSecret}, false},
		"without its prefix":         {message, signed(t, message, now, oldSecret), []string{oldSecret[6:]}, false},
		"receiver knows both, first": {message, signed(t, message, now, oldSecret), []string{oldSecret, newSecret}, false},
		"receiver knows both, last":  {message, signed(t, message, now, newSecret), []string{oldSecret, newSecret}, false},
		"sender signs with both":     {message, signed(t, message, now, oldSecret, newSecret), []string{newSecret}, false},
		"four minutes late":          {message, signed(t, message, now.Add(-4*time.Minute), oldSecret), []string{oldSecret}, false},
		"six minutes late":           {message, signed(t, message, now.Add(-6*time.Minute), oldSecret), []string{oldSecret}, true},
		"six minutes early":          {message, signed(t, message, now.Add(6*time.Minute), oldSecret), []string{oldSecret}, true},
		"another secret":             {message, signed(t, message, now, newSecret), []string{oldSecret}, true},
		"another body":               {message + " ", signed(t, message, now, oldSecret), []string{oldSecret}, true},
		"another id":                 {message, other, []string{oldSecret}, true},
		"no id":                      {message, without("webhook-id"), []string{oldSecret}, true},
		"no time":                    {message, without("webhook-timestamp"), []string{oldSecret}, true},
		"no signature":               {message, without("webhook-signature"), []string{oldSecret}, true},
	} {
		w, err := Unwrap([]byte(c.body), c.header, c.secrets...)
		if errors.Is(err, ErrSignature) != c.refused || (err == nil) == c.refused {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (w.ID != "evt_1" || w.Type != "video.ready" || w.Video == nil || w.Video.ID != "vid_1" ||
			w.Timestamp.Hour() != 7 || len(w.Data) == 0) || err != nil && w.Type != "" {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// TestUnwrapOfMistakes checks that a mistake of the receiver is not taken for a forged message, and that no
// error shows a secret.
func TestUnwrapOfMistakes(t *testing.T) {
	now := time.Now()
	for name, secrets := range map[string][]string{
		"none": nil, "empty": {""}, "only the prefix": {"whsec_"}, "no base64": {"whsec_!MfKQ!"}, "one of two": {oldSecret, "!MfKQ!"},
	} {
		_, err := Unwrap([]byte(message), signed(t, message, now, oldSecret), secrets...)
		if err == nil || errors.Is(err, ErrSignature) || strings.Contains(err.Error(), "MfKQ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, body := range []string{"", "[]", `{"type":7}`} {
		if _, err := Unwrap([]byte(body), signed(t, body, now, oldSecret), oldSecret); err == nil || errors.Is(err, ErrSignature) {
			t.Errorf("%q: %v", body, err)
		}
	}
	body := `{"type":"job.errored","timestamp":"2026-11-28T07:00:00Z","data":{"id":7}}`
	w, err := Unwrap([]byte(body), signed(t, body, now, oldSecret), oldSecret)
	if err != nil || w.Video != nil || string(w.Data) != `{"id":7}` {
		t.Errorf("a message about no video: %+v, %v", w, err)
	}
}
