package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// describeLive describes what follows events live, apart from the events of one video.
func (s *server) describeLive() {
	s.api.OpenAPI().AddOperation(describeEventStream())
}

func describeEventStream() *huma.Operation {
	sequence := func(name, in, about string) *huma.Param {
		return &huma.Param{
			Name: name, In: in, Description: about, Schema: &huma.Schema{Type: huma.TypeString, Pattern: "^[0-9]+$"},
		}
	}
	return &huma.Operation{
		OperationID: "stream-events", Method: http.MethodGet, Path: "/v1/events/stream", Tags: []string{"events"},
		Summary: "Follow the events of all videos",
		Description: "A stream of server-sent events, as of one video: `id` is the sequence in the log, `event` " +
			"the type, `data` the CloudEvents document. It has no end. Without a cursor, it begins with what " +
			"happens now; its first line is the `id` of that place, so that a client that reconnects misses " +
			"nothing. `after=0` begins with the first event of the log.\n\n" +
			"A client that takes events too slowly is cut off, and resumes with Last-Event-ID. A cursor beyond the " +
			"log is refused (`cursor_ahead`): the log is another one.",
		Parameters: []*huma.Param{
			sequence("Last-Event-ID", "header", "Sequence of the last event that the client has"),
			sequence("after", "query", "The same, for clients that cannot set headers"),
			{
				Name: "types", In: "query", Schema: text(""), Example: "video.ready,video.errored",
				Description: "Only events of these types, separated by commas",
			},
			{Name: "type", In: "query", Schema: text(""), Description: "The same, for one type"},
			{
				Name: "video", In: "query", Schema: text(""),
				Description: "Only events of these videos, at most 100, separated by commas",
			},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "The events", Content: map[string]*huma.MediaType{
				"text/event-stream": {Schema: text("Server-sent events")},
			}},
		},
	}
}
