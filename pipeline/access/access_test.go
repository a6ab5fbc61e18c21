package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSecrets: secrets differ, have their form, and a typing error shows.
func TestSecrets(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s := newSecret().Reveal()
		if len(s) != 8+43+6 || !strings.HasPrefix(s, "rm_live_") || seen[s] || !WellFormed(s) {
			t.Fatalf("secret %q", s)
		}
		seen[s] = true
		for i := range s {
			wrong := []byte(s)
			if wrong[i]++; WellFormed(string(wrong)) {
				t.Errorf("%q, wrong at %d, is well-formed", wrong, i)
			}
		}
		for _, other := range []string{"", s[1:], s + "0", s[:len(s)-1], strings.ToUpper(s)} {
			if WellFormed(other) {
				t.Errorf("%q is well-formed", other)
			}
		}
	}
}

// TestNoSecretIsStored: the log has the hash of a secret only, and neither a key nor its secret prints it.
func TestNoSecretIsStored(t *testing.T) {
	log := &memory{}
	k, text, e, err := CreateKey(t.Context(), log, NewKey{Project: "default", Scopes: []Scope{Read}})
	must(t, err)
	raw, err := json.Marshal(e)
	must(t, err)
	for _, shown := range []string{string(raw), fmt.Sprintf("%+v %v", k, text)} {
		if strings.Contains(shown, text.Reveal()) || strings.Contains(shown, text.Reveal()[8:30]) {
			t.Errorf("the secret %s stands in %s", text.Reveal(), shown)
		}
	}
	if e.CorrelationID != k.ID || e.Actor != pipeline.ActorSystem || e.Source != "/reelmill/access" {
		t.Errorf("%+v", e)
	}
}

// TestUnreadableEventsRefuse: an event that cannot be read might be a revocation, so it makes its key void; and
// a key whose event has no hash is no key.
func TestUnreadableEventsRefuse(t *testing.T) {
	log := &memory{}
	_, text, e, err := CreateKey(t.Context(), log, NewKey{Project: "default", Scopes: []Scope{Read}})
	must(t, err)
	s := NewState()
	s.Apply(log.events[0])
	if _, ok := s.grant(text.Reveal(), time.Now()); !ok {
		t.Fatal("the key is refused")
	}
	s.Apply(pipeline.Event{Subject: e.Subject, Sequence: 9, Type: "key.renamed"})
	if _, ok := s.grant(text.Reveal(), time.Now()); !ok {
		t.Error("a type of a later version makes the key void")
	}
	s.Apply(pipeline.Event{Subject: e.Subject, Sequence: 10})
	if _, ok := s.grant(text.Reveal(), time.Now()); ok {
		t.Error("the key is honoured after an event that cannot be read")
	}
	bad := NewState()
	for i, data := range []string{`{}`, `{"sha256":"00"}`, `[]`} {
		bad.Apply(pipeline.Event{
			Subject: subject("default", fmt.Sprint("key_", i)), Type: pipeline.KeyCreated, Data: []byte(data), Sequence: 1,
		})
	}
	if bad.EverHadKeys() {
		t.Errorf("keys without a hash: %+v", bad.Keys("default"))
	}
}

// TestOldBookRefuses: without a look at the log for MaxAge, the Book waits for one, and refuses if none comes.
func TestOldBookRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		_, text, _, err := CreateKey(t.Context(), log, NewKey{Project: "default", Scopes: []Scope{Read}})
		must(t, err)
		b := NewBook()
		began := time.Now()
		if _, err := b.Authenticate(t.Context(), text); !errors.Is(err, ErrStale) || time.Since(began) != MaxAge {
			t.Errorf("a Book that has heard nothing: %v after %s", err, time.Since(began))
		}
		must(t, b.apply(log.events[0]))
		b.hear(time.Now())
		time.Sleep(MaxAge - 1)
		if g, err := b.Authenticate(t.Context(), text); err != nil || g.Project != "default" || !g.Has(Read) || g.Has(Write) {
			t.Errorf("a Book of %s: %+v, %v", MaxAge-1, g, err)
		}
		if _, err := b.Authenticate(t.Context(), secret.New("rm_live_x")); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("another secret: %v", err)
		}
		time.Sleep(time.Nanosecond)
		went, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Authenticate(went, text); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that is gone: %v", err)
		}
		if _, err := b.Authenticate(t.Context(), text); !errors.Is(err, ErrStale) {
			t.Errorf("a Book of %s: %v", MaxAge, err)
		}
		if err := b.Read(t.Context(), func(*State) { t.Error("an old Book is read") }); !errors.Is(err, ErrStale) {
			t.Errorf("read: %v", err)
		}
		go func() { time.Sleep(time.Second); b.hear(time.Now()) }()
		began = time.Now()
		if _, err := b.Authenticate(t.Context(), text); err != nil || time.Since(began) != time.Second {
			t.Errorf("a look that comes in time: %v after %s", err, time.Since(began))
		}
	})
}
