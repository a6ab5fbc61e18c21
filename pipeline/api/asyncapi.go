package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// The AsyncAPI document (https://www.asyncapi.com/docs/reference/specification/v3.0.0) describes what is
// sent without being asked for each time: the events on the subjects of the broker, in event streams, over
// WebSockets and to NATS endpoints. Its messages come from pipeline.EventTypes with the schemas of
// pipeline/schemas, and from the Go types of the messages of a WebSocket.

type object = map[string]any

// asyncAPI collects the document.
type asyncAPI struct {
	schemas, messages, channels, operations object
}

// eventSummaries says what each type of event means.
func eventSummaries() map[pipeline.EventType]string {
	return map[pipeline.EventType]string{
		pipeline.VideoUploaded:  "A video is uploaded: its source is whole in the store, or a URL is to be fetched",
		pipeline.VideoInspected: "The source of a video was inspected: the verdict, and the plan",
		pipeline.VideoPlayable:  "A video can be played",
		pipeline.VideoReady:     "A video is ready: every job is done, and every output verified",
		pipeline.VideoErrored:   "A video is errored: a required job failed for good",
		pipeline.VideoRejected:  "A video is rejected: inspection refused its source",
		pipeline.VideoCanceled:  "A video is canceled: somebody stopped it",
		pipeline.VideoReopened:  "A video that had ended goes on: one of its jobs runs again",
		pipeline.VideoChanged:   "The title, metadata or passthrough of a video was changed",
		pipeline.VideoHeld:      "A video has a legal hold: nobody deletes it or its source",
		pipeline.VideoReleased:  "The legal hold of a video has ended",
		pipeline.VideoDeleted:   "A video is deleted",
		pipeline.VideoPurged:    "Everything of a deleted video is removed",

		pipeline.VideoSourceDeleted: "The retention of the project deletes the source of a video; what was made " +
			"of it stays",
		pipeline.VideoSourcePurged: "The bytes of a source that was deleted are removed",

		pipeline.JobStarted:     "An attempt at a job begins",
		pipeline.JobCompleted:   "A job is completed: its outputs",
		pipeline.JobRetrying:    "An attempt at a job failed, and another one is scheduled",
		pipeline.JobInterrupted: "An attempt at a job was given back, and does not count",
		pipeline.JobErrored:     "A job is errored: no attempt is left, or none would help",
		pipeline.JobCanceled:    "A job is canceled: its result is no longer wanted",
		pipeline.JobRequeued:    "A job that was errored or canceled runs again",

		pipeline.VideoOutputsRequested: "Somebody adds outputs to a ready video",
		pipeline.VideoOutputsAdded:     "Outputs were added to a ready video",
		pipeline.VideoOutputsFailed:    "Nothing is added: a job failed, or somebody canceled it",
		pipeline.VideoOutputsReopened:  "What had failed goes on: its jobs run again",
	}
}

// describeAsync returns the document.
func describeAsync(cfg Config) ([]byte, error) {
	d := &asyncAPI{object{}, object{}, object{}, object{}}
	if err := d.addEvents(); err != nil {
		return nil, err
	}
	d.addLog()
	if err := d.addStreams(); err != nil {
		return nil, err
	}
	if err := d.addSocket(); err != nil {
		return nil, err
	}
	d.addEndpoints()
	return json.Marshal(object{
		"asyncapi": "3.0.0",
		"info": object{
			"title": "ReelMill events", "version": cfg.Version,
			"description": "What ReelMill tells without being asked each time. `/openapi.json` describes the " +
				"requests, and the webhooks. Anything may arrive twice: an event has one `id` wherever it " +
				"comes. Readers ignore fields that they do not know.",
			"license": object{"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
			"contact": object{"name": "ReelMill", "url": "https://github.com/reelmill/reelmill"},
		},
		"id":                 "urn:reelmill:events",
		"defaultContentType": "application/json",
		"servers":            asyncServers(cfg.PublicURL),
		"channels":           d.channels,
		"operations":         d.operations,
		"components":         object{"schemas": d.schemas, "messages": d.messages},
	})
}

// asyncServers returns the servers. Without a public URL, that is where `reelmill serve` listens by default.
func asyncServers(public string) object {
	at, err := url.Parse(public)
	if err != nil || at.Host == "" {
		at = &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}
	}
	socket := strings.Replace(at.Scheme, "http", "ws", 1)
	server := func(protocol, host, path, about string) object {
		s := object{"host": host, "protocol": protocol, "description": about}
		if path != "" {
			s["pathname"] = path
		}
		return s
	}
	return object{
		"streams":   server(at.Scheme, at.Host, at.Path, "Server-sent events, from the server of this document"),
		"websocket": server(socket, at.Host, at.Path, "The same server"),
		"broker": server("nats", "127.0.0.1:4222", "", "The broker of --nats. Without that flag the broker runs "+
			"inside the server, and no other process reaches it"),
	}
}

// ref returns a reference.
func ref(parts ...string) object {
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(p, "/", "~1")
	}
	return object{"$ref": "#/" + strings.Join(parts, "/")}
}

// addEvents adds a schema and a message for each type of event, with its example.
func (d *asyncAPI) addEvents() error {
	raw, err := examples.ReadFile("examples/events.json")
	if err != nil {
		return err
	}
	var shown map[pipeline.EventType]any
	if err := json.Unmarshal(raw, &shown); err != nil {
		return fmt.Errorf("decode the examples of events: %w", err)
	}
	summaries := eventSummaries()
	for _, t := range pipeline.EventTypes {
		if err := d.addEvent(t); err != nil {
			return fmt.Errorf("describe %s: %w", t, err)
		}
		d.messages[string(t)] = object{
			"name": t, "title": t, "summary": summaries[t],
			"contentType": "application/cloudevents+json", "payload": ref("components", "schemas", string(t)),
			"examples": []any{object{"name": "example", "payload": shown[t]}},
		}
	}
	return nil
}

// addEvent adds the schema of an event, and what it refers to. AsyncAPI has one place for all definitions.
func (d *asyncAPI) addEvent(t pipeline.EventType) error {
	var schema object
	if err := json.Unmarshal(pipeline.Schema(t), &schema); err != nil {
		return err
	}
	definitions, _ := schema["$defs"].(object)
	for _, name := range []string{"$defs", "$id", "$schema"} {
		delete(schema, name)
	}
	for name, def := range definitions {
		moveRefs(def)
		if before, ok := d.schemas[name]; ok && !reflect.DeepEqual(before, def) {
			return fmt.Errorf("the definition of %s is not that of another event", name)
		}
		d.schemas[name] = def
	}
	moveRefs(schema)
	d.schemas[string(t)] = schema
	return nil
}

// moveRefs lets references in a schema lead to the components of the document.
func moveRefs(v any) {
	switch v := v.(type) {
	case object:
		if to, ok := v["$ref"].(string); ok {
			v["$ref"] = strings.Replace(to, "#/$defs/", "#/components/schemas/", 1)
		}
		for _, inner := range v {
			moveRefs(inner)
		}
	case []any:
		for _, inner := range v {
			moveRefs(inner)
		}
	}
}

// addChannel adds a channel with messages of components.
func (d *asyncAPI) addChannel(id, address, server, about string, messages []string, parameters ...string) {
	has := object{}
	for _, m := range messages {
		has[m] = ref("components", "messages", m)
	}
	channel := object{
		"address": address, "title": address, "description": about, "messages": has,
		"servers": []any{ref("servers", server)},
	}
	if len(parameters) > 0 {
		named := object{}
		for _, p := range parameters {
			named[p] = object{"description": "The " + p}
		}
		channel["parameters"] = named
	}
	d.channels[id] = channel
}

// addOperation adds what ReelMill does on a channel: send or receive.
func (d *asyncAPI) addOperation(id, action, channel, summary string, messages []string, more object) {
	var of []any
	for _, m := range messages {
		of = append(of, ref("channels", channel, "messages", m))
	}
	op := object{"action": action, "channel": ref("channels", channel), "summary": summary, "messages": of}
	maps.Copy(op, more)
	d.operations[id] = op
}

// addLog adds the subjects of the log.
func (d *asyncAPI) addLog() {
	bySubject := map[string][]string{}
	const project, video, job = "{project}", "{video}", "{job}"
	for _, t := range pipeline.EventTypes {
		subject := map[pipeline.EventType]string{
			pipeline.VideoUploaded:         pipeline.UploadedSubject(project, video),
			pipeline.VideoInspected:        pipeline.InspectedSubject(project, video),
			pipeline.VideoPlayable:         pipeline.PlayableSubject(project, video),
			pipeline.VideoChanged:          pipeline.ChangedSubject(project, video),
			pipeline.VideoOutputsRequested: additionSubject(pipeline.ExtendedSubject(project, video, 1)),
			pipeline.VideoOutputsAdded:     additionSubject(pipeline.ExtendedEndSubject(project, video, 1)),
			pipeline.VideoOutputsFailed:    additionSubject(pipeline.ExtendedEndSubject(project, video, 1)),
			pipeline.VideoOutputsReopened:  additionSubject(pipeline.ExtendedEndSubject(project, video, 1)),
			pipeline.VideoDeleted:          pipeline.DeletedSubject(project, video),
			pipeline.VideoPurged:           pipeline.DeletedSubject(project, video),
			pipeline.VideoHeld:             pipeline.HeldSubject(project, video),
			pipeline.VideoReleased:         pipeline.HeldSubject(project, video),
			pipeline.VideoSourceDeleted:    pipeline.SourceDeletedSubject(project, video),
			pipeline.VideoSourcePurged:     pipeline.SourceDeletedSubject(project, video),
		}[t]
		switch {
		case strings.HasPrefix(string(t), "job."):
			subject = pipeline.JobSubject(project, video, job)
		case subject == "":
			subject = pipeline.FinishedSubject(project, video)
		}
		bySubject[subject] = append(bySubject[subject], string(t))
	}
	for _, subject := range slices.Sorted(maps.Keys(bySubject)) {
		id, messages, parameters := "job", bySubject[subject], []string{"project", "video", "job"}
		if !strings.HasPrefix(subject, "job.") {
			id, parameters = strings.Join(strings.Split(subject, ".")[:2], "-"), parameters[:2]
		}
		if strings.Contains(subject, additionNumber) {
			id = strings.ReplaceAll(id, "-"+additionNumber, "")
			parameters = []string{"number", "project", "video"}
		}
		d.addChannel(id, subject, "broker", "A subject of the stream EVENTS of JetStream. The sequence in the "+
			"stream orders events; it is the id of event streams.", messages, parameters...)
		d.addOperation("log-"+id, "send", id, "Events are written to the log", messages, nil)
	}
}

// additionNumber stands for the number of an addition in a subject.
const additionNumber = "{number}"

// additionSubject returns the subject of the first addition as that of any.
func additionSubject(first string) string { return strings.Replace(first, "-1", "-"+additionNumber, 1) }

// addEndpoints adds the subjects of NATS endpoints, whose messages the schemas of webhooks describe.
func (d *asyncAPI) addEndpoints() {
	types := []any{webhooks.TypeTest, webhooks.TypeDisabled}
	for _, t := range pipeline.HookEventTypes() {
		types = append(types, t)
	}
	d.schemas["Report"] = object{
		"type": "object", "required": []any{"type", "timestamp", "data"}, "properties": object{
			"type":      object{"enum": types},
			"timestamp": object{"type": "string", "format": "date-time"},
			"data": object{
				"type":        "object",
				"description": "The video, job or quota just after the event; see the webhooks in /openapi.json",
			},
		},
	}
	d.messages["report"] = object{
		"name": "report", "title": "What a webhook would get", "payload": ref("components", "schemas", "Report"),
		"summary": "An event with the video or job just after it. The headers webhook-id and Nats-Msg-Id have " +
			"the id of the event.",
		"headers": object{"type": "object", "properties": object{
			"webhook-id":   object{"type": "string", "description": "The id of the event, to drop doubles by"},
			"webhook-type": object{"type": "string"}, "Nats-Msg-Id": object{"type": "string"},
		}},
		"examples": []any{object{
			"name": "deleted", "headers": object{"webhook-id": "evt_01m8ghr0y1ypnx48z0jmh8v9ge"},
			"payload": object{
				"type": pipeline.VideoDeleted, "timestamp": "2026-11-28T07:44:16.781642Z",
				"data": object{"id": "vid_01m8ghr0taxqswfbv5p1cdn8he", "project": "default"},
			},
		}},
	}
	d.addChannel("endpoint", webhooks.SubjectPrefix+"{project}.{subject}", "broker",
		"The subject of a webhook endpoint of kind nats, which may have several tokens.", []string{"report"},
		"project", "subject")
	d.addOperation("deliver", "send", "endpoint", "An event is delivered to an endpoint, at least once",
		[]string{"report"}, nil)
}

func (s *server) getAsyncAPI(w http.ResponseWriter, r *http.Request) {
	s.send(w, r, "application/json", s.asyncapi)
}

func describeAsyncAPI() *huma.Operation {
	return &huma.Operation{
		OperationID: "asyncapi", Method: http.MethodGet, Path: "/asyncapi.json", Tags: []string{"documentation"},
		Summary: "Events and WebSocket messages", Description: "AsyncAPI 3: the subjects of the broker, event " +
			"streams, and the messages of `/v1/ws` in both directions.",
		Responses: map[string]*huma.Response{"200": {
			Description: "AsyncAPI 3", Content: map[string]*huma.MediaType{
				"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}},
			},
		}},
	}
}
