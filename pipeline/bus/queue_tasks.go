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

// maxConflicts bounds how often a write is tried anew because another process was faster.
const maxConflicts = 8

// Enqueue implements pipeline.Tasks: it stores t on its subject, unless a task with the same cause is there.
// A task there with a later cause makes t stale before it begins, so t is dropped too; one with an earlier
// cause is left, and its worker drops it.
//
// Not given: that t is delivered once, or that a task which was taken and acknowledged is not stored again.
// Both are dropped by the worker loop, by their cause.
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

// Schedule stores t to be enqueued at a time; a time that has passed means now. A server that is down then
// enqueues it when it is up again. A job has one schedule: a later cause or another time replaces it, an
// earlier cause is dropped.
//
// Not given: that a schedule which was stored again after it fired fires once; the second task is dropped by
// its cause.
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

// swapTask stores m as the next message of its subject, unless the one that is there serves.
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
			continue // it was acknowledged, or fired, since
		}
		after = stored.Sequence
		var there pipeline.Task
		if json.Unmarshal(stored.Data, &there) == nil && serves(stored, there) {
			return nil
		}
	}
	return pipeline.ErrConflict
}

// lastTask reads the last message of a subject of TASKS; nil when there is none.
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

// retrySubject is where the schedule of t's job stands.
func retrySubject(t pipeline.Task) string {
	return "retry." + t.Project + "." + t.Video + "." + t.Job.Name
}

// checkVideo refuses names that would not be one token of a subject.
func checkVideo(project, video string) error {
	if !pipeline.ValidName(project) || !pipeline.ValidName(video) {
		return fmt.Errorf("video %q of project %q: unusable name", video, project)
	}
	return nil
}

// checkTask refuses names that would not be one token of a subject.
func checkTask(t pipeline.Task) error {
	for _, name := range []string{t.Project, t.Video, t.Job.Name, t.Job.Worker} {
		if !pipeline.ValidName(name) {
			return fmt.Errorf("task with unusable name %q", name)
		}
	}
	switch t.Job.Priority {
	case "", pipeline.High, pipeline.Normal, pipeline.Bulk:
		return nil
	}
	return errors.New("task with unknown priority " + string(t.Job.Priority))
}
