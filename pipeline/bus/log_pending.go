package bus

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// deskSize is how many events a desk holds. Fairness among projects reaches as far as that.
const deskSize = 2048

// desk is where the events lie that a process has taken and not settled: a file for each video, and the files
// of each project in a queue. Projects take turns.
type desk struct {
	mu      sync.Mutex
	changed *sync.Cond
	closed  bool
	held    int
	files   map[string]*file   // by video, those that wait and those that are handled
	queues  map[string][]*file // by project, those that wait
	turns   []string           // the projects that have a queue, the next one first
	busy    int
	idle    chan struct{} // closed when the desk is closed and nothing is handled any more
}

// file is the events of one video.
type file struct {
	project, video string
	waiting, taken []jetstream.Msg
	event          pipeline.Event // the last of those taken
	delivered      uint64         // how often it was delivered
	handled        bool           // it is being handled
	next           pipeline.Event // the last of those waiting
	nextDelivered  uint64
}

func newDesk() *desk {
	d := &desk{files: map[string]*file{}, queues: map[string][]*file{}, idle: make(chan struct{})}
	d.changed = sync.NewCond(&d.mu)
	return d
}

// put adds an event; false when the desk is closed.
func (d *desk) put(m jetstream.Msg, e pipeline.Event, delivered uint64) bool {
	project, video, _, _ := pipeline.Address(e.Subject) // checked by the caller
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	f := d.files[project+"."+video]
	if f == nil {
		f = &file{project: project, video: video}
		d.files[project+"."+video] = f
	}
	if len(f.waiting) == 0 && !f.handled {
		d.enqueue(f)
	}
	f.waiting = append(f.waiting, m)
	if e.Sequence > f.next.Sequence {
		f.next = e
	}
	f.nextDelivered = max(f.nextDelivered, delivered)
	d.held++
	d.changed.Broadcast()
	return true
}

func (d *desk) enqueue(f *file) {
	if len(d.queues[f.project]) == 0 {
		d.turns = append(d.turns, f.project)
	}
	d.queues[f.project] = append(d.queues[f.project], f)
}

// take waits for a file that is to be handled; nil when the desk is closed.
func (d *desk) take() *file {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.turns) == 0 && !d.closed {
		d.changed.Wait()
	}
	if d.closed {
		return nil
	}
	project := d.turns[0]
	f := d.queues[project][0]
	d.turns, d.queues[project] = d.turns[1:], d.queues[project][1:]
	if len(d.queues[project]) > 0 {
		d.turns = append(d.turns, project)
	} else {
		delete(d.queues, project)
	}
	f.taken, f.waiting = f.waiting, nil
	f.event, f.next = f.next, pipeline.Event{}
	f.delivered, f.nextDelivered = f.nextDelivered, 0
	f.handled = true
	d.busy++
	return f
}

// done puts a file back that was handled, if more has come for it.
func (d *desk) done(f *file) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	d.held -= len(f.taken)
	f.taken, f.handled = nil, false
	if len(f.waiting) > 0 {
		d.enqueue(f)
	} else {
		delete(d.files, f.project+"."+f.video)
	}
	d.rest()
	d.changed.Broadcast()
}

// rest notes that nothing more will happen.
func (d *desk) rest() {
	if d.closed && d.busy == 0 {
		select {
		case <-d.idle:
		default:
			close(d.idle)
		}
	}
}

// room waits until there is room, and returns how many events fit; 0 when ctx ended.
func (d *desk) room(ctx context.Context) int {
	defer context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.changed.Broadcast()
	})()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.held >= deskSize && ctx.Err() == nil {
		d.changed.Wait()
	}
	if ctx.Err() != nil {
		return 0
	}
	return deskSize - d.held
}

// close lets nobody put or take any more.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.rest()
	d.changed.Broadcast()
}

// abandon takes what waits off the closed desk.
func (d *desk) abandon() []jetstream.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []jetstream.Msg
	for _, f := range d.files {
		all = append(all, f.waiting...)
		d.held -= len(f.waiting)
		f.waiting = nil
	}
	d.turns, d.queues = nil, map[string][]*file{}
	return all
}

// all returns the messages on the desk.
func (d *desk) all() []jetstream.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]jetstream.Msg, 0, d.held)
	for _, f := range d.files {
		all = append(append(all, f.waiting...), f.taken...)
	}
	return all
}
