package node

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reelmill/reelmill/pipeline"
)

// part is a group of the metrics that are read at each scrape.
type part struct {
	name string
	read func(context.Context, sink) error
}

// add adds a part to every scrape.
func (m *metrics) add(name string, read func(context.Context, sink) error) {
	m.parts = append(m.parts, part{name, read})
}

// addOfBroker adds a part that asks the broker. Scrapes lack it while the broker has no quorum.
func (m *metrics) addOfBroker(name string, read func(context.Context, sink) error) {
	m.ofBroker = append(m.ofBroker, part{name, read})
}

// scrapeTimeout limits the time of one scrape.
const scrapeTimeout = 5 * time.Second

// Collect implements prometheus.Collector. It logs a part that cannot be read, and leaves it out. Without a
// quorum it does not ask the broker, which would only take time.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s := sink{to}
	parts := slices.Clone(m.parts)
	if m.quorum(ctx, s) {
		parts = append(parts, m.ofBroker...)
	}
	for _, p := range parts {
		if err := p.read(ctx, s); err != nil {
			m.recurring.Failed("read metrics", "part", p.name, "error", err)
		}
	}
}

// sink takes the values of a scrape.
type sink struct{ to chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// quorum reports whether the broker can store, also as a metric.
func (m *metrics) quorum(ctx context.Context, s sink) bool {
	if m.bus.Healthy(ctx) != nil {
		s.gauge(descQuorum, 0)
		return false
	}
	s.gauge(descQuorum, 1)
	return true
}

// measureProcess measures the restarts of the broker and the data disk.
func (g *ground) measureProcess(_ context.Context, s sink) error {
	s.counter(descRestarts, float64(g.broker.Restarts()))
	s.gauge(descSandbox, 1, string(g.cage.Tier()))
	free, total, err := g.disk.Measure()
	if err != nil {
		return err
	}
	s.gauge(descFree, float64(free))
	s.gauge(descReserve, float64(g.disk.Reserve(total)))
	return nil
}

// measureSweeper measures how often the sweeper repaired something.
func (s *Server) measureSweeper(_ context.Context, to sink) error {
	for kind, count := range s.sweeper.Repairs() {
		to.counter(descRepairs, float64(count), kind)
	}
	return nil
}

// measureObjective measures which videos are late, and by what they are judged.
func (s *Server) measureObjective(ctx context.Context, to sink) error {
	within := s.server.PlayableObjective
	late, err := s.catalog.Late(ctx, "", time.Now().Add(-within))
	if err != nil {
		return err
	}
	to.gauge(descObjective, within.Seconds())
	to.gauge(descLate, float64(late))
	return nil
}

// measureSubscribers measures who waits for events.
func (s *Server) measureSubscribers(_ context.Context, to sink) error {
	n := s.handler.Subscribers()
	for kind, open := range n.Open {
		to.gauge(descSubscribers, float64(open), kind)
	}
	to.gauge(descSubscribersMax, float64(n.Most))
	to.counter(descSlow, float64(n.Cut))
	return nil
}

// measureQueue measures the queue of each worker type that is registered here, runs anywhere, has tasks or is
// paused.
func (g *ground) measureQueue(ctx context.Context, s sink) error {
	backlogs, err := g.bus.Backlogs(ctx)
	if err != nil {
		return err
	}
	present, err := g.bus.Workers(ctx)
	if err != nil {
		return err
	}
	pauses, err := g.bus.Pauses(ctx)
	if err != nil {
		return err
	}
	types := map[string]bool{}
	for _, t := range g.registry.Types() {
		types[t.Name] = true
	}
	for worker := range backlogs {
		types[worker] = true
	}
	for worker := range present {
		types[worker] = true
	}
	for worker := range pauses {
		types[worker] = true
	}
	for worker := range types {
		of, age, paused := backlogs[worker], 0.0, 0.0
		for _, p := range pipeline.Priorities {
			s.gauge(descDepth, float64(of.Tasks[p]), worker, string(p))
		}
		if !of.Oldest.IsZero() {
			age = max(0, time.Since(of.Oldest).Seconds())
		}
		if _, ok := pauses[worker]; ok {
			paused = 1
		}
		s.gauge(descOldest, age, worker)
		s.gauge(descPaused, paused, worker)
		s.gauge(descPresent, float64(present[worker]), worker)
	}
	scheduled, err := g.bus.ScheduledCount(ctx)
	if err != nil {
		return err
	}
	s.gauge(descScheduled, float64(scheduled))
	dead, err := g.bus.DeadCount(ctx)
	if err != nil {
		return err
	}
	s.gauge(descDead, float64(dead))
	return nil
}

// measureLog measures how full the log is.
func (g *ground) measureLog(ctx context.Context, s sink) error {
	room, err := g.bus.Room(ctx)
	if err != nil {
		return err
	}
	s.gauge(descLogBytes, float64(room.Bytes))
	s.gauge(descLogMax, float64(room.Max))
	s.gauge(descLogUploads, float64(room.Uploads))
	return nil
}

// measureFlow measures what the log has lost, and how far the read model and the coordinator are behind it.
func (s *Server) measureFlow(ctx context.Context, to sink) error {
	if err := s.measureLosses(ctx, to); err != nil {
		return err
	}
	applied, err := s.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	last, err := s.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	poisoned, err := s.catalog.Poisoned(ctx)
	if err != nil {
		return err
	}
	to.gauge(descLag, float64(max(last, applied)-applied))
	to.counter(descPoisoned, float64(poisoned))
	lag, err := s.bus.CoordinatorLag(ctx)
	if err != nil {
		return err
	}
	to.gauge(descCoordinator, float64(lag))
	return nil
}

// measureLosses measures how many events the log has lost.
func (s *Server) measureLosses(ctx context.Context, to sink) error {
	lost, err := s.watch.Ask(ctx)
	if err != nil {
		return err
	}
	count := uint64(0)
	if lost != nil {
		count = lost.Events() // 1 for a log that was replaced, whose losses nobody can count
	}
	to.gauge(descLogLost, float64(count))
	return nil
}

// breakerStates are the values of the metric of a breaker.
var breakerStates = map[string]float64{"closed": 0, "half-open": 1, "open": 2}

// measureStore measures the store's guard.
func (g *ground) measureStore(_ context.Context, s sink) error {
	s.gauge(descBreaker, breakerStates[g.guard.State()], "store", "objects")
	s.counter(descOpened, float64(g.guard.Opened()), "store", "objects")
	s.counter(descStoreRetries, float64(g.guard.Retries()))
	s.counter(descStoreFailures, float64(g.guard.Failures()))
	return nil
}

// measureAttempts measures the jobs of this process, and the circuit breakers of its webhooks by host.
func (w *Worker) measureAttempts(_ context.Context, s sink) error {
	for worker, c := range w.loop.Stats() {
		s.gauge(descSlots, float64(w.loop.Capacity(worker)), worker)
		s.gauge(descBusy, float64(c.Busy), worker)
		s.gauge(descRunning, float64(c.Running), worker)
		for outcome, count := range map[string]int{
			"completed": c.Completed, "retried": c.Retried, "errored": c.Errored, "interrupted": c.Interrupted,
			"dropped": c.Dropped, "canceled": c.Canceled, "waited": c.Waited,
		} {
			s.counter(descJobs, float64(count), worker, outcome)
		}
	}
	for _, b := range w.webhook.Breakers.Status() {
		s.gauge(descBreaker, breakerStates[b.State], "webhook", b.Host)
		s.counter(descOpened, float64(b.Opened), "webhook", b.Host)
	}
	return nil
}
