package bus

import (
	"context"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

func TestProgressIsWatchedAndKept(t *testing.T) {
	bus := newBus(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	reports, err := bus.WatchProgress(ctx)
	must(t, err)
	for i := 1; i <= 3; i++ {
		p := pipeline.Progress{Video: "vid_1", Job: "a", Attempt: 1, Fraction: float64(i) / 4}
		must(t, bus.Progress(soon(t), "default", p))
		p.Project = "default" // of the subject
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
	reports, err := bus.WatchProgress(t.Context())
	must(t, err)
	done, err := bus.WatchProgress(t.Context())
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
	reports, err := bus.WatchProgress(t.Context())
	must(t, err)
	bus.nc.Close()
	if report := receive(t, reports); report != (pipeline.Progress{}) {
		t.Errorf("a report without a connection: %+v", report)
	}
}

// waitForProgress returns when the report on job a is stored, which is a moment after Progress returned.
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
		if !pause.For(ctx, 10*time.Millisecond) {
			t.Fatal("the bus does not get its connection back")
		}
	}
}
