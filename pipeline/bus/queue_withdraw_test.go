package bus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// A withdrawal does not make the broker forget tasks of other videos of the project: they come again when their
// lease runs out.
func TestWithdrawLeavesTheLeasesOfOthers(t *testing.T) {
	pipelinetest.Longer(t, 3*time.Second, 24*time.Second, func(lease time.Duration) error {
		bus := newBus(t, Config{AckWait: lease})
		var got []string
		take := func(video string) *Delivery {
			if video != "" {
				job := task("job", pipeline.High, 0)
				job.Video = video
				must(t, bus.Enqueue(soon(t), job))
			}
			d := next(t, bus)
			got = append(got, d.Task().Video)
			return d
		}
		take("vid_a") // and its process dies
		take("vid_b")
		must(t, bus.Withdraw(soon(t), "default", "vid_b", "job"))
		must(t, take("vid_c").Ack(soon(t)))
		take("")
		if want := []string{"vid_a", "vid_b", "vid_c", "vid_a"}; !slices.Equal(got, want) {
			return fmt.Errorf("took tasks of %v, want %v", got, want)
		}
		return nil
	})
}

// A task that the broker has forgotten (here by the purge that removeAll avoids) does not count as queued, and can be
// enqueued again.
func TestQueuedFindsAForgottenTask(t *testing.T) {
	bus := newBus(t, Config{})
	forgotten := forget(t, bus)
	must(t, bus.Enqueue(soon(t), forgotten))
	d, err := bus.NextAtLeast(soon(t), "transcode", pipeline.Bulk)
	must(t, err)
	if d.Task().Video != forgotten.Video {
		t.Errorf("task of %s", d.Task().Video)
	}
}

// forget makes the broker lose a task that is held. A purge does so only at certain moments of the server's
// goroutines, so it may take several.
func forget(t *testing.T, bus *Bus) pipeline.Task {
	t.Helper()
	hold := func(video string) (pipeline.Task, *Delivery) {
		job := task("job", pipeline.High, 0)
		job.Video = video
		must(t, bus.Enqueue(soon(t), job))
		d, err := bus.NextAtLeast(soon(t), "transcode", pipeline.Bulk)
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
