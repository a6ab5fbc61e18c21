package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// maxConflicts is how often a write is tried again because another process was faster.
const maxConflicts = 8

// Enqueue implements pipeline.Tasks. It stores t on its subject, unless a task with the same or a later
// cause is there: a later cause makes t stale. It leaves a task with an earlier cause, which its worker
// drops.
//
// Not guaranteed: that t is delivered once, or that a task is not stored again after it was acknowledged. The
// worker loop drops both by their cause.
func (b *Bus) Enqueue(ctx context.Context, t pipeline.Task) error {
	m, err := taskMessage(t, t.Subject())
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	err = b.swapTask(ctx, m, func(_ *message, there pipeline.Task) bool {
		return there.Cause >= t.Cause
	})
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", m.Subject, err)
	}
	return nil
}

// Schedule has the server enqueue t at a time. A time that has passed means now. A server that is down at
// that time enqueues t when it is up again. A job has one schedule: a later cause or another time replaces
// it, and an earlier cause does nothing.
//
// Not guaranteed: that a schedule which is stored again after it fired fires once. The worker loop drops the
// second task by its cause.
func (b *Bus) Schedule(ctx context.Context, t pipeline.Task, at time.Time) error {
	m, err := taskMessage(t, retrySubject(t))
	if err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	pattern := "@at " + at.UTC().Format(time.RFC3339Nano)
	m.Header.Set(jetstream.ScheduleHeader, pattern)
	m.Header.Set(jetstream.ScheduleTargetHeader, t.Subject())
	err = b.swapTask(ctx, m, func(stored *message, there pipeline.Task) bool {
		same := there.Cause == t.Cause && stored.Header.Get(jetstream.ScheduleHeader) == pattern
		return same || there.Cause > t.Cause
	})
	if err != nil {
		return fmt.Errorf("schedule %s: %w", m.Subject, err)
	}
	return nil
}

// swapTask stores m as the next message of its subject, unless the message there serves as well.
func (b *Bus) swapTask(ctx context.Context, m *nats.Msg,
	serves func(stored *message, there pipeline.Task) bool,
) error {
	after := uint64(0)
	for range maxConflicts {
		_, err := b.publish(ctx, m, jetstream.WithExpectLastSequencePerSubject(after),
			jetstream.WithExpectStream(streamTasks))
		if !isWrongSequence(err) {
			return err
		}
		stored, err := b.lastTask(ctx, m.Subject)
		if err != nil {
			return err
		}
		after = 0
		if stored == nil {
			continue // it was acknowledged, or fired, meanwhile
		}
		after = stored.Sequence
		var there pipeline.Task
		if json.Unmarshal(stored.Data, &there) == nil && serves(stored, there) {
			return nil
		}
	}
	return pipeline.ErrConflict
}

// lastTask reads the last message of a subject of TASKS. It returns nil when there is none.
func (b *Bus) lastTask(ctx context.Context, subject string) (*message, error) {
	return b.message(ctx, streamTasks, want{LastOf: subject})
}

// taskMessage encodes t for subject.
func taskMessage(t pipeline.Task, subject string) (*nats.Msg, error) {
	if err := checkTask(t); err != nil {
		return nil, err
	}
	doc, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode task %s: %w", subject, err)
	}
	return documentOn(subject, doc), nil
}

func documentOn(subject string, doc []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: doc, Header: nats.Header{"content-type": {"application/json"}}}
}

// retrySubject returns the subject of the schedule of t's job.
func retrySubject(t pipeline.Task) string {
	return "retry." + t.Project + "." + t.Video + "." + t.Job.Name
}

// checkVideo rejects names that would not be one token of a subject.
func checkVideo(project, video string) error {
	if !pipeline.ValidName(project) || !pipeline.ValidName(video) {
		return fmt.Errorf("video %q of project %q: invalid name", video, project)
	}
	return nil
}

// checkTask rejects names that would not be one token of a subject.
func checkTask(t pipeline.Task) error {
	for _, name := range []string{t.Project, t.Video, t.Job.Name, t.Job.Worker} {
		if !pipeline.ValidName(name) {
			return fmt.Errorf("task with invalid name %q", name)
		}
	}
	switch t.Job.Priority {
	case "", pipeline.High, pipeline.Normal, pipeline.Bulk:
		return nil
	}
	return errors.New("task with unknown priority " + string(t.Job.Priority))
}
