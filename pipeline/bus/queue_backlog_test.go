package bus

import (
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// The oldest task is the first that was never delivered, of whichever project and priority.
func TestOldestTaskThatWaits(t *testing.T) {
	bus := newBus(t, Config{})
	oldest := func() time.Time {
		backlogs, err := bus.Backlogs(soon(t))
		must(t, err)
		return backlogs["transcode"].Oldest
	}
	if at := oldest(); !at.IsZero() {
		t.Errorf("of an empty queue: %s", at)
	}
	began := time.Now()
	for i, name := range projects(3) {
		must(t, bus.Enqueue(soon(t), taskOf(name, "a", []pipeline.Priority{"", pipeline.Bulk, ""}[i])))
	}
	first := oldest()
	if first.Before(began.Add(-time.Second)) || first.After(time.Now()) {
		t.Errorf("enqueued after %s, and the oldest is of %s", began, first)
	}
	for range 2 { // both normal ones: what is left is the bulk one, enqueued second
		next(t, bus)
	}
	second := oldest()
	if !second.After(first) {
		t.Errorf("the oldest is still of %s", second)
	}
	d := next(t, bus)
	if at := oldest(); !at.IsZero() {
		t.Errorf("all are taken, and the oldest is of %s", at)
	}
	must(t, d.Ack(soon(t)))
}

// Events that the coordinator has not settled count, taken or not.
