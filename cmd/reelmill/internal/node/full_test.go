package node

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestWorkUnderWayWhenTheLogFills checks that attempts under way end at once where the log refuses only
// further attempts, and otherwise when there is room again.
func TestWorkUnderWayWhenTheLogFills(t *testing.T) {
	for name, test := range map[string]struct {
		filler pipeline.EventType
		sign   func(log *warnings, done int) bool // whether the attempts under way have ended, or could not
	}{
		"no attempt is begun": {pipeline.JobStarted, func(_ *warnings, done int) bool { return done == 2 }},
		"nothing is taken": {pipeline.JobCompleted, func(log *warnings, _ int) bool {
			return log.counts()["leave task to its next delivery"] > 0
		}},
	} {
		t.Run(name, func(t *testing.T) {
			open, log := make(chan struct{}), newWarnings(slog.LevelDebug)
			config := bus.Config{EventsMaxBytes: 256 << 10, AckWait: pipelinetest.Slowly(time.Second)}
			n := newShareOf(t, slicer{until: open}, config,
				slog.New(log))
			seen := make(chan pipeline.Event, 1000)
			n.start(t, func(e pipeline.Event) { seen <- e })
			n.uploadSlices(t, "v", 6)
			s := &sliceCount{seen: seen}
			s.until(t, func() bool { return s.started == 2 })
			fillLog(t, n.bus, test.filler)
			close(open)
			pipelinetest.Until(t, "the attempts under way end", func() bool {
				s.drain()
				return test.sign(log, s.completed)
			})
			if s.started != 2 {
				t.Errorf("%d attempts were begun with a full log", s.started)
			}
			check(t, n.bus.Purge(t.Context(), "p", "filler", func(uint64) bool { return true }))
			s.until(t, func() bool { return s.ready })
			if s.completed != 6 {
				t.Errorf("%d of 6 jobs are completed", s.completed)
			}
		})
	}
}

// fillLog appends events of a type, of a video that does not exist, until the log refuses them.
func fillLog(t *testing.T, b *bus.Bus, kind pipeline.EventType) {
	t.Helper()
	i := 0
	for _, size := range []int{500, 0} { // the last events are smaller than any real one
		for full := false; !full; i++ {
			subject := pipeline.JobSubject("p", "filler", fmt.Sprint(i))
			e, err := pipeline.NewEvent("test", kind, subject, "filler", pipeline.Event{}, make([]byte, size))
			check(t, err)
			_, err = b.Append(t.Context(), e, 0)
			if full = errors.Is(err, bus.ErrFull); !full {
				check(t, err)
			}
		}
	}
}

// sliceCount counts what happened to the slices of a video.
type sliceCount struct {
	seen               chan pipeline.Event
	started, completed int
	ready              bool
}

func (s *sliceCount) count(e pipeline.Event) {
	slice := strings.HasPrefix(e.Subject, "job.p.v.slices")
	switch {
	case slice && e.Type == pipeline.JobStarted:
		s.started++
	case slice && e.Type == pipeline.JobCompleted:
		s.completed++
	case e.Type == pipeline.VideoReady:
		s.ready = true
	}
}

// drain counts the events received so far.
func (s *sliceCount) drain() {
	for {
		select {
		case e := <-s.seen:
			s.count(e)
		default:
			return
		}
	}
}

// until counts events until done returns true.
func (s *sliceCount) until(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		s.count(pipelinetest.Receive(t, "an event", s.seen))
	}
}
