package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// streamKind is a kind of subscriber.
type streamKind int

// The kinds of subscribers.
const (
	kindSSE streamKind = iota
	kindWebSocket
	kindWait // a read that waits for a state
	kinds    // how many there are
)

// names of the kinds, for metrics.
func (k streamKind) String() string { return [kinds]string{"sse", "websocket", "wait"}[k] }

// lastWordTime is how long a client that is cut off may take for the reason.
const lastWordTime = 5 * time.Second

// voidWordTime is how long a client whose credential is over may take for the reason. The revocation has been
// under way for a second at most.
const voidWordTime = time.Second

// streams are the subscribers to events. Those that outlive their request, since their connection was taken
// over from net/http, are tracked here: no http.Server knows them any more.
type streams struct {
	*gate
	counts [kinds]atomic.Int64
	ends   chan struct{} // closed when all must end
	once   sync.Once
	tasks  sync.WaitGroup
	// buffers are those of event streams that write.
	buffers sync.Pool

	mu    sync.Mutex
	ended bool // no task begins any more
	conns map[io.Closer]bool
}

func newStreams(l Limits) *streams {
	return &streams{
		gate: newGate(l.MaxStreams, l.MaxClientStreams), ends: make(chan struct{}), conns: map[io.Closer]bool{},
	}
}

// subscribe counts a subscriber. The caller calls leave at its end.
func (s *server) subscribe(kind streamKind, client netip.Prefix) (leave func(), err error) {
	free, own := s.streams.enter(client)
	if free == nil {
		return nil, s.tooManyStreams(own)
	}
	count := &s.streams.counts[kind]
	count.Add(1)
	return func() { count.Add(-1); free() }, nil
}

// tooManyStreams is the failure of a stream beyond the limit of all, or of its client.
func (s *server) tooManyStreams(own bool) error {
	if own {
		return fail(codeClientStreams, "%d event streams to your address are open, which is the limit for one.",
			s.streams.each)
	}
	return fail(codeTooManyStreams, "%d event streams are open, which is the limit.", s.streams.all)
}

// ending are the channels of which one is closed when a stream must end: by the shutdown of its server, or by
// EndStreams.
type ending struct{ server, all <-chan struct{} }

// now reports whether the stream must end.
func (e ending) now() bool {
	select {
	case <-e.server:
	case <-e.all:
	default:
		return false
	}
	return true
}

// endingOf returns when the streams of a request must end.
func (s *server) endingOf(r *http.Request) ending {
	return ending{server: closing(r.Context()), all: s.streams.ends}
}

// outlive runs do in a goroutine of its own, with a connection that was taken over from a request, and then
// closes it. The request may end at once, which frees the memory that net/http has for it.
func (s *server) outlive(r *http.Request, conn io.Closer, do func(log *slog.Logger)) {
	log := s.cfg.Logger.With("request_id", requestID(r.Context()))
	all := s.streams
	all.mu.Lock()
	if all.ended {
		all.mu.Unlock()
		_ = conn.Close() // the client reconnects to the next server
		do(log)
		return
	}
	defer all.mu.Unlock()
	all.conns[conn] = true
	all.tasks.Go(func() {
		defer func() {
			all.mu.Lock()
			delete(all.conns, conn)
			all.mu.Unlock()
			_ = conn.Close() // whatever was to be said is said
			if v := recover(); v != nil {
				log.Error("panic", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		do(log)
	})
}

// EndStreams ends all event streams and WebSockets, and the making of thumbnails, and lets no new one begin.
// It blocks until they have ended, or closes their connections when ctx ends. An http.Server does not wait
// for them.
func (h *Handler) EndStreams(ctx context.Context) {
	all := h.s.streams
	all.once.Do(func() { close(all.ends) })
	all.mu.Lock()
	all.ended = true
	all.mu.Unlock()
	cut := context.AfterFunc(ctx, func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		for conn := range all.conns {
			_ = conn.Close() // its owner notices
		}
	})
	defer cut()
	all.tasks.Wait()
	h.s.hub.Wait()
	h.s.stills.close()
}

// Subscribers says who waits for events.
type Subscribers struct {
	Open map[string]int // by kind: sse, websocket, wait
	Most int            // that may be open at once
	Cut  uint64         // feeds that were cut off since their readers were slow
}

// Subscribers returns who waits for events now.
func (h *Handler) Subscribers() Subscribers {
	n := Subscribers{Open: map[string]int{}, Most: h.s.streams.all, Cut: h.s.hub.Cut()}
	for k := range kinds {
		n.Open[k.String()] = int(h.s.streams.counts[k].Load())
	}
	return n
}
