package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// embed opens a broker embedded in this process, which the test closes.
func embed(t *testing.T, data string) *Broker {
	t.Helper()
	b, err := Open(t.Context(), Address{}, data, silent())
	check(t, err)
	return b
}

// TestBrokersAreShownWithoutPasswords checks one address and several.
func TestBrokersAreShownWithoutPasswords(t *testing.T) {
	for addresses, want := range map[string]string{
		"nats://10.0.0.5:4222":                        "nats://10.0.0.5:4222",
		"tls://me:secret@a:1":                         "tls://***@a:1",
		"nats://me:secret@a:1,nats://you:secret@b:2":  "nats://***@a:1,nats://***@b:2",
		"nats://10.0.0.5:4222, nats://10.0.0.6:4222":  "nats://10.0.0.5:4222, nats://10.0.0.6:4222",
		"nats://[::1]:4222,ws://c.example.org/broker": "nats://[::1]:4222,ws://c.example.org/broker",
		"nats://s3cr3t@a:1, tls://me:@b:2":            "nats://***@a:1, tls://***@b:2", // s3cr3t is a token
	} {
		if err := CheckURLs(addresses); err != nil {
			t.Errorf("%s: %v", addresses, err)
		}
		for _, verb := range []string{"%s", "%v", "%+v"} {
			if got := fmt.Sprintf(verb, At(addresses)); got != want {
				t.Errorf("%s is shown as %s", addresses, got)
			}
		}
		if got := fmt.Sprintf("%#v", At(addresses)); strings.Contains(got, "cret") {
			t.Errorf("%s is shown as %s", addresses, got)
		}
	}
	if err := CheckURLs("me:secret@a:1"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("refused with %v", err)
	}
}

// TestAddressesThatAreNone checks that each is refused, and not repeated.
func TestAddressesThatAreNone(t *testing.T) {
	for _, addresses := range []string{
		"", "secret", "secret:4222", "http://secret:4222", "nats://", "nats://:4222", "nats://a:secret",
		"nats://a:1,", "nats://a:1,,nats://b:1", "nats://me:12,secret@a:1", "nats://a:1 secret",
	} {
		if err := CheckURLs(addresses); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", addresses, err)
		}
	}
}

// TestFolderIsOfOneBroker checks that a second broker is refused, and that Close frees the folder.
func TestFolderIsOfOneBroker(t *testing.T) {
	data := t.TempDir()
	b := embed(t, data)
	if !b.Exclusive() || b.Healthy() != nil || !b.Conn.IsConnected() {
		t.Errorf("exclusive %v, %v, connected %v", b.Exclusive(), b.Healthy(), b.Conn.IsConnected())
	}
	if other, err := Open(t.Context(), Address{}, data, silent()); !errors.Is(err, embedded.ErrLocked) {
		t.Errorf("a second broker: %v, %v", other, err)
	}
	check(t, b.Close())
	if err := b.Healthy(); err == nil {
		t.Error("a closed broker is healthy")
	}
	check(t, embed(t, data).Close())
}

// TestServerElsewhere checks that nothing here depends on an embedded server then.
func TestServerElsewhere(t *testing.T) {
	s := bustest.Start(t, &server.Options{})
	b, err := Open(t.Context(), At(s.ClientURL()), t.TempDir(), silent())
	check(t, err)
	if b.Exclusive() || b.Healthy() != nil || b.Restarts() != 0 {
		t.Errorf("exclusive %v, %v, %d restarts", b.Exclusive(), b.Healthy(), b.Restarts())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, b.Watch(ctx, func() error { t.Error("Watch asked for room"); return nil }))
	check(t, b.Close())
	if !s.Running() {
		t.Error("Close stopped the server of others")
	}
}

// TestRefusedAtOnce checks that credentials that the server refuses are no reason to wait, and are not told.
func TestRefusedAtOnce(t *testing.T) {
	s := bustest.Start(t, &server.Options{Authorization: "right"})
	for _, user := range []string{"wrong@", "me:wrong@", ""} {
		address := "nats://" + user + strings.TrimPrefix(s.ClientURL(), "nats://")
		_, err := Open(t.Context(), At(address), "", slog.New(&notices{tell: func(text string) { t.Error(text) }}))
		if !errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%q: %v", user, err)
		}
	}
}

// notices is a log that tells of each line.
type notices struct {
	slog.Handler
	tell func(text string)
}

func (*notices) Enabled(context.Context, slog.Level) bool { return true }

func (n *notices) Handle(_ context.Context, r slog.Record) error {
	n.tell(r.Message)
	return nil
}

// TestWaitEndsWithItsContext checks that Open waits for an absent server, says so, and can be stopped.
func TestWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var told []string
	_, err := Open(ctx, At("nats://me:secret@127.0.0.1:1"), "", slog.New(&notices{tell: func(text string) {
		told = append(told, text)
		cancel()
	}}))
	if !errors.Is(err, nats.ErrNoServers) || strings.Contains(err.Error(), "secret") ||
		len(told) != 1 || told[0] != "waiting for the broker" {
		t.Errorf("after %q: %v", told, err)
	}
}

// TestWatchRestarts checks that a server that stopped is started again on its folder, but not while the disk
// is full, and that the connection and its messages survive.
func TestWatchRestarts(t *testing.T) {
	b := embed(t, t.TempDir())
	defer func() { check(t, b.Close()) }()
	js, err := b.Conn.JetStream()
	check(t, err)
	_, err = js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}})
	check(t, err)
	_, err = js.Publish("s", []byte("kept"))
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	asked := 0
	go func() {
		ended <- b.Watch(ctx, func() error {
			if asked++; asked < 3 {
				if b.Restarts() != 0 {
					t.Error("it was restarted on a full disk")
				}
				return errors.New("full")
			}
			return nil
		})
	}()
	b.server.Shutdown()
	pipelinetest.Until(t, "the server is restarted", func() bool { return b.Restarts() == 1 && b.Healthy() == nil })
	pipelinetest.Until(t, "the connection finds it", b.Conn.IsConnected)
	kept, err := js.GetMsg("S", 1)
	if err != nil || string(kept.Data) != "kept" {
		t.Errorf("%v, %v", kept, err)
	}
	cancel()
	check(t, <-ended)
	if n := b.Restarts(); n != 1 || asked < 3 {
		t.Errorf("%d restarts after %d looks at the disk", n, asked)
	}
}
