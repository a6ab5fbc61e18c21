package pipeline_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/why"
)

// The log alone explains a whole story, even before a job has begun.
func TestWhyFromTheLog(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	why := func() why.Why {
		t.Helper()
		tasks, err := pipeline.TasksOf(t.Context(), w.log, project, video)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			if !slices.Contains(w.tasks.names(), task.Job.Name) {
				t.Errorf("%s is not enqueued", task.Job.Name)
			}
		}
		facts := why.Facts{Tasks: tasks}
		var view pipeline.VideoView
		for _, e := range w.log.events {
			facts.Add(e)
			if _, _, job, _ := pipeline.Address(e.Subject); job == "" {
				if err := view.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
		}
		return why.Explain(view, nil, facts, time.Now())
	}
	first := why()
	if len(first.Jobs) != 1 || first.Jobs[0].Job != "inspect" || first.Jobs[0].Since != w.log.events[0].Time {
		t.Errorf("%+v", first)
	}
	w.run("inspect", accepted())
	second := why()
	if len(second.Jobs) != len(w.tasks.names()) {
		t.Errorf("%+v", second.Jobs)
	}
	var told []string
	for _, m := range second.Timeline {
		told = append(told, strings.TrimSpace(string(m.Event)+" "+m.Job+" "+m.Detail))
	}
	if len(told) != 4 || told[1] != "job.started inspect attempt 1 on test" || !strings.HasSuffix(told[3], "jobs planned") {
		t.Errorf("%q", told)
	}
	if none, err := pipeline.TasksOf(t.Context(), w.log, project, "vid_none"); err != nil || len(none) != 0 {
		t.Errorf("%v %v", none, err)
	}
}
