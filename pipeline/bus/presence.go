package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// Presence is what a process says of one worker type that it runs. It is a wire format: a worker in any
// language announces itself by putting this document, as JSON, into the key-value bucket WORKERS. It
// publishes to $KV.WORKERS.<key> and waits for JetStream's ack:
//
//	{
//	  "type": "transcode",
//	  "version": "v1.4.0",
//	  "process": "host-7/4711",
//	  "slots": 2,
//	  "schema": {"type": "object", "properties": {"crf": {"type": "integer"}}}
//	}
//
// The key is one name token (letters, digits, - and _) that no other process and type uses. Readers do not
// parse it; ReelMill writes the type, a dash and a hash of the process. The bucket forgets a document after
// 30 s, so a process repeats it every 10 s. A process that stops repeats it no more, and is forgotten.
//
// Readers ignore fields that they do not know, and documents without a valid type.
type Presence struct {
	// Type is the worker type, a name token. Required.
	Type string `json:"type"`
	// Version is the version of the program, for people.
	Version string `json:"version"`
	// Process is what job.started calls the process: a text that no other process has. Required.
	Process string `json:"process"`
	// Slots is how many jobs of the type the process runs at once. One that does not say has one slot.
	Slots *int `json:"slots,omitempty"`
	// Schema is the JSON Schema of the type's parameters.
	Schema json.RawMessage `json:"schema,omitempty"`
}

func (p Presence) validate() error {
	if !pipeline.ValidName(p.Type) {
		return fmt.Errorf("worker type %q is not a name token", p.Type)
	}
	if p.Process == "" {
		return errors.New("the process is missing")
	}
	return nil
}

// key returns the key of the document in the bucket.
func (p Presence) key() string {
	h := fnv.New64a()
	h.Write([]byte(p.Process))
	return fmt.Sprintf("%s-%x", p.Type, h.Sum64())
}

// announceEvery is how often a process repeats what it runs: a third of the time until it is forgotten.
const announceEvery = presenceTTL / 3

// KeepAnnouncing announces the worker types of this process, and repeats it every 10 s until ctx ends. A
// broker that is away is logged, and asked again.
func (b *Bus) KeepAnnouncing(ctx context.Context, own []Presence) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		for _, p := range own {
			if err := b.Announce(ctx, p); err != nil && ctx.Err() == nil {
				b.recurring.Failed("announce a worker", "worker", p.Type, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Announce announces one worker type of this process. The broker forgets it after 30 s.
func (b *Bus) Announce(ctx context.Context, p Presence) error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("announce a worker: %w", err)
	}
	doc, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("announce worker %s: %w", p.Type, err)
	}
	err = b.putWorker(ctx, p.key(), doc)
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		// A server without a cluster has restarted, and has lost what it kept in memory.
		if err := b.ensureVolatile(ctx); err != nil {
			return err
		}
		err = b.putWorker(ctx, p.key(), doc)
	}
	if err != nil {
		return fmt.Errorf("announce worker %s: %w", p.Type, err)
	}
	return nil
}

func (b *Bus) putWorker(ctx context.Context, key string, doc []byte) error {
	kv, err := b.js.KeyValue(ctx, bucketWorkers)
	if err == nil {
		_, err = kv.Put(ctx, key, doc)
	}
	return err
}

// ensureVolatile creates the streams that are kept in memory.
func (b *Bus) ensureVolatile(ctx context.Context) error {
	for _, want := range b.streams() {
		if want.Storage != jetstream.MemoryStorage {
			continue
		}
		if _, err := b.ensureStream(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

// Workers returns how many processes run each worker type. It asks the broker.
func (b *Bus) Workers(ctx context.Context) (map[string]int, error) {
	present, err := b.Present(ctx)
	if err != nil {
		return nil, err
	}
	types := map[string]int{}
	for _, p := range present {
		types[p.Type]++
	}
	return types, nil
}

// Present returns what every process announced within the last 30 s, in no order. It asks the broker. A
// document that it cannot read is logged and left out: no process can hide the others.
func (b *Bus) Present(ctx context.Context) ([]Presence, error) {
	kv, err := b.js.KeyValue(ctx, bucketWorkers)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	watch, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	defer watch.Stop() //nolint:errcheck // it fails when the connection is closed, and then is gone too
	return b.collect(ctx, watch.Updates())
}

// collect reads the documents up to the nil that follows the last one. Without it the list may lack some.
func (b *Bus) collect(ctx context.Context, updates <-chan jetstream.KeyValueEntry) ([]Presence, error) {
	var present []Presence
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return nil, errors.New("list workers: the broker's answer broke off")
			}
			if entry == nil {
				return present, nil
			}
			p, err := decodePresence(entry.Value())
			if err != nil {
				b.recurring.Failed("read what a worker announced", "key", entry.Key(), "error", err)
				continue
			}
			present = append(present, p)
		case <-ctx.Done():
			return nil, fmt.Errorf("list workers: %w", ctx.Err())
		}
	}
}

func decodePresence(doc []byte) (Presence, error) {
	var p Presence
	if err := json.Unmarshal(doc, &p); err != nil {
		return p, err
	}
	return p, p.validate()
}
