package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bulk"
)

var (
	opCreateRun = huma.Operation{
		OperationID: "create-dead-letter-run", Method: http.MethodPost, Path: "/v1/dead_letter_runs",
		Tags: []string{"dead letters"}, Summary: "Redrive or discard many dead letters",
		DefaultStatus: http.StatusOK,
		Description: "With `dry_run`, counts the letters of the project that the filter selects, shows the first " +
			"ten, and changes nothing. Else begins a run in the background, which goes on after restarts of the " +
			"server. Letters that come later are not part of it. A run waits while 100 tasks of a worker type " +
			"are in the queue, so that it does not delay other videos.",
	}
	opListRuns = huma.Operation{
		OperationID: "list-dead-letter-runs", Method: http.MethodGet, Path: "/v1/dead_letter_runs",
		Tags: []string{"dead letters"}, Summary: "List the runs of the project, the newest first",
		Description: "A run is kept for 30 days after its end.",
	}
	opGetRun = huma.Operation{
		OperationID: "get-dead-letter-run", Method: http.MethodGet, Path: "/v1/dead_letter_runs/{id}",
		Tags: []string{"dead letters"}, Summary: "Read how far a run is",
		Description: "`waiting` says what a run waits for.",
	}
	opPauseRun = huma.Operation{
		OperationID: "pause-dead-letter-run", Method: http.MethodPost, Path: "/v1/dead_letter_runs/{id}/pause",
		Tags: []string{"dead letters"}, Summary: "Pause a run", DefaultStatus: http.StatusOK,
		Description: "The letter that the run acts on is finished.",
	}
	opResumeRun = huma.Operation{
		OperationID: "resume-dead-letter-run", Method: http.MethodPost, Path: "/v1/dead_letter_runs/{id}/resume",
		Tags: []string{"dead letters"}, Summary: "Resume a run that is paused", DefaultStatus: http.StatusOK,
		Description: "It goes on after the last letter that it has acted on.",
	}
	opCancelRun = huma.Operation{
		OperationID: "cancel-dead-letter-run", Method: http.MethodPost, Path: "/v1/dead_letter_runs/{id}/cancel",
		Tags: []string{"dead letters"}, Summary: "Cancel a run", DefaultStatus: http.StatusOK,
		Description: "What was redriven stays so; the remaining letters stay.",
	}
)

// bulkRunView is a run as it is answered.
type bulkRunView struct {
	bulk.View
	Sample []deadLetterView `json:"sample,omitempty" doc:"The first ten letters, after a dry run"`
}

// runOrder is the body that asks for a run.
type runOrder struct {
	Action bulk.Action        `json:"action" enum:"redrive,discard" doc:"redrive tries the jobs again; discard leaves them errored"`
	Filter *bulk.LetterFilter `json:"filter,omitempty" doc:"Which letters. A field that is missing selects all"`
	All    bool               `json:"all,omitempty" doc:"True to select all letters of the project, without a filter"`
	DryRun bool               `json:"dry_run,omitempty" doc:"True to count, and change nothing"`
	Reason string             `json:"reason,omitempty" maxLength:"500" doc:"Why; required without dry_run. It is in the run, in the events job.requeued and in the log"`
}

type createRunInput struct {
	Body    runOrder
	RawBody []byte
}

type runOutput struct{ Body bulkRunView }

func (s *server) createRun(ctx context.Context, in *createRunInput) (*runOutput, error) {
	if err := failAll(in.wrong()); err != nil {
		return nil, err
	}
	r := bulk.Run{Project: projectOf(ctx), Action: in.Body.Action, Reason: strings.TrimSpace(in.Body.Reason)}
	if in.Body.Filter != nil {
		r.Filter = *in.Body.Filter
	}
	if !in.Body.DryRun {
		r, _, err := s.cfg.Bulk.Start(ctx, r)
		if err != nil {
			return nil, brokerFailed(err)
		}
		return viewOfRun(r), nil
	}
	r, sample, err := s.cfg.Bulk.Plan(ctx, r)
	if err != nil {
		return nil, brokerFailed(err)
	}
	out := viewOfRun(r)
	for _, d := range sample {
		out.Body.Sample = append(out.Body.Sample, viewOfLetter(d))
	}
	return out, nil
}

func viewOfRun(r bulk.Run) *runOutput { return &runOutput{bulkRunView{View: r.View()}} }

// The fields of the body, and of its filter.
var (
	runFields    = []string{"action", "filter", "all", "dry_run", "reason"}
	filterFields = []string{"worker", "code", "video_id", "created_after", "created_before"}
)

// wrong returns what is wrong with the order. Fields that nobody knows are named, with those that there are:
// a misspelt filter would select too much.
func (in *createRunInput) wrong() []*failure {
	var body struct {
		Filter map[string]json.RawMessage `json:"filter"`
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(in.RawBody, &top) != nil || json.Unmarshal(in.RawBody, &body) != nil {
		return nil // it has been checked
	}
	wrong := slices.Concat(unknownFields("/body/", top, runFields),
		unknownFields("/body/filter/", body.Filter, filterFields))
	o, none := in.Body, in.Body.Filter == nil || *in.Body.Filter == bulk.LetterFilter{}
	switch {
	case len(body.Filter) == 0 && !o.All:
		f := failAt("/body/filter", codeInvalid, "The filter is empty, so it would select all dead letters.")
		f.remedy = `Send a filter with some of ` + strings.Join(filterFields, ", ") + `, or "all": true.`
		wrong = append(wrong, f)
	case !none && o.All:
		wrong = append(wrong, failAt("/body/all", codeInvalid, "all and a filter exclude each other."))
	case none && !o.All && len(wrong) == 0:
		wrong = append(wrong, failAt("/body/filter", codeInvalid, "The fields of the filter are empty."))
	}
	if f := o.Filter; f != nil && f.Code != "" && !slices.Contains(pipeline.Codes(), f.Code) {
		var known []string
		for _, c := range pipeline.Codes() {
			known = append(known, string(c))
		}
		wrong = append(wrong, failAt("/body/filter/code", codeInvalid, "%s.",
			sentence(pipeline.Unknown("code", printable(string(f.Code)), known))))
	}
	if !o.DryRun && strings.TrimSpace(o.Reason) == "" {
		wrong = append(wrong, failAt("/body/reason", codeInvalid, "A run needs a reason, which people see later."))
	}
	return wrong
}

func unknownFields(at string, fields map[string]json.RawMessage, known []string) (wrong []*failure) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, name) {
			name = printable(name)
			wrong = append(wrong, failAt(at+name, codeFieldUnknown, "%s.",
				sentence(pipeline.Unknown("field", name, known))))
		}
	}
	return wrong
}

type runsOutput struct{ Body list[bulkRunView] }

func (s *server) listRuns(ctx context.Context, _ *struct{}) (*runsOutput, error) {
	runs, err := s.cfg.Bulk.Runs(ctx, projectOf(ctx))
	if err != nil {
		return nil, brokerFailed(err)
	}
	views := []bulkRunView{}
	for _, r := range runs {
		views = append(views, bulkRunView{View: r.View()})
	}
	return &runsOutput{newList(views, "")}, nil
}

type runInput struct {
	ID string `path:"id" maxLength:"64" doc:"The run's id"`
}

func (s *server) getRun(ctx context.Context, in *runInput) (*runOutput, error) {
	return runFound(s.cfg.Bulk.Run(ctx, projectOf(ctx), in.ID))
}

// runFound answers a run, or why there is none.
func runFound(r bulk.Run, err error) (*runOutput, error) {
	if err != nil {
		return nil, orUnavailable(noSuch("run of dead letters", err))
	}
	return viewOfRun(r), nil
}

func (s *server) pauseRun(ctx context.Context, in *runInput) (*runOutput, error) {
	return runFound(s.cfg.Bulk.Set(ctx, projectOf(ctx), in.ID, bulk.Paused))
}

func (s *server) resumeRun(ctx context.Context, in *runInput) (*runOutput, error) {
	return runFound(s.cfg.Bulk.Set(ctx, projectOf(ctx), in.ID, bulk.Running))
}

func (s *server) cancelRun(ctx context.Context, in *runInput) (*runOutput, error) {
	return runFound(s.cfg.Bulk.Set(ctx, projectOf(ctx), in.ID, bulk.Canceled))
}
