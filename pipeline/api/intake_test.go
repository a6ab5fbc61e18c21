package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// withStamp adds a pipeline with a step of the invented worker type, under another name.
func withStamp(c *Config) {
	c.Pipelines = map[string]pipeline.Pipeline{
		"default": pipeline.Default(),
		"post": {Name: "post", Version: 1, Steps: []pipeline.Step{
			{Name: "postmark", Worker: "stamp", When: pipeline.WhenRequested, With: map[string]any{"position": "top"}},
		}},
	}
}

// TestFormTakesAssetOfAnyWorker: the form knows the worker type stamp by its traits alone.
func TestFormTakesAssetOfAnyWorker(t *testing.T) {
	e := newEnv(t, withStamp)
	resp, raw := e.post([]part{
		field("pipeline", "post"), field("stamp", `{"opacity":0.5}`), {"stamp", "ink.SRT", strings.NewReader("blue")},
		file("cat.mp4", "meow"),
	})
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	up := e.uploadOf(decode[pipeline.VideoView](t, raw).ID)
	want := map[string]map[string]any{"postmark": {"opacity": 0.5, "ink": "stamp"}}
	if diff := cmp.Diff(want, up.Requested); diff != "" {
		t.Error(diff)
	}
	ink := up.Assets["stamp"]
	if !strings.HasSuffix(ink.Key, ".srt") || ink.Size != 4 || ink.Filename != "ink.SRT" {
		t.Errorf("asset %+v", ink)
	}
	for name, c := range map[string]struct {
		parts   []part
		want    code
		pointer string
	}{
		"another format": {[]part{{"stamp", "ink.png", strings.NewReader("x")}}, "stamp_invalid", "/form/stamp"},
		"no bytes":       {[]part{{"stamp", "ink.srt", strings.NewReader("")}}, "stamp_invalid", "/form/stamp"},
		"a bad file":     {[]part{field("pipeline", "post"), {"stamp", "ink.srt", strings.NewReader("red" + strings.Repeat("x", 1<<20))}}, "stamp_invalid", "/form/stamp"},
		"of no use":      {[]part{field("pipeline", "post"), field("stamp", `{"text":"pink"}`)}, "stamp_invalid", "/form/stamp"},
		"no short form":  {[]part{field("stamp", "text:x")}, "stamp_invalid", "/form/stamp"},
		"asset by name":  {[]part{field("stamp", `{"ink":"x"}`)}, "stamp_invalid", "/form/stamp/ink"},
		"no step":        {[]part{field("stamp", `{"text":"x"}`)}, "stamp_unsupported", "/form/stamp"},
		"twice":          {[]part{field("stamp", "{}"), field("stamp", "{}")}, codeFieldRepeated, "/form/stamp"},
	} {
		resp, raw := e.post(append(c.parts, file("a.mp4", "meow")))
		if p := wantProblem(t, resp, raw, c.want); len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%s: %s", name, raw)
		}
	}
	resp, raw = e.post([]part{{"stamp", "ink.srt", strings.NewReader("red")}, file("a.mp4", "meow")})
	if p := wantProblem(t, resp, raw, "stamp_invalid"); p.Detail != "The ink is refused: it is red." {
		t.Errorf("%q", p.Detail)
	}
	equal(t, "objects", e.objects(), ink.Key, up.Source.Key)
	if _, doc := e.get("/openapi.json"); !bytes.Contains(doc, []byte("for the step of the worker stamp")) {
		t.Error("the OpenAPI document has no field stamp")
	}
}

func TestWorkerMayNotTakeAnUploadsField(t *testing.T) {
	e := newEnv(t, nil)
	_, err := New(Config{Store: e.Store, Log: e.Bus, Catalog: e.Catalog, Planner: taking{"metadata"}})
	if err == nil || !strings.Contains(err.Error(), `"metadata"`) {
		t.Errorf("a worker type took the field metadata: %v", err)
	}
}

// taking is a planner of one worker type, which takes a field.
type taking struct{ worker string }

func (taking) Plan(string, json.RawMessage, pipeline.Media) ([]pipeline.Job, error) { return nil, nil }
func (taking) Check(string, json.RawMessage) error                                  { return nil }
func (p taking) Traits() map[string]pipeline.Traits {
	return map[string]pipeline.Traits{p.worker: {Upload: &pipeline.UploadField{}}}
}

// stored puts an object into the store, like a way in that has no form.
func (e *env) stored(in *intake, name, body string) pipeline.Object {
	e.t.Helper()
	key := pipeline.SourceKey(in.video, name)
	info, err := e.Store.Put(e.t.Context(), key, strings.NewReader(body), storage.PutOptions{})
	must(e.t, err)
	return pipeline.Object{Key: key, Size: info.Size, SHA256: info.SHA256}
}

// TestIntakeOfStoredObjects: an upload without a form, whose source and asset are already in the store.
func TestIntakeOfStoredObjects(t *testing.T) {
	e := newEnv(t, withStamp)
	intake := func(key string) *intake {
		in, err := newIntake(e.config, "body", project, key, "")
		must(t, err)
		in.addSource(e.stored(in, pipeline.NewID("upl")+".mp4", "meow"))
		in.addAsset("stamp", e.stored(in, pipeline.NewID("ast")+".srt", "blue"))
		return in
	}
	req := request{
		Pipeline: "post", Priority: pipeline.Bulk, Metadata: map[string]string{"a": "b"}, Passthrough: "p",
		Webhook: "https://hooks.example/", Params: map[string]map[string]any{"stamp": {"text": "x"}},
	}
	must(t, intake("").check(req))
	first, replayed, err := intake("k").accept(t.Context(), req)
	if err != nil || replayed {
		t.Fatalf("replayed %v, %v", replayed, err)
	}
	kept := e.objects()
	again, replayed, err := intake("k").accept(t.Context(), req)
	if err != nil || !replayed || again.ID != first.ID {
		t.Fatalf("replayed %v, %v", replayed, err)
	}
	equal(t, "objects after a replay", e.objects(), kept...)
	var up pipeline.Upload
	must(t, first.Decode(&up))
	if up.Priority != pipeline.Bulk || up.Webhook.URL != req.Webhook || up.Passthrough != "p" ||
		up.Requested["postmark"]["ink"] != "stamp" || up.Assets["stamp"].Size != 4 {
		t.Errorf("%+v", up)
	}
}

// TestIntakeChecksTypedRequests: a request that a caller fills in is refused for the same mistakes as a form,
// and its objects are deleted.
func TestIntakeChecksTypedRequests(t *testing.T) {
	e := newEnv(t, func(c *Config) { withStamp(c); c.Limits.MaxMetadata = 64 })
	params := func(worker string, p map[string]any) request {
		return request{Params: map[string]map[string]any{worker: p}}
	}
	for name, c := range map[string]struct {
		req     request
		code    code
		pointer string
	}{
		"pipeline":    {request{Pipeline: "x"}, codePipelineUnknown, "/body/pipeline"},
		"priority":    {request{Priority: "x"}, codeInvalid, "/body/priority"},
		"metadata":    {request{Metadata: map[string]string{"a": strings.Repeat("x", 64)}}, codeFieldTooLarge, "/body/metadata"},
		"passthrough": {request{Passthrough: strings.Repeat("x", 4<<10+1)}, codeFieldTooLarge, "/body/passthrough"},
		"webhook":     {request{Webhook: "ftp://x"}, codeWebhookRefused, "/body/webhook_url"},
		"long webhook": {
			request{Webhook: "https://x/" + strings.Repeat("x", 2048)}, codeFieldTooLarge, "/body/webhook_url",
		},
		"unknown worker": {params("audio", nil), codeFieldUnknown, "/body/audio"},
		"asset by name":  {params("watermark", map[string]any{"image": "x"}), codeStepInvalid, "/body/watermark/image"},
		"no step":        {params("stamp", map[string]any{"text": "x"}), codeStepMissing, "/body/stamp"},
	} {
		in, err := newIntake(e.config, "body", project, "", "")
		must(t, err)
		in.addSource(e.stored(in, "upl_x.mp4", "meow"))
		_, _, err = in.accept(t.Context(), c.req)
		if f := classify(err); f.code != c.code || f.pointer != c.pointer {
			t.Errorf("%s: %v at %s", name, err, f.pointer)
		}
		equal(t, "objects", e.objects())
	}
	in, err := newIntake(e.config, "body", project, "", "")
	must(t, err)
	if _, err := in.upload(request{}); classify(err).code != codeUploadFile {
		t.Errorf("without a source: %v", err)
	}
	in.addSource(pipeline.Object{Key: "x"})
	if _, err := in.upload(request{}); classify(err).code != codeUploadEmpty {
		t.Errorf("with an empty source: %v", err)
	}
}
