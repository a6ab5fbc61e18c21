package node

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// series has the values of a scrape, by name and labels in the notation of Prometheus.
type series map[string]float64

// scrape reads /metrics.
func scrape(t *testing.T, address string) series {
	t.Helper()
	all := series{}
	for line := range strings.Lines(string(get(t, address+"/metrics"))) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		check(t, err)
		all[line[:i]] = v
	}
	return all
}

// names returns the names of the series, and for each the names of its labels.
func (s series) names() map[string][]string {
	label := regexp.MustCompile(`([a-z_]+)="`)
	names := map[string][]string{}
	for key := range s {
		name, labels, _ := strings.Cut(key, "{")
		for _, l := range label.FindAllStringSubmatch(labels, -1) {
			if !slices.Contains(names[name], l[1]) {
				names[name] = append(names[name], l[1])
			}
		}
		if names[name] == nil {
			names[name] = []string{}
		}
	}
	return names
}

// TestMetricsThatAlertsNeed checks that a server has the metrics of the alerts from the first scrape on,
// zeros included, and that it counts.
func TestMetricsThatAlertsNeed(t *testing.T) {
	_, address := runServer(t, ServerConfig{
		Config: Config{Data: t.TempDir(), MinFree: 1}, RunJobs: true, PlayableObjective: time.Minute,
	})
	awaitReady(t, address, http.StatusOK)
	s := scrape(t, address)
	for _, worker := range []string{"inspect", "transcode", "audio", "thumbnail", "watermark", "packager", "webhook"} {
		for _, zero := range []string{
			`reelmill_queue_tasks{priority="bulk",worker="` + worker + `"}`,
			`reelmill_queue_oldest_task_seconds{worker="` + worker + `"}`,
			`reelmill_slots_busy{worker="` + worker + `"}`,
			`reelmill_attempt_failures_total{code="encode_failed",worker="` + worker + `"}`,
			`reelmill_attempt_seconds_count{outcome="failed",worker="` + worker + `"}`,
		} {
			if v, ok := s[zero]; !ok || v != 0 {
				t.Errorf("at the start %s is %v, %v", zero, v, ok)
			}
		}
		if s[`reelmill_slots{worker="`+worker+`"}`] < 1 {
			t.Errorf("%s has no slots", worker)
		}
	}
	for name, want := range map[string]float64{
		"reelmill_broker_quorum": 1, "reelmill_coordinator_lag_events": 0, "reelmill_time_to_ready_seconds_count": 0,
		`reelmill_video_failures_total{code="input_not_video"}`: 0, "reelmill_disk_reserve_bytes": 1,
	} {
		if v, ok := s[name]; !ok || v != want {
			t.Errorf("at the start %s is %v, %v, want %v", name, v, ok, want)
		}
	}
	c := client.New(address, http.DefaultClient)
	good := workertest.Clip(t, "good.mp4", workertest.Pattern("160x90", "10", "1")...)
	for _, path := range []string{good, noVideo(t)} {
		v, err := c.Upload(t.Context(), client.Upload{Path: path})
		check(t, err)
		_, err = c.Wait(pipelinetest.Context(t), v.ID, "ready")
		check(t, err)
	}
	pipelinetest.Until(t, "the coordinator lags no more, and a failure is counted", func() bool {
		s = scrape(t, address)
		return s["reelmill_coordinator_lag_events"] == 0 && s[`reelmill_videos_total{event="failed"}`] != 0
	})
	for name, want := range map[string]float64{
		`reelmill_videos_total{event="uploaded"}`: 2, `reelmill_videos_total{event="ready"}`: 1,
		`reelmill_videos_total{event="failed"}`:                 1,
		`reelmill_video_failures_total{code="input_not_video"}`: 1,
		"reelmill_time_to_ready_seconds_count":                  1, "reelmill_time_to_playable_seconds_count": 1,
		`reelmill_attempt_seconds_count{outcome="completed",worker="inspect"}`: 2,
	} {
		if s[name] != want {
			t.Errorf("%s is %v, want %v", name, s[name], want)
		}
	}
	maps.Copy(s, metricsOverTLS(t))
	checkRules(t, s)
}

// metricsOverTLS returns the metrics of a server that has a certificate.
func metricsOverTLS(t *testing.T) series {
	t.Helper()
	c, err := pipelinetest.NewCertificate(nil, time.Now().Add(time.Hour))
	check(t, err)
	own, err := OpenCertificate(certificateFiles(t, t.TempDir(), c.Chain(), c.Key(), 0))
	check(t, err)
	metrics := pipelinetest.FreeAddress(t)
	_, address := runServer(t, ServerConfig{
		Config: Config{Data: t.TempDir(), MinFree: 1, MetricsListen: metrics}, Certificate: own,
	})
	pipelinetest.Until(t, "the server speaks TLS", func() bool {
		answer, err := own.Client().Get(strings.Replace(address, "http:", "https:", 1) + "/healthz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	pipelinetest.Until(t, "metrics are served", func() bool {
		answer, err := http.Get("http://" + metrics + "/metrics")
		return err == nil && answer.Body.Close() == nil
	})
	return scrape(t, "http://"+metrics)
}

// noVideo makes a text file with the name of a video.
func noVideo(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/words.mp4"
	check(t, os.WriteFile(path, bytes.Repeat([]byte("words, and no video\n"), 100), 0o600))
	return path
}

// TestMetricsLeaveOutWhatHappenedBefore checks that a process does not count videos from before its start.
func TestMetricsLeaveOutWhatHappenedBefore(t *testing.T) {
	data := t.TempDir()
	n, err := OpenServer(t.Context(), ServerConfig{
		Config: Config{Data: data, MinFree: 1}, Pipelines: defaultPipelines,
	})
	check(t, err)
	m := &mill{tb: t, bus: n.bus}
	m.upload("p", "before")
	listener, address, err := Listen(t.Context(), "127.0.0.1:0")
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, listener) }()
	awaitReady(t, address, http.StatusOK)
	m.upload("p", "after")
	var s series
	pipelinetest.Until(t, "an upload is counted", func() bool {
		s = scrape(t, address)
		return s[`reelmill_videos_total{event="uploaded"}`] != 0
	})
	if v := s[`reelmill_videos_total{event="uploaded"}`]; v != 1 {
		t.Errorf("%v uploads since the start, want 1", v)
	}
	for name := range maps.Keys(s) {
		if strings.HasPrefix(name, "reelmill_slots") {
			t.Errorf("a process without workers tells %s", name)
		}
	}
	stop()
	check(t, ignoreCanceled(<-done))
	check(t, n.Close())
}

// defaultPipelines returns the pipelines of a server without a configuration file.
func defaultPipelines(pipeline.Planner) (map[string]pipeline.Pipeline, error) {
	return map[string]pipeline.Pipeline{pipeline.DefaultPipeline: pipeline.Default()}, nil
}

// get fetches a URL whole and expects 200.
func get(t *testing.T, url string) []byte {
	t.Helper()
	answer, err := http.Get(url)
	check(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v\n%s", url, answer.Status, err, body)
	}
	return body
}
