package workers

import "runtime"

// SlotsOf returns how many attempts of a worker type may run at once, without the interactive slots.
func (l *Loop) SlotsOf(worker string) int {
	if n, ok := l.Slots[worker]; ok {
		return n
	}
	if t, err := l.Registry.lookup(worker); err == nil {
		return t.slots(runtime.NumCPU())
	}
	return defaultSlots(runtime.NumCPU())
}

// Capacity returns how many attempts of a worker type may run at once, with the interactive slots.
func (l *Loop) Capacity(worker string) int { return l.SlotsOf(worker) + l.interactive(worker) }

// manySlots is a number of slots of which one is soon free, so that a type needs no interactive slot.
const manySlots = 8

// interactive returns how many slots of a worker type take tasks of high priority only.
func (l *Loop) interactive(worker string) int {
	if n, ok := l.Interactive[worker]; ok {
		return n
	}
	if n := l.SlotsOf(worker); n == 0 || n >= manySlots {
		return 0
	}
	return 1
}
