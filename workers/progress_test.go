package workers

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// ears are Tasks that only record progress.
type ears struct {
	Tasks
	heard []pipeline.Progress
}

func (e *ears) Progress(_ context.Context, _ string, p pipeline.Progress) error {
	e.heard = append(e.heard, p)
	return errors.New("nobody listens")
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ears{}
		task := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "j"}}
		run := &attempt{loop: &Loop{Config: Config{Tasks: e}}, task: task, log: slog.New(slog.DiscardHandler)}
		a := NewAttempt(Attempt{Task: task, Number: 2}, nil, run.reporter(t.Context()))
		for _, fraction := range []float64{0.1, 0.3, 0.2, math.NaN(), -1, 0.9, 0.5, 7, 0.4} {
			a.Progress(fraction, 1.5)
			<-time.After(200 * time.Millisecond)
		}
		want := []float64{0.1, 0.3, 0.9} // every third: at most twice a second
		if len(e.heard) != len(want) {
			t.Fatalf("heard %+v", e.heard)
		}
		for i, p := range e.heard {
			if p.Fraction != want[i] || p.Job != "j" || p.Attempt != 2 || p.Speed != 1.5 {
				t.Errorf("%d: %+v, want %v", i, p, want[i])
			}
		}
		<-time.After(time.Second)
		a.Progress(0.2, 0)
		if last := e.heard[len(e.heard)-1]; last.Fraction != 1 {
			t.Errorf("reported %v after 7: it must not fall, nor exceed 1", last.Fraction)
		}
	})
	NewAttempt(Attempt{}, nil, nil).Progress(0.5, 1) // nobody to tell
}
