package api

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/live"
	"github.com/reelmill/reelmill/storage/catalog"
)

// eventsBatch is how many events are read at a time.
const eventsBatch = 200

// maxEvents is how many events a page of the list may have.
const maxEvents = 500

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
	if err := s.streamVideo(w, r, video, after, given); err != nil {
		s.refuse(w, r, err)
	}
}

// streamVideo answers the stream of one video.
func (s *server) streamVideo(w http.ResponseWriter, r *http.Request, video string, after uint64,
	resumed bool,
) error {
	project := projectOf(r.Context())
	view, err := s.cfg.Catalog.Video(r.Context(), project, video) // before the feed, which has what comes later
	if err != nil {
		return err
	}
	st := &eventStream{video: video, ended: view.Status.Terminal(), adding: map[int]bool{}}
	for _, a := range view.Additions {
		if !a.Status.Terminal() {
			st.adding[a.Number] = true
		}
	}
	over := st.over()
	if over && resumed {
		if err := s.hub.Check(r.Context(), after); err != nil {
			return err
		}
		rest, err := s.cfg.Catalog.Events(r.Context(), project, video, after, 1)
		if err == nil && len(rest) == 0 {
			w.WriteHeader(http.StatusNoContent)
		}
		if err != nil || len(rest) == 0 {
			return err
		}
	}
	return s.serveSSE(w, r, st, live.Options{
		Project: project, Videos: []string{video}, Progress: !over, After: &after,
	})
}

// streamEvents answers the stream of the events of all videos, or of those that the query selects. It begins
// after Last-Event-ID, or with what happens now. Its first line is an id, so that a client that reconnects
// before the first event misses none.
func (s *server) streamEvents(w http.ResponseWriter, r *http.Request) {
	o, err := s.selection(r)
	if err == nil {
		err = s.serveSSE(w, r, &eventStream{}, o)
	}
	if err != nil {
		s.refuse(w, r, err)
	}
}

// selection reads what a stream of events selects.
func (s *server) selection(r *http.Request) (o live.Options, err error) {
	after, given, err := afterOf(r)
	if err != nil {
		return o, err
	}
	o.Project = projectOf(r.Context())
	if given {
		o.After = &after
	}
	q := r.URL.Query()
	if o.Types, err = eventTypes("/query/types", words(q.Get("types")+","+q.Get("type"))); err != nil {
		return o, err
	}
	o.Videos, err = eventVideos("/query/video", words(q.Get("video")))
	return o, err
}

// words splits a list at its commas, and drops empty words.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// maxStreamVideos is how many videos a stream may name.
const maxStreamVideos = 100

// eventVideos checks the videos of a stream. That they exist is not asked: they may be about to.
func eventVideos(at string, ids []string) ([]string, error) {
	if len(ids) > maxStreamVideos {
		return nil, failAt(at, codeInvalid, "There are %d videos; name at most %d, or leave them out for all.",
			len(ids), maxStreamVideos)
	}
	for _, id := range ids {
		if !pipeline.ValidName(id) {
			return nil, failAt(at, codeInvalid, "%.80q is not the id of a video.", printable(id))
		}
	}
	return ids, nil
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
	if err == nil {
		err = s.hub.Check(r.Context(), after)
	}
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
