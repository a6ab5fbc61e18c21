package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline/bytesize"
)

// Live is a stream or consumer as it is on the server.
type Live struct {
	Stream   string
	Consumer string // its name; empty for the stream itself
	Absent   bool   // there is none yet: Open creates it
	Replicas int    // of a stream
	Cluster  string // the name of the cluster; empty for a single server
	Subjects []string
	// Messages, Bytes and MaxBytes are a stream's; MaxBytes is below 1 when there is no limit.
	Messages        uint64
	Bytes, MaxBytes int64
	First, Last     uint64 // sequences of its messages
	// Differences are the settings that Open would reject, and those that differ from the Config.
	Differences []Difference

	stream   jetstream.StreamConfig
	consumer jetstream.ConsumerConfig
}

// Name returns STREAM, or STREAM/consumer.
func (l Live) Name() string {
	if l.Consumer == "" {
		return l.Stream
	}
	return l.Stream + "/" + l.Consumer
}

// Look returns the streams of the bus on nc's server, and how they differ from cfg. It returns only those
// consumers that differ. It creates and changes nothing.
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
	if info.Cluster != nil {
		l.Cluster = info.Cluster.Name
	}
	l.Differences = differences(want, info.Config)
	return l, nil
}

// oddConsumers returns the bus's consumers on a stream that differ from what they must be.
func (b *Bus) oddConsumers(ctx context.Context, name string) ([]Live, error) {
	if !slices.Contains(durables(), name) {
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

// durables returns the streams with durable consumers.
func durables() []string { return []string{streamEvents, streamTasks, streamHookTasks} }

// wantedConsumer returns what the consumer of that name must be. ours is false when the bus uses none of that
// name.
func (b *Bus) wantedConsumer(stream, name string) (want jetstream.ConsumerConfig, ours bool) {
	switch {
	case stream == streamEvents && name == dispatcher:
		return b.dispatcherConfig(), true
	case stream == streamEvents:
		return b.coordinatorConfig(), name == coordinator
	case stream == streamHookTasks:
		return b.hookConfig(), name == hookSenders
	}
	worker, p, project, ok := splitConsumer(name)
	if !ok {
		return want, false
	}
	return b.tasksConfig(worker, p, project), true
}

// checkConsumers returns ErrDiffers when a live consumer would keep tasks or events from the bus.
func (b *Bus) checkConsumers(ctx context.Context) error {
	for _, name := range durables() {
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

// Check returns an error when Change cannot make the Differences go away. It makes no request to the server.
func Check(all ...Live) error {
	type group struct {
		why string
		of  []Live
	}
	var groups []group
	for _, l := range all {
		why := l.obstacle()
		if why == "" {
			continue
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.why == why })
		if i < 0 {
			i, groups = len(groups), append(groups, group{why: why})
		}
		groups[i].of = append(groups[i].of, l)
	}
	if len(groups) == 0 {
		return nil
	}
	var texts []string
	for _, g := range groups {
		texts = append(texts, names(g.of)+": "+g.why)
	}
	return errors.New(strings.Join(texts, "; "))
}

func names(all []Live) string {
	var list []string
	for _, l := range all {
		list = append(list, l.Name())
	}
	return strings.Join(list, ", ")
}

// obstacle says why l's Differences cannot be changed. It returns "" when only the server can tell.
func (l Live) obstacle() string {
	for _, d := range l.Differences {
		if d.Fixed {
			return fmt.Sprintf("%s, and the server cannot change that: move it, and its messages, away with the nats "+
				"command", d)
		}
	}
	want := l.changed().stream
	switch {
	case want.MaxBytes > 0 && want.MaxBytes < l.Bytes:
		return fmt.Sprintf("it holds %s, more than %s",
			bytesize.Size(l.Bytes).Exact(), bytesize.Size(want.MaxBytes).Exact())
	case want.Replicas > max(l.Replicas, 1) && l.Cluster == "":
		return fmt.Sprintf("%d copies need a cluster of NATS servers, and the broker is a single one; let it "+
			"join a cluster, or ask for one copy", want.Replicas)
	}
	return ""
}

// changed returns l with the settings of its Differences changed.
func (l Live) changed() Live {
	for _, d := range l.Differences {
		switch {
		case d.stream != nil:
			d.stream(&l.stream)
		case d.consumer != nil:
			d.consumer(&l.consumer)
		}
	}
	return l
}

// Change changes live streams and consumers as their Differences say, in order; nothing else in the bus
// changes a live one. It changes nothing when Check returns an error. When a change fails, Change stops, and
// the error names what it has changed and what not.
func Change(ctx context.Context, nc *nats.Conn, all ...Live) error {
	if err := Check(all...); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("change streams: %w", err)
	}
	differing := slices.DeleteFunc(slices.Clone(all), func(l Live) bool { return len(l.Differences) == 0 })
	for i, l := range differing {
		if err := l.changed().update(ctx, js); err != nil {
			return halfway(differing, i, err)
		}
	}
	return nil
}

func (l Live) update(ctx context.Context, js jetstream.JetStream) (err error) {
	if l.Consumer == "" {
		_, err = js.UpdateStream(ctx, l.stream)
	} else {
		_, err = js.UpdateConsumer(ctx, l.Stream, l.consumer)
	}
	return err
}

// halfway returns the error for changes of which the one at failed has failed. Without an answer of the
// server, that one may have been made or not.
func halfway(all []Live, failed int, err error) error {
	var told []string
	tell := func(what string, of []Live) {
		if len(of) > 0 {
			told = append(told, what+": "+names(of))
		}
	}
	tell("changed", all[:failed])
	if _, refused := errors.AsType[*jetstream.APIError](err); refused {
		tell("not changed", all[failed:])
	} else {
		tell("not changed", all[failed+1:])
		tell("perhaps changed", all[failed:failed+1])
	}
	return fmt.Errorf("change %s: %w; %s; `reelmill streams show` shows what differs now",
		all[failed].Name(), err, strings.Join(told, "; "))
}
