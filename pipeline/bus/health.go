package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

const (
	// healthTimeout bounds the requests of Healthy: a group of servers without a leader does not answer.
	healthTimeout = 2 * time.Second
	// peerSilence is how long a server of a stream's group may be silent and still count. Servers speak once a
	// second; after 10 s without a majority a leader steps down.
	peerSilence = 4 * time.Second
)

// Healthy returns an error when the broker cannot store what the pipeline writes. It checks that the broker
// answers, and that the log, the queue and the dead letters each have a leader and, as the leader sees it, a
// majority of their servers. Without a majority the broker stores nothing, even if it answers. Healthy takes
// 2 s at most.
//
// Not guaranteed: that the disk has room; the embedded server's own Healthy checks that.
func (b *Bus) Healthy(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("broker: not connected (%s)", b.nc.Status())
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	names := []string{streamEvents, streamTasks, streamDead}
	failed := make([]error, len(names))
	var asked sync.WaitGroup
	for i, name := range names {
		asked.Go(func() { failed[i] = b.majority(ctx, name) })
	}
	asked.Wait()
	return errors.Join(failed...)
}

// majority returns an error when the servers of a stream cannot store.
func (b *Bus) majority(ctx context.Context, name string) error {
	s, err := b.js.Stream(ctx, name)
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("broker: nobody answers for stream %s within %s: there is no quorum", name, healthTimeout)
	default:
		return fmt.Errorf("broker: stream %s: %w", name, err)
	}
	if err := majorityOf(s.CachedInfo().Cluster); err != nil {
		return fmt.Errorf("broker: stream %s: %w", name, err)
	}
	return nil
}

// majorityOf judges a group of servers by what its leader reports. A single server has no group.
func majorityOf(group *jetstream.ClusterInfo) error {
	if group == nil {
		return nil
	}
	if group.Leader == "" {
		return errors.New("there is no quorum: it has no leader")
	}
	all, there := len(group.Replicas)+1, 1
	for _, r := range group.Replicas {
		if !r.Offline && r.Active < peerSilence {
			there++
		}
	}
	if there <= all/2 {
		return fmt.Errorf("there is no quorum: %d of its %d servers are there", there, all)
	}
	return nil
}

// Probe checks that the streams on nc's server have a majority of their servers. Then it stores, reads and
// removes a message as a Bus with cfg would, in a stream of its own. It leaves nothing behind.
func Probe(ctx context.Context, nc *nats.Conn, cfg Config) error {
	b, err := prepare(nc, cfg)
	if err != nil {
		return fmt.Errorf("probe the broker: %w", err)
	}
	for _, want := range b.streams() {
		err := b.majority(ctx, want.Name)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	id := pipeline.NewID("probe")
	stream, err := b.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: id, Description: "Whether the broker stores; it may be deleted", Subjects: []string{id},
		Storage: jetstream.FileStorage, Replicas: max(cfg.Replicas, 1),
	})
	if err != nil {
		return fmt.Errorf("create a stream of %d replicas: %w", max(cfg.Replicas, 1), err)
	}
	err = b.roundTrip(ctx, stream, id)
	if deleted := b.js.DeleteStream(context.WithoutCancel(ctx), id); deleted != nil {
		err = errors.Join(err, fmt.Errorf("delete the stream %s: %w", id, deleted))
	}
	return err
}

// roundTrip stores a message in a stream and reads it.
func (b *Bus) roundTrip(ctx context.Context, stream jetstream.Stream, subject string) error {
	ack, err := b.js.Publish(ctx, subject, []byte(subject))
	if err != nil {
		return fmt.Errorf("store a message: %w", err)
	}
	m, err := stream.GetMsg(ctx, ack.Sequence)
	if err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	if string(m.Data) != subject {
		return errors.New("the message that was stored did not come back")
	}
	return nil
}

// Withheld returns how many failures the Bus did not log because the same thing had failed within the minute
// before.
func (b *Bus) Withheld() uint64 { return b.recurring.Withheld() }
