package api

import (
	"context"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// runOrder sends a request for a run.
func (e *env) runOrder(body string) (int, []byte) {
	e.t.Helper()
	resp, raw := e.do("POST", "/v1/dead_letter_runs", strings.NewReader(body), "Content-Type", "application/json")
	return resp.StatusCode, raw
}

func TestDeadLettersInBulk(t *testing.T) {
	e := newEnv(t, byHeader)
	v := e.uploaded().ID
	e.inspected(v)
	first, second := e.errored(v, "thumbnail"), e.errored(v, "transcode-0000")
	order := `{"action":"redrive","filter":{"worker":"transcode","code":"encode_failed"},"reason":"a new encoder"`
	status, raw := e.runOrder(order + `,"dry_run":true}`)
	dry := decode[bulkRunView](t, raw)
	if status != 200 || !dry.DryRun || dry.ID != "" || dry.Total != 1 || dry.Status != bulk.Planned ||
		len(dry.Sample) != 1 || dry.Sample[0].ID != second {
		t.Fatalf("dry run: %s", raw)
	}
	if l := read[list[bulkRunView]](e, "/v1/dead_letter_runs"); len(l.Data) != 0 {
		t.Errorf("a dry run left %+v", l.Data)
	}
	_, raw = e.runOrder(order + `}`)
	run := decode[bulkRunView](t, raw)
	path := "/v1/dead_letter_runs/" + run.ID
	for _, step := range [][2]string{{"pause", "paused"}, {"pause", "paused"}, {"resume", "running"}} {
		if got := acted[bulkRunView](e, path+"/"+step[0]); string(got.Status) != step[1] || got.Remaining != 1 {
			t.Errorf("%s: %+v", step[0], got)
		}
	}
	w := bulk.New(bulk.Config{Bucket: e.Bus, Letters: e.Bus, Log: e.Bus, Load: e.Bus.Load, Process: "p", MaxWaiting: 1e6})
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { done <- w.Run(ctx) }()
	pipelinetest.Until(t, "the end of the run", func() bool {
		run = read[bulkRunView](e, path)
		return run.Status.Ended()
	})
	stop()
	must(t, <-done)
	if run.Done != 1 || run.EndedAt == nil || run.Reason != "a new encoder" {
		t.Errorf("%+v", run)
	}
	e.noLetter(second)
	read[deadLetterView](e, "/v1/dead_letters/"+first)
	resp, raw := e.act(path + "/cancel")
	wantProblem(t, resp, raw, codeState)
	resp, raw = e.get(path, "X-Project", "other")
	wantProblem(t, resp, raw, codeNotFound)
	if _, raw := e.get("/v1/dead_letter_runs", "X-Project", "other"); len(decode[list[bulkRunView]](t, raw).Data) != 0 {
		t.Errorf("another project sees %s", raw)
	}
}

// TestBulkOrdersAreChecked: a misspelt filter would select too much.
func TestBulkOrdersAreChecked(t *testing.T) {
	e := newEnv(t, nil)
	for name, test := range map[string]struct{ body, pointer, says string }{
		"unknown filter field": {
			`{"action":"redrive","reason":"x","filter":{"worker":"a","kode":"encode_failed"}}`,
			"/body/filter/kode", "created_after, created_before, video_id, worker",
		},
		"unknown field": {`{"action":"redrive","reason":"x","al":true,"filter":{"worker":"a"}}`, "/body/al", "dry_run"},
		"no filter":     {`{"action":"redrive","reason":"x"}`, "/body/filter", "all dead letters"},
		"empty filter":  {`{"action":"redrive","reason":"x","filter":{}}`, "/body/filter", "all dead letters"},
		"empty fields":  {`{"action":"redrive","reason":"x","filter":{"worker":""}}`, "/body/filter", "are empty"},
		"both":          {`{"action":"discard","reason":"x","all":true,"filter":{"worker":"a"}}`, "/body/all", "exclude"},
		"no reason":     {`{"action":"discard","all":true,"reason":" "}`, "/body/reason", "needs a reason"},
		"unknown code":  {`{"action":"redrive","reason":"x","filter":{"code":"encode_faild"}}`, "/body/filter/code", "encode_failed"},
		"no action":     {`{"all":true,"reason":"x"}`, "/body", "action"},
		"unknown action": {
			`{"action":"delete","all":true,"reason":"x"}`, "/body/action", "redrive",
		},
	} {
		resp, raw := e.do("POST", "/v1/dead_letter_runs", strings.NewReader(test.body),
			"Content-Type", "application/json")
		p := decode[problemDocument](t, raw)
		if resp.StatusCode != 422 || len(p.Errors) == 0 || p.Errors[0].Pointer != test.pointer ||
			!strings.Contains(p.Errors[0].Detail+p.Remedy, test.says) {
			t.Errorf("%s: %s %s", name, resp.Status, raw)
		}
	}
	if l := read[list[bulkRunView]](e, "/v1/dead_letter_runs"); len(l.Data) != 0 {
		t.Errorf("refused orders left %+v", l.Data)
	}
	if status, raw := e.runOrder(`{"action":"discard","all":true,"reason":"x"}`); status != 200 ||
		decode[bulkRunView](t, raw).Status != bulk.Completed {
		t.Errorf("a run of no letter: %s", raw)
	}
}
