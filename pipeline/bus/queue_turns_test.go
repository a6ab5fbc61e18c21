package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// taskOf is a task of another project.
func taskOf(project, job string, p pipeline.Priority) pipeline.Task {
	t := task(job, p, 0)
	t.Project = project
	return t
}

// projects returns names of n projects, all in one lane.
func projects(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = projectInLane("3", i)
	}
	return names
}

// projectInLane returns the n-th name of a project in a lane.
func projectInLane(lane string, n int) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("late-", i); pipeline.Lane(name) == lane {
			if n == 0 {
				return name
			}
			n--
		}
	}
}

// fill enqueues many tasks of a project.
func fill(t *testing.T, bus *Bus, project string, p pipeline.Priority, n int) {
	t.Helper()
	for i := range n {
		must(t, bus.Enqueue(soon(t), taskOf(project, fmt.Sprint("many-", p, i), p)))
	}
}

// heard returns when the bell of a task has rung, so that it will be pulled.
func heard(t *testing.T, bus *Bus, of pipeline.Task) {
	t.Helper()
	q, err := bus.queue(of.Job.Worker)
	must(t, err)
	p, project, ok := projectOf(of.Subject())
	if !ok {
		t.Fatalf("%s is none of a task", of.Subject())
	}
	for ctx := soon(t); !slices.ContainsFunc(q.order(p), func(s *share) bool { return s.project == project }); {
		must(t, ctx.Err())
		runtime.Gosched()
	}
}

func TestOneTaskOvertakesAThousandOfAnotherProject(t *testing.T) {
	for _, p := range pipeline.Priorities {
		t.Run(string(p), func(t *testing.T) {
			bus := newBus(t, Config{})
			names := projects(2)
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

func TestProjectsTakeTurnsWithinEachPriority(t *testing.T) {
	bus := newBus(t, Config{})
	names := projects(3)
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

// takenBy takes and acknowledges n tasks, and returns of which projects they were.
func takenBy(t *testing.T, bus *Bus, n int) (projects []string) {
	t.Helper()
	for range n {
		d := next(t, bus)
		must(t, d.Ack(soon(t)))
		projects = append(projects, d.Task().Project)
	}
	return projects
}

// Of 200 projects one has 3,000 tasks. The task of each other one is among the next 200 that are taken, whatever
// their lanes.
func TestAFloodDelaysNobodyByMoreThanARound(t *testing.T) {
	bus := newBus(t, Config{})
	fill(t, bus, "flood", pipeline.Normal, 3000)
	takenBy(t, bus, 3)
	want := []string{}
	for i := range 199 {
		want = append(want, fmt.Sprintf("project-%03d", i))
		last := taskOf(want[i], "one", pipeline.Normal)
		must(t, bus.Enqueue(soon(t), last))
		heard(t, bus, last)
	}
	took := takenBy(t, bus, 200)
	others := slices.DeleteFunc(slices.Sorted(slices.Values(took)), func(p string) bool { return p == "flood" })
	if !slices.Equal(others, want) {
		t.Errorf("the first 200 tasks were of %v", took)
	}
	for i := range 5 { // one that comes alone, in the lane of the flood, is the next or the one after it
		one := taskOf(projectInLane(pipeline.Lane("flood"), i), "late", pipeline.Normal)
		must(t, bus.Enqueue(soon(t), one))
		heard(t, bus, one)
		if took := takenBy(t, bus, 2); !slices.Contains(took, one.Project) {
			t.Errorf("after a task of %s came, those of %v were taken", one.Project, took)
		}
	}
}

// A project that had no tasks for 50 takes of another has saved up nothing: they take turns at once.
func TestAnIdleProjectSavesUpNothing(t *testing.T) {
	bus := newBus(t, Config{})
	fill(t, bus, "idle", pipeline.Normal, 1)
	fill(t, bus, "busy", pipeline.Normal, 80)
	takenBy(t, bus, 51)
	fill(t, bus, "idle", pipeline.High, 1) // another priority has turns of its own
	takenBy(t, bus, 1)
	for i := range 20 {
		must(t, bus.Enqueue(soon(t), taskOf("idle", fmt.Sprint("again-", i), pipeline.Normal)))
	}
	heard(t, bus, taskOf("idle", "again-19", pipeline.Normal))
	took := takenBy(t, bus, 20)
	for i := range len(took) - 2 {
		if took[i] == took[i+1] && took[i] == took[i+2] {
			t.Errorf("three takes in a row of %s: %v", took[i], took)
		}
	}
}

// Two processes take 400 tasks of two projects whose weights are 1 and 3.
func TestWeightsShareTheTakes(t *testing.T) {
	b := newBroker(t)
	cfg := Config{Weight: func(project string) int { return map[string]int{"three": 3}[project] }}
	buses := []*Bus{b.open(cfg), b.open(cfg)}
	fill(t, buses[0], "one", pipeline.Normal, 200)
	fill(t, buses[0], "three", pipeline.Normal, 400)
	counts := map[string]int{}
	var took []string
	for i := range 400 {
		took = append(took, takenBy(t, buses[i%2], 1)...)
		counts[took[i]]++
	}
	if counts["one"] < 98 || counts["one"] > 102 {
		t.Errorf("took %v, want 100 and 300", counts)
	}
	for i := range took[:len(took)-8] { // each process takes four of both in turn
		if round := takes(took[i:i+8], "one"); round < 1 || round > 3 {
			t.Errorf("of takes %d to %d, %d were of the project of weight 1", i, i+7, round)
		}
	}
}

func takes(projects []string, of string) (n int) {
	for _, p := range projects {
		if p == of {
			n++
		}
	}
	return n
}

// While a project has tasks, each other one has at most as many turns as its weight between two of it, whatever the
// weights are, and whoever comes and goes.
func TestNobodyHasMoreTurnsThanItsWeight(t *testing.T) {
	weights := map[string]int{"a": 1, "b": 3, "c": 17, "d": 100, "e": 1}
	all := &turns{projects: map[string]*share{}}
	random := rand.New(rand.NewPCG(1, 2))
	since := map[string]map[string]int{} // by project: the turns of others since it had one or came
	for i := range 20_000 {
		for name := range weights {
			s := all.projects[name]
			if s == nil || s.pulls == 0 && random.IntN(50) == 0 { // it comes
				all.mark(name, 1)
				since[name] = map[string]int{}
			} else if s.pulls > 0 && random.IntN(500) == 0 { // it has no more tasks
				s.missed()
				delete(since, name)
			}
		}
		ready := all.order()
		if len(ready) == 0 {
			continue
		}
		s := ready[0]
		all.took(s, weights[s.project])
		for name, others := range since {
			if others[s.project]++; name != s.project && others[s.project] > weights[s.project] {
				t.Fatalf("take %d: %d turns of %s since %s had one", i, others[s.project], s.project, name)
			}
		}
		since[s.project] = map[string]int{}
	}
}

// The server removes the consumers of projects that have no tasks. The next task makes one anew, without a failure.
func TestConsumersOfIdleProjectsGoAndComeBack(t *testing.T) {
	b := newBroker(t)
	bus, other := b.open(Config{}), b.open(Config{})
	bus.idle, other.idle = time.Second, time.Second
	for i := range 8 {
		fill(t, bus, fmt.Sprint("project-", i), pipeline.Normal, 1)
	}
	took := map[string]*Delivery{}
	for range 8 {
		d := next(t, bus)
		took[d.Task().Project] = d
		if d.Task().Project != "project-0" {
			must(t, d.Ack(soon(t)))
		}
	}
	consumers := func() int {
		s, err := bus.js.Stream(soon(t), streamTasks)
		must(t, err)
		return s.CachedInfo().State.Consumers
	}
	pipelinetest.Until(t, "one consumer, of the task that is held, is left", func() bool { return consumers() <= 1 })
	must(t, took["project-0"].Ack(soon(t)))
	if n := storedOn(t, bus, streamTasks, "task.>"); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
	for _, process := range []*Bus{bus, other} {
		process.poll = time.Hour // only a bell
		none(t, process)
		one := taskOf("project-1", "again", pipeline.Normal)
		must(t, bus.Enqueue(soon(t), one))
		heard(t, process, one)
		q, err := process.queue("transcode")
		must(t, err)
		d, err := process.take(soon(t), q, &q.lines[2], pipeline.Priorities)
		must(t, err)
		if d == nil || d.Task().Project != "project-1" {
			t.Fatalf("took %+v", d)
		}
		must(t, d.Ack(soon(t)))
	}
}

// A process forgets the projects that nothing names any more.
func TestAProcessForgetsIdleProjects(t *testing.T) {
	bus := newBus(t, Config{})
	for i := range 8 {
		fill(t, bus, fmt.Sprint("project-", i), pipeline.Normal, 1)
	}
	takenBy(t, bus, 8)
	q, err := bus.queue("transcode")
	must(t, err)
	bus.idle, bus.poll = time.Millisecond, time.Millisecond
	pipelinetest.Until(t, "no project is known", func() bool {
		_, err := bus.take(soon(t), q, &q.lines[2], pipeline.Priorities)
		must(t, err)
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.turns[pipeline.Normal].projects) == 0
	})
}

// Projects without tasks get no consumers, and no requests.
func TestConsumersAreMadeForProjectsWithTasks(t *testing.T) {
	bus := newBus(t, Config{})
	none(t, bus)
	fill(t, bus, projects(1)[0], pipeline.High, 1)
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
	names := projects(2)
	for _, name := range names {
		fill(t, b.open(Config{}), name, pipeline.Bulk, 1)
	}
	bus := b.open(Config{})
	must(t, next(t, bus).Ack(soon(t)))
	must(t, next(t, bus).Ack(soon(t)))
	none(t, bus)
}

func TestLookFindsEveryProjectOfALongQueue(t *testing.T) {
	b := newBroker(t)
	names := projects(2)
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
	names := projects(2)
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

// Earlier versions had one consumer for each lane, and before one for each priority. The server refuses consumers of
// projects beside them.
func TestNextReplacesTheConsumersOfEarlierVersions(t *testing.T) {
	for name, filter := range map[string]string{
		"transcode_normal": "task.transcode.normal.>",
		"transcode_normal_" + pipeline.Lane("default"): "task.transcode.normal." + pipeline.Lane("default") + ".>",
	} {
		bus := newBus(t, Config{})
		old, err := bus.js.CreateConsumer(soon(t), streamTasks, jetstream.ConsumerConfig{
			Durable: name, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour,
		})
		must(t, err)
		must(t, bus.Enqueue(soon(t), task("held", "", 0)))
		batch, err := old.Fetch(1)
		must(t, err)
		receive(t, batch.Messages()) // by a process of the earlier version, which still runs
		must(t, bus.Enqueue(soon(t), task("a", "", 0)))
		if d := next(t, bus); d.Task().Job.Name != "held" {
			t.Errorf("%s: took %s", name, d.Task().Job.Name)
		}
		next(t, bus)
		if _, err = bus.js.Consumer(soon(t), streamTasks, name); !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Errorf("the consumer %s of the earlier version: %v", name, err)
		}
	}
}

// A process of the version before can take tasks again when no process of this one has pulled for a while: then the
// server has removed the consumers of the projects. Meanwhile Open of that version passes over them.
func TestAnEarlierVersionTakesAgain(t *testing.T) {
	bus := newBus(t, Config{})
	bus.idle = time.Second
	must(t, bus.Enqueue(soon(t), taskOf("x_7", "a", "")))
	must(t, next(t, bus).Ack(soon(t)))
	lane := "transcode_normal_" + pipeline.Lane("x_7")
	create := func() error {
		_, err := bus.js.CreateConsumer(soon(t), streamTasks, jetstream.ConsumerConfig{
			Durable: lane, FilterSubject: "task.transcode.normal." + pipeline.Lane("x_7") + ".>",
			AckPolicy: jetstream.AckExplicitPolicy,
		})
		return err
	}
	if err := create(); err != nil && !isAPI(err, codeFilterNotUnique) {
		t.Errorf("beside the consumer of the project: %v", err)
	}
	name := consumerName("transcode", pipeline.Normal, "x_7")
	if parts := strings.Split(name, "_"); len(parts) > 2 {
		if _, err := strconv.Atoi(parts[len(parts)-1]); err == nil {
			t.Errorf("an earlier version takes %s for the consumer of a lane", name)
		}
	}
	pipelinetest.Until(t, "the earlier version makes its consumer", func() bool { return create() == nil })
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
		"task.transcode.normal." + pipeline.Lane("a=b") + ".a=b.vid_1.a",
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
