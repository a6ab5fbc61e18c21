package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline/bus"
)

// announceWorkers tells which worker types this node runs, again and again, so that silence means absence.
func (n *node) announceWorkers(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		for _, t := range n.registry.Types() {
			slots := n.loop.SlotsOf(t.Name)
			p := presence{Type: t.Name, Version: version, Process: n.loop.Process, Slots: &slots, Schema: t.Schema}
			doc, err := json.Marshal(p)
			if err != nil {
				return fmt.Errorf("announce worker %s: %w", t.Name, err)
			}
			name := presenceName(t.Name, n.loop.Process)
			if err := n.bus.Announce(ctx, name, doc); err != nil && ctx.Err() == nil {
				n.recurring.Failed("announce worker", "worker", t.Name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// presence is what a node says of a worker type that it runs.
type presence struct {
	Type    string          `json:"type"`
	Version string          `json:"version"`
	Process string          `json:"process"`
	Slots   *int            `json:"slots,omitempty"` // nil where a worker does not say
	Schema  json.RawMessage `json:"schema"`
}

// presenceName names what a process says of a worker type.
func presenceName(worker, process string) string {
	h := fnv.New64a()
	h.Write([]byte(process))
	return fmt.Sprintf("%s-%x", worker, h.Sum64())
}

// present counts the processes that run each worker type.
func (n *node) present(ctx context.Context) (map[string]int, error) {
	there, err := presences(ctx, n.bus)
	if err != nil {
		return nil, err
	}
	types := map[string]int{}
	for _, p := range there {
		types[p.Type]++
	}
	return types, nil
}

// presences returns what the processes that are there say of the worker types that they run.
func presences(ctx context.Context, b *bus.Bus) ([]presence, error) {
	docs, err := b.Workers(ctx)
	if err != nil {
		return nil, err
	}
	there := make([]presence, 0, len(docs))
	for _, doc := range docs {
		var p presence
		if err := json.Unmarshal(doc, &p); err != nil {
			return nil, fmt.Errorf("decode presence: %w", err)
		}
		there = append(there, p)
	}
	return there, nil
}

// slotCounts remembers how many slots each worker type has in all processes that are there.
type slotCounts struct {
	mu    sync.Mutex
	known map[string]int
	read  time.Time
}

// slotsFresh is how long what was read is good enough. Processes tell every 10 s that they are there.
const slotsFresh = 5 * time.Second

// slotsOf returns how many slots a worker type has in all processes that are there, this one included; 0 when
// that is not known.
func (n *node) slotsOf(worker string) int {
	c := &n.deployed
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.read) < slotsFresh {
		return c.known[worker]
	}
	known, err := n.countSlots()
	if err != nil {
		n.recurring.Failed("count slots", "error", err) // what was known is as good as any guess
	} else {
		c.known = known
	}
	c.read = time.Now()
	return c.known[worker]
}

// countSlots sums the slots that processes tell of. One that tells of none, of another program perhaps, has
// one. This process need not have told yet.
func (n *node) countSlots() (map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	there, err := presences(ctx, n.bus)
	if err != nil {
		return nil, err
	}
	slots := map[string]int{}
	for _, p := range there {
		switch {
		case n.loop != nil && p.Process == n.loop.Process: // counted below
		case p.Slots == nil:
			slots[p.Type]++
		default:
			slots[p.Type] += max(0, *p.Slots)
		}
	}
	if n.loop == nil {
		return slots, nil
	}
	for _, t := range n.registry.Types() {
		slots[t.Name] += n.loop.SlotsOf(t.Name)
	}
	return slots, nil
}
