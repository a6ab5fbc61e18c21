package node

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// alertFile is a file of Prometheus rules, with the keys that ours use.
type alertFile struct {
	Groups []struct {
		Name  string
		Rules []alertRule
	}
}

type alertRule struct {
	Alert, Expr string
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// alertRules reads our rules.
func alertRules(t *testing.T) []alertRule {
	t.Helper()
	raw, err := os.ReadFile("../../../../deploy/prometheus/reelmill.rules.yml")
	check(t, err)
	var file alertFile
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	check(t, d.Decode(&file))
	if len(file.Groups) != 1 {
		t.Fatalf("%d groups of rules", len(file.Groups))
	}
	return file.Groups[0].Rules
}

// alertScenarios are series, scraped every 30 seconds, and the alerts that fire at their end, as
// "name: summary". A server has every series (checkScenarios). deploy/tools/promql explains the values.
var alertScenarios = []struct {
	name   string
	series map[string]string
	fires  []string
}{
	{name: "all is well", series: map[string]string{
		`reelmill_broker_quorum{}`: "1x200",
	}},
	{name: "the last process is gone", series: map[string]string{
		`reelmill_broker_quorum{}`: "1x3 stale _x4",
	}, fires: []string{"ReelMillSilent: No process of ReelMill answers Prometheus."}},
	{name: "one of two processes is gone", series: map[string]string{
		`reelmill_broker_quorum{instance="a"}`: "1x3 stale _x20", `reelmill_broker_quorum{instance="b"}`: "1x20",
	}},
	{name: "one process has had no broker for a minute", series: map[string]string{
		`reelmill_broker_quorum{instance="a"}`: "1x6", `reelmill_broker_quorum{instance="b"}`: "1x3 0x2",
	}, fires: []string{"ReelMillBrokerWithoutQuorum: The broker cannot store; nothing goes on."}},
	{name: "the broker elects a leader", series: map[string]string{
		`reelmill_broker_quorum{}`: "1x3 0x1 1 0x1",
	}},
	{name: "a task has waited for 20 minutes", series: map[string]string{
		`reelmill_queue_oldest_task_seconds{worker="transcode"}`: "0x4 0+30x41",
		`reelmill_queue_oldest_task_seconds{worker="inspect"}`:   "0x44",
	}, fires: []string{"ReelMillTasksWait: A task of transcode has waited for 20m 30s."}},
	{name: "a task waited for 17 minutes and was begun", series: map[string]string{
		`reelmill_queue_oldest_task_seconds{worker="transcode"}`: "0+30x34 0 30",
	}},
	{name: "tasks have waited for an hour because two of the queues are paused", series: map[string]string{
		`reelmill_queue_oldest_task_seconds{worker="transcode"}`:     "0+30x125",
		`reelmill_queue_paused{instance="a",worker="transcode"}`:     "0 1x124",
		`reelmill_queue_tasks{priority="normal",worker="transcode"}`: "3x125",
		`reelmill_queue_paused{instance="a",worker="watermark"}`:     "0 1x124",
		`reelmill_queue_tasks{priority="normal",worker="watermark"}`: "0x125",
	}, fires: []string{
		"ReelMillQueuePaused: The queue of transcode has been paused for an hour, and it has tasks.",
	}},
	{name: "a queue is paused for half an hour", series: map[string]string{
		`reelmill_queue_oldest_task_seconds{worker="transcode"}`:     "0+30x60",
		`reelmill_queue_paused{worker="transcode"}`:                  "0 1x59",
		`reelmill_queue_tasks{priority="normal",worker="transcode"}`: "3x60",
	}},
	{name: "two serve and nobody runs watermark, which has a task", series: map[string]string{
		`reelmill_worker_processes{instance="a",worker="watermark"}`:              "1x4 0x4",
		`reelmill_worker_processes{instance="b",worker="watermark"}`:              "1x4 0x4",
		`reelmill_queue_tasks{instance="a",priority="normal",worker="watermark"}`: "0x4 1x4",
		`reelmill_queue_tasks{instance="b",priority="normal",worker="watermark"}`: "0x4 1x4",
		`reelmill_queue_tasks{instance="a",priority="bulk",worker="watermark"}`:   "0x8",
	}, fires: []string{"ReelMillWorkerMissing: Nobody runs watermark, and it has tasks."}},
	{name: "nobody runs watermark, which has no tasks; transcode has both", series: map[string]string{
		`reelmill_worker_processes{worker="watermark"}`:              "0x40",
		`reelmill_queue_tasks{priority="normal",worker="watermark"}`: "0x40",
		`reelmill_worker_processes{worker="transcode"}`:              "1x40",
		`reelmill_queue_tasks{priority="normal",worker="transcode"}`: "7x40",
	}},
	{name: "three videos fail of the same within 15 minutes", series: map[string]string{
		`reelmill_video_failures_total{code="encode_failed"}`: "0x10 1x9 2x9 3x2",
		`reelmill_video_failures_total{code="job_timeout"}`:   "0x33",
	}, fires: []string{"ReelMillVideosFail: Videos end with encode_failed."}},
	{name: "two videos fail, and two servers tell of both", series: map[string]string{
		`reelmill_video_failures_total{code="encode_failed",instance="a"}`: "0x10 1x9 2x2",
		`reelmill_video_failures_total{code="encode_failed",instance="b"}`: "0x10 1x9 2x2",
	}},
	{name: "people upload what is no video", series: map[string]string{
		`reelmill_video_failures_total{code="input_not_video"}`: "0+1x40",
		`reelmill_video_failures_total{code="policy_rejected"}`: "0+1x40",
		`reelmill_video_failures_total{code="quota_exceeded"}`:  "0+1x40",
	}},
	{name: "three videos failed an hour ago", series: map[string]string{
		`reelmill_video_failures_total{code="encode_failed"}`: "0x10 1 2 3x120",
	}},
	{name: "every attempt at a film fails, after 20 minutes each", series: map[string]string{
		`reelmill_attempt_failures_total{code="job_stalled",worker="transcode"}`: "0x40 1x39 2x39 3x19",
		`reelmill_attempt_seconds_count{outcome="failed",worker="transcode"}`:    "0x40 1x39 2x39 3x19",
		`reelmill_attempt_seconds_count{outcome="completed",worker="transcode"}`: "5x140",
	}, fires: []string{"ReelMillAttemptsFail: More than a fifth of the attempts at transcode jobs fail."}},
	{name: "a third of the attempts fail on one of two machines", series: map[string]string{
		`reelmill_attempt_failures_total{code="encode_failed",instance="a",worker="audio"}`: "0x9 1+1x50",
		`reelmill_attempt_seconds_count{instance="a",outcome="failed",worker="audio"}`:      "0x9 1+1x50",
		`reelmill_attempt_seconds_count{instance="b",outcome="failed",worker="audio"}`:      "0x60",
		`reelmill_attempt_seconds_count{instance="b",outcome="completed",worker="audio"}`:   "0+2x60",
	}, fires: []string{"ReelMillAttemptsFail: More than a fifth of the attempts at audio jobs fail."}},
	{name: "one attempt in six fails", series: map[string]string{
		`reelmill_attempt_failures_total{code="encode_failed",worker="audio"}`: "0+1x120",
		`reelmill_attempt_seconds_count{outcome="failed",worker="audio"}`:      "0+1x120",
		`reelmill_attempt_seconds_count{outcome="completed",worker="audio"}`:   "0+5x120",
	}},
	{name: "one attempt fails, of one", series: map[string]string{
		`reelmill_attempt_failures_total{code="encode_failed",worker="audio"}`: "0x10 1x100",
		`reelmill_attempt_seconds_count{outcome="failed",worker="audio"}`:      "0x10 1x100",
	}},
	{name: "attempts fail of what people upload", series: map[string]string{
		`reelmill_attempt_failures_total{code="input_malformed",worker="transcode"}`: "0+1x60",
		`reelmill_attempt_seconds_count{outcome="failed",worker="transcode"}`:        "0+1x60",
	}},
	{name: "the coordinator is late", series: map[string]string{
		`reelmill_coordinator_lag_events{}`: "0x10 1001x10", `reelmill_projection_lag_events{}`: "0x20",
	}, fires: []string{"ReelMillCoordinatorLate: 1001 events wait to be acted on, or to be shown."}},
	{name: "the read model of one server is late", series: map[string]string{
		`reelmill_coordinator_lag_events{instance="a"}`: "0x20",
		`reelmill_projection_lag_events{instance="a"}`:  "0x20",
		`reelmill_coordinator_lag_events{instance="b"}`: "0x20",
		`reelmill_projection_lag_events{instance="b"}`:  "5000x20",
	}, fires: []string{"ReelMillCoordinatorLate: 5000 events wait to be acted on, or to be shown."}},
	{name: "coordinator and read model catch up after a start", series: map[string]string{
		`reelmill_coordinator_lag_events{}`: "5000x8 900x20", `reelmill_projection_lag_events{}`: "5000x8 1000x20",
	}},
	// An open breaker becomes half-open after 5 seconds, and stays so until somebody tries.
	{name: "the store is down", series: map[string]string{
		`reelmill_breaker_state{name="objects",of="store"}`: "0x9 2 1 1 2 1 1 1 2 1",
		`reelmill_store_failures_total{}`:                   "0x9 20 20 21 21 22 22 22 23 24",
	}, fires: []string{"ReelMillStoreDown: The object store does not answer; no job begins."}},
	{name: "the store was down, and nobody has used it since", series: map[string]string{
		`reelmill_breaker_state{name="objects",of="store"}`: "0x9 2 1 1 1 1x20",
		`reelmill_store_failures_total{}`:                   "0x9 20 20 21 21 21x20",
	}},
	{name: "the store fails at times", series: map[string]string{
		`reelmill_breaker_state{name="objects",of="store"}`: "0x40",
		`reelmill_store_failures_total{}`:                   "0+1x40",
	}},
	{name: "one of two data disks fills", series: map[string]string{
		`reelmill_disk_free_bytes{instance="a"}`: "9e10x20", `reelmill_disk_reserve_bytes{instance="a"}`: "2e10x20",
		`reelmill_disk_free_bytes{instance="b"}`:    "2.6e10x9 2.4e10x11",
		`reelmill_disk_reserve_bytes{instance="b"}`: "2e10x20",
	}, fires: []string{"ReelMillDiskNearlyFull: The data disk of b is nearly full; soon uploads are refused."}},
	{name: "a data disk has a little more than is kept free", series: map[string]string{
		`reelmill_disk_free_bytes{}`: "2.6e10x20", `reelmill_disk_reserve_bytes{}`: "2e10x20",
	}},
	{name: "the event log fills", series: map[string]string{
		`reelmill_log_bytes{}`: "7e9x20", `reelmill_log_upload_bytes{}`: "7.5e9x20",
	}, fires: []string{"ReelMillLogNearlyFull: The event log is nearly full; soon uploads are refused."}},
	{name: "the event log is fairly full", series: map[string]string{
		`reelmill_log_bytes{}`: "6.7e9x20", `reelmill_log_upload_bytes{}`: "7.5e9x20",
	}},
	{name: "a certificate expires in six days", series: map[string]string{
		`reelmill_tls_certificate_expiry_timestamp_seconds{instance="a"}`: "518400x20",
		`reelmill_tls_certificate_expiry_timestamp_seconds{instance="b"}`: "7776000x20",
	}, fires: []string{"ReelMillCertificateExpires: The TLS certificate of a expires in 5d 23h 50m 0s."}},
	{name: "a certificate expires in eight days", series: map[string]string{
		`reelmill_tls_certificate_expiry_timestamp_seconds{instance="a"}`: "691200x20",
	}},
	{name: "the event log has lost 3 events", series: map[string]string{
		`reelmill_log_lost_events{}`: "0x5 3",
	}, fires: []string{"ReelMillLogLost: The event log has lost 3 events."}},
	{name: "the event log is whole, and videos are deleted", series: map[string]string{
		`reelmill_log_lost_events{}`: "0x20", `reelmill_log_bytes{}`: "7e6-3e5x20",
		`reelmill_log_upload_bytes{}`: "7.5e9x20",
	}},
	{name: "of 50 videos 10 took 10 minutes to be playable", series: map[string]string{
		`reelmill_time_to_playable_seconds_bucket{le="60"}`:   "0x9 0+1x40",
		`reelmill_time_to_playable_seconds_bucket{le="300"}`:  "0x9 0+1x40",
		`reelmill_time_to_playable_seconds_bucket{le="900"}`:  "0x9 0+1.25x40",
		`reelmill_time_to_playable_seconds_bucket{le="+Inf"}`: "0x9 0+1.25x40",
		`reelmill_time_to_playable_objective_seconds{}`:       "300x49",
	}, fires: []string{
		"ReelMillPlaybackLate: More than 5% of the videos take longer to be playable than --playable-within says.",
	}},
	{name: "10 of 50 videos took 10 minutes, which is soon enough", series: map[string]string{
		`reelmill_time_to_playable_seconds_bucket{le="300"}`:  "0x9 0+1x40",
		`reelmill_time_to_playable_seconds_bucket{le="900"}`:  "0x9 0+1.25x40",
		`reelmill_time_to_playable_seconds_bucket{le="+Inf"}`: "0x9 0+1.25x40",
		`reelmill_time_to_playable_objective_seconds{}`:       "900x49",
	}},
	{name: "nothing becomes playable, and two servers tell of it", series: map[string]string{
		`reelmill_videos_late{instance="a"}`: "0x5 7x30", `reelmill_videos_late{instance="b"}`: "0x5 7x30",
	}, fires: []string{"ReelMillVideosLate: 7 videos should be playable by now, and are not."}},
	{name: "a video was late", series: map[string]string{`reelmill_videos_late{}`: "0x5 1x15 0x9"}},
	{name: "of 50 videos 2 took 10 minutes to be playable, and then there are none", series: map[string]string{
		`reelmill_time_to_playable_seconds_bucket{le="60"}`:   "0x9 0+1.2x40 48x90",
		`reelmill_time_to_playable_seconds_bucket{le="300"}`:  "0x9 0+1.2x40 48x90",
		`reelmill_time_to_playable_seconds_bucket{le="900"}`:  "0x9 0+1.25x40 50x90",
		`reelmill_time_to_playable_seconds_bucket{le="+Inf"}`: "0x9 0+1.25x40 50x90",
		`reelmill_time_to_playable_objective_seconds{}`:       "300x139",
	}},
	{name: "the sweeper repairs one video", series: map[string]string{
		`reelmill_sweeper_repairs_total{kind="task_lost"}`:    "0x10 1x20",
		`reelmill_sweeper_repairs_total{kind="event_missed"}`: "0x30",
	}, fires: []string{"ReelMillRepaired: The sweeper repaired a video (task_lost)."}},
	{name: "the sweeper repaired two videos this morning", series: map[string]string{
		`reelmill_sweeper_repairs_total{kind="task_lost"}`: "0x10 1 2x150",
	}},
	{name: "three jobs have been dead for half an hour", series: map[string]string{
		`reelmill_dead_letters{}`: "0x5 3x60",
	}, fires: []string{"ReelMillDeadLetters: 3 jobs have failed for good, and nobody dealt with them."}},
	{name: "three jobs were dead and were redriven", series: map[string]string{
		`reelmill_dead_letters{}`: "0x5 3x55 0x3",
	}},
}

// TestAlertsFireWhenTheyShould checks with Prometheus' own engine that each alert fires when it should and at
// no other time.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	rules := alertRules(t)
	type scenario struct {
		Series map[string]string
		Always []string
	}
	ask := struct {
		Rules     []alertRule
		Scenarios []scenario
	}{Rules: rules}
	for _, s := range alertScenarios {
		scraped := scenario{Series: map[string]string{}}
		quorum := false
		for name, values := range s.series {
			if !strings.Contains(name, `instance="`) {
				name = strings.Replace(name, "{", `{instance="mill:8080",`, 1)
			}
			scraped.Series[name] = values
			quorum = quorum || strings.HasPrefix(name, "reelmill_broker_quorum{")
		}
		if !quorum { // every process has it
			scraped.Always = []string{`reelmill_broker_quorum{instance="mill:8080"}`}
		}
		ask.Scenarios = append(ask.Scenarios, scraped)
	}
	var answer [][]struct {
		Alert               string
		Labels, Annotations map[string]string
	}
	promQL(t, ask, &answer, "alerts")
	unfired := map[string]bool{}
	for _, r := range rules {
		unfired[r.Alert] = true
	}
	for i, s := range alertScenarios {
		var fired []string
		for _, f := range answer[i] {
			fired = append(fired, f.Alert+": "+f.Annotations["summary"])
			delete(unfired, f.Alert)
		}
		if !slices.Equal(fired, s.fires) {
			t.Errorf("%s: %q, want %q", s.name, fired, s.fires)
		}
	}
	for alert := range unfired {
		t.Errorf("%s fires in no scenario", alert)
	}
}

// checkRules checks that a server has every metric and label that the alert rules name, that each alert says
// what to do, and that the scenarios have no other series.
func checkRules(t *testing.T, s series) {
	t.Helper()
	alerts := map[string]bool{}
	var names, exprs []string
	for _, r := range alertRules(t) {
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
	var uses []promUse
	promQL(t, exprs, &uses)
	for i, u := range uses {
		u.check(t, names[i], s.names())
	}
	checkScenarios(t, s)
}

// checkScenarios checks that a server has each series of the scenarios. Prometheus adds the label instance.
func checkScenarios(t *testing.T, s series) {
	t.Helper()
	instance := regexp.MustCompile(`instance="[^"]*",?`)
	for _, scenario := range alertScenarios {
		for name := range scenario.series {
			told := strings.TrimSuffix(strings.Replace(instance.ReplaceAllString(name, ""), ",}", "}", 1), "{}")
			if _, ok := s[told]; !ok {
				t.Errorf("%s: no server tells %s", scenario.name, told)
			}
		}
	}
}

// promQL runs deploy/tools/promql, which uses Prometheus' own packages.
func promQL(t *testing.T, ask, answer any, args ...string) {
	t.Helper()
	text, err := json.Marshal(ask)
	check(t, err)
	cmd := exec.Command("go", append([]string{"-C", "../../../../deploy/tools/promql", "run", "."}, args...)...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
	out, err := cmd.Output()
	check(t, err)
	check(t, json.Unmarshal(out, answer))
}

// promUse is what an expression uses.
type promUse struct {
	Metrics map[string][]string // labels in matchers, by metric
	Labels  []string            // labels that group or match results
}

// check checks the names in an expression; known has the labels of the metrics that a server has.
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
