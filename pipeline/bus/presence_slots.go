package bus

import (
	"context"
	"sync"
	"time"
)

// Slots remembers how many slots each worker type has in all processes. Run refreshes it in the background,
// so Of answers from memory and never waits for the broker. The zero value knows of no slots; it is safe for
// concurrent use.
type Slots struct {
	mu    sync.Mutex
	known map[string]int
}

const (
	slotsEvery   = 5 * time.Second // half of announceEvery: a process is counted within 15 s of its start
	slotsTimeout = 2 * time.Second
)

// Of returns how many slots a worker type has in all processes; 0 when that is not known. A process that
// started or stopped counts within seconds, not at once.
func (s *Slots) Of(worker string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[worker]
}

func (s *Slots) set(known map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
}

// Run counts at once and every 5 s until ctx ends. Own is what this process runs: it counts from the start,
// announced or not. While the broker does not answer, the last count stays.
func (s *Slots) Run(ctx context.Context, b *Bus, own []Presence) {
	s.set(sumSlots(own, nil))
	tick := time.NewTicker(slotsEvery)
	defer tick.Stop()
	for {
		s.refresh(ctx, b, own)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Slots) refresh(ctx context.Context, b *Bus, own []Presence) {
	limited, cancel := context.WithTimeout(ctx, slotsTimeout)
	defer cancel()
	present, err := b.Present(limited)
	switch {
	case err == nil:
		s.set(sumSlots(own, present))
	case ctx.Err() == nil:
		b.recurring.Failed("count slots", "error", err)
	}
}

// sumSlots adds up the slots of the own worker types and of those that other processes announced.
func sumSlots(own, present []Presence) map[string]int {
	slots, self := map[string]int{}, map[string]bool{}
	for _, p := range own {
		slots[p.Type] += p.slots()
		self[p.Process] = true
	}
	for _, p := range present {
		if !self[p.Process] {
			slots[p.Type] += p.slots()
		}
	}
	return slots
}

// slots returns the number of slots that a presence stands for.
func (p Presence) slots() int {
	if p.Slots == nil {
		return 1
	}
	return max(0, *p.Slots)
}
