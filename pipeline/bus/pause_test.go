package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

// TestAPauseHoldsTasksUntilItEnds: of two processes, neither takes a task of a paused queue, also after a
// restart of the broker; the task that was taken before ends, other types go on, and nothing is lost.
func TestAPauseHoldsTasksUntilItEnds(t *testing.T) {
	broker := newBroker(t)
	one, two := broker.open(Config{}), broker.open(Config{})
	for _, job := range []string{"a", "b", "c"} {
		must(t, one.Enqueue(soon(t), task(job, "", 0)))
	}
	sound := task("d", "", 0)
	sound.Job.Worker = "audio"
	must(t, one.Enqueue(soon(t), sound))
	before, err := one.NextAtLeast(soon(t), "transcode", pipeline.Bulk)
	must(t, err)
	first, err := two.Pause(soon(t), "transcode", "a bad encoder")
	must(t, err)
	again, err := two.Pause(soon(t), "transcode", "a worse one")
	must(t, err)
	if !first.Since.Equal(again.Since) || again.Reason != "a worse one" {
		t.Errorf("paused %+v, then %+v", first, again)
	}
	must(t, before.Ack(soon(t)))
	other, err := one.NextAtLeast(soon(t), "audio", pipeline.Bulk)
	must(t, err)
	must(t, other.Ack(soon(t)))
	none(t, one)
	none(t, two)
	broker.stop()
	broker.start()
	three := broker.open(Config{})
	queues, err := three.Queues(soon(t))
	must(t, err)
	if len(queues) != 1 || queues[0].Pause == nil || queues[0].Pause.Reason != "a worse one" ||
		queues[0].Waiting() != 2 {
		t.Errorf("queues %+v", queues)
	}
	three.poll = time.Hour // only bells wake the caller
	asked := asksForPauses(t, three)
	got := make(chan error, 1)
	go func() {
		d, err := three.NextAtLeast(soon(t), "transcode", pipeline.Bulk)
		if err == nil {
			err = d.Ack(soon(t))
		}
		got <- err
	}()
	// It asks again when the bell of another task wakes it: the first time, it took nothing.
	for _, job := range []string{"e", "f"} {
		select {
		case err := <-got:
			t.Fatalf("took a task of a paused queue after a restart: %v", err)
		case <-asked:
		}
		must(t, one.Enqueue(soon(t), task(job, "", 0)))
	}
	must(t, one.Resume(soon(t), "transcode"))
	must(t, <-got)
	for range 3 {
		must(t, next(t, three).Ack(soon(t)))
	}
	none(t, three)
	must(t, one.Resume(soon(t), "transcode"))
}

// asksForPauses returns a channel that gets a value when somebody asks whether a queue is paused.
func asksForPauses(t *testing.T, b *Bus) <-chan *nats.Msg {
	t.Helper()
	asked := make(chan *nats.Msg, 100)
	_, err := b.nc.ChanSubscribe("$JS.API.STREAM.MSG.GET."+streamControl, asked)
	must(t, err)
	must(t, b.nc.Flush())
	return asked
}
