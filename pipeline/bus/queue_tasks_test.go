package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// storedOn returns how many messages a stream has on a subject.
func storedOn(t *testing.T, bus *Bus, stream, subject string) uint64 {
	t.Helper()
	s, err := bus.js.Stream(soon(t), stream)
	must(t, err)
	info, err := s.Info(soon(t), jetstream.WithSubjectFilter(subject))
	must(t, err)
	var n uint64
	for _, count := range info.State.Subjects {
		n += count
	}
	return n
}

func next(t *testing.T, bus *Bus) *Delivery {
	t.Helper()
	d, err := bus.NextAtLeast(soon(t), "transcode", pipeline.Bulk)
	must(t, err)
	return d
}

// none checks that there is no task now.
func none(t *testing.T, bus *Bus) {
	t.Helper()
	q, err := bus.queue("transcode")
	must(t, err)
	q.looked = time.Time{}
	if d, err := bus.take(soon(t), q, &q.lines[2], pipeline.Priorities); d != nil || err != nil {
		t.Fatalf("took %+v, %v", d, err)
	}
}

func TestEnqueueOnceForACause(t *testing.T) {
	bus := newBus(t, Config{})
	for range 3 {
		must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	}
	if n := storedOn(t, bus, streamTasks, "task.>"); n != 1 {
		t.Errorf("%d tasks, want 1", n)
	}
	d := next(t, bus)
	if got, want := d.Task().Subject(), task("a", "", 0).Subject(); got != want {
		t.Errorf("task %s, want %s", got, want)
	}
	must(t, bus.Enqueue(soon(t), task("a", "", 0))) // taken, not acknowledged: still there
	if n := storedOn(t, bus, streamTasks, "task.>"); n != 1 {
		t.Errorf("%d tasks, want 1", n)
	}
}

func TestEnqueueANewCauseBesideAnOldTask(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	old := next(t, bus) // not acknowledged
	must(t, bus.Enqueue(soon(t), task("a", "", 7)))
	must(t, bus.Enqueue(soon(t), task("a", "", 7)))
	must(t, bus.Enqueue(soon(t), task("a", "", 3))) // stale: dropped
	d := next(t, bus)
	if d.Task().Cause != 7 || d.Sequence() == old.Sequence() {
		t.Errorf("cause %d, sequence %d", d.Task().Cause, d.Sequence())
	}
	none(t, bus)
}

func TestEnqueueRefusesUnusableNames(t *testing.T) {
	bus := newBus(t, Config{})
	for _, change := range []func(*pipeline.Task){
		func(x *pipeline.Task) { x.Project = "" },
		func(x *pipeline.Task) { x.Video = "*" },
		func(x *pipeline.Task) { x.Job.Name = "a.b" },
		func(x *pipeline.Task) { x.Job.Worker = ">" },
		func(x *pipeline.Task) { x.Job.Priority = "urgent" },
	} {
		bad := task("a", "", 0)
		change(&bad)
		for name, err := range map[string]error{
			"enqueue":     bus.Enqueue(soon(t), bad),
			"schedule":    bus.Schedule(soon(t), bad, time.Now()),
			"dead letter": bus.DeadLetter(soon(t), pipeline.DeadLetter{Task: bad}),
		} {
			if err == nil {
				t.Errorf("%s of %+v: no error", name, bad)
			}
		}
	}
}

func TestScheduleFires(t *testing.T) {
	bus := newBus(t, Config{})
	bells := make(chan *nats.Msg, 4)
	_, err := bus.nc.ChanSubscribe("bell.>", bells)
	must(t, err)
	later := task("later", pipeline.High, 7)
	must(t, bus.Schedule(soon(t), later, time.Now().Add(time.Hour)))
	queued, err := bus.Queued(soon(t), later)
	must(t, err)
	if !queued {
		t.Error("a scheduled job is not queued")
	}
	none(t, bus)
	want := task("a", pipeline.High, 7)
	at := time.Now().Add(2 * time.Second)
	must(t, bus.Schedule(soon(t), want, at))
	m := receive(t, bells) // a schedule that fires rings, with headers only
	if m.Subject != "bell."+want.Subject() || len(m.Data) != 0 {
		t.Errorf("bell %s with %d bytes", m.Subject, len(m.Data))
	}
	if early := time.Until(at); early > 0 {
		t.Errorf("fired %s early", early)
	}
	d := next(t, bus)
	if d.Task().Cause != 7 || d.Task().Subject() != want.Subject() {
		t.Errorf("task %+v", d.Task())
	}
	if n := storedOn(t, bus, streamTasks, retrySubject(want)); n != 0 {
		t.Errorf("%d schedules are left", n)
	}
	must(t, d.Ack(soon(t)))
	if queued, err = bus.Queued(soon(t), want); err != nil || queued {
		t.Errorf("queued %t, %v after the ack", queued, err)
	}
}

func TestScheduleInThePastFiresNow(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.Schedule(soon(t), task("a", "", 7), time.Now().Add(-time.Hour)))
	next(t, bus)
}

func TestScheduleTwiceFiresOnce(t *testing.T) {
	pipelinetest.Longer(t, 2*time.Second, 16*time.Second, func(due time.Duration) error {
		bus := newBus(t, Config{})
		at := time.Now().Add(due)
		must(t, bus.Schedule(soon(t), task("a", "", 7), at))
		must(t, bus.Schedule(soon(t), task("a", "", 7), at))
		must(t, bus.Schedule(soon(t), task("a", "", 5), at.Add(time.Hour))) // stale: does not replace
		if n := storedOn(t, bus, streamTasks, "retry.>"); n != 1 {          // or it has fired
			return fmt.Errorf("%d schedules, want 1", n)
		}
		if d := next(t, bus); d.Task().Cause != 7 {
			return fmt.Errorf("cause %d", d.Task().Cause)
		}
		none(t, bus)
		return nil
	})
}

func TestScheduleIsReplacedByALaterCause(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.Schedule(soon(t), task("a", "", 7), time.Now().Add(time.Hour)))
	must(t, bus.Schedule(soon(t), task("a", "", 9), time.Now().Add(2*time.Hour)))
	must(t, bus.Schedule(soon(t), task("a", "", 9), time.Now())) // another time, too
	if d := next(t, bus); d.Task().Cause != 9 {
		t.Errorf("cause %d", d.Task().Cause)
	}
	if n := storedOn(t, bus, streamTasks, ">"); n != 1 {
		t.Errorf("%d messages, want the task alone", n)
	}
}

func TestScheduleDueWhileTheServerIsDown(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{})
	due, cancel := context.WithDeadline(t.Context(), time.Now().Add(700*time.Millisecond))
	defer cancel()
	at, _ := due.Deadline()
	must(t, bus.Schedule(soon(t), task("a", "", 7), at))
	b.stop()
	<-due.Done()
	b.start()
	if d := next(t, bus); d.Task().Cause != 7 { // the same bus: its connection comes back
		t.Errorf("cause %d", d.Task().Cause)
	}
}

func TestDeadLetterOnce(t *testing.T) {
	bus := newBus(t, Config{})
	d := pipeline.DeadLetter{Task: task("a", "", 7), Token: 9, Attempts: 3}
	must(t, bus.DeadLetter(soon(t), d))
	d.Attempts = 4
	must(t, bus.DeadLetter(soon(t), d))
	s, err := bus.js.Stream(soon(t), streamDead)
	must(t, err)
	m, err := s.GetLastMsgForSubject(soon(t), d.DeadSubject())
	must(t, err)
	var got pipeline.DeadLetter
	must(t, json.Unmarshal(m.Data, &got))
	if got.Attempts != 3 || m.Sequence != 1 {
		t.Errorf("dead letter %d: %+v", m.Sequence, got)
	}
	d.Token = 10 // another generation
	must(t, bus.DeadLetter(soon(t), d))
	if n := storedOn(t, bus, streamDead, ">"); n != 2 {
		t.Errorf("%d dead letters, want 2", n)
	}
}

func TestNextMovesWhatIsNoTaskToTheDeadLetters(t *testing.T) {
	bus := newBus(t, Config{})
	moved, err := json.Marshal(task("b", "", 0))
	must(t, err)
	for subject, data := range map[string]string{
		"task.transcode.normal.6.default.vid_1.broken": "{not json",
		"task.transcode.normal.6.default.vid_1.moved":  string(moved), // of another subject
		"task.transcode.normal.short":                  "{}",
	} {
		m := nats.NewMsg(subject)
		m.Data = []byte(data)
		m.Header.Set("content-type", "application/json")
		_, err := bus.js.PublishMsg(soon(t), m)
		must(t, err)
	}
	must(t, bus.Enqueue(soon(t), task("a", "", 0)))
	if d := next(t, bus); d.Task().Job.Name != "a" {
		t.Errorf("task %+v", d.Task())
	}
	if n := storedOn(t, bus, streamTasks, ">"); n != 1 {
		t.Errorf("%d messages are left, want 1", n)
	}
	s, err := bus.js.Stream(soon(t), streamDead)
	must(t, err)
	m, err := s.GetLastMsgForSubject(soon(t), "dead.transcode.default.vid_1.broken.*")
	must(t, err)
	if string(m.Data) != "{not json" || !strings.Contains(m.Header.Get(headerProblem), "decode") ||
		m.Header.Get(headerSubject) != "task.transcode.normal.6.default.vid_1.broken" {
		t.Errorf("dead letter %v %s", m.Header, m.Data)
	}
	if n := storedOn(t, bus, streamDead, ">"); n != 3 {
		t.Errorf("%d dead letters, want 3", n)
	}
}

func TestEnqueueWithoutServer(t *testing.T) {
	b := newBroker(t)
	bus := b.open(Config{PublishTimeout: 50 * time.Millisecond})
	b.stop()
	err := bus.Enqueue(soon(t), task("a", "", 0))
	if err == nil || errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("enqueue without a server: %v", err)
	}
}
