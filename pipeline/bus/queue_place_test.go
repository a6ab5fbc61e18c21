package bus

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

func TestPlaceAndQueuedFollowAJob(t *testing.T) {
	bus := newBus(t, Config{})
	job := task("b", "", 0)
	check := func(when string, want pipeline.Place) {
		t.Helper()
		got, err := bus.Place(soon(t), job)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
		queued, err := bus.Queued(soon(t), job)
		must(t, err)
		if queued != (want.Queued || want.DueAt != nil) {
			t.Errorf("%s: queued %t", when, queued)
		}
	}
	check("before", pipeline.Place{})
	due := time.Now().Add(time.Hour).UTC()
	must(t, bus.Schedule(soon(t), job, due))
	check("scheduled", pipeline.Place{DueAt: &due})
	must(t, bus.Withdraw(soon(t), job.Project, job.Video, job.Job.Name))
	must(t, bus.Enqueue(soon(t), task("first", "", 0)))
	must(t, bus.Enqueue(soon(t), task("high", pipeline.High, 0))) // another priority
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	must(t, bus.Enqueue(soon(t), job))
	must(t, bus.Enqueue(soon(t), task("c", "", 0)))
	check("behind two", pipeline.Place{Queued: true, Ahead: 2})
	must(t, next(t, bus).Ack(soon(t)))
	check("high was taken", pipeline.Place{Queued: true, Ahead: 2})
	first := next(t, bus)
	check("behind one that waits and one that is taken", pipeline.Place{Queued: true, Ahead: 1})
	must(t, first.Ack(soon(t)))
	must(t, next(t, bus).Ack(soon(t)))
	check("at the front", pipeline.Place{Queued: true})
	d := next(t, bus)
	check("taken", pipeline.Place{Queued: true, Taken: true})
	must(t, d.Ack(soon(t)))
	check("acknowledged", pipeline.Place{})
}

// A schedule with a later cause will replace the task. One with the same cause has become the task.
func TestPlaceWithTaskAndSchedule(t *testing.T) {
	for cause, scheduled := range map[uint64]bool{7: false, 9: true} {
		bus := newBus(t, Config{})
		due := time.Now().Add(time.Hour).UTC()
		must(t, bus.Enqueue(soon(t), task("a", "", 7)))
		must(t, bus.Schedule(soon(t), task("a", "", cause), due))
		got, err := bus.Place(soon(t), task("a", "", 0))
		must(t, err)
		if !got.Queued || (got.DueAt != nil) != scheduled {
			t.Errorf("cause %d: %+v", cause, got)
		}
	}
}

func TestWithdraw(t *testing.T) {
	bus := newBus(t, Config{AckWait: 5 * time.Second})
	bus.poll = 50 * time.Millisecond
	must(t, bus.Withdraw(soon(t), "default", "vid_1", "a", "b"))
	other := task("a", "", 0)
	other.Video = "vid_2"
	must(t, bus.Enqueue(soon(t), task("acked", "", 0)))
	must(t, bus.Enqueue(soon(t), task("returned", "", 0)))
	acked, returned := next(t, bus), next(t, bus)
	for _, p := range pipeline.Priorities {
		must(t, bus.Enqueue(soon(t), task("a", p, 0)))
	}
	must(t, bus.Enqueue(soon(t), task("b", "", 0)))
	must(t, bus.Enqueue(soon(t), other))
	must(t, bus.Schedule(soon(t), task("a", "", 7), time.Now().Add(time.Hour)))
	must(t, bus.Schedule(soon(t), task("b", "", 7), time.Now().Add(time.Hour)))
	must(t, bus.Withdraw(soon(t), "default", "vid_1", "a", "acked", "returned"))
	for subject, want := range map[string]uint64{"task.>": 2, "retry.>": 1, retrySubject(task("b", "", 0)): 1} {
		if n := storedOn(t, bus, streamTasks, subject); n != want {
			t.Errorf("%d messages on %s, want %d", n, subject, want)
		}
	}
	must(t, acked.Extend(soon(t)))
	must(t, acked.Ack(soon(t)))
	must(t, returned.Return(soon(t), 0))
	if d := next(t, bus); d.Task().Job.Name != "b" {
		t.Errorf("took %s", d.Task().Job.Name)
	}
	if d := next(t, bus); d.Task().Video != "vid_2" {
		t.Errorf("took %s of %s", d.Task().Job.Name, d.Task().Video)
	}
	for _, bad := range []string{"*", ">", "a.b", ""} {
		if bus.Withdraw(soon(t), "default", "vid_1", bad) == nil || bus.Withdraw(soon(t), bad, "v", "a") == nil {
			t.Errorf("withdrew %q", bad)
		}
	}
}

func TestCounts(t *testing.T) {
	bus := newBus(t, Config{})
	count := func() string {
		backlogs, err := bus.Backlogs(soon(t))
		must(t, err)
		depth := map[string]map[pipeline.Priority]int{}
		for worker, of := range backlogs {
			depth[worker] = of.Tasks
		}
		dead, err := bus.DeadCount(soon(t))
		must(t, err)
		scheduled, err := bus.ScheduledCount(soon(t))
		must(t, err)
		return fmt.Sprint(depth, dead, scheduled)
	}
	if got := count(); got != "map[] 0 0" {
		t.Errorf("empty: %s", got)
	}
	for i, name := range projects(3) {
		must(t, bus.Enqueue(soon(t), taskOf(name, "a", "")))
		must(t, bus.Enqueue(soon(t), taskOf(name, "a", pipeline.Bulk)))
		must(t, bus.Schedule(soon(t), taskOf(name, "b", ""), time.Now().Add(time.Hour)))
		must(t, bus.DeadLetter(soon(t), pipeline.DeadLetter{Task: taskOf(name, "c", ""), Token: uint64(i)}))
	}
	other := task("a", pipeline.High, 0)
	other.Job.Worker = "inspect"
	must(t, bus.Enqueue(soon(t), other))
	next(t, bus) // a task that is taken counts
	if got, want := count(), "map[inspect:map[high:1] transcode:map[bulk:3 normal:3]] 3 3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
