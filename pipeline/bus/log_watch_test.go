package bus

import (
	"context"
	"testing"

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

// Events that came while the connection was lost rang no bell, so Watch rings when it is back.
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
