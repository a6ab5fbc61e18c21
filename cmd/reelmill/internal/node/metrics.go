package node

import (
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/workers"
)

// metrics is what a node exports to Prometheus. Most values are read from the parts at each scrape.
type metrics struct {
	registry  *prometheus.Registry
	bus       *bus.Bus
	recurring *pipeline.Recurring
	parts     []part // read at every scrape
	ofBroker  []part // read at a scrape while the broker can store

	cleaned  prometheus.Counter
	expired  *prometheus.CounterVec // by what was deleted
	requests *prometheus.HistogramVec

	attempts        *prometheus.HistogramVec // seconds, by worker type and outcome
	attemptFailures *prometheus.CounterVec   // by worker type and code
	videos          *prometheus.CounterVec   // by what happened
	videoFailures   *prometheus.CounterVec   // by code
	playable, ready prometheus.Histogram     // seconds since the upload
	uploadedBytes   prometheus.Counter
	encodedSeconds  prometheus.Counter // of sources
}

// The metrics that are read at each scrape.
var (
	descRepairs = prometheus.NewDesc("reelmill_sweeper_repairs_total",
		"Stalled videos that the sweeper repaired. Above 0: there is a bug, or the queue lost a message.",
		[]string{"kind"}, nil)
	descLag = prometheus.NewDesc("reelmill_projection_lag_events",
		"Events of the log that the read model has not applied.", nil, nil)
	descCoordinator = prometheus.NewDesc("reelmill_coordinator_lag_events",
		"Events of the log that the coordinator has not acted on.", nil, nil)
	descQuorum = prometheus.NewDesc("reelmill_broker_quorum",
		"1 while the broker can store: it answers, and its streams have a majority of their servers. 0: all "+
			"work waits, and the metrics that come from the broker are missing.", nil, nil)
	descPoisoned = prometheus.NewDesc("reelmill_projection_poisoned_events_total",
		"Events that the read model could not decode and left out.", nil, nil)
	descDepth = prometheus.NewDesc("reelmill_queue_tasks",
		"Tasks that wait or are held by a worker.", []string{"worker", "priority"}, nil)
	descOldest = prometheus.NewDesc("reelmill_queue_oldest_task_seconds",
		"Age of the oldest task that waits for a worker; 0 when none waits.", []string{"worker"}, nil)
	descPaused = prometheus.NewDesc("reelmill_queue_paused",
		"1 while the queue of a worker type is paused: nobody takes its tasks. Else 0.", []string{"worker"}, nil)
	descScheduled = prometheus.NewDesc("reelmill_queue_scheduled", "Retries that are not due yet.", nil, nil)
	descDead      = prometheus.NewDesc("reelmill_dead_letters", "Dead letters that nobody dealt with.", nil, nil)
	descPresent   = prometheus.NewDesc("reelmill_worker_processes",
		"Processes that run a worker type. With 0, its tasks wait.",
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
		"How often the embedded broker was restarted because it was not healthy.", nil, nil)
	descSandbox = prometheus.NewDesc("reelmill_sandbox",
		"1 for the tier of the sandbox in which ffmpeg runs: full, standard, partial or off.",
		[]string{"tier"}, nil)
	descFree    = prometheus.NewDesc("reelmill_disk_free_bytes", "Free bytes of the data disk.", nil, nil)
	descReserve = prometheus.NewDesc("reelmill_disk_reserve_bytes",
		"Free bytes of the data disk below which uploads are refused.", nil, nil)
	descLogBytes = prometheus.NewDesc("reelmill_log_bytes", "Bytes of the event log.", nil, nil)
	descLogMax   = prometheus.NewDesc("reelmill_log_max_bytes",
		"Bytes that the event log may have: --events-max-bytes.", nil, nil)
	descLogUploads = prometheus.NewDesc("reelmill_log_upload_bytes",
		"Bytes of the event log above which uploads are refused, so that work under way and deletions have room.",
		nil, nil)
	descLogLost = prometheus.NewDesc("reelmill_log_lost_events",
		"Events that the event log has lost, without accepted losses. Above 0, the server does not start again.",
		nil, nil)
	descJobs = prometheus.NewDesc("reelmill_attempts_total",
		"Attempts at jobs, by how they ended.", []string{"worker", "outcome"}, nil)
	descRunning = prometheus.NewDesc("reelmill_attempts_running", "Attempts under way.", []string{"worker"}, nil)
	descSlots   = prometheus.NewDesc("reelmill_slots",
		"Jobs that this process may run at once, those in interactive slots included.", []string{"worker"}, nil)
	descSubscribers = prometheus.NewDesc("reelmill_subscribers",
		"Open event streams (sse, websocket) and reads that wait for a state (wait).", []string{"kind"}, nil)
	descSubscribersMax = prometheus.NewDesc("reelmill_subscribers_max",
		"Subscribers that may be open at once: --max-streams.", nil, nil)
	descObjective = prometheus.NewDesc("reelmill_time_to_playable_objective_seconds",
		"Within how many seconds of its upload a video should be playable: --playable-within.", nil, nil)
	descLate = prometheus.NewDesc("reelmill_videos_late",
		"Videos that should be playable by --playable-within, have not ended, and are not.", nil, nil)
	descSlow = prometheus.NewDesc("reelmill_slow_readers_total",
		"Event streams and WebSockets that were cut off because their clients took events too slowly.", nil, nil)
	descBusy = prometheus.NewDesc("reelmill_slots_busy", "Slots that hold a task.", []string{"worker"}, nil)
)

// The buckets of times of jobs and of videos, in seconds.
var (
	jobBuckets   = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 180, 600, 1800, 3600, 14400}
	videoBuckets = []float64{.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300, 900, 3600, 14400}
)

func newMetrics(b *bus.Bus, recurring *pipeline.Recurring) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), bus: b, recurring: recurring,
		cleaned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelmill_objects_cleaned_total", Help: "Objects that the janitor deleted.",
		}),
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelmill_retention_deleted_total",
			Help: "Sources alone, and whole videos, that the rules of retention deleted.",
		}, []string{"what"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "reelmill_http_request_seconds",
			Help:    "Requests to the API, uploads included; an event stream counts until it has begun.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 10, 60},
		}, []string{"code", "method"}),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelmill_attempt_seconds", Help: "Attempts at jobs of this process that ended by themselves.",
			Buckets: jobBuckets,
		}, []string{"worker", "outcome"}),
		attemptFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelmill_attempt_failures_total", Help: "Attempts of this process that failed, by error code.",
		}, []string{"worker", "code"}),
		videos: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelmill_videos_total", Help: "Videos by event: their upload, or how they ended.",
		}, []string{"event"}),
		videoFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelmill_video_failures_total", Help: "Videos that ended errored or rejected, by error code.",
		}, []string{"code"}),
		playable: videoTimes("playable"), ready: videoTimes("ready"),
		uploadedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelmill_uploaded_bytes_total", Help: "Bytes of sources that were uploaded or fetched.",
		}),
		encodedSeconds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelmill_encoded_media_seconds_total",
			Help: "Length of the videos whose plan was made, each once, however many renditions it has.",
		}),
	}
	for _, event := range videoEvents {
		m.videos.WithLabelValues(string(event))
	}
	for _, code := range pipeline.Codes() {
		m.videoFailures.WithLabelValues(string(code))
	}
	m.registry.MustRegister(m, m.cleaned, m.expired, m.requests, m.attempts, m.attemptFailures, m.videos,
		m.videoFailures, m.playable, m.ready, m.uploadedBytes, m.encodedSeconds, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// videoEvents are the metrics of samples that count videos.
var videoEvents = []pipeline.Metric{
	pipeline.MetricUploaded, pipeline.MetricReady, pipeline.MetricFailed, pipeline.MetricCanceled,
}

func videoTimes(state string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "reelmill_time_to_" + state + "_seconds",
		Help: "From the upload of a video until it was " + state + ".", Buckets: videoBuckets,
	})
}

// The outcomes of an attempt that ended by itself.
const (
	outcomeCompleted = "completed"
	outcomeFailed    = "failed"
)

// expect makes the series of each worker type that this process runs, so that Prometheus sees the first
// failure as a rise from 0.
func (m *metrics) expect(r *workers.Registry) {
	for _, t := range r.Types() {
		for _, outcome := range []string{outcomeCompleted, outcomeFailed} {
			m.attempts.WithLabelValues(t.Name, outcome)
		}
		for _, code := range pipeline.Codes() {
			m.attemptFailures.WithLabelValues(t.Name, string(code))
		}
	}
}

// attemptEnded counts an attempt of this process.
func (m *metrics) attemptEnded(e workers.End) {
	outcome := outcomeCompleted
	if e.Code != "" {
		outcome = outcomeFailed
		m.attemptFailures.WithLabelValues(e.Worker, string(e.Code)).Inc()
	}
	if e.Took > 0 {
		m.attempts.WithLabelValues(e.Worker, outcome).Observe(e.Took.Seconds())
	}
}

// videoSample counts what happened to a video.
func (m *metrics) videoSample(s pipeline.Sample) {
	switch s.Metric {
	case pipeline.MetricPlayable:
		m.playable.Observe(s.Value)
	case pipeline.MetricReady:
		m.ready.Observe(s.Value)
	case pipeline.MetricFailed:
		m.videoFailures.WithLabelValues(s.Label).Inc()
	case pipeline.MetricUploaded, pipeline.MetricFetched:
		m.uploadedBytes.Add(s.Value)
	case pipeline.MetricEncoded:
		m.encodedSeconds.Add(s.Value / 1000)
	}
	if slices.Contains(videoEvents, s.Metric) {
		m.videos.WithLabelValues(string(s.Metric)).Inc()
	}
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
		descOpened, descStoreRetries, descStoreFailures, descRestarts, descFree, descJobs, descRunning, descOldest,
		descPaused,
		descCoordinator, descQuorum, descReserve, descSlots, descBusy, descLogBytes, descLogMax, descLogUploads,
		descLogLost, descSubscribers, descSubscribersMax, descSlow,
		descHookAttempts, descHookExhausted, descHookSkipped, descHookTurned, descHookDisabled, descHookQueue,
		descHookLag,
	} {
		to <- d
	}
}
