package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// describeLive describes what follows events live, apart from the events of one video.
func (s *server) describeLive() {
	s.api.OpenAPI().AddOperation(describeEventStream())
	s.api.OpenAPI().AddOperation(describeWebSocket())
}

func describeWebSocket() *huma.Operation {
	return &huma.Operation{
		OperationID: "websocket", Method: http.MethodGet, Path: "/v1/ws", Tags: []string{"events"},
		Summary: "Follow events over a WebSocket",
		Description: "Messages are JSON texts. The client sends:\n\n" +
			"- " +
			"`{\"type\":\"subscribe\",\"id\":\"a\",\"videos\":[\"vid_...\"]," +
			"\"types\":[\"video.ready\"],\"after\":7}`: " +
			"`id` is a name of its own; `\"all\":true` in place of `videos` (at most 100) is for all; `types` may " +
			"be left out; without `after`, the events from now on come, with 0 all.\n" +
			"- `{\"type\":\"unsubscribe\",\"id\":\"a\"}` and `{\"type\":\"ping\"}`.\n\n" +
			"The server sends:\n\n" +
			"- `{\"type\":\"subscribed\",\"id\":\"a\",\"position\":7}`, `unsubscribed`, `pong`, or `error` with " +
			"`code`, `detail` and `remedy`: one for each message, in order.\n" +
			"- `{\"type\":\"event\",\"id\":\"a\",\"sequence\":8,\"event\":{...}}`: the CloudEvents document.\n" +
			"- `{\"type\":\"progress\",\"id\":\"a\",\"progress\":{...}}`, for subscriptions with `videos`.\n\n" +
			"After a reconnect, subscribe with `after` the last `sequence`, or the `position` before the first " +
			"event: no event is missed, and none comes twice. A connection has at most 32 subscriptions, and a " +
			"message of the client 16 KiB. Close codes: 1001 the server stops, 1009 the message was too large, " +
			"1013 the client takes events too slowly; reconnect after all of them. 4401: the credential was " +
			"revoked or has expired. A page of another site is " +
			"refused (`cross_origin`) unless --allow-origin names it.",
		Parameters: []*huma.Param{
			{Name: "Upgrade", In: "header", Required: true, Schema: text(""), Example: "websocket"},
		},
		Responses: map[string]*huma.Response{"101": {Description: "A WebSocket (RFC 6455)"}},
	}
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
			"log is refused (`cursor_ahead`): the log is another one. When the credential is revoked or expires, " +
			"the event `unauthorized` ends the stream.",
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
