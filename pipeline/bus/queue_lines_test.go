package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// caller waits for one task.
type caller struct {
	taken  chan *Delivery
	cancel context.CancelFunc
	ended  chan struct{}
}

// left returns when the caller waits no more.
func (c caller) left(t *testing.T) {
	t.Helper()
	receive(t, c.ended)
}

// call starts a caller who waits for a task of priority least or higher.
func call(t *testing.T, bus *Bus, least pipeline.Priority) caller {
	t.Helper()
	ctx, cancel := context.WithCancel(soon(t))
	c := caller{make(chan *Delivery, 1), cancel, make(chan struct{})}
	t.Cleanup(func() { cancel(); <-c.ended }) // before the connection is closed
	go func() {
		defer close(c.ended)
		d, err := bus.NextAtLeast(ctx, "transcode", least)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.taken <- d
	}()
	return c
}

// waits returns when the first caller of a line has its turn, so that a later caller waits behind it.
func waits(t *testing.T, bus *Bus, least pipeline.Priority) {
	t.Helper()
	q, err := bus.queue("transcode")
	must(t, err)
	rank := map[pipeline.Priority]int{pipeline.High: 0, pipeline.Normal: 1, pipeline.Bulk: 2}[least]
	for ctx := soon(t); len(q.lines[rank].turn) == 0; {
		must(t, ctx.Err())
	}
}

// quiet is a bus that looks at its queue once, and then relies on bells alone.
func quiet(t *testing.T) *Bus {
	t.Helper()
	bus := newBus(t, Config{})
	none(t, bus)
	bus.poll = time.Hour
	return bus
}

func TestNextAtLeastLeavesTheRest(t *testing.T) {
	bus := newBus(t, Config{})
	for _, p := range []pipeline.Priority{pipeline.Bulk, pipeline.Normal, pipeline.High} {
		must(t, bus.Enqueue(soon(t), task("job-"+string(p), p, 0)))
	}
	for _, least := range pipeline.Priorities {
		d := receive(t, call(t, bus, least).taken)
		if got := d.Task().Job.Priority; got != least {
			t.Errorf("took %s, want %s", got, least)
		}
		must(t, d.Ack(soon(t)))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if d, err := bus.NextAtLeast(ctx, "transcode", least); err == nil {
			t.Errorf("took %+v as at least %s", d.Task(), least)
		}
		cancel()
	}
	if _, err := bus.NextAtLeast(soon(t), "transcode", "urgent"); err == nil {
		t.Error("took a task of an unknown priority")
	}
}

// Nobody polls here. A caller who waits for high priority and one who waits for any are both woken, in whichever order
// they came. Neither keeps the other from its task.
func TestWaitersOfDifferentPrioritiesDoNotHoldEachOtherUp(t *testing.T) {
	bus := quiet(t)
	for round := range 40 {
		urgent, any := call(t, bus, pipeline.High), call(t, bus, pipeline.Bulk)
		waits(t, bus, pipeline.High)
		waits(t, bus, pipeline.Bulk)
		n := 0
		enqueue := func(p pipeline.Priority) {
			n++
			must(t, bus.Enqueue(soon(t), task(fmt.Sprint("job-", round, "-", n), p, 0)))
		}
		order := []pipeline.Priority{pipeline.Normal, pipeline.High}
		enqueue(order[round%2])
		enqueue(order[1-round%2])
		var got []*Delivery
		select {
		case d := <-any.taken:
			if got = append(got, d); d.Task().Job.Priority == pipeline.High {
				got = append(got, receive(t, call(t, bus, pipeline.Bulk).taken))
				enqueue(pipeline.High)
			}
			got = append(got, receive(t, urgent.taken))
		case d := <-urgent.taken:
			got = append(got, d, receive(t, any.taken))
		case <-soon(t).Done():
			t.Fatalf("round %d: nobody was woken", round)
		}
		for _, d := range got {
			must(t, d.Ack(soon(t)))
		}
	}
}

// Nobody polls here. A task rings once while both wait. The caller that it is for is woken, whoever has waited longer,
// and the other one still hears the next bell.
func TestABellOfOneLineIsNotSpentOnAnother(t *testing.T) {
	bus := quiet(t)
	for round := range 20 {
		waiters := map[pipeline.Priority]caller{}
		order := []pipeline.Priority{pipeline.High, pipeline.Bulk}
		for i := range order {
			least := order[(round+i)%2]
			waiters[least] = call(t, bus, least)
			waits(t, bus, least)
			quiet, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond) // it listens
			<-quiet.Done()
			cancel()
		}
		for _, c := range []struct{ least, p pipeline.Priority }{
			{pipeline.Bulk, pipeline.Normal}, {pipeline.High, pipeline.High},
		} {
			must(t, bus.Enqueue(soon(t), task(fmt.Sprint("job-", round, "-", c.p), c.p, 0)))
			d := receive(t, waiters[c.least].taken)
			if d == nil || d.Task().Job.Priority != c.p {
				t.Fatalf("round %d: took %+v, want %s", round, d, c.p)
			}
			must(t, d.Ack(soon(t)))
		}
	}
}

// When a bell wakes a caller who does not take the task, the caller who does still hears it.
func TestABellIsHeardByTheLineItIsFor(t *testing.T) {
	bus := quiet(t)
	urgent := call(t, bus, pipeline.High)
	waits(t, bus, pipeline.High)
	normal := task("normal", pipeline.Normal, 0)
	must(t, bus.Enqueue(soon(t), normal)) // nobody who waits takes it
	heard(t, bus, normal)
	if d := receive(t, call(t, bus, pipeline.Bulk).taken); d.Task().Job.Name != "normal" {
		t.Errorf("took %s", d.Task().Job.Name)
	}
	must(t, bus.Enqueue(soon(t), task("high", pipeline.High, 0)))
	if d := receive(t, urgent.taken); d.Task().Job.Name != "high" {
		t.Errorf("took %s", d.Task().Job.Name)
	}
	high := task("alone", pipeline.High, 0)
	must(t, bus.Enqueue(soon(t), high)) // no one waits for high priority alone
	if d := receive(t, call(t, bus, pipeline.Bulk).taken); d.Task().Job.Name != "alone" {
		t.Errorf("took %s", d.Task().Job.Name)
	}
}

// The first caller of a line leaves just when the bell rings: the next one gets the task.
func TestACallerWhoLeavesTakesNoBellAlong(t *testing.T) {
	for _, least := range []pipeline.Priority{pipeline.High, pipeline.Bulk} {
		t.Run(string(least), func(t *testing.T) {
			bus := quiet(t)
			for round := range 30 {
				first := call(t, bus, least)
				waits(t, bus, least)
				second := call(t, bus, least)
				go first.cancel()
				must(t, bus.Enqueue(soon(t), task(fmt.Sprint("job-", round), pipeline.High, 0)))
				d := receive(t, first.taken)
				if d == nil {
					d = receive(t, second.taken)
				}
				if d == nil {
					t.Fatalf("round %d: nobody has the task", round)
				}
				must(t, d.Ack(soon(t)))
				second.cancel()
				second.left(t) // or it might take the next task, which nobody would see
			}
		})
	}
}

// Lines share one look: two lines make no more requests than one.
func TestIdleLinesLookOnce(t *testing.T) {
	bus := newBus(t, Config{})
	bus.poll = 50 * time.Millisecond
	none(t, bus) // the first time is more: listening
	begun, before := time.Now(), bus.nc.Stats().OutMsgs
	ctx, cancel := context.WithTimeout(t.Context(), 20*bus.poll)
	defer cancel()
	ended := make(chan error, 4)
	for _, least := range []pipeline.Priority{pipeline.High, pipeline.High, pipeline.Bulk, pipeline.Bulk} {
		go func() {
			_, err := bus.NextAtLeast(ctx, "transcode", least)
			ended <- err
		}()
	}
	for range cap(ended) {
		if err := receive(t, ended); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	looks := uint64(time.Since(begun)/bus.poll) + 1
	if asked := bus.nc.Stats().OutMsgs - before; asked > looks {
		t.Errorf("%d messages were sent in the time of %d looks", asked, looks)
	}
}

// A look of one line finds the task of the other, which would not look for an hour.
func TestALookWakesTheOtherLine(t *testing.T) {
	bus := quiet(t)
	must(t, bus.Enqueue(soon(t), task("a", pipeline.Normal, 0)))
	held := receive(t, call(t, bus, pipeline.Bulk).taken)
	urgent, any := call(t, bus, pipeline.High), call(t, bus, pipeline.Bulk)
	waits(t, bus, pipeline.High)
	waits(t, bus, pipeline.Bulk)
	must(t, held.Return(soon(t), 100*time.Millisecond)) // which rings no bell
	q, err := bus.queue("transcode")
	must(t, err)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); ; must(t, ctx.Err()) {
		select {
		case d := <-any.taken:
			if d.Sequence() != held.Sequence() || len(urgent.taken) != 0 {
				t.Errorf("took %d, want %d", d.Sequence(), held.Sequence())
			}
			return
		case <-tick.C: // it is time for a look, for the other line alone
			q.mu.Lock()
			q.looked = time.Now().Add(-2 * time.Hour)
			q.mu.Unlock()
			ring(q.lines[0].bell)
		}
	}
}

// An endless stream of normal tasks does not keep bulk tasks waiting for ever, nor one of high tasks normal ones.
func TestEveryEighthTakeBeginsWithTheLowestThatIsThere(t *testing.T) {
	for _, c := range []struct{ stream, waiting pipeline.Priority }{
		{pipeline.Normal, pipeline.Bulk}, {pipeline.High, pipeline.Bulk}, {pipeline.High, pipeline.Normal},
	} {
		t.Run(string(c.stream+"-"+c.waiting), func(t *testing.T) {
			bus := newBus(t, Config{})
			fill(t, bus, "default", c.stream, 3*bulkEvery)
			fill(t, bus, "default", c.waiting, 2)
			var took []int
			for i := range 2 * bulkEvery {
				d := next(t, bus)
				must(t, d.Ack(soon(t)))
				if d.Task().Job.Priority == c.waiting {
					took = append(took, i)
				}
				if i%3 == 0 && c.stream == pipeline.High { // who takes high priority alone does not count
					must(t, receive(t, call(t, bus, pipeline.High).taken).Ack(soon(t)))
				}
			}
			if len(took) != 2 || took[0] != bulkEvery-1 || took[1] != 2*bulkEvery-1 {
				t.Errorf("takes %v were %s", took, c.waiting)
			}
		})
	}
}
