package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// adder plans one job for each step: with a rendition that is named after the text, and with nothing for the
// text "nothing".
type adder struct{ planner }

func (adder) Plan(_ string, params json.RawMessage, _ pipeline.Media) ([]pipeline.Job, error) {
	var p struct{ Text string }
	if err := json.Unmarshal(params, &p); err != nil || p.Text == "nothing" {
		return nil, err
	}
	return []pipeline.Job{{Makes: []pipeline.OutputKind{pipeline.KindRendition}, Renditions: []string{p.Text}}}, nil
}

func newAddEnv(t *testing.T) *env { return newEnv(t, func(c *Config) { c.Planner = adder{} }) }

// ready uploads a video that becomes ready.
func (e *env) ready() pipeline.VideoView {
	e.t.Helper()
	v := e.uploaded()
	e.inspected(v.ID)
	e.finished(v.ID)
	return v
}

// add asks for a watermark step with a text for a video.
func (e *env) add(id, text string, headers ...string) (status int, raw []byte) {
	e.t.Helper()
	body := fmt.Sprintf(`{"steps": [{"worker": "watermark", "with": {"text": %q}}]}`, text)
	resp, raw := e.do("POST", "/v1/videos/"+id+"/outputs", strings.NewReader(body), append(headers, "Content-Type", "application/json")...)
	return resp.StatusCode, raw
}

// refusedAddition checks the refusal of a watermark step with a text.
func (e *env) refusedAddition(id, text string, c code) problemDocument {
	e.t.Helper()
	body := fmt.Sprintf(`{"steps": [{"worker": "watermark", "with": {"text": %q}}]}`, text)
	resp, raw := e.do("POST", "/v1/videos/"+id+"/outputs", strings.NewReader(body), "Content-Type", "application/json")
	return wantProblem(e.t, resp, raw, c)
}

func TestAddOutputs(t *testing.T) {
	e := newAddEnv(t)
	v := e.ready()
	status, raw := e.add(v.ID, "240p", "Idempotency-Key", "k")
	a := decode[pipeline.AdditionView](t, raw)
	self := "/v1/videos/" + v.ID + "/additions/1"
	if status != 202 || a.Number != 1 || a.Status != pipeline.StateAdditionProcessing || a.Links == nil || a.Links.Self != self ||
		len(a.Jobs) != 1 || a.Jobs[0] != "added-1-watermark" || len(a.Renditions) != 1 {
		t.Fatalf("%d %s", status, raw)
	}
	if _, again := e.add(v.ID, "240p", "Idempotency-Key", "k"); string(again) != string(raw) {
		t.Errorf("the same key: %s", again)
	}
	e.refusedAddition(v.ID, "240p", codeRenditionExists)
	if p := e.refusedAddition(v.ID, "nothing", codeParameters); len(p.Errors) != 1 || p.Errors[0].Pointer != "/body/steps" {
		t.Errorf("nothing to add: %+v", p)
	}
	if got := read[pipeline.AdditionView](e, self); got.ID != a.ID {
		t.Errorf("%+v", got)
	}
	canceled := acted[pipeline.AdditionView](e, self+"/cancel")
	listed := read[list[pipeline.AdditionView]](e, "/v1/videos/"+v.ID+"/additions")
	if canceled.Status != pipeline.StateAdditionCanceled || len(listed.Data) != 1 || listed.Data[0].Status != canceled.Status {
		t.Errorf("canceled: %+v, listed %+v", canceled, listed)
	}
	if got := read[pipeline.VideoView](e, "/v1/videos/"+v.ID); got.Status != pipeline.StateVideoReady || len(got.Additions) != 1 {
		t.Errorf("the video: %+v", got)
	}
	e.tell(pipeline.VideoOutputsAdded, pipeline.ExtendedEndSubject(project, v.ID, 1), pipeline.AdditionEnd{Number: 1, State: pipeline.StateAdditionReady})
	resp, raw := e.act(self + "/cancel")
	wantProblem(t, resp, raw, codeState)
	resp, raw = e.act("/v1/videos/" + v.ID + "/additions/2/cancel")
	wantProblem(t, resp, raw, codeNotFound)
	resp, raw = e.get("/v1/videos/" + v.ID + "/additions/2")
	wantProblem(t, resp, raw, codeNotFound)
	e.refusedAddition("vid_unknown", "480p", codeNotFound)
}

func TestOutputsAreAddedToReadyVideosOnly(t *testing.T) {
	e := newAddEnv(t)
	v := e.uploaded()
	e.refusedAddition(v.ID, "240p", codeNotReady)
	e.inspected(v.ID)
	e.refusedAddition(v.ID, "240p", codeNotReady)
	e.finished(v.ID)
	for _, key := range e.objects() {
		if strings.HasPrefix(key, "videos/"+v.ID+"/source/") {
			must(t, e.Store.Delete(t.Context(), key))
		}
	}
	e.refusedAddition(v.ID, "240p", codeSourceGone)
	w := e.ready()
	if resp, raw := e.do("DELETE", "/v1/videos/"+w.ID, nil); resp.StatusCode != 204 {
		t.Fatalf("%s", raw)
	}
	if p := e.refusedAddition(w.ID, "240p", codeNotReady); !strings.Contains(p.Detail, "deleted") {
		t.Errorf("%+v", p)
	}
}

func TestAdditionsAreLimited(t *testing.T) {
	e := newAddEnv(t)
	v := e.ready()
	for n := range pipeline.MaxAdditions {
		if status, raw := e.add(v.ID, fmt.Sprintf("r%d", n)); status != 202 {
			t.Fatalf("%d: %s", n, raw)
		}
	}
	e.refusedAddition(v.ID, "more", codeTooManyAdditions)
}

// TestMistakesInStepsAreTold checks that one answer names the mistakes of all steps.
func TestMistakesInStepsAreTold(t *testing.T) {
	e := newAddEnv(t)
	v := e.ready()
	body := `{"steps": [{"worker": "nobody"}, {"worker": "watermark"}, {"worker": "stamp", "with": {"ink": "pink"}},
		{"worker": "watermark", "with": {"text": "a"}, "name": "notify"}]}`
	resp, raw := e.do("POST", "/v1/videos/"+v.ID+"/outputs", strings.NewReader(body), "Content-Type", "application/json")
	p := wantProblem(t, resp, raw, codeParameters)
	var at []string
	for _, m := range p.Errors {
		at = append(at, m.Pointer)
	}
	equal(t, "pointers", at, "/body/steps/0/worker", "/body/steps/1/with", "/body/steps/2/with", "/body/steps/3")
	body = `{"steps": [{"worker": "watermark", "with": {"image": "logo"}}]}`
	resp, raw = e.do("POST", "/v1/videos/"+v.ID+"/outputs", strings.NewReader(body), "Content-Type", "application/json")
	wantProblem(t, resp, raw, codeParameters)
	for _, body := range []string{`{}`, `{"steps": []}`, `{"steps": [{"worker": "watermark", "optional": true}]}`} {
		resp, raw := e.do("POST", "/v1/videos/"+v.ID+"/outputs", strings.NewReader(body), "Content-Type", "application/json")
		wantProblem(t, resp, raw, codeInvalid)
	}
}

// TestAdditionsHoldQuotas: what is added counts as encoded, and a project that has too few minutes left adds
// nothing.
func TestAdditionsHoldQuotas(t *testing.T) {
	e := withLimits(t, map[string]access.Limits{project: {MinutesEncodedPerMonth: 2}})
	cfg := e.config
	cfg.Planner = adder{}
	e.serve(cfg)
	v := e.uploaded()
	e.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, v.ID), pipeline.Inspected{
		Inspection: pipeline.Inspection{Verdict: pipeline.VerdictAccept, Media: &pipeline.Media{Container: "mov", Duration: 60}},
	})
	e.finished(v.ID)
	if status, raw := e.add(v.ID, "240p"); status != 202 {
		t.Fatalf("%d: %s", status, raw)
	}
	body := `{"steps": [{"worker": "watermark", "with": {"text": "480p"}}]}`
	resp, raw := e.do("POST", "/v1/videos/"+v.ID+"/outputs", strings.NewReader(body), "Content-Type", "application/json")
	wantQuota(t, resp, raw, access.Encoded)
	refused := pipeline.AdditionEnd{
		Number: 1, State: pipeline.StateAdditionErrored, Problem: pipeline.ProblemOf(pipeline.Fail(pipeline.CodeQuotaExceeded, "no")),
	}
	e.tell(pipeline.VideoOutputsFailed, pipeline.ExtendedEndSubject(project, v.ID, 1), refused)
	if status, raw := e.add(v.ID, "480p"); status != 202 {
		t.Errorf("after a refusal, which counts for nothing: %d: %s", status, raw)
	}
}
