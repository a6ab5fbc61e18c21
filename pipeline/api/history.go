package api

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/storage/catalog"
)

var opListAllEvents = huma.Operation{
	OperationID: "list-all-events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"events"},
	Summary: "List the events of all videos",
	Description: "In the order of the log. Of a deleted video, only `video.deleted` and `video.purged` are " +
		"left. A credential with the scope admin also gets the events of the project and its keys. For " +
		"what comes later, send `position` of the last page as `after`: no event is left out, and none " +
		"comes twice. A cursor beyond the log is refused (`cursor_ahead`): the log is another one.",
}

type listAllEventsInput struct {
	Limit  int      `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Events on a page"`
	Cursor string   `query:"cursor" maxLength:"20" doc:"The next_cursor of the previous page"`
	After  string   `query:"after" maxLength:"20" doc:"Sequence after which the events come; those from the beginning when left out"`
	Video  string   `query:"video" maxLength:"64" doc:"Only events of this video"`
	Types  []string `query:"types" maxItems:"32" doc:"Only events of these types, separated by commas" example:"video.ready,video.errored"`
}

// eventsPage is a page of the events of all videos.
type eventsPage struct {
	list[pipeline.Event]
	Position uint64 `json:"position" doc:"Sequence of the log up to which this page and those before it are complete"`
}

type eventsOutput struct{ Body eventsPage }

// listAllEvents answers one page of the events of a project.
func (s *server) listAllEvents(ctx context.Context, in *listAllEventsInput) (*eventsOutput, error) {
	q, err := in.query(projectOf(ctx))
	if err != nil {
		return nil, err
	}
	if err := s.hub.Check(ctx, q.After); err != nil {
		return nil, err
	}
	q.Access = grantOf(ctx).Has(access.Admin)
	// First, so that the events up to it are among those that are read.
	position, err := s.cfg.Catalog.Sequence(ctx)
	if err != nil {
		return nil, err
	}
	events, err := s.cfg.Catalog.History(ctx, q)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(events) > in.Limit {
		events = events[:in.Limit]
		position = events[in.Limit-1].Sequence
		next = strconv.FormatUint(position, 10)
	} else if n := len(events); n > 0 {
		position = max(position, events[n-1].Sequence)
	}
	return &eventsOutput{eventsPage{newList(shownEvents(events), next), max(position, q.After)}}, nil
}

// query returns what to read: one event more than the page has, to know whether there is another page.
func (in *listAllEventsInput) query(project string) (catalog.EventQuery, error) {
	q := catalog.EventQuery{Project: project, Video: in.Video, Limit: in.Limit + 1}
	for _, from := range []struct{ name, text string }{{"after", in.After}, {"cursor", in.Cursor}} {
		if from.text == "" {
			continue
		}
		n, err := strconv.ParseUint(from.text, 10, 64)
		if err != nil || n > math.MaxInt64 {
			return q, failAt("/query/"+from.name, codeInvalid, "%.40q is not the sequence of an event.", from.text)
		}
		q.After = n // a cursor is beyond the place where its list began
	}
	var err error
	q.Types, err = eventTypes("/query/types", in.Types)
	return q, err
}

// eventTypes checks the names of types of events, which are at a place in the request.
func eventTypes(at string, names []string) (types []pipeline.EventType, err error) {
	for _, name := range names {
		t := pipeline.EventType(name)
		all := slices.Concat(pipeline.EventTypes, pipeline.AccessEventTypes)
		if !slices.Contains(all, t) {
			known := make([]string, len(all))
			for i, t := range all {
				known[i] = string(t)
			}
			return nil, failAt(at, codeInvalid, "%s.",
				sentence(pipeline.Unknown("type of event", printable(name), known)))
		}
		types = append(types, t)
	}
	return types, nil
}
