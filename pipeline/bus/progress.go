package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// progressBuffer is how many reports a slow reader may fall behind before it loses old ones.
const progressBuffer = 256

// Progress reports how far an attempt is. It does not wait for the server, and a restart of the server may
// lose the report. The caller limits the rate.
func (b *Bus) Progress(_ context.Context, project string, p pipeline.Progress) error {
	subject, err := progressSubject(project, p.Video, p.Job)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("report progress: %w", err)
	}
	if err := b.nc.Publish(subject, doc); err != nil {
		return fmt.Errorf("report progress: %w", err)
	}
	return nil
}

// WatchProgress returns the reports on all jobs from now on, with their projects. A slow reader loses old
// ones. The channel is closed when ctx ends or the connection is closed.
func (b *Bus) WatchProgress(ctx context.Context) (<-chan pipeline.Progress, error) {
	out := make(chan pipeline.Progress, progressBuffer)
	on := func(m *nats.Msg) {
		var p pipeline.Progress
		if err := json.Unmarshal(m.Data, &p); err != nil {
			b.log.Warn("drop a report of progress", "subject", m.Subject, "error", err)
			return
		}
		p.Project = projectOfProgress(m.Subject)
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
	subject := pipeline.ProgressSubject("*", "*", "*")
	err := b.listen(ctx, listener{on: on, back: func() {}, end: func() { close(out) }}, subject)
	if err != nil {
		return nil, fmt.Errorf("watch progress: %w", err)
	}
	return out, nil
}

// LastProgress returns the last stored report on a job, and whether there is one. A report is stored a moment
// after Progress returned. The server forgets reports after 15 minutes, and when it stops.
func (b *Bus) LastProgress(ctx context.Context, project, video, job string) (pipeline.Progress, bool, error) {
	var p pipeline.Progress
	subject, err := progressSubject(project, video, job)
	if err != nil {
		return p, false, err
	}
	stream, err := b.js.Stream(ctx, streamProgress)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return p, false, nil // the server has restarted, and kept it in memory; Announce creates it again
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

func progressSubject(project, video, job string) (string, error) {
	for _, name := range []string{project, video, job} {
		if !pipeline.ValidName(name) {
			return "", fmt.Errorf("progress with the invalid name %q", name)
		}
	}
	return pipeline.ProgressSubject(project, video, job), nil
}

// projectOfProgress returns the project in a subject of progress.
func projectOfProgress(subject string) string {
	project, _, _ := strings.Cut(strings.TrimPrefix(subject, "progress."), ".")
	return project
}
