package catalog

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// TestPaces: jobs count by worker type, with the first of the time that is asked for, in all projects.
func TestPaces(t *testing.T) {
	var s story
	for _, project := range []string{"p", "q"} {
		s.uploaded(project, "vid_"+project)
		s.inspected(project, "vid_"+project, planned("transcode-0000", 1),
			planned("transcode-0001", 1), planned("audio", 1))
		for _, job := range []string{"transcode-0000", "audio"} {
			s.job(pipeline.JobStarted, project, "vid_"+project, job, nil)
			s.completed(project, "vid_"+project, job)
		}
		s.job(pipeline.JobErrored, project, "vid_"+project, "transcode-0001", nil)
	}
	at := func(completed int) time.Time {
		for _, e := range s.events {
			if e.Type == pipeline.JobCompleted {
				if completed--; completed < 0 {
					return e.Time
				}
			}
		}
		t.Fatal("there is no such event")
		return time.Time{}
	}
	c := fresh(t, s.events...)
	for name, test := range map[string]struct {
		since time.Time
		want  map[string]pipeline.Pace
	}{
		"all": {at(0), map[string]pipeline.Pace{
			"transcode": {Completed: 2, First: at(0)}, "audio": {Completed: 2, First: at(1)},
		}},
		"later": {at(0).Add(time.Second), map[string]pipeline.Pace{
			"transcode": {Completed: 1, First: at(2)}, "audio": {Completed: 2, First: at(1)},
		}},
		"none": {at(3).Add(time.Second), map[string]pipeline.Pace{}},
	} {
		got, err := c.Paces(t.Context(), test.since)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestPacesReadAnIndex: they do not read all jobs that there ever were.
func TestPacesReadAnIndex(t *testing.T) {
	plan := explainPlan(t, open(t, filepath.Join(t.TempDir(), "catalog.db")), sqlPaces)
	if !strings.Contains(plan, "SEARCH jobs USING INDEX jobs_completed") &&
		!strings.Contains(plan, "SEARCH jobs USING COVERING INDEX jobs_completed") {
		t.Error(plan)
	}
}
