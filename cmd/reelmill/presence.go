package main

import "github.com/reelmill/reelmill/pipeline/bus"

// presences returns what this node announces: the worker types that it runs.
func (n *node) presences() []bus.Presence {
	if n.loop == nil {
		return nil
	}
	var own []bus.Presence
	for _, t := range n.registry.Types() {
		slots := n.loop.SlotsOf(t.Name)
		own = append(own, bus.Presence{
			Type: t.Name, Version: version, Process: n.loop.Process, Slots: &slots, Schema: t.Schema,
		})
	}
	return own
}
