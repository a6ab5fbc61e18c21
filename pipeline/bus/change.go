package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// Live is a stream or consumer as it is.
type Live struct {
	Stream   string
	Consumer string // its name; empty for the stream itself
	Absent   bool   // there is none yet: whoever opens a Bus creates it
	Replicas int    // of a stream
	Subjects []string
	// Messages, Bytes and MaxBytes are those of a stream; MaxBytes is below 1 when it has no limit.
	Messages        uint64
	Bytes, MaxBytes int64
	First, Last     uint64 // sequences of its messages
	// Differences are what Open would refuse, or what differs from the Config asked for.
	Differences []Difference

	stream   jetstream.StreamConfig
	consumer jetstream.ConsumerConfig
}

// Name returns the stream, or stream and consumer.
func (l Live) Name() string {
	if l.Consumer == "" {
		return l.Stream
	}
	return l.Stream + "/" + l.Consumer
}

// Look returns what of the bus there is on nc's server, and how it differs from cfg; consumers only where
// they differ. It creates and changes nothing.
func Look(ctx context.Context, nc *nats.Conn, cfg Config) ([]Live, error) {
	b, err := prepare(nc, cfg)
	if err != nil {
		return nil, fmt.Errorf("look at streams: %w", err)
	}
	var all []Live
	for _, want := range b.streams() {
		l, err := b.lookAtStream(ctx, want)
		if err != nil {
			return nil, fmt.Errorf("look at stream %s: %w", want.Name, err)
		}
		all = append(all, l)
		if l.Absent {
			continue
		}
		consumers, err := b.oddConsumers(ctx, want.Name)
		if err != nil {
			return nil, fmt.Errorf("look at stream %s: %w", want.Name, err)
		}
		all = append(all, consumers...)
	}
	return all, nil
}

func (b *Bus) lookAtStream(ctx context.Context, want jetstream.StreamConfig) (Live, error) {
	l := Live{Stream: want.Name}
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		l.Absent = true
		return l, nil
	}
	if err != nil {
		return l, err
	}
	info := stream.CachedInfo()
	l.stream, l.Replicas, l.Subjects = info.Config, info.Config.Replicas, info.Config.Subjects
	l.Messages, l.First, l.Last = info.State.Msgs, info.State.FirstSeq, info.State.LastSeq
	l.Bytes, l.MaxBytes = int64(info.State.Bytes), info.Config.MaxBytes
	l.Differences = differences(want, info.Config)
	return l, nil
}

// oddConsumers returns the consumers of ours on a stream that differ from what they must be.
func (b *Bus) oddConsumers(ctx context.Context, name string) ([]Live, error) {
	if name != streamEvents && name != streamTasks {
		return nil, nil
	}
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	var odd []Live
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		want, ours := b.wantedConsumer(name, info.Name)
		if !ours {
			continue
		}
		if diffs := consumerDifferences(want, info.Config); len(diffs) > 0 {
			odd = append(odd, Live{Stream: name, Consumer: info.Name, Differences: diffs, consumer: info.Config})
		}
	}
	return odd, list.Err()
}

// wantedConsumer returns what the consumer of that name must be; ours is false for one that nobody here uses.
func (b *Bus) wantedConsumer(stream, name string) (want jetstream.ConsumerConfig, ours bool) {
	if stream == streamEvents {
		return b.coordinatorConfig(), name == coordinator
	}
	parts := strings.Split(name, "_")
	if len(parts) < 3 {
		return want, false
	}
	worker := strings.Join(parts[:len(parts)-2], "_")
	p, lane := pipeline.Priority(parts[len(parts)-2]), parts[len(parts)-1]
	n, err := strconv.Atoi(lane)
	if err != nil || laneName(worker, p, lane) != name {
		return want, false
	}
	return b.laneConfig(worker, p, n), true
}

// checkConsumers refuses consumers of ours that exist and keep tasks or events from us.
func (b *Bus) checkConsumers(ctx context.Context) error {
	for _, name := range []string{streamEvents, streamTasks} {
		odd, err := b.oddConsumers(ctx, name)
		if err != nil {
			return fmt.Errorf("open bus: list consumers of %s: %w", name, err)
		}
		for _, l := range odd {
			return refuse("consumer "+l.Name(), l.Differences)
		}
	}
	return nil
}

// Change makes of a stream or consumer what its Differences want: the one way in which anything that is live
// is changed. A difference that is Fixed is an error, before anything is changed.
func Change(ctx context.Context, nc *nats.Conn, l Live) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("change %s: %w", l.Name(), err)
	}
	for _, d := range l.Differences {
		switch {
		case d.Fixed:
			return fmt.Errorf("change %s: %s, and the server cannot change that of what exists: move it away, with "+
				"what it holds, by the tools of NATS", l.Name(), d)
		case d.stream != nil:
			d.stream(&l.stream)
		case d.consumer != nil:
			d.consumer(&l.consumer)
		}
	}
	if limit := l.stream.MaxBytes; limit > 0 && limit < l.Bytes {
		return fmt.Errorf("change %s: it holds %s, more than %s", l.Name(), sizeOf(l.Bytes), sizeLimit(limit))
	}
	if l.Consumer == "" {
		_, err = js.UpdateStream(ctx, l.stream)
	} else {
		_, err = js.UpdateConsumer(ctx, l.Stream, l.consumer)
	}
	if err != nil {
		return fmt.Errorf("change %s: %w", l.Name(), err)
	}
	return nil
}
