package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what a node tells Prometheus. Most are read from the parts when they are asked for.
type metrics struct {
	node     *node
	registry *prometheus.Registry
	cleaned  prometheus.Counter
	requests *prometheus.HistogramVec
}

// The metrics that are read when asked for.
var (
	descRepairs = prometheus.NewDesc("reelmill_sweeper_repairs_total",
		"Videos that stood still and were repaired. Above 0 is a bug, or the queue lost a message.",
		[]string{"kind"}, nil)
	descLag = prometheus.NewDesc("reelmill_projection_lag_events",
		"Events of the log that the read model has not applied.", nil, nil)
	descPoisoned = prometheus.NewDesc("reelmill_projection_poisoned_events_total",
		"Events that the read model could not decode and left out.", nil, nil)
	descDepth = prometheus.NewDesc("reelmill_queue_tasks",
		"Tasks that wait or are held by a worker.", []string{"worker", "priority"}, nil)
	descScheduled = prometheus.NewDesc("reelmill_queue_scheduled", "Retries that are not due yet.", nil, nil)
	descDead      = prometheus.NewDesc("reelmill_dead_letters", "Dead letters that nobody dealt with.", nil, nil)
	descPresent   = prometheus.NewDesc("reelmill_worker_processes",
		"Processes that run a worker type. None for a type with tasks means that nobody works.",
		[]string{"worker"}, nil)
	descBreaker = prometheus.NewDesc("reelmill_breaker_state",
		"Circuit breaker: 0 closed, 1 half-open, 2 open.", []string{"of", "name"}, nil)
	descOpened = prometheus.NewDesc("reelmill_breaker_opened_total",
		"How often a circuit breaker opened.", []string{"of", "name"}, nil)
	descStoreRetries = prometheus.NewDesc("reelmill_store_retries_total",
		"Operations on the object store that were tried again.", nil, nil)
	descStoreFailures = prometheus.NewDesc("reelmill_store_failures_total",
		"Tries on the object store that failed.", nil, nil)
	descRestarts = prometheus.NewDesc("reelmill_broker_restarts_total",
		"How often the embedded broker was started anew because it was not healthy.", nil, nil)
	descFree = prometheus.NewDesc("reelmill_disk_free_bytes", "Free bytes of the data disk.", nil, nil)
	descJobs = prometheus.NewDesc("reelmill_attempts_total",
		"Attempts at jobs, by how they ended.", []string{"worker", "outcome"}, nil)
	descRunning = prometheus.NewDesc("reelmill_attempts_running", "Attempts under way.", []string{"worker"}, nil)
)

func newMetrics(n *node) *metrics {
	m := &metrics{
		node: n, registry: prometheus.NewRegistry(),
		cleaned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelmill_objects_cleaned_total", Help: "Objects that the janitor deleted.",
		}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelmill_http_request_seconds", Help: "Requests to the API, streams and uploads included.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 10, 60},
		}, []string{"code", "method"}),
	}
	m.registry.MustRegister(m, m.cleaned, m.requests, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler answers a scrape.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// around measures the requests that h answers.
func (m *metrics) around(h http.Handler) http.Handler {
	return promhttp.InstrumentHandlerDuration(m.requests, h)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRepairs, descLag, descPoisoned, descDepth, descScheduled, descDead, descPresent, descBreaker,
		descOpened, descStoreRetries, descStoreFailures, descRestarts, descFree, descJobs, descRunning,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out of this scrape, and logged.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s := sink{to}
	for name, collect := range map[string]func(context.Context, sink) error{
		"queue": m.queue, "projection": m.projection, "store": m.store, "attempts": m.attempts,
	} {
		if err := collect(ctx, s); err != nil {
			m.node.log.Warn("read metrics", "part", name, "error", err)
		}
	}
	n := m.node
	if n.sweeper != nil {
		for kind, count := range n.sweeper.Repairs() {
			s.counter(descRepairs, float64(count), kind)
		}
	}
	if free, _, err := space(n.data); err == nil {
		s.gauge(descFree, float64(free))
	}
	if n.broker != nil {
		s.counter(descRestarts, float64(n.broker.restartCount()))
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

func (m *metrics) queue(ctx context.Context, s sink) error {
	if m.node.bus == nil {
		return nil
	}
	depth, err := m.node.bus.Depth(ctx)
	if err != nil {
		return err
	}
	for worker, byPriority := range depth {
		for p, count := range byPriority {
			s.gauge(descDepth, float64(count), worker, string(p))
		}
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
	present, err := m.node.present(ctx)
	if err != nil {
		return err
	}
	for worker, count := range present {
		s.gauge(descPresent, float64(count), worker)
	}
	for worker := range depth {
		if present[worker] == 0 {
			s.gauge(descPresent, 0, worker)
		}
	}
	return nil
}

func (m *metrics) projection(ctx context.Context, s sink) error {
	if m.node.catalog == nil || m.node.bus == nil {
		return nil
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

// attempts tells of the loop and of the hosts that its webhooks go to.
func (m *metrics) attempts(_ context.Context, s sink) error {
	if m.node.loop == nil {
		return nil
	}
	for worker, c := range m.node.loop.Stats() {
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
