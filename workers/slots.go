package workers

import "runtime"

// SlotsOf returns how many attempts of a worker type there may be at once; those in interactive slots come on
// top.
func (l *Loop) SlotsOf(worker string) int {
	if n, ok := l.Slots[worker]; ok {
		return n
	}
	if t, err := l.Registry.lookup(worker); err == nil {
		return t.slots(runtime.NumCPU())
	}
	return defaultSlots(runtime.NumCPU())
}

// Capacity returns how many attempts of a worker type there may be at once, those in interactive slots
// included.
func (l *Loop) Capacity(worker string) int { return l.SlotsOf(worker) + l.interactive(worker) }

// manySlots is how many slots of a type are so many that one of them is soon free.
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
