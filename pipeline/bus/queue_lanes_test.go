package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// taskOf is a task of another project.
func taskOf(project, job string, p pipeline.Priority) pipeline.Task {
	t := task(job, p, 0)
	t.Project = project
	return t
}

// projects returns names of projects in n different lanes.
func projects(t *testing.T, n int) []string {
	t.Helper()
	var names []string
	seen := map[string]bool{}
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprint("project-", i); !seen[pipeline.Lane(name)] {
			seen[pipeline.Lane(name)] = true
			names = append(names, name)
		}
	}
	return names
}

// fill enqueues many tasks of a project.
func fill(t *testing.T, bus *Bus, project string, p pipeline.Priority, n int) {
	t.Helper()
	for i := range n {
		must(t, bus.Enqueue(soon(t), taskOf(project, fmt.Sprint("many-", p, i), p)))
	}
}

// heard returns when the bell of a task has rung, so that its lane will be pulled.
func heard(t *testing.T, bus *Bus, of pipeline.Task) {
	t.Helper()
	q, err := bus.queue(of.Job.Worker)
	must(t, err)
	p, n, ok := laneOf(of.Subject())
	if !ok {
		t.Fatalf("%s is in no lane", of.Subject())
	}
	for ctx := soon(t); !q.wants(p, n); runtime.Gosched() {
		must(t, ctx.Err())
	}
}

func TestOneTaskOvertakesAThousandOfAnotherProject(t *testing.T) {
	for _, p := range pipeline.Priorities {
		t.Run(string(p), func(t *testing.T) {
			bus := newBus(t, Config{})
			names := projects(t, 2)
			fill(t, bus, names[0], p, 1000)
			for range 3 { // the other project comes when the first is well under way
				must(t, next(t, bus).Ack(soon(t)))
			}
			one := taskOf(names[1], "one", p)
			must(t, bus.Enqueue(soon(t), one))
			heard(t, bus, one)
			first, second := next(t, bus), next(t, bus)
			if first.Task().Project != names[1] && second.Task().Project != names[1] {
				t.Errorf("took %s and %s", first.Task().Project, second.Task().Project)
			}
		})
	}
}

func TestLanesTakeTurnsWithinEachPriority(t *testing.T) {
	bus := newBus(t, Config{})
	names := projects(t, 3)
	for _, p := range []pipeline.Priority{pipeline.High, pipeline.Normal} {
		for _, name := range names {
			fill(t, bus, name, p, 4)
		}
	}
	fill(t, bus, names[0], pipeline.Bulk, 2)
	for _, p := range []pipeline.Priority{pipeline.High, pipeline.Normal} {
		for round := range 4 {
			seen := map[string]int{}
			for range names {
				d := next(t, bus)
				must(t, d.Ack(soon(t)))
				if d.Task().Job.Priority == pipeline.Bulk { // every eighth
					d = next(t, bus)
					must(t, d.Ack(soon(t)))
				}
				if d.Task().Job.Priority != p {
					t.Errorf("took %s, want %s", d.Task().Job.Priority, p)
				}
				seen[d.Task().Project]++
			}
			if len(seen) != len(names) {
				t.Errorf("round %d of %s: %v", round, p, seen)
			}
		}
	}
}

// Lanes without tasks get no consumers, and no requests.
func TestConsumersAreMadeForLanesInUse(t *testing.T) {
	bus := newBus(t, Config{})
	none(t, bus)
	fill(t, bus, projects(t, 1)[0], pipeline.High, 1)
	must(t, next(t, bus).Ack(soon(t)))
	none(t, bus)
	s, err := bus.js.Stream(soon(t), streamTasks)
	must(t, err)
	if n := s.CachedInfo().State.Consumers; n != 1 {
		t.Errorf("%d consumers, want 1", n)
	}
}

// No bell rings for tasks that were there before the process.
func TestNextFindsWhatWasThereBefore(t *testing.T) {
	b := newBroker(t)
	names := projects(t, 2)
	for _, name := range names {
		fill(t, b.open(Config{}), name, pipeline.Bulk, 1)
	}
	bus := b.open(Config{})
	must(t, next(t, bus).Ack(soon(t)))
	must(t, next(t, bus).Ack(soon(t)))
	none(t, bus)
}

func TestLookFindsEveryLaneOfALongQueue(t *testing.T) {
	b := newBroker(t)
	names := projects(t, 2)
	fill(t, b.open(Config{}), names[0], pipeline.Normal, lookAll+1)
	fill(t, b.open(Config{}), names[1], pipeline.Normal, 1)
	bus := b.open(Config{})
	if one, two := next(t, bus), next(t, bus); one.Task().Project == two.Task().Project {
		t.Errorf("took two tasks of %s", one.Task().Project)
	}
}

// No bell rings when a lease runs out, however busy the queue is.
func TestLeaseThatRanOutIsFoundUnderLoad(t *testing.T) {
	bus := newBus(t, Config{AckWait: 200 * time.Millisecond})
	bus.poll = 100 * time.Millisecond
	names := projects(t, 2)
	fill(t, bus, names[1], pipeline.Normal, 1)
	lost := next(t, bus)
	fill(t, bus, names[0], pipeline.Normal, 200)
	for ctx := soon(t); ; must(t, ctx.Err()) {
		d := next(t, bus)
		if d.Sequence() == lost.Sequence() {
			return
		}
		must(t, d.Return(soon(t), 0)) // so there is always another
	}
}

func TestReturnRingsTheOtherProcess(t *testing.T) {
	b := newBroker(t)
	one, two := b.open(Config{}), b.open(Config{})
	two.poll = time.Hour // it never looks again
	must(t, one.Enqueue(soon(t), task("a", "", 0)))
	held := next(t, one)
	none(t, two)
	taken := make(chan *Delivery, 1)
	ctx := soon(t)
	go func() {
		d, err := two.NextAtLeast(ctx, "transcode", pipeline.Bulk)
		if err != nil {
			t.Error(err)
		}
		taken <- d
	}()
	must(t, held.Return(soon(t), 0))
	if d := receive(t, taken); d.Sequence() != held.Sequence() {
		t.Errorf("took %d, want %d", d.Sequence(), held.Sequence())
	}
}

func TestReturnWithADelay(t *testing.T) {
	bus := newBus(t, Config{AckWait: time.Hour})
	bus.poll = 50 * time.Millisecond
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	d := next(t, bus)
	begin := time.Now()
	const delay = 600 * time.Millisecond
	must(t, d.Return(soon(t), delay))
	if again := next(t, bus); again.Sequence() != d.Sequence() {
		t.Errorf("took %d, want %d", again.Sequence(), d.Sequence())
	}
	if took := time.Since(begin); took < delay {
		t.Errorf("took %s", took)
	}
}

// An earlier version had one consumer for all lanes of a priority. The server refuses consumers of lanes beside it.
func TestNextReplacesTheConsumersOfAnEarlierVersion(t *testing.T) {
	bus := newBus(t, Config{})
	_, err := bus.js.CreateConsumer(soon(t), streamTasks, jetstream.ConsumerConfig{
		Durable: "transcode_normal", FilterSubject: "task.transcode.normal.>",
		AckPolicy: jetstream.AckExplicitPolicy,
	})
	must(t, err)
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	next(t, bus)
	_, err = bus.js.Consumer(soon(t), streamTasks, "transcode_normal")
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("the consumer of the earlier version: %v", err)
	}
}

// The last write of a deleted consumer may go into the files of a new one of the same name, whose creation then fails
// once with an error of the file system.
func TestNextCreatesAConsumerAgain(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	js := &failingCreation{JetStream: bus.js}
	bus.js = js
	q, err := bus.queue("transcode")
	must(t, err)
	d, err := bus.take(soon(t), q, &q.lines[2], pipeline.Priorities)
	must(t, err)
	if d == nil || d.Task().Job.Name != "a" || js.failed != 1 {
		t.Errorf("took %+v after %d failures", d, js.failed)
	}
}

// failingCreation fails the first creation of a consumer as the server does when it cannot write its state.
type failingCreation struct {
	jetstream.JetStream
	failed int
}

func (f *failingCreation) CreateConsumer(ctx context.Context, stream string,
	cfg jetstream.ConsumerConfig,
) (jetstream.Consumer, error) {
	if f.failed == 0 {
		f.failed++
		return nil, &jetstream.APIError{
			Code: 500, ErrorCode: codeConsumerCreate, Description: "rename o.dat.tmp o.dat: no such file or directory",
		}
	}
	return f.JetStream.CreateConsumer(ctx, stream, cfg)
}

func TestNextMovesStraysToTheDeadLetters(t *testing.T) {
	bus := newBus(t, Config{})
	strays := []string{
		"task.transcode.normal.short",
		"task.transcode.urgent.0.default.vid_1.a",
		"task.transcode.normal.8.default.vid_1.a",
		"task.transcode.normal.00.default.vid_1.a",
	}
	for _, subject := range strays {
		for range 2 {
			_, err := bus.js.PublishMsg(soon(t), nats.NewMsg(subject))
			must(t, err)
		}
	}
	none(t, bus)
	if n := storedOn(t, bus, streamTasks, ">"); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	if n := storedOn(t, bus, streamDead, ">"); n != uint64(2*len(strays)) {
		t.Errorf("%d dead letters, want %d", n, 2*len(strays))
	}
}
