package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// series are the values of a scrape, by name and labels as Prometheus writes them.
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

// names are the names of the series, and for each the names of its labels.
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

// A server tells what alerts need from the first scrape on, zeros included, and counts what happens.
func TestMetricsThatAlertsNeed(t *testing.T) {
	_, address := runNode(t, nodeConfig{
		data: t.TempDir(), workers: true, minFreeSpace: 1, log: slog.New(slog.DiscardHandler),
	})
	awaitReady(t, address, http.StatusOK)
	s := scrape(t, address)
	for _, worker := range []string{"inspect", "transcode", "audio", "thumbnail", "watermark", "webhook"} {
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
	for _, path := range []string{clip(t, "good.mp4", 1, "160x90", 10), noVideo(t)} {
		v, err := c.Upload(t.Context(), client.Upload{Path: path})
		check(t, err)
		awaitEnd(t, c, v.ID)
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
	checkRules(t, s)
}

// noVideo makes a file that is no video.
func noVideo(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/words.mp4"
	check(t, os.WriteFile(path, bytes.Repeat([]byte("words, and no video\n"), 100), 0o600))
	return path
}

// alertFile is a file of Prometheus rules, as far as ours go.
type alertFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr string
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		}
	}
}

// checkRules checks that every metric that the alert rules name is told by a server, with the labels that
// they use, and that each alert says what to do.
func checkRules(t *testing.T, s series) {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/prometheus/reelmill.rules.yml")
	check(t, err)
	var file alertFile
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	check(t, d.Decode(&file))
	alerts := map[string]bool{}
	var names, exprs []string
	for _, r := range file.Groups[0].Rules {
		if alerts[r.Alert] {
			t.Errorf("two alerts are called %s", r.Alert)
		}
		alerts[r.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) ||
			r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks severity, summary or description", r.Alert)
		}
		if r.For != "" {
			if _, err := time.ParseDuration(r.For); err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
		}
		names, exprs = append(names, r.Alert), append(exprs, r.Expr)
	}
	if len(alerts) < 10 {
		t.Errorf("%d alerts", len(alerts))
	}
	for i, u := range parsePromQL(t, exprs) {
		u.check(t, names[i], s.names())
	}
}

// promUse is what deploy/tools/promql tells of an expression.
type promUse struct {
	Metrics map[string][]string // the labels that matchers name, by metric
	Labels  []string            // those that results are grouped or matched by
}

// parsePromQL has Prometheus' own parser read the expressions.
func parsePromQL(t *testing.T, exprs []string) (uses []promUse) {
	t.Helper()
	ask, err := json.Marshal(exprs)
	check(t, err)
	cmd := exec.Command("go", "-C", "../../deploy/tools/promql", "run", ".")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(ask), os.Stderr
	out, err := cmd.Output()
	check(t, err)
	check(t, json.Unmarshal(out, &uses))
	if len(uses) != len(exprs) {
		t.Fatalf("%d of %d expressions are parsed", len(uses), len(exprs))
	}
	return uses
}

// check checks the names that an expression uses; known are the labels of the metrics that a server tells.
func (u promUse) check(t *testing.T, alert string, known map[string][]string) {
	t.Helper()
	all := []string{"instance"} // Prometheus' own
	for name, matched := range u.Metrics {
		if known[name] == nil {
			t.Errorf("%s: no server tells %s", alert, name)
		}
		for _, label := range matched {
			if !slices.Contains(known[name], label) {
				t.Errorf("%s: %s has no label %s", alert, name, label)
			}
		}
		all = append(all, known[name]...)
	}
	if len(u.Metrics) == 0 {
		t.Errorf("%s looks at no metric", alert)
	}
	for _, label := range u.Labels {
		if !slices.Contains(all, label) {
			t.Errorf("%s: its metrics have no label %s", alert, label)
		}
	}
}

// The metrics of a video that was told before this process was started are no news to it.
func TestMetricsLeaveOutWhatHappenedBefore(t *testing.T) {
	data := t.TempDir()
	config := nodeConfig{data: data, minFreeSpace: 1, log: slog.New(slog.DiscardHandler)}
	n, err := newNode(t.Context(), withDefaultPipelines(config))
	check(t, err)
	m := &mill{tb: t, bus: n.bus}
	m.upload("p", "before")
	listener, address, err := listen(t.Context(), "127.0.0.1:0")
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.run(ctx, listener) }()
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
	check(t, n.close())
}

func withDefaultPipelines(c nodeConfig) nodeConfig {
	c.pipelines = (&settings{}).pipelines
	return c
}
