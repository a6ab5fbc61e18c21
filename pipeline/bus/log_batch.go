package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// batchSize is how many subjects one request asks for, and maxBatch the most that the server answers.
const (
	batchSize = 256
	maxBatch  = 1024
)

// lastBatched reads the last messages of subjects by batched direct get
// (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md, multi_last).
func (b *Bus) lastBatched(ctx context.Context, subjects []string) (map[string]stored, error) {
	found := make(map[string]stored, len(subjects))
	for chunk := range slices.Chunk(subjects, batchSize) {
		for left := chunk; len(left) > 0; {
			var part map[string]stored
			var more bool
			err := b.patiently(ctx, func(ctx context.Context) (err error) {
				part, more, err = b.lastBatch(ctx, left, len(left))
				return err
			})
			if err != nil {
				return nil, err
			}
			maps.Copy(found, part)
			if !more {
				break
			}
			if len(part) == 0 {
				return nil, fmt.Errorf("read last messages: the server promised more and sent none")
			}
			left = slices.DeleteFunc(slices.Clone(left), func(s string) bool { _, ok := part[s]; return ok })
		}
	}
	return found, nil
}

// State implements pipeline.StateReader by one request. It returns pipeline.ErrTooMany for a log with
// replicas, since a replica that lags could answer: the caller then reads subject by subject, from the
// leader.
func (b *Bus) State(ctx context.Context, project, video string) ([]pipeline.Event, error) {
	if !b.direct.Load() {
		return nil, pipeline.ErrTooMany
	}
	if !pipeline.ValidName(project) || !pipeline.ValidName(video) {
		return nil, fmt.Errorf("read video %q of project %q: invalid name", video, project)
	}
	filters := []string{"video.*." + project + "." + video, pipeline.JobSubject(project, video, "*")}
	var found map[string]stored
	var more bool
	err := b.patiently(ctx, func(ctx context.Context) (err error) {
		found, more, err = b.lastBatch(ctx, filters, maxBatch)
		return err
	})
	if err == nil && more || errors.Is(err, nats.ErrNoResponders) && b.undirected(ctx) {
		err = pipeline.ErrTooMany
	}
	if err != nil {
		return nil, fmt.Errorf("read video %s: %w", video, err)
	}
	events := make([]pipeline.Event, 0, len(found))
	for _, m := range found {
		e, err := decodeEvent(m.data, m.sequence)
		if err != nil {
			return nil, fmt.Errorf("read video %s: %w", video, err)
		}
		events = append(events, e)
	}
	return events, nil
}

// lastBatch makes one request and collects its answers, up to most. more says that the server stopped early
// because the answer grew too large.
func (b *Bus) lastBatch(ctx context.Context, subjects []string, most int,
) (found map[string]stored, more bool, err error) {
	request, err := json.Marshal(map[string]any{"multi_last": subjects})
	if err != nil {
		return nil, false, err
	}
	// The channel holds all answers and the end. A dropped answer would look like a subject without a message.
	// (SubscribeSync would make a channel of half a million.)
	answers := make(chan *nats.Msg, most+1)
	inbox := b.nc.NewInbox()
	sub, err := b.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, false, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // it fails when the connection is closed, and then is gone too
	if err := b.nc.PublishRequest("$JS.API.DIRECT.GET."+streamEvents, inbox, request); err != nil {
		return nil, false, err
	}
	found = map[string]stored{}
	for {
		var m *nats.Msg
		select {
		case m = <-answers:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if m == nil {
			return nil, false, nats.ErrConnectionClosed
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
			if err != nil {
				return nil, false, fmt.Errorf("read last messages: sequence of an answer: %w", err)
			}
			found[m.Header.Get(jetstream.SubjectHeader)] = stored{m.Data, seq}
		default:
			more, err := batchEnd(m, status)
			return found, more, err
		}
	}
}

// batchEnd reads the message that ends the answers. A 404 means "none" only when it says No Results: the
// server also answers 404 for a message that it has and cannot load.
func batchEnd(m *nats.Msg, status string) (more bool, err error) {
	description := m.Header.Get("Description")
	switch {
	case status == "204":
		pending := m.Header.Get("Nats-Num-Pending")
		return pending != "" && pending != "0", nil
	case status == "404" && description == "No Results":
		return false, nil
	case status == "413":
		return false, pipeline.ErrTooMany
	case status == "503":
		return false, nats.ErrNoResponders
	}
	return false, fmt.Errorf("read last messages: %s %s", status, description)
}
