package workers

import (
	"runtime"
	"testing"
)

// waiter is a worker that sets its own number of slots.
type waiter struct{ Worker[struct{}] }

func (waiter) Slots(cores int) int { return 10 * cores }

// TestSlots: the configuration overrides the worker's own number of slots.
func TestSlots(t *testing.T) {
	r := NewRegistry()
	Add(r, "plain", struct{ Worker[struct{}] }{})
	Add(r, "waiter", waiter{})
	Add(r, "told", waiter{})
	l := &Loop{Config: Config{Registry: r, Slots: map[string]int{"told": 3}}}
	for name, want := range map[string]int{
		"plain": max(1, runtime.NumCPU()/2), "waiter": 10 * runtime.NumCPU(), "told": 3,
	} {
		if got := l.SlotsOf(name); got != want {
			t.Errorf("%s has %d slots, want %d", name, got, want)
		}
	}
	l.Slots["none"], l.Slots["asked"], l.Interactive = 0, 20, map[string]int{"asked": 2}
	for name, want := range map[string]int{"plain": 1, "waiter": 0, "told": 1, "none": 0, "asked": 2} {
		if got := l.interactive(name); got != want {
			t.Errorf("%s has %d interactive slots, want %d", name, got, want)
		}
	}
	if s := l.Stats(); len(s) != 3 || s["plain"] != (Counts{}) {
		t.Errorf("stats %+v", s)
	}
}
