package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/live"
)

// Events of the stream that the log does not have.
const (
	progressEvent = "job.progress"
	endEvent      = "end"
	voidEvent     = "unauthorized" // the credential is over, and the stream with it
)

// eventStream is one reader of server-sent events (https://html.spec.whatwg.org/#server-sent-events). Its
// connection is taken over from net/http, whose buffers and goroutine would take some 30 kB; so it takes a
// tenth while nothing happens.
type eventStream struct {
	s       *server
	video   string       // of a stream of one video, which has an end
	ended   bool         // the video has ended
	adding  map[int]bool // the numbers of its additions that have not
	feed    *live.Feed
	wake    chan struct{}
	ending  ending
	lease   *access.Lease
	conn    atomic.Pointer[net.Conn] // nil before it is taken over
	chunked bool
	slow    atomic.Bool   // the feed was cut off
	void    atomic.Bool   // the credential is over
	out     *bytes.Buffer // what is to be written; nil: nothing
}

// serveSSE answers with the stream of what o selects. st has the video, if the stream is that of one.
func (s *server) serveSSE(w http.ResponseWriter, r *http.Request, st *eventStream, o live.Options) error {
	leave, err := s.subscribe(kindSSE, s.guard.clientOf(r))
	if err != nil {
		return err
	}
	st.s, st.wake, st.ending, st.chunked = s, make(chan struct{}, 1), s.endingOf(r), r.ProtoAtLeast(1, 1)
	o.Wake, o.Cut = st.wake, st.cut
	st.lease = s.lease(r.Context(), st.told)
	st.feed, err = s.hub.Open(r.Context(), o)
	if err != nil {
		st.lease.Close()
		leave()
		return err
	}
	end := func() { st.feed.Close(); st.lease.Close(); leave() }
	if done, err := st.begin(w, r); done || err != nil {
		end()
		if err != nil { // the header is out, so nothing can be answered
			s.cfg.Logger.ErrorContext(r.Context(), "take over the connection of a stream", "error", err)
		}
		return nil
	}
	s.outlive(r, *st.conn.Load(), func(log *slog.Logger) {
		defer end()
		st.run(log)
	})
	return nil
}

// begin answers the header and takes the connection over. done says that the answer is complete.
func (st *eventStream) begin(w http.ResponseWriter, r *http.Request) (done bool, err error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // asks nginx not to hold events back
	h.Set("Connection", "close")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return true, nil
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		st.conn.Store(&conn)
	}
	return false, err
}

// cut is called when the feed is cut off. It ends a write that waits for the client, soon.
func (st *eventStream) cut() {
	st.slow.Store(true)
	st.hurry(lastWordTime)
}

// told is called when the credential is over, and when it can be judged again.
func (st *eventStream) told(over bool) {
	if over {
		st.void.Store(true)
		st.hurry(voidWordTime)
	}
	ring(st.wake)
}

// hurry lets a write take so long from now on.
func (st *eventStream) hurry(patience time.Duration) {
	if conn := st.conn.Load(); conn != nil {
		_ = (*conn).SetWriteDeadline(time.Now().Add(patience)) // it may be closed
	}
}

// ring wakes who waits for a channel that has room for one value.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// run sends events until the video has ended, the client leaves or is too slow, its credential is over, or
// the server stops.
func (st *eventStream) run(log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	conn := *st.conn.Load()
	listening := make(chan struct{})
	go func() { // a client sends nothing more; the end of its side is that of the stream
		defer close(listening)
		var drop [64]byte
		for {
			if _, err := conn.Read(drop[:]); err != nil {
				cancel()
				return
			}
		}
	}()
	defer func() { _ = conn.Close(); <-listening }()
	switch err := st.follow(ctx); {
	case errors.Is(err, live.ErrSlow), err != nil && st.slow.Load():
		log.Info("cut off an event stream: its client is too slow", "after", st.feed.Position())
		if errors.Is(err, live.ErrSlow) { // otherwise the last event is incomplete, so nothing can follow
			st.lastWord("cut off: the reader was too slow; resume with Last-Event-ID")
		}
	case st.void.Load():
		log.Info("ended an event stream: its credential was revoked or has expired")
	case err != nil && ctx.Err() == nil:
		log.Warn("event stream", "error", err)
	}
}

// follow sends events. It returns nil at a proper end, which is written then.
func (st *eventStream) follow(ctx context.Context) error {
	heartbeat := time.NewTicker(st.s.cfg.Limits.Heartbeat)
	defer heartbeat.Stop()
	if st.video == "" {
		fmt.Fprintf(st.buffer(), "id: %d\n\n", st.feed.Position())
	}
	for {
		var done, more bool
		err := st.lease.Check()
		if err == nil {
			done, more, err = st.sendNext(ctx)
		}
		switch {
		case errors.Is(err, access.ErrUnauthorized):
			return st.farewell()
		case errors.Is(err, access.ErrStale): // events wait until credentials can be judged again
			err = nil
		case err != nil:
			return err
		case done:
			return st.end()
		}
		if st.ending.now() {
			st.lastWord("the server is stopping; reconnect")
			return nil
		}
		if more {
			continue
		}
		select {
		case <-st.wake:
		case <-heartbeat.C:
			st.buffer().WriteString(": heartbeat\n\n")
			err = st.flush()
		case <-st.ending.server:
		case <-st.ending.all:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// sendNext sends what the feed has now. done says that nothing will follow.
func (st *eventStream) sendNext(ctx context.Context) (done, more bool, err error) {
	items, more, err := st.feed.Next(ctx)
	if err != nil {
		return false, false, err
	}
	for _, it := range items {
		if done, err = st.send(it); done || err != nil {
			break
		}
	}
	if done = done || st.video != "" && st.over() && !more; done && err == nil {
		err = st.frame("", endEvent, []byte("{}"))
	}
	if err == nil {
		err = st.flush()
	}
	return done, more, err
}

// over reports whether nothing more is to happen to the video by itself.
func (st *eventStream) over() bool { return st.ended && len(st.adding) == 0 }

// numberIn returns the number of the addition that the document of an event is about.
func numberIn(doc []byte) int {
	var e pipeline.Event
	if json.Unmarshal(doc, &e) != nil {
		return 0
	}
	return pipeline.AdditionOf(e.Subject)
}

// send writes one item. last says that it is the last of its video.
func (st *eventStream) send(it live.Item) (last bool, err error) {
	if it.Event == nil {
		doc, err := json.Marshal(it.Progress)
		if err != nil {
			return false, fmt.Errorf("encode progress: %w", err)
		}
		return false, st.frame("", progressEvent, doc)
	}
	switch it.Event.Type {
	case pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled:
		st.ended = true
	case pipeline.VideoReopened:
		st.ended = false
	case pipeline.VideoOutputsRequested, pipeline.VideoOutputsReopened:
		if st.video != "" {
			st.adding[numberIn(it.Event.Doc)] = true
		}
	case pipeline.VideoOutputsAdded, pipeline.VideoOutputsFailed:
		delete(st.adding, numberIn(it.Event.Doc))
	case pipeline.VideoDeleted, pipeline.VideoPurged:
		last = st.video != ""
	}
	return last, st.frame(strconv.FormatUint(it.Event.Sequence, 10), string(it.Event.Type), it.Event.Doc)
}

// chunkHead leaves room for the size of a chunk, before the size is known.
const chunkHead = "00000000\r\n"

// sseFlush is how many bytes are gathered before they are written.
const sseFlush = 32 << 10

// frame writes one event of the stream. JSON has no line breaks, so data is one line.
func (st *eventStream) frame(id, name string, doc []byte) error {
	out := st.buffer()
	if id != "" {
		out.WriteString("id: " + id + "\n")
	}
	out.WriteString("event: " + name + "\ndata: ")
	out.Write(doc)
	out.WriteString("\n\n")
	if out.Len() < sseFlush {
		return nil
	}
	return st.flush()
}

// buffer returns the buffer for what is to be written. Streams share buffers, so one that is silent has none.
func (st *eventStream) buffer() *bytes.Buffer {
	if st.out == nil {
		st.out, _ = st.s.streams.buffers.Get().(*bytes.Buffer)
		if st.out == nil {
			st.out = new(bytes.Buffer)
		}
		st.out.Reset()
		if st.chunked {
			st.out.WriteString(chunkHead)
		}
	}
	return st.out
}

// flush writes the buffer to the client, as one chunk (RFC 9112, 7.1).
func (st *eventStream) flush() error {
	if st.out == nil {
		return nil
	}
	out := st.out
	st.out = nil
	if st.chunked {
		copy(out.Bytes(), fmt.Sprintf("%08x", out.Len()-len(chunkHead)))
		out.WriteString("\r\n")
	}
	err := st.write(out.Bytes())
	if out.Cap() <= maxShared {
		st.s.streams.buffers.Put(out)
	}
	return err
}

// maxShared is the size in bytes of the largest buffer that is kept.
const maxShared = 2 * sseFlush

// write gives the client WriteIdle to take the bytes; a client that is cut off has less.
func (st *eventStream) write(p []byte) error {
	conn := *st.conn.Load()
	if err := conn.SetWriteDeadline(time.Now().Add(st.s.cfg.Limits.WriteIdle)); err != nil {
		return err
	}
	switch {
	case st.void.Load():
		st.hurry(voidWordTime)
	case st.slow.Load():
		st.cut()
	}
	_, err := conn.Write(p)
	return err
}

// end writes what is left, and the end of the answer.
func (st *eventStream) end() error {
	if err := st.flush(); err != nil || !st.chunked {
		return err
	}
	return st.write([]byte("0\r\n\r\n"))
}

// voided is the data of the last event of a stream whose credential is over.
type voided struct {
	Code   code   `json:"code"`
	Detail string `json:"detail"`
}

// voidReason says why a stream ends whose credential is over.
const voidReason = "The credential was revoked or has expired."

// farewell ends the stream with an event, since the credential is over.
func (st *eventStream) farewell() error {
	doc, err := json.Marshal(voided{codeUnauthorized, voidReason})
	if err != nil {
		return fmt.Errorf("encode the last event: %w", err)
	}
	if err := st.frame("", voidEvent, doc); err != nil {
		return err
	}
	return st.end()
}

// lastWord ends the stream with a comment, if the client takes it soon.
func (st *eventStream) lastWord(text string) {
	st.slow.Store(true)
	st.buffer().WriteString(": " + text + "\n\n")
	_ = st.end() // the client may be gone, and will reconnect either way
}
