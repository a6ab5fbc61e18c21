package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams, and the bucket of presence.
const (
	streamEvents   = "EVENTS"
	streamTasks    = "TASKS"
	streamDead     = "DEAD"
	streamProgress = "PROGRESS"
	bucketWorkers  = "WORKERS"
)

const (
	defaultEventsMaxBytes = 8 << 30
	duplicateWindow       = 10 * time.Minute
	progressMaxAge        = 15 * time.Minute
	presenceTTL           = 30 * time.Second
	unlimited             = -1
)

// streams returns what the streams must be.
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
	// With replicas a direct read may come from one that lags; alone, it is the leader that answers.
	events.AllowDirect = b.direct

	tasks := base(streamTasks, "Tasks of workers, and retries that are not yet due", "task.>", "retry.>")
	tasks.Retention = jetstream.WorkQueuePolicy
	tasks.AllowMsgSchedules = true
	tasks.AllowRollup = true // a schedule replaces the one before on its subject
	tasks.AllowDirect = true // only counts are read so, and may lag
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
	return []jetstream.StreamConfig{events, tasks, dead, progress}
}

// ensureStream creates the stream, or checks the live one and updates what may be updated.
func (b *Bus) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if want.MaxBytes == 0 {
			want.MaxBytes = b.defaultMaxBytes(ctx)
		}
		stream, err = b.js.CreateStream(ctx, want) // equal settings of a faster process are no error
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = b.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("open bus: stream %s: %w", want.Name, err)
	}
	live := stream.CachedInfo().Config
	if diffs := differences(want, live); len(diffs) > 0 {
		return fmt.Errorf("open bus: stream %s exists and differs: %s; change it with `nats stream edit %s`, "+
			"or adapt the configuration", want.Name, strings.Join(diffs, "; "), want.Name)
	}
	if next, changed := updated(want, live); changed {
		if _, err := b.js.UpdateStream(ctx, next); err != nil {
			return fmt.Errorf("open bus: update stream %s: %w", want.Name, err)
		}
	}
	return nil
}

// defaultMaxBytes is the size of a new log for which none was asked: half of what the account may store, if
// that is less than the default.
func (b *Bus) defaultMaxBytes(ctx context.Context) int64 {
	info, err := b.js.AccountInfo(ctx)
	if err != nil || info.Limits.MaxStore <= 0 {
		return defaultEventsMaxBytes
	}
	return min(defaultEventsMaxBytes, info.Limits.MaxStore/2/int64(b.cfg.Replicas))
}

// differences names what must not differ and does.
func differences(want, live jetstream.StreamConfig) []string {
	var diffs []string
	check := func(what string, want, live any) {
		if want != live {
			diffs = append(diffs, fmt.Sprintf("%s is %v, want %v", what, live, want))
		}
	}
	check("retention", want.Retention, live.Retention)
	check("discard", want.Discard, live.Discard)
	check("storage", want.Storage, live.Storage)
	check("max messages", want.MaxMsgs, live.MaxMsgs)
	check("max messages per subject", want.MaxMsgsPerSubject, live.MaxMsgsPerSubject)
	check("max message size", want.MaxMsgSize, live.MaxMsgSize)
	check("max age", want.MaxAge, live.MaxAge)
	switch {
	case want.MaxBytes != 0:
		check("max bytes", want.MaxBytes, live.MaxBytes)
	case live.MaxBytes <= 0:
		diffs = append(diffs, "max bytes is unlimited, want a limit")
	}
	if subjects := slices.Sorted(slices.Values(live.Subjects)); !slices.Equal(
		slices.Sorted(slices.Values(want.Subjects)), subjects) {
		check("subjects", strings.Join(want.Subjects, ","), strings.Join(live.Subjects, ","))
	}
	return diffs
}

// updated returns live with the settings of want that may change under a running system, and whether any did.
func updated(want, live jetstream.StreamConfig) (next jetstream.StreamConfig, changed bool) {
	next = live
	next.Replicas, next.Duplicates, next.AllowDirect = want.Replicas, want.Duplicates, want.AllowDirect
	next.AllowMsgSchedules, next.AllowRollup = want.AllowMsgSchedules, want.AllowRollup
	next.RePublish = want.RePublish
	same := next.Replicas == live.Replicas && next.Duplicates == live.Duplicates &&
		next.AllowDirect == live.AllowDirect && next.AllowMsgSchedules == live.AllowMsgSchedules &&
		next.AllowRollup == live.AllowRollup && sameRePublish(next.RePublish, live.RePublish)
	return next, !same
}

func sameRePublish(a, b *jetstream.RePublish) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
