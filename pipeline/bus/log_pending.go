package bus

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// maxPending is how many events a process holds. Projects take turns among these, and not beyond.
const maxPending = 2048

// pending holds the events that a process has taken and not settled. It groups them by video and queues the
// videos by project, and projects take turns.
type pending struct {
	mu      sync.Mutex
	changed *sync.Cond
	closed  bool
	held    int                        // events
	videos  map[string]*pendingVideo   // those in a queue and those being handled, by project and video
	queues  map[string][]*pendingVideo // by project
	turns   []string                   // the projects that have a queue, the next one first
	busy    int                        // videos being handled
	idle    chan struct{}              // closed when pending is closed and no video is being handled
}

// pendingVideo is the events of one video.
type pendingVideo struct {
	project, video string
	waiting, taken []jetstream.Msg
	event          pipeline.Event // the last of those taken
	delivered      uint64         // how often it was delivered
	handled        bool           // it is being handled
	next           pipeline.Event // the last of those waiting
	nextDelivered  uint64
}

func newPending() *pending {
	p := &pending{
		videos: map[string]*pendingVideo{}, queues: map[string][]*pendingVideo{}, idle: make(chan struct{}),
	}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// put adds an event. It returns false when p is closed.
func (p *pending) put(m jetstream.Msg, e pipeline.Event, delivered uint64) bool {
	project, video, _, _ := pipeline.Address(e.Subject) // checked by the caller
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	v := p.videos[project+"."+video]
	if v == nil {
		v = &pendingVideo{project: project, video: video}
		p.videos[project+"."+video] = v
	}
	if len(v.waiting) == 0 && !v.handled {
		p.enqueue(v)
	}
	v.waiting = append(v.waiting, m)
	if e.Sequence > v.next.Sequence {
		v.next = e
	}
	v.nextDelivered = max(v.nextDelivered, delivered)
	p.held++
	p.changed.Broadcast()
	return true
}

func (p *pending) enqueue(v *pendingVideo) {
	if len(p.queues[v.project]) == 0 {
		p.turns = append(p.turns, v.project)
	}
	p.queues[v.project] = append(p.queues[v.project], v)
}

// take waits for a video to handle, and returns nil when p is closed.
func (p *pending) take() *pendingVideo {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.turns) == 0 && !p.closed {
		p.changed.Wait()
	}
	if p.closed {
		return nil
	}
	project := p.turns[0]
	v := p.queues[project][0]
	p.turns, p.queues[project] = p.turns[1:], p.queues[project][1:]
	if len(p.queues[project]) > 0 {
		p.turns = append(p.turns, project)
	} else {
		delete(p.queues, project)
	}
	v.taken, v.waiting = v.waiting, nil
	v.event, v.next = v.next, pipeline.Event{}
	v.delivered, v.nextDelivered = v.nextDelivered, 0
	v.handled = true
	p.busy++
	return v
}

// done ends the handling of a video, and queues it again if more of its events have come.
func (p *pending) done(v *pendingVideo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.held -= len(v.taken)
	v.taken, v.handled = nil, false
	if len(v.waiting) > 0 {
		p.enqueue(v)
	} else {
		delete(p.videos, v.project+"."+v.video)
	}
	p.checkIdle()
	p.changed.Broadcast()
}

// checkIdle closes p.idle when p is closed and no video is being handled; p.mu is held.
func (p *pending) checkIdle() {
	if p.closed && p.busy == 0 {
		select {
		case <-p.idle:
		default:
			close(p.idle)
		}
	}
}

// space waits until more events fit and returns how many, or 0 when ctx has ended.
func (p *pending) space(ctx context.Context) int {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held >= maxPending && ctx.Err() == nil {
		p.changed.Wait()
	}
	if ctx.Err() != nil {
		return 0
	}
	return maxPending - p.held
}

// close makes every later put and take fail.
func (p *pending) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.checkIdle()
	p.changed.Broadcast()
}

// abandon removes and returns the events that wait. Call it after close.
func (p *pending) abandon() []jetstream.Msg {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []jetstream.Msg
	for _, v := range p.videos {
		all = append(all, v.waiting...)
		p.held -= len(v.waiting)
		v.waiting = nil
	}
	p.turns, p.queues = nil, map[string][]*pendingVideo{}
	return all
}

// all returns the messages of all events that p holds.
func (p *pending) all() []jetstream.Msg {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]jetstream.Msg, 0, p.held)
	for _, v := range p.videos {
		all = append(append(all, v.waiting...), v.taken...)
	}
	return all
}
