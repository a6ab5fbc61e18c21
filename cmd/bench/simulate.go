package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
)

// world is a simulated installation. Zero means none: no latency, no limit, no failure.
type world struct {
	slots      int // each one core that does one job at a time, of any worker type
	perMachine int // slots; all on one machine when 0

	next    float64 // seconds from the end of a job until its slot can take another
	unblock float64 // seconds from an event until workers can take the tasks that follow from it
	writes  float64 // messages that the broker stores for a job
	broker  float64 // messages that it stores in a second, for all

	machineBytes float64 // per second, between a machine and the store, each way
	storeBytes   float64 // per second, from the store to all machines, and as many from them
	ranged       bool    // chunks read only their part of a source; otherwise each machine reads it whole, once

	sigma     float64 // of the log-normal factor of a job's work; its mean is 1
	failEvery float64 // one attempt in this many dies midway
	lease     float64 // seconds until a death is noticed
	seed      uint64
}

// window is how many tasks of a video and worker type are enqueued at a time (pipeline/fanout.go).
func (w world) window() int { return max(4, 2*w.slots) }

// simVideo is a video, with its inspection as job 0. Jobs are in the order of the plan.
type simVideo struct {
	at     float64 // when it is uploaded
	source float64 // bytes
	jobs   []simJob
}

// simJob is a simulated job.
type simJob struct {
	worker string
	after  []int // indices
	high   bool
	wide   bool    // spread over slots: a chunk
	fixed  float64 // seconds besides the work
	work   float64 // seconds, before the factor
	reads  bool    // the source
	share  float64 // of the source that a chunk needs
	bytes  float64 // of outputs
}

// spent is a use of a slot's time. The uses of a run add up to slots times wall time.
type spent int

const (
	working  spent = iota // what one slot without overhead would also do
	overhead              // the fixed part of jobs
	latency               // between jobs, and while tasks are on their way to idle slots
	broking               // waiting for the broker's limit
	storing               // reading the source and writing outputs, with waits for the store
	failing               // lost work, and idle while a lease runs out
	tailing               // idle while other slots encode the last chunks
	critical              // idle during work that cannot be spread: inspection, packaging, ...
	kinds
)

// spentNames are for tables, in the order of the constants.
var spentNames = [kinds]string{
	"work", "overhead", "latency", "broker", "store", "failures", "tail", "critical",
}

// simulated is the result of a simulation.
type simulated struct {
	wall   float64        // seconds from the first upload to the last video.ready
	spent  [kinds]float64 // slot-seconds
	failed int            // attempts
}

// pipe serves requests one after the other at a rate; at once when the rate is 0. A real store serves them at
// the same time: the total is the same, but small requests finish sooner.
type pipe struct{ rate, free float64 }

// take returns when a request made at a time is done.
func (p *pipe) take(at, amount float64) float64 {
	if p.rate <= 0 || amount <= 0 {
		return at
	}
	p.free = max(at, p.free) + amount/p.rate
	return p.free
}

// link is a pipe for each way.
type link struct{ reads, writes pipe }

func newLink(rate float64) link { return link{pipe{rate: rate}, pipe{rate: rate}} }

// happening is a future event of the simulation.
type happening struct {
	at    float64
	order int
	do    func()
}

// happenings is a heap.Interface: the earliest first and, of the same time, the one planned first.
type happenings []happening

// Len implements heap.Interface.
func (h happenings) Len() int { return len(h) }

// Less implements heap.Interface.
func (h happenings) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].order < h[j].order
}

// Swap implements heap.Interface.
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *happenings) Push(x any) { *h = append(*h, x.(happening)) }

// Pop implements heap.Interface.
func (h *happenings) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// task is an enqueued job. High priority comes first, then the longest wait.
type task struct {
	video, job int
}

// state of a job.
type state int

const (
	fresh    state = iota
	enqueued       // on its way, waiting, running or to be retried
	completed
)

// simulation is one run: a discrete-event simulation of videos in a world.
type simulation struct {
	world
	videos []simVideo
	states [][]state
	tries  [][]int
	left   []int // jobs of each video
	open   int   // videos

	now    float64
	order  int
	agenda happenings
	queues [2][]task // high and other, first in first out

	idle     []int // slots
	busy     [kinds]int
	onTheWay int   // tasks
	held     []int // jobs of each video that could run, but wait for the window
	heldAll  int
	running  int // chunks
	leased   int // tasks of attempts that died

	brokerPipe pipe
	store      link
	machines   []link
	copies     []map[int]float64 // by machine: when the source of a video arrives
	result     simulated
}

// simulate runs the videos through the world.
func simulate(w world, videos []simVideo) simulated {
	s := &simulation{
		world: w, videos: videos, open: len(videos), held: make([]int, len(videos)),
		brokerPipe: pipe{rate: w.broker}, store: newLink(w.storeBytes),
	}
	if s.perMachine <= 0 {
		s.perMachine = w.slots
	}
	machines := (w.slots + s.perMachine - 1) / s.perMachine
	for range machines {
		s.machines = append(s.machines, newLink(w.machineBytes))
		s.copies = append(s.copies, map[int]float64{})
	}
	for place := range s.perMachine { // one machine after the other
		for m := range machines {
			if slot := m*s.perMachine + place; slot < w.slots {
				s.idle = append(s.idle, slot)
			}
		}
	}
	for v, video := range videos {
		s.states = append(s.states, make([]state, len(video.jobs)))
		s.tries = append(s.tries, make([]int, len(video.jobs)))
		s.left = append(s.left, len(video.jobs))
		s.plan(video.at, func() { s.fanOut(v) })
	}
	for s.open > 0 && len(s.agenda) > 0 {
		h := heap.Pop(&s.agenda).(happening)
		s.pass(h.at)
		h.do()
	}
	s.pass(s.now + s.unblock) // video.ready of the last one
	s.result.wall = s.now
	return s.result
}

// plan plans an event at a time.
func (s *simulation) plan(at float64, do func()) {
	s.order++
	heap.Push(&s.agenda, happening{at, s.order, do})
}

// pass moves the time on, and books it for every slot.
func (s *simulation) pass(to float64) {
	d := to - s.now
	if s.now = to; d <= 0 {
		return
	}
	for k, n := range s.busy {
		s.result.spent[k] += d * float64(n)
	}
	idle := len(s.idle)
	waiting := min(idle, s.onTheWay+s.heldAll)
	s.result.spent[latency] += d * float64(waiting)
	why := critical
	switch {
	case s.running > 0:
		why = tailing
	case s.leased > 0:
		why = failing
	}
	s.result.spent[why] += d * float64(idle-waiting)
}

// fanOut enqueues the jobs of a video that can run, as pipeline/fanout.go does.
func (s *simulation) fanOut(v int) {
	window, held := map[string]int{}, 0
	for j, job := range s.videos[v].jobs {
		if s.states[v][j] == completed || s.states[v][j] == fresh && !s.unblocked(v, job) {
			continue
		}
		if !job.high {
			if window[job.worker]++; window[job.worker] > s.window() && s.states[v][j] == fresh {
				held++
				continue
			}
		}
		if s.states[v][j] != fresh {
			continue
		}
		s.states[v][j] = enqueued
		s.onTheWay++
		stored := s.brokerPipe.take(s.now, max(0, s.writes-2))
		s.plan(stored+s.unblock, func() { s.onTheWay--; s.arrive(task{v, j}) })
	}
	s.heldAll += held - s.held[v]
	s.held[v] = held
}

func (s *simulation) unblocked(v int, job simJob) bool {
	for _, before := range job.after {
		if s.states[v][before] != completed {
			return false
		}
	}
	return true
}

// arrive puts a task into its queue.
func (s *simulation) arrive(t task) {
	lane := 1
	if s.videos[t.video].jobs[t.job].high {
		lane = 0
	}
	s.queues[lane] = append(s.queues[lane], t)
	s.dispatch()
}

// dispatch gives waiting tasks to idle slots.
func (s *simulation) dispatch() {
	for lane := range s.queues {
		for len(s.idle) > 0 && len(s.queues[lane]) > 0 {
			t, slot := s.queues[lane][0], s.idle[0]
			s.queues[lane], s.idle = s.queues[lane][1:], s.idle[1:]
			s.begin(slot, t)
		}
	}
}

// phase books the time of a busy slot for one use, until a time.
func (s *simulation) phase(what spent, until float64, then func()) {
	s.busy[what]++
	s.plan(until, func() { s.busy[what]--; then() })
}

// begin runs an attempt: job.started, the source, the work.
func (s *simulation) begin(slot int, t task) {
	job := s.videos[t.video].jobs[t.job]
	if job.wide {
		s.running++
	}
	s.phase(broking, s.brokerPipe.take(s.now, min(1, s.writes)), func() {
		s.phase(storing, s.fetched(slot, t.video, job), func() {
			factor, died := s.fate(t)
			if died > 0 {
				s.phase(failing, s.now+died*(job.fixed+job.work*factor), func() { s.died(slot, t, job) })
				return
			}
			s.phase(overhead, s.now+job.fixed, func() {
				s.phase(working, s.now+job.work*factor, func() { s.publish(slot, t, job) })
			})
		})
	})
}

// fetched returns when the machine of a slot has the source. A machine reads it once, whole, for all its
// slots (workers/scratch.go).
func (s *simulation) fetched(slot, v int, job simJob) float64 {
	if !job.reads {
		return s.now
	}
	m := slot / s.perMachine
	if s.ranged && job.wide {
		return s.read(m, job.share*s.videos[v].source)
	}
	at, ok := s.copies[m][v]
	if !ok {
		at = s.read(m, s.videos[v].source)
		s.copies[m][v] = at
	}
	return max(s.now, at)
}

// read returns when this many bytes have come from the store to a machine.
func (s *simulation) read(machine int, bytes float64) float64 {
	return max(s.machines[machine].reads.take(s.now, bytes), s.store.reads.take(s.now, bytes))
}

// write returns when this many bytes of a machine are in the store.
func (s *simulation) write(machine int, bytes float64) float64 {
	return max(s.machines[machine].writes.take(s.now, bytes), s.store.writes.take(s.now, bytes))
}

// fate returns the factor of an attempt's work, and the fraction of the work after which the attempt dies; 0
// for never. It depends only on the seed and the attempt, so it is the same for any number of slots.
func (s *simulation) fate(t task) (factor, died float64) {
	n := s.tries[t.video][t.job]
	s.tries[t.video][t.job]++
	r := rand.New(rand.NewPCG(s.seed, uint64(t.video)<<40|uint64(t.job)<<8|uint64(n)))
	factor = math.Exp(s.sigma*r.NormFloat64() - s.sigma*s.sigma/2)
	if s.failEvery > 0 && r.Float64() < 1/s.failEvery {
		died = max(1e-9, r.Float64())
	}
	return factor, died
}

// died delivers the task again after its lease.
func (s *simulation) died(slot int, t task, job simJob) {
	s.result.failed++
	if job.wide {
		s.running--
	}
	s.leased++
	s.plan(s.now+s.lease, func() { s.leased--; s.arrive(t) })
	s.release(slot)
}

// publish stores the outputs and writes job.completed. Then the jobs after it may begin.
func (s *simulation) publish(slot int, t task, job simJob) {
	s.phase(storing, s.write(slot/s.perMachine, job.bytes), func() {
		s.phase(broking, s.brokerPipe.take(s.now, min(1, s.writes)), func() {
			if job.wide {
				s.running--
			}
			s.states[t.video][t.job] = completed
			if s.left[t.video]--; s.left[t.video] == 0 {
				s.open--
			}
			s.fanOut(t.video)
			s.release(slot)
		})
	})
}

// release makes a slot idle after the time between two jobs.
func (s *simulation) release(slot int) {
	s.phase(latency, s.now+s.next, func() {
		s.idle = append(s.idle, slot)
		s.dispatch()
	})
}

// criticalPath returns how long a video takes with unlimited slots and no overhead: the longest path through
// its jobs.
func criticalPath(v simVideo) float64 {
	ends, longest := make([]float64, len(v.jobs)), 0.0
	for range v.jobs { // edges may lead to earlier jobs of the plan
		changed := false
		for j, job := range v.jobs {
			end := job.fixed + job.work
			for _, before := range job.after {
				end = max(end, ends[before]+job.fixed+job.work)
			}
			changed = changed || end != ends[j]
			ends[j], longest = end, max(longest, end)
		}
		if !changed {
			break
		}
	}
	return longest
}

// totalWork returns the seconds of work in videos, without the fixed part of jobs.
func totalWork(videos []simVideo) (sum float64) {
	for _, v := range videos {
		for _, j := range v.jobs {
			sum += j.work
		}
	}
	return sum
}
