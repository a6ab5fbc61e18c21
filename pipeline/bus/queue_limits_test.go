package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// atMost is a Config in which the project "small" has a limit that can change.
func atMost(limit *atomic.Int64) Config {
	return Config{AckWait: time.Hour, AtOnce: func(project, worker string) (int, bool) {
		if project == "small" && worker == "transcode" {
			return int(limit.Load()), true
		}
		return 0, true
	}}
}

// takeNow takes a task if there is one now; it looks at the queue first.
func takeNow(t *testing.T, bus *Bus) *Delivery {
	t.Helper()
	q, err := bus.queue("transcode")
	must(t, err)
	q.mu.Lock()
	q.looked = time.Time{}
	q.mu.Unlock()
	d, err := bus.take(soon(t), q, &q.lines[2], pipeline.Priorities)
	must(t, err)
	return d
}

// takeAll takes tasks in turn by processes until none of them gets one.
func takeAll(t *testing.T, buses ...*Bus) (all []*Delivery) {
	t.Helper()
	for i, misses := 0, 0; misses < 2*len(buses); i++ {
		if d := takeNow(t, buses[i%len(buses)]); d != nil {
			all, misses = append(all, d), 0
		} else {
			misses++
		}
	}
	return all
}

// Two processes take at most as many tasks of a project as its limit, over all priorities, and more only when one has
// ended. A higher limit, and none, hold within a look.
func TestALimitHoldsOverProcessesAndPriorities(t *testing.T) {
	b := newBroker(t)
	limit := new(atomic.Int64)
	limit.Store(3)
	buses := []*Bus{b.open(atMost(limit)), b.open(atMost(limit))}
	for _, bus := range buses {
		bus.poll = time.Millisecond
	}
	for _, p := range pipeline.Priorities {
		fill(t, buses[0], "small", p, 5)
	}
	fill(t, buses[0], "free", pipeline.Normal, 4)
	held := map[string][]*Delivery{}
	for _, d := range takeAll(t, buses...) {
		held[d.Task().Project] = append(held[d.Task().Project], d)
	}
	if len(held["small"]) != 3 || len(held["free"]) != 4 {
		t.Fatalf("took %d of the project with the limit 3, and %d of the other", len(held["small"]), len(held["free"]))
	}
	must(t, held["small"][0].Ack(soon(t)))
	if more := takeAll(t, buses...); len(more) != 1 {
		t.Errorf("took %d tasks after one has ended", len(more))
	}
	limit.Store(5)
	if more := takeAll(t, buses...); len(more) != 2 {
		t.Errorf("took %d tasks after the limit was raised by 2", len(more))
	}
	limit.Store(2)
	must(t, held["small"][1].Ack(soon(t)))
	must(t, held["small"][2].Ack(soon(t)))
	if more := takeAll(t, buses...); len(more) != 0 {
		t.Errorf("took %d tasks while 3 of at most 2 ran", len(more))
	}
	limit.Store(0)
	if more := takeAll(t, buses...); len(more) != 15-6 {
		t.Errorf("took %d tasks after the limit was taken away, want the other 9", len(more))
	}
}

// Nobody polls here: the end of a task wakes a process that waits for another one of the project, in any priority.
func TestTheEndOfATaskWakesThoseThatAreHeldBack(t *testing.T) {
	b := newBroker(t)
	limit := new(atomic.Int64)
	limit.Store(1)
	one, two := b.open(atMost(limit)), b.open(atMost(limit))
	fill(t, one, "small", pipeline.Normal, 1)
	first := next(t, one)
	fill(t, one, "small", pipeline.High, 1)
	none(t, two)
	two.poll = time.Hour
	waiting := call(t, two, pipeline.Bulk)
	waits(t, two, pipeline.Bulk)
	must(t, first.Ack(soon(t)))
	must(t, receive(t, waiting.taken).Ack(soon(t)))
}

// While a project is held back, a process makes no more requests than its looks do, however many tasks of it come.
func TestAProjectThatIsHeldBackIsNotPulled(t *testing.T) {
	limit := new(atomic.Int64)
	limit.Store(1)
	bus := newBus(t, atMost(limit))
	fill(t, bus, "small", pipeline.Normal, 100)
	next(t, bus)
	none(t, bus)
	bus.poll = time.Hour
	waiting := call(t, bus, pipeline.Bulk)
	waits(t, bus, pipeline.Bulk)
	pipelinetest.Until(t, "nothing is to be pulled", func() bool {
		q, err := bus.queue("transcode")
		must(t, err)
		return !q.wantsAny()
	})
	before := bus.nc.Stats().OutMsgs
	fill(t, bus, "small", pipeline.High, 1) // not yet known to be held back
	for i := range 50 {
		must(t, bus.Enqueue(soon(t), taskOf("small", fmt.Sprint("more-", i), pipeline.Normal)))
	}
	quiet, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	<-quiet.Done()
	if sent := bus.nc.Stats().OutMsgs - before; sent > 51+20 {
		t.Errorf("%d messages were sent while 51 tasks were enqueued", sent)
	}
	waiting.cancel()
	waiting.left(t)
}

// Tasks that nobody has any more count as running until they are taken again. They are, though the limit is reached,
// and no others are.
func TestATaskThatIsReturnedIsTakenAgainWithinALimit(t *testing.T) {
	for _, p := range []pipeline.Priority{pipeline.Normal, pipeline.High} {
		limit := new(atomic.Int64)
		limit.Store(2)
		bus := newBus(t, atMost(limit))
		bus.poll = time.Millisecond
		must(t, bus.Enqueue(soon(t), taskOf("small", "first", pipeline.Normal)))
		first := next(t, bus)
		must(t, bus.Enqueue(soon(t), taskOf("small", "second", p)))
		second := next(t, bus)
		fill(t, bus, "small", pipeline.Bulk, 5)
		fill(t, bus, "small", p, 5)
		for _, lost := range []*Delivery{first, second} {
			must(t, lost.Return(soon(t), 0))
		}
		again := map[uint64]bool{}
		pipelinetest.Until(t, "both tasks are taken again", func() bool {
			if d := takeNow(t, bus); d != nil {
				again[d.Sequence()] = true
			}
			return again[first.Sequence()] && again[second.Sequence()]
		})
		if len(again) != 2 {
			t.Errorf("took %d tasks, want the 2 that were returned", len(again))
		}
		if more := takeAll(t, bus); len(more) != 0 {
			t.Errorf("took %d tasks above the limit", len(more))
		}
	}
}

// A process that does not know the limits yet leaves a consumer as it is.
func TestAProcessThatKnowsNoLimitsLeavesThem(t *testing.T) {
	b := newBroker(t)
	limit := new(atomic.Int64)
	limit.Store(2)
	knows := b.open(atMost(limit))
	knowsNot := b.open(Config{AtOnce: func(string, string) (int, bool) { return 0, false }})
	fill(t, knows, "small", pipeline.Normal, 5)
	next(t, knows)
	if took := takeAll(t, knowsNot); len(took) != 1 {
		t.Errorf("took %d tasks, want the one that the limit leaves", len(took))
	}
}
