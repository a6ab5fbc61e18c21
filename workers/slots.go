package workers

import "runtime"

// SlotsOf returns how many attempts of a worker type may run at once, without the interactive slots.
// It needs Registry, Slots and Interactive alone, as Capacity does.
func (c Config) SlotsOf(worker string) int {
	if n, ok := c.Slots[worker]; ok {
		return n
	}
	if t, err := c.Registry.lookup(worker); err == nil {
		return t.slots(runtime.NumCPU())
	}
	return defaultSlots(runtime.NumCPU())
}

// Capacity returns how many attempts of a worker type may run at once, with the interactive slots.
func (c Config) Capacity(worker string) int { return c.SlotsOf(worker) + c.interactive(worker) }

// manySlots is a number of slots of which one is soon free, so that a type needs no interactive slot.
const manySlots = 8

// interactive returns how many slots of a worker type take tasks of high priority only.
func (c Config) interactive(worker string) int {
	if n, ok := c.Interactive[worker]; ok {
		return n
	}
	if n := c.SlotsOf(worker); n == 0 || n >= manySlots {
		return 0
	}
	return 1
}
