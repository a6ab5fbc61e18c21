package bus

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// runBook returns a Book that follows b until the test ends.
func runBook(t *testing.T, b *Bus) *access.Book {
	t.Helper()
	book := access.NewBook()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- book.Run(ctx, b) }()
	t.Cleanup(func() { cancel(); must(t, receive(t, done)) })
	return book
}

// makeKey makes a key, and waits until a Book has it.
func makeKey(t *testing.T, b *Bus, book *access.Book) (access.Key, secret.Text) {
	t.Helper()
	k, text, e, err := access.CreateKey(t.Context(), b, access.NewKey{Project: "default", Scopes: []access.Scope{access.Read}})
	must(t, err)
	must(t, book.WaitFor(soon(t), e.Sequence))
	return k, text
}

// judge asks a Book about a secret; a machine that is so slow that looks at the log take seconds gets some tries.
func judge(t *testing.T, book *access.Book, text secret.Text) (g access.Grant, err error) {
	t.Helper()
	pipelinetest.Until(t, "the Book is believed", func() bool {
		g, err = book.Authenticate(soon(t), text)
		return !errors.Is(err, access.ErrStale)
	})
	return g, err
}

// TestRevocationReachesOthers: another process's Book honours a key as soon as it has looked at the log, and
// refuses it once the event of the revocation has reached it. By its own promise that is within MaxAge: what it
// says is never older.
func TestRevocationReachesOthers(t *testing.T) {
	s := newBroker(t)
	first, second := s.open(Config{}), s.open(Config{})
	book := runBook(t, second)
	video := event(t, "vid_1", "a")
	_, err := first.Append(t.Context(), video, 0) // other events pass it by
	must(t, err)
	k, text := makeKey(t, first, book)
	if g, err := judge(t, book, text); err != nil || g.Actor != "key:"+k.ID || g.Project != "default" {
		t.Fatalf("%+v, %v", g, err)
	}
	e, err := access.RevokeKey(t.Context(), first, "default", k.ID)
	must(t, err)
	revoked := time.Now()
	for {
		_, err := judge(t, book, text)
		if errors.Is(err, access.ErrUnauthorized) {
			break
		}
		must(t, err)
		if time.Since(revoked) > access.MaxAge+time.Second && book.Heard().Before(revoked) {
			t.Fatalf("honoured %s after it was revoked; the last look was %s before", time.Since(revoked), revoked.Sub(book.Heard()))
		}
	}
	must(t, book.WaitFor(soon(t), e.Sequence))
	again, err := access.RevokeKey(t.Context(), first, "default", k.ID)
	if err != nil || again.ID != e.ID {
		t.Errorf("revoked again: %+v, %v", again, err)
	}
}

// TestRestartLosesNothing: after a restart of the broker and of the process, the projects and keys are the same.
func TestRestartLosesNothing(t *testing.T) {
	s := newBroker(t)
	b := s.open(Config{Exclusive: true})
	book := runBook(t, b)
	_, err := access.CreateProject(t.Context(), b, "shop", access.Settings{Title: "Shop"})
	must(t, err)
	kept, text := makeKey(t, b, book)
	gone, old := makeKey(t, b, book)
	e, err := access.RevokeKey(t.Context(), b, "default", gone.ID)
	must(t, err)
	must(t, book.WaitFor(soon(t), e.Sequence))
	before := shown(t, book)
	s.stop()
	s.start()
	after := runBook(t, s.open(Config{Exclusive: true}))
	must(t, after.WaitFor(soon(t), e.Sequence))
	if now := shown(t, after); now != before {
		t.Errorf("after the restart\n%s\nbefore\n%s", now, before)
	}
	if g, err := judge(t, after, text); err != nil || g.Key != kept.ID {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := judge(t, after, old); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("the revoked key: %v", err)
	}
	must(t, book.WaitFresh(soon(t))) // the old connection is back, and goes on where it was
	if now := shown(t, book); now != before {
		t.Errorf("after the connection came back\n%s\nbefore\n%s", now, before)
	}
}

// shown writes all projects and keys of a Book.
func shown(t *testing.T, book *access.Book) (text string) {
	t.Helper()
	pipelinetest.Until(t, "the Book is believed", func() bool {
		err := book.Read(soon(t), func(s *access.State) {
			text = jsonOf(t, s.Projects()) + jsonOf(t, s.Keys("default"))
		})
		return err == nil
	})
	return text
}

// cable is a way to a server that can be cut, without a sign to either end.
type cable struct {
	net.Listener
	to string

	mu   sync.Mutex
	cut  bool
	free *sync.Cond
	ends []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cable{Listener: l, to: to}
	c.free = sync.NewCond(&c.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			c.mu.Lock()
			c.ends = append(c.ends, near, far)
			c.mu.Unlock()
			running.Go(func() { c.carry(near, far) })
			running.Go(func() { c.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.set(false)
		c.mu.Lock()
		for _, e := range c.ends {
			e.Close()
		}
		c.mu.Unlock()
		running.Wait()
	})
	return c
}

// carry copies bytes while the cable is whole, and keeps them back while it is cut.
func (c *cable) carry(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		c.mu.Lock()
		for c.cut {
			c.free.Wait()
		}
		c.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				from.Close()
			}
			return
		}
	}
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	c.free.Broadcast()
}

// TestCutConnectionRefuses: a process whose connection is cut cannot know of revocations, so it refuses every
// key, and those that are valid are honoured again when the connection is back.
func TestCutConnectionRefuses(t *testing.T) {
	s := bustest.Start(t, &server.Options{JetStream: true})
	direct, err := nats.Connect(s.ClientURL())
	must(t, err)
	t.Cleanup(direct.Close)
	first, err := Open(soon(t), direct, Config{})
	must(t, err)
	wire := newCable(t, s.Addr().String())
	far, err := nats.Connect("nats://"+wire.Addr().String(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	must(t, err)
	t.Cleanup(far.Close)
	second, err := Open(soon(t), far, Config{Logger: testLog(t)})
	must(t, err)
	book := runBook(t, second)
	kept, text := makeKey(t, first, book)
	gone, old := makeKey(t, first, book)
	for _, of := range []secret.Text{text, old} {
		if _, err := judge(t, book, of); err != nil {
			t.Fatal(err)
		}
	}
	wire.set(true)
	_, err = access.RevokeKey(t.Context(), first, "default", gone.ID)
	must(t, err)
	pipelinetest.Until(t, "the Book refuses", func() bool {
		_, err := book.Authenticate(soon(t), old)
		return errors.Is(err, access.ErrStale)
	})
	if _, err := book.Authenticate(soon(t), text); !errors.Is(err, access.ErrStale) {
		t.Errorf("the other key: %v", err)
	}
	wire.set(false)
	if g, err := judge(t, book, text); err != nil || g.Key != kept.ID {
		t.Errorf("the valid key, once the connection is back: %+v, %v", g, err)
	}
	if _, err := judge(t, book, old); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("the key that was revoked meanwhile: %v", err)
	}
}

// TestEventsOfAccessLeadToNothing: the coordinator passes over them without a word, and goes on.
func TestEventsOfAccessLeadToNothing(t *testing.T) {
	b := newBus(t, Config{})
	_, err := access.CreateProject(t.Context(), b, "shop", access.Settings{})
	must(t, err)
	_, _, _, err = access.CreateKey(t.Context(), b, access.NewKey{Project: "shop", Scopes: []access.Scope{access.Upload}})
	must(t, err)
	_, _, _, err = access.CreateKey(t.Context(), b, access.NewKey{Project: "*", Scopes: []access.Scope{access.Operate}})
	must(t, err)
	e, err := pipeline.NewEvent("test", pipeline.JobCompleted, pipeline.JobSubject("shop", "vid_1", "a"), "vid_1", pipeline.Event{},
		pipeline.JobEvent{})
	must(t, err)
	_, err = b.Append(t.Context(), e, 0)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan pipeline.Event, 9), make(chan error, 1)
	go func() {
		done <- b.Coordinate(ctx, func(_ context.Context, e pipeline.Event) error { got <- e; return nil })
	}()
	if first := receive(t, got); first.ID != e.ID {
		t.Errorf("the coordinator got %+v", first)
	}
	pipelinetest.Until(t, "all is settled", func() bool {
		lag, err := b.CoordinatorLag(soon(t))
		must(t, err)
		return lag == 0
	})
	cancel()
	must(t, receive(t, done))
	if len(got) != 0 {
		t.Errorf("the coordinator got %d more events", len(got))
	}
	audit, err := b.NewAudit().Look(soon(t))
	if err != nil || len(audit.Lost) != 0 {
		t.Errorf("lost %v, %v", audit.Lost, err)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	must(t, err)
	return string(raw) + "\n"
}
