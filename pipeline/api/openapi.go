package api

import (
	"maps"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/playback"
)

// describe returns the general part of the OpenAPI document. No page shows it, because huma's page loads
// from a CDN.
func describe(cfg Config) huma.Config {
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "ReelMill", Version: cfg.Version,
			Description: "Upload a video, follow what is made of it, play it.\n\n" +
				"Errors are problem documents (RFC 9457) with a `code`. Times are RFC 3339 in UTC. " +
				"Lists have `limit`, `cursor`, `next_cursor` and `has_more`. URLs begin with the server's " +
				"--public-url. Without one they are paths: resolve them against the address of this document.\n\n" +
				"The server answers 421 (`host_unknown`) to a Host that it does not know, and 403 (`cross_origin`) " +
				"when a web page of another site sends anything but GET, HEAD and OPTIONS. A client that sends too " +
				"much at once gets 429 with Retry-After.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			Contact: &huma.Contact{Name: "ReelMill", URL: "https://github.com/reelmill/reelmill"},
		},
		Components: &huma.Components{
			Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: describeSchemes(),
		},
		Tags: []*huma.Tag{
			{Name: "uploads", Description: "Send a video in pieces, or later: by tus 1.0 or with one PUT."},
			{Name: "videos", Description: "Upload, read, change, cancel, retry and delete."},
			{
				Name:        "events",
				Description: "One vocabulary: the type of an event is the name of the SSE event and of the webhook.",
			},
			{Name: "jobs", Description: "Retry a job that is errored."},
			{Name: "dead letters", Description: "Jobs that are errored, with everything that explains why."},
			{Name: "pipelines", Description: "What can be made of a video. The server's configuration defines them."},
			{Name: "queues", Description: "The tasks that wait for each worker type, and who works on them."},
			{Name: "usage", Description: "What the project uses, and how it stands with its quotas."},
			{Name: "stats", Description: "Throughput, failures and times, window by window."},
			{Name: "playback", Description: "Open to everybody who knows the id of the video."},
			{Name: "access", Description: "Projects, their API keys, and tokens for browsers."},
			{Name: "health", Description: "For operators of the server."},
			{Name: "documentation", Description: "What describes this API."},
			{
				Name:        "webhooks",
				Description: "Endpoints that hear of events, and the requests that the server sends them.",
			},
		},
		Servers: []*huma.Server{{URL: "/", Description: "The server that this document comes from"}},
		// On loopback without keys, no credential is asked for, which the empty requirement means (OpenAPI 3.1,
		// 4.8.30). finishDescription says what each operation needs.
		Security: []map[string][]string{{securityName: {}}, {}},
	}
	if cfg.PublicURL != "" {
		doc.Servers = []*huma.Server{{URL: cfg.PublicURL, Description: "The server's public address"}}
	}
	c := huma.Config{
		OpenAPI: doc, Formats: huma.DefaultFormats, DefaultFormat: "application/json",
		Transformers: []huma.Transformer{fromHuma},
	}
	c.AllowAdditionalPropertiesByDefault = true // answers may grow: readers ignore what they do not know
	return c
}

// finishDescription adds what huma does not know: the operations that stream, errors, examples and webhooks.
func (s *server) finishDescription() error {
	doc := s.api.OpenAPI()
	for _, op := range []*huma.Operation{
		s.describeUpload(), s.describeEvents(), describeOpenAPI(), describeAsyncAPI(),
	} {
		doc.AddOperation(op)
	}
	s.describeDocs()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		doc.AddOperation(describePlay(method))
		doc.AddOperation(describeThumbnail(method))
	}
	s.describeUploads()
	s.describeWebhooks()
	s.describeLive()
	body := doc.Paths[opGetVideo.Path].Patch.RequestBody.Content
	body[mergePatch] = body["application/json"] // huma describes it as bytes
	schemas := doc.Components.Schemas
	s.describeErrors(schemas.Schema(reflect.TypeFor[problemDocument](), true, ""))
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own form of errors
		delete(schemas.Map(), unused)
	}
	nullable(schemas, "VideoView", "media", "error", "hold")
	nullable(schemas, "JobView", "error")
	nullable(schemas, "AdditionView", "error")
	nullable(schemas, "WaitingJob", "error")
	nullable(schemas, "UploadView", "error")
	nullable(schemas, "EndpointView", "disabled_reason")
	nullable(schemas, "DeadLetterView", "payload")
	addEmbedded(schemas, "VideoList", reflect.TypeFor[list[pipeline.VideoView]]())
	addEmbedded(schemas, "EventsPage", reflect.TypeFor[list[pipeline.Event]]())
	ready := doc.Paths["/readyz"].Get
	ready.Responses["503"] = &huma.Response{
		Description: "A check failed", Content: ready.Responses["200"].Content,
	}
	for _, op := range operations(doc) {
		describeNeed(op)
		if op.Method == http.MethodPost {
			describeKey(op)
		}
		finishHeaders(op)
	}
	return s.describeExamples()
}

// addEmbedded adds the properties of a struct that is embedded in the one of a schema: huma leaves out one
// whose name is not exported.
func addEmbedded(schemas huma.Registry, name string, embedded reflect.Type) {
	s := schemas.Map()[name]
	if s == nil {
		return // its routes are off
	}
	e := huma.SchemaFromType(schemas, embedded)
	maps.Copy(s.Properties, e.Properties)
	s.Required = append(s.Required, e.Required...)
}

// nullable allows null for properties that are pointers to structs. huma does so for other pointers only.
func nullable(schemas huma.Registry, name string, properties ...string) {
	if schemas.Map()[name] == nil {
		return // its routes are off
	}
	for _, p := range properties {
		ref := schemas.Map()[name].Properties[p]
		schemas.Map()[name].Properties[p] = &huma.Schema{
			Description: ref.Description, AnyOf: []*huma.Schema{{Ref: ref.Ref}, {Type: "null"}},
		}
	}
}

func text(description string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: description}
}

func binary(description string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "binary", Description: description}
}

// formFields describes the fields of the form.
func (s *server) formFields() map[string]*huma.Schema {
	fields := map[string]*huma.Schema{
		"file":     binary("The video, at most " + strconv.FormatInt(s.cfg.Limits.MaxUpload, 10) + " bytes"),
		"pipeline": text("Name of the pipeline; default if left out"),
		"priority": {
			Type: huma.TypeString, Enum: []any{"high", "normal", "bulk"}, Default: "normal",
			Description: "Priority of the video: high when somebody waits for it, bulk when it can wait",
		},
		"title":       text("Of the video, at most 512 characters"),
		"metadata":    text("A JSON object of strings, returned as given"),
		"passthrough": text("Returned as given, in webhooks too"),
		"webhook_url": {
			Type: huma.TypeString, Format: "uri", Description: "Called when the video is playable, and when it ends",
		},
		"playback_policy": {
			Type: huma.TypeString, Enum: anyOf(policyNames()),
			Description: "Who may play the video: whoever knows its id, or whoever has a token. If left out: what " +
				"the project says, else public",
		},
	}
	maps.Copy(fields, describeStepFields(s.cfg.Planner.Traits()))
	return fields
}

func (s *server) describeUpload() *huma.Operation {
	form := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"file"}, AdditionalProperties: false, Properties: s.formFields(),
	}
	view := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[pipeline.VideoView](), true, "")
	return &huma.Operation{
		OperationID: "upload-video", Method: http.MethodPost, Path: "/v1/videos", Tags: []string{"videos"},
		Summary: "Upload a video",
		Description: "Streams the form into the store. Fields may come before or after the file. Mistakes in " +
			"fields before it are answered before the file is read. After a 201 the video cannot be lost.\n\n" +
			"With a JSON body that has a `url`, the server fetches the file: the 201 comes at once, the download is " +
			"the job `fetch`, whose progress is in the events, and what fails is the `error` of the video.",
		Parameters: []*huma.Param{
			{
				Name: "Idempotency-Key", In: "header", Schema: text(""),
				Description: "Use one key for every try of an upload. It becomes one video, and later tries get the " +
					"same answer with Idempotency-Replayed. Another upload with the key is refused. Keys do not expire. " +
					"The id of the video is derived from the key.",
			},
			{Name: "traceparent", In: "header", Schema: text(""), Description: "W3C Trace Context"},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"multipart/form-data": {Schema: form},
			"application/json":    s.describeFetch(),
		}},
		Responses: map[string]*huma.Response{"201": {
			Description: "Created",
			Headers: map[string]*huma.Param{
				"Location":             {Schema: text("The address of the video")},
				"Idempotency-Replayed": {Schema: text("true when an earlier try made the video")},
			},
			Content: map[string]*huma.MediaType{"application/json": {Schema: view}},
		}},
	}
}

// describeStepFields describes the fields that worker types take.
func describeStepFields(traits map[string]pipeline.Traits) map[string]*huma.Schema {
	described := map[string]*huma.Schema{}
	for _, worker := range stepFields(traits) {
		field := traits[worker].Upload
		schema := &huma.Schema{
			Description: sentence(takes(field)) + ", for the step of the worker " + worker + ".",
			AnyOf:       []*huma.Schema{text("Text")},
		}
		if field.Asset != "" {
			schema.Description += " A file and a JSON object may both come."
			schema.AnyOf = append(schema.AnyOf, binary("The file"))
		}
		described[worker] = schema
	}
	return described
}

func idParam() *huma.Param {
	return &huma.Param{Name: "id", In: "path", Required: true, Description: "The video's id", Schema: text("")}
}

func (s *server) describeEvents() *huma.Operation {
	sequence := func(name, in, doc string) *huma.Param {
		return &huma.Param{
			Name: name, In: in, Description: doc, Schema: &huma.Schema{Type: huma.TypeString, Pattern: "^[0-9]+$"},
		}
	}
	events := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[list[pipeline.Event]](), true, "")
	one, most := 1.0, float64(maxEvents)
	return &huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: "/v1/videos/{id}/events",
		Tags: []string{"events"}, Summary: "Follow or list the events of a video",
		Description: "A stream of server-sent events: `id` is the sequence in the log, `event` the type, `data` " +
			"the CloudEvents document. job.progress events have no id. After the video has ended, `event: end` " +
			"closes the stream. A client that reconnects gets what was added, or 204.\n\n" +
			"With `Accept: application/json`, the answer is a list.",
		Parameters: []*huma.Param{
			idParam(),
			sequence("Last-Event-ID", "header", "Sequence of the last event that the client has"),
			sequence("after", "query", "The same, for clients that cannot set headers"),
			sequence("cursor", "query", "The same, from next_cursor of a list"),
			{Name: "limit", In: "query", Description: "Events on a page of the list", Schema: &huma.Schema{
				Type: huma.TypeInteger, Minimum: &one, Maximum: &most, Default: 50,
			}},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "The events", Content: map[string]*huma.MediaType{
				"text/event-stream": {Schema: text("Server-sent events")},
				"application/json":  {Schema: events},
			}},
			"204": {Description: "The video has ended, and the client has every event"},
		},
	}
}

func describePlay(method string) *huma.Operation {
	media := map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{
		Type: huma.TypeString, Format: "binary",
	}}}
	id := "play"
	if method == http.MethodHead {
		id, media = "play-head", nil
	}
	return &huma.Operation{
		OperationID: id, Method: method, Path: "/play/{id}/{path}", Tags: []string{"playback"},
		Summary: "Play an output: a manifest, a segment, a poster",
		Description: "From the moment that a video is playable until it is packaged, `master.m3u8` and its " +
			"playlists list what is done so far. They grow, and their ETag changes with them.\n\n" +
			"If the `playback_policy` of the video is `signed`, this needs the token of a viewer, in `token` or in " +
			"the cookie `" + tokenCookie + "`. Playlists then lead to the rest below a path that begins with `" +
			playback.Mark + "`, which is the permission of all viewers whose tokens end at about the same time.",
		Parameters: []*huma.Param{
			idParam(),
			{
				Name: "path", In: "path", Required: true, Schema: text(""), Example: "master.m3u8",
				Description: "Path of an output, which may have slashes",
			},
			viewerToken(),
			{Name: "Range", In: "header", Schema: text(""), Example: "bytes=0-1023"},
			{Name: "If-Range", In: "header", Schema: text("")},
			{Name: "If-None-Match", In: "header", Schema: text("")},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "The output", Content: media},
			"206": {Description: "A part of it", Content: media},
			"304": {Description: "It has not changed"},
		},
	}
}

// viewerToken describes the token of a viewer.
func viewerToken() *huma.Param {
	return &huma.Param{
		Name: tokenQuery, In: "query", Schema: text(""),
		Description: "The token of a viewer, for a video whose policy is signed: a JWT of one of the project's " +
			"signing keys",
	}
}

func describeOpenAPI() *huma.Operation {
	return &huma.Operation{
		OperationID: "openapi", Method: http.MethodGet, Path: "/openapi.json", Tags: []string{"documentation"},
		Summary: "This document", Description: "OpenAPI 3.1, as `/docs` shows it for people.",
		Responses: map[string]*huma.Response{"200": {
			Description: "OpenAPI 3.1", Content: map[string]*huma.MediaType{
				"application/openapi+json": {Schema: &huma.Schema{Type: huma.TypeObject}},
			},
		}},
	}
}

func (s *server) getOpenAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	if _, err := w.Write(s.openapi); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "write answer", "request_id", requestID(r.Context()), "error", err)
	}
}
