package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// livePrefix stands before the subject of an event that is republished.
const livePrefix = "live."

// progressBuffer is how many reports a slow reader can be behind before it loses old ones.
const progressBuffer = 16

// Progress tells how far an attempt is. It waits for nobody and is not kept over a restart; the caller limits
// the rate.
func (b *Bus) Progress(_ context.Context, project string, p pipeline.Progress) error {
	subject, err := progressSubject(project, p.Video, p.Job)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("tell progress: %w", err)
	}
	if err := b.nc.Publish(subject, doc); err != nil {
		return fmt.Errorf("tell progress: %w", err)
	}
	return nil
}

// WatchProgress returns the reports on the jobs of a video from now on. A reader that is slow loses old ones.
// The channel is closed when ctx ends or the connection is closed.
func (b *Bus) WatchProgress(ctx context.Context, project, video string) (<-chan pipeline.Progress, error) {
	subject, err := progressSubject(project, video, "any")
	if err != nil {
		return nil, err
	}
	subject = subject[:len(subject)-len("any")] + "*"
	out := make(chan pipeline.Progress, progressBuffer)
	on := func(m *nats.Msg) {
		var p pipeline.Progress
		if err := json.Unmarshal(m.Data, &p); err != nil {
			b.log.Warn("drop a report of progress", "subject", m.Subject, "error", err)
			return
		}
		for {
			select {
			case out <- p:
				return
			default:
			}
			select {
			case <-out:
			default:
			}
		}
	}
	err = b.listen(ctx, listener{on: on, back: func() {}, end: func() { close(out) }}, subject)
	if err != nil {
		return nil, fmt.Errorf("watch progress of %s: %w", video, err)
	}
	return out, nil
}

// LastProgress returns the last report on a job that was stored, and whether there is one; a report is stored
// a moment after it was told. Reports are forgotten after 15 minutes, and when the server stops.
func (b *Bus) LastProgress(ctx context.Context, project, video, job string) (pipeline.Progress, bool, error) {
	var p pipeline.Progress
	subject, err := progressSubject(project, video, job)
	if err != nil {
		return p, false, err
	}
	stream, err := b.js.Stream(ctx, streamProgress)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return p, false, nil // a server that kept it in memory was restarted; Announce brings it back
	}
	if err != nil {
		return p, false, fmt.Errorf("read progress: %w", err)
	}
	m, err := b.last(ctx, stream, subject)
	if err != nil || m == nil {
		return p, false, err
	}
	if err := json.Unmarshal(m.Data, &p); err != nil {
		return p, false, fmt.Errorf("decode progress of %s: %w", subject, err)
	}
	return p, true, nil
}

// Watch returns a channel that rings when an event was stored on one of the subjects of the log, which have
// no wildcards, and when the connection was lost and is back, because events may have been missed. Rings that
// nobody waited for are one ring. The channel is never closed; it is silent when ctx has ended.
//
// Who watches reads what there is after Watch has returned, and again at every ring.
func (b *Bus) Watch(ctx context.Context, subjects ...string) (<-chan struct{}, error) {
	live := make([]string, len(subjects))
	for i, subject := range subjects {
		if err := checkSubject(subject); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		live[i] = livePrefix + subject
	}
	bell := make(chan struct{}, 1)
	err := b.listen(ctx, listener{
		on: func(*nats.Msg) { ring(bell) }, back: func() { ring(bell) }, end: func() {},
	}, live...)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	return bell, nil
}

// listener is what listen calls, one at a time.
type listener struct {
	on   func(*nats.Msg) // a message came
	back func()          // the connection was lost, and what came meanwhile; the server knows of us again
	end  func()          // nothing follows
}

// listen listens to the subjects until ctx ends or the connection is closed. When it returns the server knows
// of it. It never blocks the connection: messages that the listener is too slow for are dropped.
func (b *Bus) listen(ctx context.Context, l listener, subjects ...string) error {
	status := b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	messages := make(chan *nats.Msg, 256)
	var subs []*nats.Subscription
	unsubscribe := func() {
		for _, s := range subs {
			if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				b.log.Debug("unsubscribe", "subject", s.Subject, "error", err)
			}
		}
	}
	for _, subject := range subjects {
		s, err := b.nc.ChanSubscribe(subject, messages)
		if err != nil {
			unsubscribe()
			b.nc.RemoveStatusListener(status)
			return err
		}
		subs = append(subs, s)
	}
	limited, cancel := context.WithTimeout(ctx, b.cfg.PublishTimeout)
	defer cancel()
	if err := b.nc.FlushWithContext(limited); err != nil {
		unsubscribe()
		b.nc.RemoveStatusListener(status)
		return err
	}
	go func() {
		defer l.end()
		defer b.nc.RemoveStatusListener(status)
		defer unsubscribe()
		for {
			select {
			case m := <-messages:
				if m == nil {
					return
				}
				l.on(m)
			case s := <-status:
				if s != nats.CONNECTED {
					return
				}
				l.back()
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

func progressSubject(project, video, job string) (string, error) {
	for _, name := range []string{project, video, job} {
		if !pipeline.ValidName(name) {
			return "", fmt.Errorf("progress of unusable name %q", name)
		}
	}
	return pipeline.ProgressSubject(project, video, job), nil
}
