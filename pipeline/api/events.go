package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage/catalog"
)

// eventsBatch is how many events are read at a time.
const eventsBatch = 200

// maxEvents is how many events a page of the list may have.
const maxEvents = 500

// Events of the stream that the log does not have.
const (
	progressEvent = "job.progress"
	endEvent      = "end"
)

// getEvents answers the events of a video: as a stream (https://html.spec.whatwg.org/#server-sent-events),
// or, to Accept: application/json, as a list.
//
// The stream replays the events after Last-Event-ID and continues live. When the video has ended and all its
// events are sent, it closes with `event: end`. A client that reconnects then gets what was added, or 204,
// which tells a browser to stop.
func (s *server) getEvents(w http.ResponseWriter, r *http.Request) {
	video := r.PathValue("id")
	after, given, err := afterOf(r)
	if err == nil {
		err = checkVideo(video)
	}
	if err == nil {
		_, err = limitOf(r) // a stream has no pages, but refuses a wrong limit all the same
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Add("Vary", "Accept")
	if accept := r.Header.Get("Accept"); strings.Contains(accept, "application/json") &&
		!strings.Contains(accept, "text/event-stream") {
		s.listEvents(w, r, video, after)
		return
	}
	leave, own := s.streams.enter(s.guard.clientOf(r))
	if leave == nil {
		s.refuse(w, r, s.tooManyStreams(own))
		return
	}
	defer leave()
	st := &eventStream{s: s, w: w, video: video, project: projectOf(r.Context()), after: after}
	if err := st.run(r.Context(), given); err != nil && !st.begun {
		s.refuse(w, r, err)
	} else if err != nil && r.Context().Err() == nil {
		s.cfg.Logger.WarnContext(r.Context(), "event stream", "request_id", requestID(r.Context()), "error", err)
	}
}

// tooManyStreams is the failure of a stream beyond the limit of all, or of its client.
func (s *server) tooManyStreams(own bool) error {
	if own {
		return fail(codeClientStreams, "%d event streams to your address are open, which is the limit for one.",
			s.streams.each)
	}
	return fail(codeTooManyStreams, "%d event streams are open, which is the limit.", s.streams.all)
}

// afterOf returns the sequence after which the client wants events, and whether it named one. Last-Event-ID
// counts first: a browser that reconnects sends it beside the address that it began with.
func afterOf(r *http.Request) (after uint64, given bool, err error) {
	q := r.URL.Query()
	for _, from := range []struct{ pointer, text string }{
		{"/header/Last-Event-ID", r.Header.Get("Last-Event-ID")},
		{"/query/after", q.Get("after")},
		{"/query/cursor", q.Get("cursor")},
	} {
		if from.text == "" {
			continue
		}
		n, err := strconv.ParseUint(from.text, 10, 64)
		if err != nil || n > math.MaxInt64 {
			return 0, false, failAt(from.pointer, codeInvalid, "%.40q is not the sequence of an event.", from.text)
		}
		return n, true, nil
	}
	return 0, false, nil
}

// listEvents answers one page of events. Its cursor is the sequence of the last event on it.
func (s *server) listEvents(w http.ResponseWriter, r *http.Request, video string, after uint64) {
	limit, err := limitOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	events, err := s.cfg.Catalog.Events(r.Context(), projectOf(r.Context()), video, after, limit+1)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	next := ""
	if len(events) > limit {
		events = events[:limit]
		next = strconv.FormatUint(events[limit-1].Sequence, 10)
	}
	s.writeJSON(w, r, http.StatusOK, newList(shownEvents(events), next))
}

func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return catalog.DefaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxEvents {
		return 0, failAt("/query/limit", codeInvalid, "limit is %.40q; use 1 to %d.", text, maxEvents)
	}
	return n, nil
}

// writeJSON answers a value, for handlers that are not huma's.
func (s *server) writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "write answer", "request_id", requestID(r.Context()), "error", err)
	}
}

// eventStream is one reader of a video's events.
type eventStream struct {
	s        *server
	w        http.ResponseWriter
	project  string
	video    string
	after    uint64 // sequence of the last event sent
	begun    bool   // the header is out
	finished bool   // the video has ended
}

// run sends events until the video has ended, the client leaves or the server shuts down. The caller answers
// an error as a problem while nothing was sent. Later the stream breaks off, and the client reconnects for
// the rest.
func (st *eventStream) run(ctx context.Context, resumed bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	view, err := st.s.cfg.Catalog.Video(ctx, st.project, st.video)
	if err != nil {
		return err
	}
	if st.finished = view.Status.Terminal(); st.finished && resumed {
		rest, err := st.s.cfg.Catalog.Events(ctx, st.project, st.video, st.after, 1)
		if err == nil && len(rest) == 0 {
			st.w.WriteHeader(http.StatusNoContent)
		}
		if err != nil || len(rest) == 0 {
			return err
		}
	}
	progress := st.watch(ctx)
	st.begin()
	if err := st.follow(ctx, progress); err != nil {
		return err
	}
	return st.flush()
}

// watch subscribes to live progress before the first look at the log. It returns nil for a finished video,
// which has none, and when it fails: a stream without progress is better than no stream.
func (st *eventStream) watch(ctx context.Context) <-chan pipeline.Progress {
	if st.s.cfg.Progress == nil || st.finished {
		return nil
	}
	progress, err := st.s.cfg.Progress.WatchProgress(ctx, st.project, st.video)
	if err != nil {
		st.s.cfg.Logger.WarnContext(ctx, "watch progress", "request_id", requestID(ctx), "error", err)
		return nil
	}
	return progress
}

func (st *eventStream) begin() {
	h := st.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // asks nginx not to hold events back
	st.w.WriteHeader(http.StatusOK)
	st.begun = true
}

// follow sends the events that the catalog has, then those that arrive.
func (st *eventStream) follow(ctx context.Context, progress <-chan pipeline.Progress) error {
	heartbeat := time.NewTicker(st.s.cfg.Limits.Heartbeat)
	defer heartbeat.Stop()
	for {
		changed := st.s.cfg.Catalog.Changed() // before the look, so no change falls between
		if done, err := st.drain(ctx); done || err != nil {
			return err
		}
		for waiting := true; waiting; {
			if err := st.flush(); err != nil {
				return err
			}
			var err error
			select {
			case <-changed:
				waiting = false
			case p, ok := <-progress:
				if !ok {
					progress = nil
					continue
				}
				err = st.send("", progressEvent, p)
			case <-heartbeat.C:
				_, err = fmt.Fprint(st.w, ": heartbeat\n\n")
			case <-closing(ctx):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
			if err != nil {
				return err
			}
		}
	}
}

// drain sends every event that the catalog has, and the end event when the video has ended.
func (st *eventStream) drain(ctx context.Context) (done bool, err error) {
	for {
		events, err := st.s.cfg.Catalog.Events(ctx, st.project, st.video, st.after, eventsBatch)
		if errors.Is(err, pipeline.ErrNotFound) {
			return true, st.deleted(ctx)
		}
		if err != nil {
			return false, err
		}
		for _, e := range events {
			if err := st.sendEvent(e); err != nil {
				return false, err
			}
		}
		if len(events) < eventsBatch {
			break
		}
	}
	if !st.finished {
		return false, nil
	}
	return true, st.send("", endEvent, struct{}{})
}

func (st *eventStream) sendEvent(e pipeline.Event) error {
	switch e.Type {
	case pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected, pipeline.VideoCanceled:
		st.finished = true
	}
	st.after = e.Sequence
	return st.send(strconv.FormatUint(e.Sequence, 10), string(e.Type), shownEvent(e))
}

// deleted sends the last event of a deleted video. The catalog has forgotten it, so it comes from the log.
func (st *eventStream) deleted(ctx context.Context) error {
	last, err := st.s.cfg.Log.Last(ctx, pipeline.DeletedSubject(st.project, st.video))
	if err != nil {
		return err
	}
	if e := last[0]; e.Sequence > st.after {
		if err := st.sendEvent(e); err != nil {
			return err
		}
	}
	return st.send("", endEvent, struct{}{})
}

// send writes one event of the stream. JSON has no line breaks, so data is one line.
func (st *eventStream) send(id, name string, data any) error {
	doc, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	_, err = fmt.Fprintf(st.w, "%sevent: %s\ndata: %s\n\n", id, name, doc)
	return err
}

func (st *eventStream) flush() error {
	return http.NewResponseController(st.w).Flush()
}
