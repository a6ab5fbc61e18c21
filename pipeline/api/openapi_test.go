package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/reelmill/reelmill/pipeline"
)

// openAPI is the part of the document that the tests read.
type openAPI struct {
	OpenAPI string
	Info    struct{ Title, Version string }
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Parameters  []parameter
		RequestBody *struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
		Responses map[string]struct {
			Description string
			Ref         string `json:"$ref"`
			Content     map[string]struct{ Schema json.RawMessage }
		}
	}
	Components struct{ Schemas, Responses, Examples map[string]json.RawMessage }
}

// parameter is one of an operation.
type parameter struct {
	Name, In string
	Required bool
	Schema   json.RawMessage
}

func document(e *env) (openAPI, []byte) {
	e.t.Helper()
	resp, raw := e.get("/openapi.json")
	if ct := resp.Header.Get("Content-Type"); ct != "application/openapi+json" {
		e.t.Errorf("Content-Type %q", ct)
	}
	return decode[openAPI](e.t, raw), raw
}

// documented is every route that the document must have.
var documented = []string{
	"DELETE /v1/dead_letters/{id}", "DELETE /v1/tus/{token}", "DELETE /v1/videos/{id}",
	"GET /asyncapi.json", "GET /docs", "GET /docs/errors", "GET /docs/errors.json", "GET /healthz", "GET /openapi.json",
	"GET /v1/dead_letter_runs", "GET /v1/dead_letter_runs/{id}", "POST /v1/dead_letter_runs",
	"POST /v1/dead_letter_runs/{id}/pause", "POST /v1/dead_letter_runs/{id}/resume",
	"POST /v1/dead_letter_runs/{id}/cancel",
	"GET /v1/queues", "GET /v1/worker_types", "POST /v1/queues/{type}/pause", "POST /v1/queues/{type}/resume",
	"DELETE /v1/webhook_endpoints/{id}", "GET /v1/webhook_endpoints", "GET /v1/webhook_endpoints/{id}",
	"GET /v1/webhook_endpoints/{id}/deliveries", "GET /v1/webhook_endpoints/{id}/deliveries/{delivery}",
	"PATCH /v1/webhook_endpoints/{id}", "POST /v1/webhook_endpoints",
	"POST /v1/webhook_endpoints/{id}/deliveries/{delivery}/redeliver", "POST /v1/webhook_endpoints/{id}/redeliver",
	"POST /v1/webhook_endpoints/{id}/rotate_secret", "POST /v1/webhook_endpoints/{id}/test",
	"GET /play/{id}/thumbnail.{format}", "HEAD /play/{id}/thumbnail.{format}",
	"GET /play/{id}/{path}", "GET /readyz", "GET /v1/dead_letters", "GET /v1/dead_letters/{id}",
	"GET /v1/events", "GET /v1/events/stream", "GET /v1/keys", "GET /v1/keys/{id}",
	"GET /v1/pipelines", "GET /v1/projects", "GET /v1/projects/{name}", "GET /v1/stats", "GET /v1/usage", "GET /v1/uploads", "GET /v1/uploads/{id}", "GET /v1/videos", "GET /v1/videos/{id}", "GET /v1/videos/{id}/events",
	"GET /v1/videos/{id}/additions", "GET /v1/videos/{id}/additions/{number}", "GET /v1/videos/{id}/jobs", "GET /v1/videos/{id}/outputs", "GET /v1/videos/{id}/why", "GET /v1/ws",
	"HEAD /play/{id}/{path}", "HEAD /v1/tus/{token}", "PATCH /v1/tus/{token}", "PATCH /v1/videos/{id}", "POST /v1/dead_letters/{id}/redrive",
	"POST /v1/jobs/{video}/{job}/retry", "POST /v1/keys", "POST /v1/keys/{id}/revoke", "POST /v1/projects", "PATCH /v1/projects/{name}", "DELETE /v1/projects/{name}", "POST /v1/tus", "POST /v1/upload_tokens", "POST /v1/uploads", "POST /v1/uploads/{id}/cancel", "POST /v1/uploads/{id}/complete",
	"POST /v1/signing_keys", "GET /v1/signing_keys", "GET /v1/signing_keys/{id}", "POST /v1/signing_keys/{id}/revoke",
	"POST /v1/videos/{id}/playback_urls",
	"POST /v1/uploads/{id}/parts", "GET /v1/uploads/{id}/parts",
	"POST /v1/videos", "POST /v1/videos/{id}/additions/{number}/cancel", "POST /v1/videos/{id}/outputs", "POST /v1/videos/{id}/cancel", "POST /v1/videos/{id}/read_tokens", "POST /v1/videos/{id}/retry", "PUT /v1/uploads/{token}/content",
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

func TestOpenAPI(t *testing.T) {
	e := newEnv(t, nil)
	doc, raw := document(e)
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("%s %+v", doc.OpenAPI, doc.Info)
	}
	var routes, ids []string
	for path, item := range doc.Paths {
		for method, op := range item {
			route := strings.ToUpper(method) + " " + path
			routes, ids = append(routes, route), append(ids, op.OperationID)
			if op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s: no id or summary", route)
			}
			for _, name := range inPath.FindAllStringSubmatch(path, -1) {
				found := false
				for _, p := range op.Parameters {
					found = found || p.Name == name[1] && p.In == "path" && p.Required && p.Schema != nil
				}
				if !found {
					t.Errorf("%s: parameter %s is not described", route, name[1])
				}
			}
			for status, r := range op.Responses {
				if r.Description == "" && r.Ref == "" {
					t.Errorf("%s %s: no description", route, status)
				}
			}
			for _, status := range []string{"4XX", "default"} {
				if op.Responses[status].Ref == "" {
					t.Errorf("%s: its errors are not described (%s)", route, status)
				}
			}
		}
	}
	slices.Sort(routes)
	equal(t, "routes", routes, slices.Sorted(slices.Values(documented))...)
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != len(routes) {
		t.Errorf("%d operation ids for %d routes", n, len(routes))
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllSubmatch(raw, -1) {
		kind, name, _ := strings.Cut(strings.TrimPrefix(string(ref[1]), "#/components/"), "/")
		of := map[string]map[string]json.RawMessage{
			"schemas": doc.Components.Schemas, "responses": doc.Components.Responses, "examples": doc.Components.Examples,
		}
		if _, known := of[kind][name]; !known {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	form := doc.Paths["/v1/videos"]["post"].RequestBody.Content["multipart/form-data"].Schema
	for _, name := range []string{"file", "pipeline", "priority", "metadata", "passthrough", "watermark", "webhook_url"} {
		if !bytes.Contains(form, []byte(`"`+name+`":`)) {
			t.Errorf("the form has no %s", name)
		}
	}
}

// TestOpenAPIPassesRedocly checks the rules of Redocly's linter (its set "recommended",
// https://redocly.com/docs/cli/rules) for the document as a whole. TestOpenAPI checks those for an operation,
// among them operation-4xx-response.
func TestOpenAPIPassesRedocly(t *testing.T) {
	for public, server := range map[string]string{"": "/", "https://video.example.org/": "https://video.example.org"} {
		e := newEnv(t, func(c *Config) { c.PublicURL = public })
		_, raw := document(e)
		doc := decode[struct {
			Info struct {
				License struct{ Name, Identifier, URL string }
			}
			Servers    []struct{ URL string }
			Security   []map[string][]string
			Tags       []struct{ Name, Description string }
			Components struct {
				SecuritySchemes map[string]struct{ Type string }
			}
			Paths map[string]map[string]struct {
				Tags     []string
				Security []map[string][]string
			}
			Webhooks map[string]struct {
				Post struct{ Security []map[string][]string }
			}
		}](t, raw)
		defined := func(where string, wanted []map[string][]string) { // security-defined
			for _, either := range wanted {
				for name := range either {
					if doc.Components.SecuritySchemes[name].Type == "" {
						t.Errorf("%s asks for the security scheme %s, which is not defined", where, name)
					}
				}
			}
		}
		defined("the document", doc.Security)
		for name, hook := range doc.Webhooks {
			defined("the webhook "+name, hook.Post.Security)
		}
		if len(doc.Servers) != 1 || doc.Servers[0].URL != server { // no-empty-servers
			t.Errorf("servers %+v, want %s", doc.Servers, server)
		}
		if len(doc.Security) == 0 { // security-defined
			t.Error("the document has no security requirement")
		}
		if doc.Info.License.Name == "" || doc.Info.License.Identifier == "" { // info-license, info-license-strict
			t.Errorf("licence %+v", doc.Info.License)
		}
		tags := map[string]bool{}
		for _, tag := range doc.Tags { // tag-description
			if tags[tag.Name] = true; tag.Description == "" {
				t.Errorf("tag %s has no description", tag.Name)
			}
		}
		for path, item := range doc.Paths {
			if strings.HasSuffix(path, "/") || strings.Contains(path, "?") { // path-not-include-query and the like
				t.Errorf("path %s", path)
			}
			for method, op := range item {
				defined(method+" "+path, op.Security)
				if len(op.Tags) != 1 || !tags[op.Tags[0]] {
					t.Errorf("%s %s has the tags %v", method, path, op.Tags)
				}
			}
		}
	}
}

// TestIDsOfVideosAreNotCalledULIDs: an id that is derived from an idempotency key has no time.
func TestIDsOfVideosAreNotCalledULIDs(t *testing.T) {
	_, raw := document(newEnv(t, nil))
	doc := decode[struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Description string }
			}
		}
	}](t, raw)
	about := doc.Components.Schemas["VideoView"].Properties["id"].Description
	if bytes.Contains(raw, []byte("ULID")) || !strings.Contains(about, "sort by created_at") {
		t.Errorf("the document says of ids: %s", about)
	}
}

// The document has every route that is registered by hand.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	src, err := os.ReadFile("api.go")
	must(t, err)
	routes := regexp.MustCompile(`HandleFunc\("([^"]+)"`).FindAllSubmatch(src, -1)
	if len(routes) < 4 {
		t.Fatalf("found %d routes in api.go", len(routes))
	}
	for _, r := range routes {
		route := strings.Replace(string(r[1]), "...}", "}", 1)
		if !strings.HasPrefix(route, "OPTIONS ") && !slices.Contains(documented, route) {
			t.Errorf("%s is not described", route)
		}
	}
}

// Every path of the document is answered with something other than "there is nothing at this address".
func TestOpenAPIHasNoGhosts(t *testing.T) {
	e := newEnv(t, nil)
	for _, route := range documented {
		method, path, _ := strings.Cut(route, " ")
		if strings.HasSuffix(path, "/stream") {
			method = http.MethodHead // it has no end
		}
		resp, raw := e.do(method, inPath.ReplaceAllString(path, "x"), nil)
		if resp.StatusCode == http.StatusMethodNotAllowed || bytes.Contains(raw, []byte("nothing at this address")) {
			t.Errorf("%s: %s", route, raw)
		}
	}
}

// A browser that opens the server's own address learns where the API is described.
func TestRootTellsWhereTheAPIIsDescribed(t *testing.T) {
	resp, raw := newEnv(t, nil).do(http.MethodGet, "/", nil)
	if p := wantProblem(t, resp, raw, codeNotFound); !strings.Contains(p.Detail, "/openapi.json") {
		t.Errorf("it says %q", p.Detail)
	}
}

// Answers match their schemas in the document.
func TestAnswersFitTheirSchemas(t *testing.T) {
	e := newEnv(t, nil)
	doc, raw := document(e)
	compiler := jsonschema.NewCompiler()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	must(t, err)
	must(t, compiler.AddResource("file:///openapi.json", parsed))
	fits := func(schema string, answer []byte) {
		t.Helper()
		if _, ok := doc.Components.Schemas[schema]; !ok {
			t.Fatalf("no schema %s", schema)
		}
		compiled, err := compiler.Compile("file:///openapi.json#/components/schemas/" + schema)
		must(t, err)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(answer))
		must(t, err)
		if err := compiled.Validate(v); err != nil {
			t.Errorf("%s: %v\n%s", schema, err, answer)
		}
	}
	get := func(path string) []byte {
		_, raw := e.get(path, "Accept", "application/json")
		return raw
	}
	resp, raw := e.post([]part{file("cat.mp4", "meow"), field("metadata", `{"a":"b"}`)})
	if resp.StatusCode != 201 {
		t.Fatal(resp.Status)
	}
	fits("VideoView", raw)
	_, order := e.order(`{"filename":"a.mp4","metadata":{"a":"b"}}`)
	fits("UploadView", order)
	fits("ListUploadView", get("/v1/uploads"))
	id := decode[pipeline.VideoView](t, raw).ID
	fits("ListJobView", get("/v1/videos/"+id+"/jobs"))
	e.inspected(id)
	e.job(pipeline.JobStarted, id, "thumbnail")
	e.job(pipeline.JobCompleted, id, "thumbnail", e.put(id, "thumbnail", "thumbnail.jpg", "x"))
	e.tell(pipeline.VideoErrored, pipeline.FinishedSubject(project, id), pipeline.Finish{
		State: pipeline.StateVideoErrored, Problem: pipeline.ProblemOf(errFault),
	})
	fits("VideoView", get("/v1/videos/"+id))
	fits("VideoList", get("/v1/videos"))
	fits("ListJobView", get("/v1/videos/"+id+"/jobs"))
	fits("ListOutputView", get("/v1/videos/"+id+"/outputs"))
	fits("ListPipeline", get("/v1/pipelines"))
	fits("ListEvent", get("/v1/videos/"+id+"/events"))
	fits("Why", get("/v1/videos/"+id+"/why"))
	waits := e.uploaded().ID
	e.job(pipeline.JobStarted, waits, "inspect")
	e.job(pipeline.JobRetrying, waits, "inspect")
	fits("Why", get("/v1/videos/"+waits+"/why"))
	letter := e.errored(id, "transcode-0000")
	fits("ListDeadLetterView", get("/v1/dead_letters"))
	fits("DeadLetterView", get("/v1/dead_letters/"+letter))
	fits("Stats", get("/v1/stats"))
	fits("Report", get("/v1/usage"))
	fits("HealthBody", get("/readyz"))
	fits("ProblemDocument", get("/nope"))
	fits("ProblemDocument", get("/v1/videos?limit=x"))
}
