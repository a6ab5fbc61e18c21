package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

func TestNextEndsWithItsContext(t *testing.T) {
	bus := newBus(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := bus.NextAtLeast(ctx, "transcode", pipeline.Bulk); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := bus.NextAtLeast(ctx, "transcode", pipeline.Bulk); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := bus.NextAtLeast(t.Context(), "no.worker", pipeline.Bulk); err == nil {
		t.Error("took a task of an invalid worker type")
	}
}

func TestNextEndsWithTheConnection(t *testing.T) {
	bus := newBus(t, Config{})
	bus.nc.Close()
	if _, err := bus.NextAtLeast(soon(t), "transcode", pipeline.Bulk); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("error %v", err)
	}
}

// Nobody polls here: only a bell finds a task in time.
func TestNextIsWokenByTheBell(t *testing.T) {
	bus := newBus(t, Config{})
	bus.poll = time.Hour
	for round := range 20 {
		const callers = 4
		tasks, ctx := make(chan *Delivery, callers), soon(t)
		for range callers {
			go func() {
				d, err := bus.NextAtLeast(ctx, "transcode", pipeline.Bulk)
				if err != nil {
					t.Error(err)
				}
				tasks <- d
			}()
		}
		if round == 0 { // the first looks, which follow no bell, are over
			quiet, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			<-quiet.Done()
			cancel()
		}
		for i := range callers {
			must(t, bus.Enqueue(soon(t), task(fmt.Sprintf("job-%d-%d", round, i), "", 0)))
		}
		seen := map[uint64]bool{}
		for range callers {
			d := receive(t, tasks)
			if d == nil {
				t.FailNow()
			}
			seen[d.Sequence()] = true
			must(t, d.Ack(soon(t)))
		}
		if len(seen) != callers {
			t.Errorf("%d callers took %d tasks", callers, len(seen))
		}
	}
}

// When the machine delays the test for longer than a lease, it tries again.
func TestTaskComesAgainAfterAckWait(t *testing.T) {
	const lease = 3 * time.Second
	bus := newBus(t, Config{AckWait: lease})
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	var took time.Duration
	for range 5 {
		first := next(t, bus)
		begin := time.Now()
		must(t, first.Extend(soon(t)))
		second := next(t, bus)
		if second.Sequence() != first.Sequence() {
			t.Errorf("sequence %d, want %d", second.Sequence(), first.Sequence())
		}
		if took = time.Since(begin); took >= lease*5/6 {
			return
		}
	}
	t.Errorf("came again after %s, each time", took)
}

func TestAckRemovesTheTask(t *testing.T) {
	bus := newBus(t, Config{AckWait: 200 * time.Millisecond})
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	d := next(t, bus)
	must(t, d.Ack(soon(t)))
	must(t, d.Ack(soon(t)))
	if n := storedOn(t, bus, streamTasks, ">"); n != 0 {
		t.Errorf("%d messages after the ack", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if d, err := bus.NextAtLeast(ctx, "transcode", pipeline.Bulk); err == nil {
		t.Errorf("took %+v after the ack", d.Task())
	}
}

func TestReturnDeliversAtOnce(t *testing.T) {
	bus := newBus(t, Config{AckWait: time.Hour})
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	d := next(t, bus)
	none(t, bus)
	must(t, d.Return(soon(t), 0))
	again := next(t, bus)
	if again.Sequence() != d.Sequence() {
		t.Errorf("sequence %d, want %d", again.Sequence(), d.Sequence())
	}
}

func TestPrioritiesWithEveryEighthBulk(t *testing.T) {
	bus := newBus(t, Config{})
	for i := range 10 {
		for _, p := range []pipeline.Priority{pipeline.Bulk, pipeline.Normal, pipeline.High} {
			must(t, bus.Enqueue(soon(t), task(fmt.Sprint(p, "-", i), p, 0)))
		}
	}
	var got []pipeline.Priority
	for range 30 {
		d := next(t, bus)
		got = append(got, d.Task().Job.Priority)
		must(t, d.Ack(soon(t)))
	}
	for i, p := range got {
		want := pipeline.High
		switch {
		case i%8 == 7, i >= 22: // ten of high and ten of normal, and two of bulk between them
			want = pipeline.Bulk
		case i >= 11: // ten of high, and one of bulk between them
			want = pipeline.Normal
		}
		if p != want {
			t.Errorf("take %d was %s, want %s", i, p, want)
		}
	}
}

func TestManyCallersShareTheTasks(t *testing.T) {
	b := newBroker(t)
	const tasks, callers = 60, 4
	buses := []*Bus{b.open(Config{}), b.open(Config{})} // two processes
	var mu sync.Mutex
	taken := map[uint64]int{}
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for {
				d, err := buses[i%2].NextAtLeast(ctx, "transcode", pipeline.Bulk)
				if err != nil {
					return
				}
				if err := d.Ack(soon(t)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				taken[d.Sequence()]++
				if len(taken) == tasks {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for i := range tasks {
		must(t, buses[0].Enqueue(soon(t), task(fmt.Sprint("job-", i), "", 0)))
	}
	wg.Wait()
	for seq, n := range taken {
		if n != 1 {
			t.Errorf("task %d was taken %d times", seq, n)
		}
	}
	if len(taken) != tasks {
		t.Errorf("%d tasks were taken, want %d", len(taken), tasks)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	e := event(t, "vid_1", "a")
	seq, err := bus.Append(soon(t), e, 0)
	must(t, err)
	must(t, bus.Enqueue(soon(t), task("acked", "", 0)))
	must(t, next(t, bus).Ack(soon(t)))
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	must(t, bus.Schedule(soon(t), task("b", "", 7), time.Now().Add(time.Hour)))
	must(t, bus.DeadLetter(soon(t), pipeline.DeadLetter{Task: task("c", "", 0)}))
	b.stop()
	b.start()
	bus = b.open(Config{})
	last, err := bus.Last(soon(t), e.Subject)
	must(t, err)
	if last[0].ID != e.ID || last[0].Sequence != seq {
		t.Errorf("last is %+v", last[0])
	}
	if again, err := bus.Append(soon(t), e, 0); err != nil || again != seq {
		t.Errorf("append again: %d, %v", again, err)
	}
	if d := next(t, bus); d.Task().Job.Name != "a" {
		t.Errorf("task %+v", d.Task())
	}
	none(t, bus)
	for stream, subject := range map[string]string{streamTasks: "retry.>", streamDead: "dead.>"} {
		if n := storedOn(t, bus, stream, subject); n != 1 {
			t.Errorf("%d messages on %s", n, subject)
		}
	}
}

// A task that a dead process held is delivered at once, though AckWait is an hour.
func TestExclusiveVoidsLeases(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			b := newBroker(t)
			dead := b.open(Config{Exclusive: true, AckWait: time.Hour})
			must(t, dead.Enqueue(soon(t), task("a", "", 0)))
			must(t, dead.Enqueue(soon(t), task("b", pipeline.Bulk, 0)))
			held := []uint64{next(t, dead).Sequence(), next(t, dead).Sequence()}
			none(t, dead)
			dead.nc.Close()
			if restart {
				b.stop()
				b.start()
			}
			bus := b.open(Config{Exclusive: true, AckWait: time.Hour})
			q, err := bus.queue("transcode")
			must(t, err)
			for _, want := range held {
				d, err := bus.take(soon(t), q, &q.lines[2], pipeline.Priorities) // at once: no second look
				must(t, err)
				if d == nil || d.Sequence() != want {
					t.Fatalf("took %+v, want task %d", d, want)
				}
				must(t, d.Ack(soon(t)))
			}
			if n := storedOn(t, bus, streamTasks, ">"); n != 0 {
				t.Errorf("%d messages are left", n)
			}
		})
	}
}

// Without Exclusive, a lease outlives its process.
func TestSharedKeepsLeases(t *testing.T) {
	b := newBroker(t)
	dead := b.open(Config{})
	must(t, dead.Enqueue(soon(t), task("a", "", 0)))
	next(t, dead)
	dead.nc.Close()
	none(t, b.open(Config{}))
}

// A consumer that somebody deleted is created again.
func TestNextSurvivesADeletedConsumer(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.Enqueue(soon(t), task("first", "", 0)))
	must(t, next(t, bus).Ack(soon(t)))
	name := consumerName("transcode", pipeline.Normal, "default")
	must(t, bus.js.DeleteConsumer(soon(t), streamTasks, name))
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	next(t, bus)
}

func TestNextSurvivesARestart(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	taken := make(chan *Delivery, 1)
	failed := make(chan error, 1)
	go func() {
		d, err := bus.NextAtLeast(soon(t), "transcode", pipeline.Bulk)
		taken <- d
		failed <- err
	}()
	b.stop()
	b.start()
	must(t, b.open(Config{}).Enqueue(soon(t), task("a", "", 0)))
	d := receive(t, taken)
	must(t, receive(t, failed))
	must(t, d.Ack(soon(t)))
}
