package pipeline_test

import (
	"context"
	"errors"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// refuser refuses one type of event, and keeps which it judged.
type refuser struct {
	refuses pipeline.EventType
	judged  map[pipeline.EventType]int
}

func (r *refuser) Judge(_ context.Context, _ string, e pipeline.Event) (*pipeline.Problem, error) {
	if r.judged == nil {
		r.judged = map[pipeline.EventType]int{}
	}
	r.judged[e.Type]++
	if e.Type != r.refuses {
		return nil, nil
	}
	return pipeline.ProblemOf(pipeline.Fail(pipeline.CodeQuotaExceeded, "full")), nil
}

// TestAQuotaRefusesBeforeAnythingIsEncoded: the video ends with the code, no job of its plan was queued, and
// it cannot be retried.
func TestAQuotaRefusesBeforeAnythingIsEncoded(t *testing.T) {
	w := newWorld(t, ladder())
	w.coord.Quotas = &refuser{refuses: pipeline.VideoInspected}
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	end := w.log.of(pipeline.VideoErrored)
	var data pipeline.Finish
	if len(end) != 1 || end[0].Decode(&data) != nil || data.Problem.Code != pipeline.CodeQuotaExceeded {
		t.Fatalf("it ended with %+v", end)
	}
	w.want("notify")
	if n := w.tasks.stored["transcode-0000"]; n != 0 {
		t.Errorf("a job of the plan was queued %d times", n)
	}
	if _, err := pipeline.Retry(t.Context(), w.log, project, video); !errors.Is(err, pipeline.ErrState) {
		t.Errorf("retried: %v", err)
	}
}

// TestAQuotaRefusesAFetchedSource: before it is inspected.
func TestAQuotaRefusesAFetchedSource(t *testing.T) {
	w := newWorld(t, ladder())
	w.coord.Quotas = &refuser{refuses: pipeline.JobCompleted}
	w.accept(fetchOf(ladder().pipeline()))
	w.run("fetch", fetched())
	if n := w.tasks.stored["inspect"]; n != 0 || len(w.log.of(pipeline.VideoErrored)) != 1 {
		t.Errorf("inspected %d times; %+v", n, w.log.events)
	}
}

// TestAQuotaLetsGoOnWhatHasBegun: once a job of the plan has begun, the quota is not asked again.
func TestAQuotaLetsGoOnWhatHasBegun(t *testing.T) {
	w := newWorld(t, ladder())
	quotas := &refuser{}
	w.coord.Quotas = quotas
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	w.want("thumbnail", "transcode-0000", "transcode-0001")
	w.run("transcode-0000", pipeline.Result{})
	asked := quotas.judged[pipeline.VideoInspected]
	quotas.refuses = pipeline.VideoInspected
	w.run("transcode-0001", pipeline.Result{})
	if again := quotas.judged[pipeline.VideoInspected]; asked == 0 || again != asked || len(w.log.of(pipeline.VideoErrored)) != 0 {
		t.Errorf("asked %d times, then %d; %v", asked, again, w.log.of(pipeline.VideoErrored))
	}
}
