package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

// plainSchema returns the schema of a Go type as JSON values, and adds what it refers to.
func (d *asyncAPI) plainSchema(t reflect.Type) (object, error) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	schema, err := values(huma.SchemaFromType(registry, t))
	if err != nil {
		return nil, err
	}
	for name, s := range registry.Map() {
		if d.schemas[name], err = values(s); err != nil {
			return nil, err
		}
	}
	return schema, nil
}

// values returns a schema as JSON values. It allows fields that a later version may add.
func values(s *huma.Schema) (o object, err error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	delete(o, "additionalProperties")
	return o, nil
}

// eventNames returns the names of the messages of all events of the log.
func eventNames() (all []string) {
	for _, t := range pipeline.EventTypes {
		all = append(all, string(t))
	}
	return all
}

// addStreams adds the event streams.
func (d *asyncAPI) addStreams() error {
	progress, err := d.plainSchema(reflect.TypeFor[pipeline.Progress]())
	if err != nil {
		return err
	}
	d.schemas["Progress"] = progress
	shown := object{
		"video": "vid_01m8ghr0taxqswfbv5p1cdn8he", "job": "transcode-0000", "attempt": 1, "fraction": 0.42,
		"speed": 3.1,
	}
	d.messages[progressEvent] = object{
		"name": progressEvent, "title": progressEvent, "payload": ref("components", "schemas", "Progress"),
		"summary":  "How far an attempt at a job is. It is live only: no log has it, and it has no id",
		"examples": []any{object{"name": "example", "payload": shown}},
	}
	d.messages[endEvent] = object{
		"name": endEvent, "title": endEvent, "payload": object{"type": "object"},
		"summary":  "The video has ended, and the stream with it",
		"examples": []any{object{"name": "example", "payload": object{}}},
	}
	over, err := d.plainSchema(reflect.TypeFor[voided]())
	if err != nil {
		return err
	}
	d.schemas["Unauthorized"] = over
	d.messages[voidEvent] = object{
		"name": voidEvent, "title": voidEvent, "payload": ref("components", "schemas", "Unauthorized"),
		"summary":  "The credential of the reader was revoked or has expired, and the stream ends with it",
		"examples": []any{object{"name": "example", "payload": voided{codeUnauthorized, voidReason}}},
	}
	get := object{"bindings": object{"http": object{"method": "GET", "bindingVersion": "0.3.0"}}}
	const sse = "Server-sent events: `id` is the sequence in the log, `event` the name of the message, `data` " +
		"its payload. Last-Event-ID resumes without a gap or a double."
	all := append(eventNames(), voidEvent)
	d.addChannel("stream", "/v1/events/stream", "streams", sse+" It has no end.", all)
	d.addOperation("follow-all", "send", "stream", "Events of all videos", all, get)
	all = append(all, progressEvent, endEvent)
	d.addChannel("video-stream", "/v1/videos/{video}/events", "streams", sse, all, "video")
	d.addOperation("follow-video", "send", "video-stream", "Events of one video", all, get)
	subject := pipeline.ProgressSubject("{project}", "{video}", "{job}")
	d.addChannel("progress", subject, "broker", "A subject that no stream keeps.", []string{progressEvent},
		"project", "video", "job")
	d.addOperation("report-progress", "send", "progress", "Progress of an attempt", []string{progressEvent}, nil)
	return nil
}

// socketMessage is a message of a WebSocket: some fields of a Go type.
type socketMessage struct {
	name, kind, summary string
	of                  reflect.Type
	fields, required    []string
	example             object
}

// socketOrders are the messages of the client.
func socketOrderMessages() []socketMessage {
	of := reflect.TypeFor[order]()
	return []socketMessage{
		{
			"socket-subscribe", "subscribe", "Events are wanted: of videos, or all", of,
			[]string{"id", "videos", "all", "types", "after"}, []string{"id"},
			object{
				"type": "subscribe", "id": "a", "videos": []any{"vid_01m8ghr0taxqswfbv5p1cdn8he"},
				"types": []any{pipeline.VideoReady, progressEvent}, "after": 7,
			},
		},
		{
			"socket-unsubscribe", "unsubscribe", "A subscription is no longer wanted", of, []string{"id"},
			[]string{"id"}, object{"type": "unsubscribe", "id": "a"},
		},
		{"socket-ping", "ping", "Is the server there?", of, []string{"id"}, nil, object{"type": "ping"}},
	}
}

// socketAnswers are the messages of the server.
func socketAnswerMessages(event any) []socketMessage {
	answer := reflect.TypeFor[socketAnswer]()
	return []socketMessage{
		{
			"socket-subscribed", "subscribed", "The subscription is there; before its first event, resume after " +
				"position", answer, []string{"id", "position"}, []string{"id", "position"},
			object{"type": "subscribed", "id": "a", "position": 7},
		},
		{
			"socket-unsubscribed", "unsubscribed", "The subscription is gone", answer, []string{"id"},
			[]string{"id"}, object{"type": "unsubscribed", "id": "a"},
		},
		{"socket-pong", "pong", "The answer to ping", answer, []string{"id"}, nil, object{"type": "pong"}},
		{
			"socket-error", "error", "A message was refused", answer,
			[]string{"id", "code", "title", "detail", "remedy"}, []string{"code", "title", "detail"},
			object{
				"type": "error", "id": "a", "code": codeInvalid, "title": codes[codeInvalid].title,
				"detail": "There is no subscription \"a\".", "remedy": codes[codeInvalid].remedy,
			},
		},
		{
			"socket-event", "event", "An event of a subscription", reflect.TypeFor[socketEvent](),
			[]string{"id", "sequence", "event"}, []string{"id", "sequence", "event"},
			object{"type": "event", "id": "a", "sequence": 8, "event": event},
		},
		{
			"socket-progress", "progress", "Progress of a job, for subscriptions to videos",
			reflect.TypeFor[socketProgress](), []string{"id", "progress"}, []string{"id", "progress"},
			object{"type": "progress", "id": "a", "progress": object{
				"video": "vid_01m8ghr0taxqswfbv5p1cdn8he", "job": "transcode-0000", "attempt": 1, "fraction": 0.42,
			}},
		},
	}
}

// addSocket adds the WebSocket with the messages of both directions.
func (d *asyncAPI) addSocket() error {
	ready := d.messages[string(pipeline.VideoReady)].(object)["examples"].([]any)[0].(object)["payload"]
	orders, err := d.addMessages(socketOrderMessages())
	if err != nil {
		return err
	}
	answers, err := d.addMessages(socketAnswerMessages(ready))
	if err != nil {
		return err
	}
	var known []any
	for _, name := range append(eventNames(), progressEvent) {
		known = append(known, name)
	}
	d.schemas["socket-subscribe"].(object)["properties"].(object)["types"] = object{
		"type": "array", "items": object{"enum": known}, "description": "All when left out",
	}
	event := []any{}
	for _, name := range eventNames() {
		event = append(event, ref("components", "schemas", name))
	}
	d.schemas["socket-event"].(object)["properties"].(object)["event"] = object{"oneOf": event}
	d.addChannel("socket", "/v1/ws", "websocket", "A WebSocket of JSON texts. The server answers each message "+
		"of the client, in order. Close codes: 1001 the server stops, 1009 the message was too large, 1013 the "+
		"client takes events too slowly; reconnect after all of them, with `after` the last sequence.",
		slices.Concat(orders, answers))
	d.channels["socket"].(object)["bindings"] = object{"ws": object{"method": "GET", "bindingVersion": "0.1.0"}}
	d.addOperation("obey", "receive", "socket", "The client says what it wants", orders, nil)
	d.addOperation("tell", "send", "socket", "The server answers, and tells of events", answers, nil)
	return nil
}

// addMessages adds messages, whose schemas have fields of Go types.
func (d *asyncAPI) addMessages(messages []socketMessage) (names []string, err error) {
	for _, m := range messages {
		whole, err := d.plainSchema(m.of)
		if err != nil {
			return nil, err
		}
		all, some := whole["properties"].(object), object{"type": object{"const": m.kind}}
		for _, f := range m.fields {
			some[f] = all[f]
		}
		required := append([]string{"type"}, m.required...)
		d.schemas[m.name] = object{"type": "object", "required": required, "properties": maps.Clone(some)}
		d.messages[m.name] = object{
			"name": m.kind, "title": m.kind, "summary": m.summary, "payload": ref("components", "schemas", m.name),
			"examples": []any{object{"name": "example", "payload": m.example}},
		}
		names = append(names, m.name)
	}
	return names, nil
}
