package webhooks

import (
	"sync"
	"time"
)

// gates limits the attempts that are under way at once, so that receivers that hang do not hold up others:
//
//   - A host has at most perHost attempts at once.
//   - A host whose last attempt got no answer has one, until it answers.
//   - All such hosts together have at most half of the slots.
//
// A task that may not enter goes back to the queue for a while: the longer, the more tasks of its host were
// turned away since the host last let one in.
type gates struct {
	perHost, silentMost int

	mu     sync.Mutex
	hosts  map[string]*gate
	silent int // attempts under way to silent hosts
}

// gate is the state of one host. It is forgotten when nothing is under way and the host answers.
type gate struct {
	busy   int
	silent bool // its last attempt got no answer
	turned int  // tasks that were turned away since the last one was let in
}

// Times for which a task that may not enter goes back.
const (
	firstTurn = 250 * time.Millisecond
	lastTurn  = 30 * time.Second
	// hostsKept is how many hosts are remembered; beyond it, silent hosts at which nothing is under way are
	// forgotten.
	hostsKept = 4096
)

func newGates(slots, perHost int) *gates {
	return &gates{perHost: perHost, silentMost: max(1, slots/2), hosts: map[string]*gate{}}
}

// enter lets an attempt begin, or says after what time to ask again. The caller must call leave after it.
func (g *gates) enter(host string) (leave func(silent bool), again time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.hosts[host]
	if h == nil {
		g.forget()
		h = &gate{}
		g.hosts[host] = h
	}
	suspect := h.silent
	if h.busy >= g.perHost || suspect && (h.busy > 0 || g.silent >= g.silentMost) {
		h.turned++
		return nil, min(lastTurn, firstTurn*time.Duration(1+h.turned/g.perHost))
	}
	h.busy, h.turned = h.busy+1, 0
	if suspect {
		g.silent++
	}
	return func(silent bool) { g.leave(host, h, suspect, silent) }, 0
}

func (g *gates) leave(host string, h *gate, suspect, silent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.busy--
	h.silent = silent
	if suspect {
		g.silent--
	}
	if h.busy == 0 && !silent && g.hosts[host] == h {
		delete(g.hosts, host)
	}
}

// forget makes room for another host.
func (g *gates) forget() {
	if len(g.hosts) < hostsKept {
		return
	}
	for name, h := range g.hosts {
		if h.busy == 0 {
			delete(g.hosts, name)
			return
		}
	}
}
