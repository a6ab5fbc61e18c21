package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams, and the buckets of presence, of webhook endpoints, of what operators ordered, and of secrets.
const (
	streamEvents   = "EVENTS"
	streamTasks    = "TASKS"
	streamDead     = "DEAD"
	streamProgress = "PROGRESS"
	bucketWorkers  = "WORKERS"
	streamWorkers  = "KV_" + bucketWorkers

	bucketHooks      = "WEBHOOKS"
	streamHooks      = "KV_" + bucketHooks
	streamHookTasks  = "HOOKS"
	streamDeliveries = "DELIVERIES"

	bucketControl = "CONTROL"
	streamControl = "KV_" + bucketControl

	bucketSecrets = "SECRETS"
	streamSecrets = "KV_" + bucketSecrets
)

const (
	defaultEventsMaxBytes = 8 << 30
	duplicateWindow       = 10 * time.Minute
	progressMaxAge        = 15 * time.Minute
	presenceTTL           = 30 * time.Second
	deliveriesMaxAge      = 30 * 24 * time.Hour
	deliveriesMaxBytes    = 1 << 30
	unlimited             = -1
)

// streams returns what the streams must be. Replicas and MaxBytes of 0 keep what a live stream has.
func (b *Bus) streams() []jetstream.StreamConfig {
	base := func(name, about string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Description: about, Subjects: subjects, Storage: jetstream.FileStorage,
			Replicas: b.cfg.Replicas, Duplicates: duplicateWindow,
			MaxMsgs: unlimited, MaxBytes: unlimited, MaxMsgsPerSubject: unlimited, MaxMsgSize: unlimited,
		}
	}
	events := base(streamEvents, "The event log: the truth", "video.>", "job.>")
	events.Discard = jetstream.DiscardNew
	events.MaxBytes = b.cfg.EventsMaxBytes
	events.RePublish = &jetstream.RePublish{Source: ">", Destination: livePrefix + ">"}

	tasks := base(streamTasks, "Tasks of workers, and retries that are not yet due", "task.>", "retry.>")
	tasks.Retention = jetstream.WorkQueuePolicy
	tasks.AllowMsgSchedules = true
	tasks.AllowRollup = true // a schedule replaces the one before on its subject
	tasks.AllowDirect = true // for counts alone, which may lag
	tasks.RePublish = &jetstream.RePublish{
		Source: "task.>", Destination: bellPrefix + "task.>", HeadersOnly: true,
	}

	dead := base(streamDead, "Tasks that nobody will try again by itself", "dead.>")
	dead.Discard = jetstream.DiscardNew

	progress := base(streamProgress, "How far each running job is", "progress.>")
	progress.Storage = jetstream.MemoryStorage
	progress.MaxMsgsPerSubject = 1
	progress.MaxAge = progressMaxAge
	progress.AllowDirect = true

	// The bucket of presence, as CreateKeyValue makes it (ADR-8).
	workers := base(streamWorkers, "Processes that run workers", "$KV."+bucketWorkers+".>")
	workers.Storage, workers.Discard = jetstream.MemoryStorage, jetstream.DiscardNew
	workers.MaxMsgsPerSubject, workers.MaxAge, workers.Duplicates = 1, presenceTTL, presenceTTL
	workers.AllowRollup, workers.AllowDirect, workers.DenyDelete = true, true, true

	streams := append([]jetstream.StreamConfig{events, tasks, dead, progress, workers}, b.hookStreams(base)...)
	control := base(streamControl, "Pauses of queues, and bulk runs", "$KV."+bucketControl+".>")
	secrets := base(streamSecrets, "Secrets of the installation", "$KV."+bucketSecrets+".>")
	return append(streams, bucketOf(control), bucketOf(secrets))
}

// bucketOf makes a stream the bucket of that name, as CreateKeyValue makes it (ADR-8), with one value a key.
func bucketOf(stream jetstream.StreamConfig) jetstream.StreamConfig {
	stream.Discard, stream.MaxMsgsPerSubject = jetstream.DiscardNew, 1
	stream.AllowRollup, stream.AllowDirect, stream.DenyDelete = true, true, true
	return stream
}

// hookStreams returns what the streams of webhooks must be.
func (b *Bus) hookStreams(base func(name, about string, subjects ...string) jetstream.StreamConfig,
) []jetstream.StreamConfig {
	endpoints := bucketOf(base(streamHooks, "Webhook endpoints", "$KV."+bucketHooks+".>"))

	tasks := base(streamHookTasks, "Webhook deliveries that are due, or will be", "hook.>", "hookretry.>")
	tasks.Retention = jetstream.WorkQueuePolicy
	tasks.AllowMsgSchedules, tasks.AllowRollup = true, true // as in TASKS
	tasks.AllowDirect = true                                // for counts alone, which may lag

	records := base(streamDeliveries, "What became of webhook deliveries", "delivery.>")
	records.MaxMsgsPerSubject, records.MaxAge = 1, deliveriesMaxAge
	records.MaxBytes = 0 // createStream sets it
	return []jetstream.StreamConfig{endpoints, tasks, records}
}

// ErrAbsent says that a stream is missing, and that another process must create it (Config.Join).
var ErrAbsent = errors.New("the broker has no such stream")

// ensureStream creates the stream, or checks the live one, and returns its configuration. It never changes a
// live stream.
func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = b.createStream(ctx, want)
	}
	if err != nil {
		return want, fmt.Errorf("open bus: stream %s: %w", want.Name, err)
	}
	live := stream.CachedInfo().Config
	return live, refuse("stream "+want.Name, differences(want, live))
}

// createStream creates a stream with the replicas of the Config, else those of the log, else one. When
// another process was faster, it returns that one's stream, whose settings the caller compares.
func (b *Bus) createStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if b.cfg.Join && want.Storage == jetstream.FileStorage {
		return nil, fmt.Errorf("%w: start `reelmill serve` first, which creates it", ErrAbsent)
	}
	if want.Replicas == 0 {
		want.Replicas = max(b.replicas, 1)
	}
	if want.Name == streamEvents {
		want.AllowDirect = want.Replicas == 1
		if want.MaxBytes == 0 {
			want.MaxBytes = b.defaultMaxBytes(ctx, want.Replicas)
		}
	}
	if want.Name == streamDeliveries && want.MaxBytes == 0 {
		want.MaxBytes = min(deliveriesMaxBytes, b.defaultMaxBytes(ctx, want.Replicas)/4)
	}
	stream, err := b.js.CreateStream(ctx, want)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = b.js.Stream(ctx, want.Name)
	}
	return stream, err
}

// defaultMaxBytes returns the size of a new log when the Config has none: the default, or half of what the
// account may store if that is less.
func (b *Bus) defaultMaxBytes(ctx context.Context, replicas int) int64 {
	info, err := b.js.AccountInfo(ctx)
	if err != nil || info.Limits.MaxStore <= 0 {
		return defaultEventsMaxBytes
	}
	return min(defaultEventsMaxBytes, info.Limits.MaxStore/2/int64(replicas))
}

// ensureConsumer returns the durable consumer of a stream, and creates it when it is missing. It uses a live
// one as it is, and returns ErrDiffers when that one cannot do its work.
func (b *Bus) ensureConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig,
) (jetstream.Consumer, error) {
	c, err := b.js.CreateConsumer(ctx, stream, want)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		if c, err = b.js.Consumer(ctx, stream, want.Name); err == nil {
			err = refuse("consumer "+want.Name+" of "+stream, consumerDifferences(want, c.CachedInfo().Config))
		}
	}
	return c, err
}
