package bus

import (
	"context"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

func TestWatchRingsForItsSubjects(t *testing.T) {
	bus := newBus(t, Config{})
	mine, other := event(t, "vid_1", "a"), event(t, "vid_1", "b")
	bell, err := bus.Watch(t.Context(), mine.Subject, pipeline.FinishedSubject("default", "vid_1"))
	must(t, err)
	others, err := bus.Watch(t.Context(), other.Subject)
	must(t, err)
	seq, err := bus.Append(soon(t), mine, 0)
	must(t, err)
	receive(t, bell)
	_, err = bus.Append(soon(t), other, 0)
	must(t, err)
	receive(t, others)
	select {
	case <-bell:
		t.Error("rang for another job")
	default:
	}
	again := event(t, "vid_1", "a")
	_, err = bus.Append(soon(t), again, seq)
	must(t, err)
	receive(t, bell)
}

func TestWatchRefusesWhatIsNoSubjectOfTheLog(t *testing.T) {
	bus := newBus(t, Config{})
	for _, subject := range []string{"job.default.vid_1.*", "video.>", "task.a.b.c", "job.default.vid_1", ""} {
		if _, err := bus.Watch(t.Context(), subject); err == nil {
			t.Errorf("watched %q", subject)
		}
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	bus := newBus(t, Config{})
	before := bus.nc.NumSubscriptions()
	ctx, cancel := context.WithCancel(t.Context())
	e := event(t, "vid_1", "a")
	bell, err := bus.Watch(ctx, e.Subject)
	must(t, err)
	cancel()
	for deadline := soon(t); bus.nc.NumSubscriptions() > before; {
		must(t, deadline.Err())
	}
	_, err = bus.Append(soon(t), e, 0)
	must(t, err)
	must(t, bus.nc.FlushWithContext(soon(t)))
	select {
	case _, open := <-bell:
		t.Errorf("a ring after the end; open %t", open)
	default:
	}
}

// Events that came while the connection was lost rang no bell.
func TestWatchRingsAfterAReconnect(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	e := event(t, "vid_1", "a")
	bell, err := bus.Watch(t.Context(), e.Subject)
	must(t, err)
	b.stop()
	b.start()
	receive(t, bell)
	_, err = b.open(Config{}).Append(soon(t), e, 0) // and it listens again
	must(t, err)
	receive(t, bell)
}

func TestProgressIsWatchedAndKept(t *testing.T) {
	bus := newBus(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	reports, err := bus.WatchProgress(ctx, "default", "vid_1")
	must(t, err)
	for i := 1; i <= 3; i++ {
		p := pipeline.Progress{Video: "vid_1", Job: "a", Attempt: 1, Fraction: float64(i) / 4}
		must(t, bus.Progress(soon(t), "default", p))
		if got := receive(t, reports); got != p {
			t.Errorf("report %+v, want %+v", got, p)
		}
	}
	waitForProgress(t, bus, 0.75)
	if _, ok, err := bus.LastProgress(soon(t), "default", "vid_1", "b"); ok || err != nil {
		t.Errorf("report on a job that never ran: %t, %v", ok, err)
	}
	cancel()
	if _, open := <-reports; open {
		t.Error("a report after the end")
	}
}

func TestProgressKeepsTheNewestForASlowReader(t *testing.T) {
	bus := newBus(t, Config{})
	reports, err := bus.WatchProgress(t.Context(), "default", "vid_1")
	must(t, err)
	done, err := bus.WatchProgress(t.Context(), "default", "vid_1")
	must(t, err)
	const many = 3 * progressBuffer
	for i := 1; i <= many; i++ {
		must(t, bus.Progress(soon(t), "default", pipeline.Progress{Video: "vid_1", Job: "a", Attempt: i}))
		if got := receive(t, done); got.Attempt != i {
			t.Fatalf("report %d, want %d", got.Attempt, i)
		}
	}
	first := receive(t, reports).Attempt
	last := first
	for last < many {
		if p := receive(t, reports); p.Attempt > last {
			last = p.Attempt
		}
	}
	if first == 1 && len(reports) > progressBuffer {
		t.Error("nothing was dropped")
	}
}

func TestProgressChannelClosesWithTheConnection(t *testing.T) {
	bus := newBus(t, Config{})
	reports, err := bus.WatchProgress(t.Context(), "default", "vid_1")
	must(t, err)
	bus.nc.Close()
	if report := receive(t, reports); report != (pipeline.Progress{}) {
		t.Errorf("a report without a connection: %+v", report)
	}
}

// waitForProgress returns when the report on job a is stored: reports are stored after they are told.
func waitForProgress(t *testing.T, bus *Bus, fraction float64) {
	t.Helper()
	for ctx := soon(t); ; {
		last, ok, err := bus.LastProgress(ctx, "default", "vid_1", "a")
		must(t, err)
		if ok && last.Fraction == fraction {
			return
		}
	}
}

// receiveConnected returns when the bus has its connection back.
func receiveConnected(t *testing.T, bus *Bus) {
	t.Helper()
	for ctx := soon(t); bus.nc.FlushTimeout(time.Second) != nil; { // it may meet the old connection's end
		must(t, wait(ctx, 10*time.Millisecond))
	}
}
