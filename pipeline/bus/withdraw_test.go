package bus

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// What others hold of the same lane is not forgotten when a video's tasks are withdrawn: it comes again when
// its lease runs out.
func TestWithdrawLeavesTheLeasesOfOthers(t *testing.T) {
	bus := newBus(t, Config{AckWait: 3 * time.Second})
	held := func(video string) pipeline.Task {
		job := task("job", pipeline.High, 0)
		job.Video = video
		must(t, bus.Enqueue(soon(t), job))
		return job
	}
	first := held("vid_a")
	_, err := bus.Next(soon(t), "transcode") // and its process dies
	must(t, err)
	held("vid_b")
	_, err = bus.Next(soon(t), "transcode")
	must(t, err)
	must(t, bus.Withdraw(soon(t), "default", "vid_b", "job"))
	held("vid_c")
	c, err := bus.Next(soon(t), "transcode")
	must(t, err)
	must(t, c.Ack(soon(t)))
	d, err := bus.Next(soon(t), "transcode")
	must(t, err)
	if d.Task().Video != first.Video {
		t.Errorf("task of %s", d.Task().Video)
	}
}

// A task that the broker has forgotten (here by the purge that removeAll avoids) does not count as queued, and
// can be enqueued again.
func TestQueuedFindsAForgottenTask(t *testing.T) {
	bus := newBus(t, Config{})
	forgotten := forget(t, bus)
	must(t, bus.Enqueue(soon(t), forgotten))
	d, err := bus.Next(soon(t), "transcode")
	must(t, err)
	if d.Task().Video != forgotten.Video {
		t.Errorf("task of %s", d.Task().Video)
	}
}

// forget has the broker lose a task that is held. Whether a purge does that depends on what the server's
// goroutines are about, so it may take several.
func forget(t *testing.T, bus *Bus) pipeline.Task {
	t.Helper()
	hold := func(video string) (pipeline.Task, *Delivery) {
		job := task("job", pipeline.High, 0)
		job.Video = video
		must(t, bus.Enqueue(soon(t), job))
		d, err := bus.Next(soon(t), "transcode")
		must(t, err)
		return job, d
	}
	for round := range 50 {
		name := fmt.Sprintf("vid_%d", round)
		held, _ := hold(name)
		purged, _ := hold(name + "b")
		if is, err := bus.Queued(soon(t), held); err != nil || !is {
			t.Fatalf("a task that is held counts as queued: %v, %v", is, err)
		}
		stream, err := bus.js.Stream(soon(t), streamTasks)
		must(t, err)
		must(t, stream.Purge(soon(t), jetstream.WithPurgeSubject(purged.Subject())))
		_, next := hold(name + "c")
		must(t, next.Ack(soon(t)))
		queued, err := bus.Queued(soon(t), held)
		must(t, err)
		if !queued {
			return held
		}
	}
	t.Fatal("a task that never comes again is queued")
	return pipeline.Task{}
}
