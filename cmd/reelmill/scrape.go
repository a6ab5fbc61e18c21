package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reelmill/reelmill/pipeline"
)

// part is some of the metrics that are read when asked for.
type part struct {
	name string
	read func(context.Context, sink) error
}

// scrapeTimeout bounds what is read for one scrape.
const scrapeTimeout = 5 * time.Second

// Collect implements prometheus.Collector. What cannot be read is left out of this scrape, and logged; what
// the broker would tell is not asked for while it has no quorum, which would only take time.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s := sink{to}
	parts := []part{{"process", m.process}, {"store", m.store}, {"attempts", m.loop}}
	if m.quorum(ctx, s) {
		parts = append(parts, part{"queue", m.queue}, part{"flow", m.flow})
	}
	for _, p := range parts {
		if err := p.read(ctx, s); err != nil {
			m.node.recurring.Failed("read metrics", "part", p.name, "error", err)
		}
	}
}

// sink is where a scrape's values go.
type sink struct{ to chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// quorum tells whether the broker can store, and returns it.
func (m *metrics) quorum(ctx context.Context, s sink) bool {
	if m.node.bus == nil || m.node.bus.Healthy(ctx) != nil {
		s.gauge(descQuorum, 0)
		return false
	}
	s.gauge(descQuorum, 1)
	return true
}

// process tells of what the node knows by itself.
func (m *metrics) process(_ context.Context, s sink) error {
	n := m.node
	if n.sweeper != nil {
		for kind, count := range n.sweeper.Repairs() {
			s.counter(descRepairs, float64(count), kind)
		}
	}
	if n.broker != nil {
		s.counter(descRestarts, float64(n.broker.Restarts()))
	}
	free, total, err := space(n.data)
	if err != nil {
		return err
	}
	s.gauge(descFree, float64(free))
	s.gauge(descReserve, float64(n.reserve(total)))
	return nil
}

// queue tells of each worker type that is registered here, runs anywhere or has tasks; one without tasks has
// 0.
func (m *metrics) queue(ctx context.Context, s sink) error {
	backlogs, err := m.node.bus.Backlogs(ctx)
	if err != nil {
		return err
	}
	present, err := m.node.bus.Workers(ctx)
	if err != nil {
		return err
	}
	types := map[string]bool{}
	if m.node.registry != nil {
		for _, t := range m.node.registry.Types() {
			types[t.Name] = true
		}
	}
	for worker := range backlogs {
		types[worker] = true
	}
	for worker := range present {
		types[worker] = true
	}
	for worker := range types {
		of, age := backlogs[worker], 0.0
		for _, p := range pipeline.Priorities {
			s.gauge(descDepth, float64(of.Tasks[p]), worker, string(p))
		}
		if !of.Oldest.IsZero() {
			age = max(0, time.Since(of.Oldest).Seconds())
		}
		s.gauge(descOldest, age, worker)
		s.gauge(descPresent, float64(present[worker]), worker)
	}
	scheduled, err := m.node.bus.ScheduledCount(ctx)
	if err != nil {
		return err
	}
	s.gauge(descScheduled, float64(scheduled))
	dead, err := m.node.bus.DeadCount(ctx)
	if err != nil {
		return err
	}
	s.gauge(descDead, float64(dead))
	return nil
}

// flow tells how full the log is, and how far behind it those are that follow it, where this node has them.
func (m *metrics) flow(ctx context.Context, s sink) error {
	room, err := m.node.bus.Room(ctx)
	if err != nil {
		return err
	}
	s.gauge(descLogBytes, float64(room.Bytes))
	s.gauge(descLogMax, float64(room.Max))
	s.gauge(descLogUploads, float64(room.Uploads))
	if m.node.catalog == nil {
		return nil
	}
	if err := m.losses(ctx, s); err != nil {
		return err
	}
	applied, err := m.node.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	last, err := m.node.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	poisoned, err := m.node.catalog.Poisoned(ctx)
	if err != nil {
		return err
	}
	s.gauge(descLag, float64(max(last, applied)-applied))
	s.counter(descPoisoned, float64(poisoned))
	lag, err := m.node.bus.CoordinatorLag(ctx)
	if err != nil {
		return err
	}
	s.gauge(descCoordinator, float64(lag))
	return nil
}

// losses tells what the log has lost.
func (m *metrics) losses(ctx context.Context, s sink) error {
	lost, err := m.node.watch.Ask(ctx)
	if err != nil {
		return err
	}
	count := uint64(0)
	if lost != nil {
		count = lost.Events() // a log that is another one has lost what nobody can count
	}
	s.gauge(descLogLost, float64(count))
	return nil
}

// breakerStates are the values of the metric of a breaker.
var breakerStates = map[string]float64{"closed": 0, "half-open": 1, "open": 2}

func (m *metrics) store(_ context.Context, s sink) error {
	if g := m.node.guard; g != nil {
		s.gauge(descBreaker, breakerStates[g.State()], "store", "objects")
		s.counter(descOpened, float64(g.Opened()), "store", "objects")
		s.counter(descStoreRetries, float64(g.Retries()))
		s.counter(descStoreFailures, float64(g.Failures()))
	}
	return nil
}

// loop tells of the jobs of this process, and of the hosts that its webhooks go to.
func (m *metrics) loop(_ context.Context, s sink) error {
	if m.node.loop == nil {
		return nil
	}
	for worker, c := range m.node.loop.Stats() {
		s.gauge(descSlots, float64(m.node.loop.Capacity(worker)), worker)
		s.gauge(descBusy, float64(c.Busy), worker)
		s.gauge(descRunning, float64(c.Running), worker)
		for outcome, count := range map[string]int{
			"completed": c.Completed, "retried": c.Retried, "errored": c.Errored, "interrupted": c.Interrupted,
			"dropped": c.Dropped, "canceled": c.Canceled, "waited": c.Waited,
		} {
			s.counter(descJobs, float64(count), worker, outcome)
		}
	}
	for _, b := range m.node.webhook.Breakers.Status() {
		s.gauge(descBreaker, breakerStates[b.State], "webhook", b.Host)
		s.counter(descOpened, float64(b.Opened), "webhook", b.Host)
	}
	return nil
}
