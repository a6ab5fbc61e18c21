package webhooks_test

import (
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// TestSchedule: ten attempts in 75 hours, each delay a tenth shorter or longer.
func TestSchedule(t *testing.T) {
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
		14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	total := time.Duration(0)
	for i, middle := range want {
		for jitter, factor := range map[float64]float64{0: 0.9, 0.5: 1, 0.999: 1.0998} {
			s := webhooks.Schedule{Jitter: func() float64 { return jitter }}
			d, ok := s.Delay(i+1, 0)
			if exact := time.Duration(factor * float64(middle)); !ok || d < exact-time.Millisecond || d > exact+time.Millisecond {
				t.Errorf("after attempt %d with jitter %v: %s, want %s", i+1, jitter, d, exact)
			}
		}
		total += middle
	}
	if total < 75*time.Hour || total > 76*time.Hour {
		t.Errorf("%s in all", total)
	}
	s := webhooks.Schedule{}
	for range 1000 {
		if d, _ := s.Delay(9, 0); d < 21*time.Hour || d > 27*time.Hour {
			t.Fatalf("24 hours became %s", d)
		}
	}
	for _, n := range []int{-1, 0, 10, 11} {
		if _, ok := s.Delay(n, time.Hour); ok {
			t.Errorf("an attempt follows attempt %d", n)
		}
	}
	if d, _ := s.Delay(1, time.Hour); d != time.Hour {
		t.Errorf("asked for an hour: %s", d)
	}
	if d, _ := s.Delay(9, time.Second); d < 21*time.Hour {
		t.Errorf("asked for less than the schedule: %s", d)
	}
	if d, _ := s.Delay(1, 1000*time.Hour); d != 24*time.Hour {
		t.Errorf("asked for 1000 hours: %s", d)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		value  string
		want   time.Duration
	}{
		{429, "120", 2 * time.Minute}, {503, "0", 0}, {503, "9999999", 24 * time.Hour}, {500, "120", 0}, {200, "120", 0},
		{503, "Fri, 01 May 2026 12:10:00 GMT", 10 * time.Minute}, {503, "Fri, 01 May 2026 11:00:00 GMT", 0},
		{429, "", 0}, {429, "soon", 0}, {429, "-5", 0}, {429, "99999999999999999999", 0}, {429, "1.5", 0},
	} {
		if got := webhooks.RetryAfter(c.status, c.value, now); got != c.want {
			t.Errorf("%d %q: %s, want %s", c.status, c.value, got, c.want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, kind string
		want          bool
	}{
		{"*", "video.ready", true}, {"video.*", "video.ready", true}, {"video.ready", "video.ready", true},
		{"video.*", "job.started", false}, {"video.ready", "video.readyish", false}, {"video.*", "videos.x", false},
		{"job.*", "job.completed", true}, {"webhook_endpoint.*", webhooks.TypeDisabled, true},
	} {
		if got := webhooks.Matches(c.pattern, c.kind); got != c.want {
			t.Errorf("%s matches %s: %t", c.pattern, c.kind, got)
		}
	}
}
