package pipeline

import (
	"bytes"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A loop that fails five times a second for six minutes is logged at once and then once a minute. Every
// failure is counted, and its end is logged.
func TestRecurringFailureIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 6 * 60 * 5
		var out bytes.Buffer
		r := &Recurring{Logger: slog.New(slog.NewTextHandler(&out, nil))}
		for range failures {
			r.Failed("take a task", "worker", "transcode")
			time.Sleep(200 * time.Millisecond)
		}
		r.Works("take a task")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 7 {
			t.Fatalf("%d lines, want six of the failure and one of its end:\n%s", len(lines), &out)
		}
		told := 0
		for i, line := range lines[:6] {
			if !strings.Contains(line, "level=WARN") || !strings.Contains(line, "worker=transcode") {
				t.Errorf("line %d: %s", i, line)
			}
			told++
			if n := regexp.MustCompile(`withheld=(\d+)`).FindStringSubmatch(line); n != nil {
				withheld, _ := strconv.Atoi(n[1])
				told += withheld
			}
		}
		if last := failures / 6; told != failures-(last-1) || int(r.Withheld()) != failures-6 {
			t.Errorf("%d failures are logged and %d withheld, of %d", told, r.Withheld(), failures)
		}
		if !strings.Contains(lines[6], "works again") || !strings.Contains(lines[6], "failures=1800 after=6m0s") {
			t.Errorf("the end: %s", lines[6])
		}
		out.Reset()
		r.Failed("take a task")
		if out.Len() == 0 {
			t.Error("a new failure after a success is not logged")
		}
	})
}

// A failure that comes and goes is logged no more often than one that stays; other failures have their own
// lines.
func TestRecurringFailureThatComesAndGoesIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := &Recurring{Logger: slog.New(slog.NewTextHandler(&out, nil))}
		for range 300 {
			r.Failed("take a task")
			r.Works("take a task")
			r.Works("take events")
			time.Sleep(100 * time.Millisecond)
		}
		r.Failed("take events")
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want one of each:\n%s", n, &out)
		}
	})
}

func TestWithheldFailuresAreLoggedAtDebugLevel(t *testing.T) {
	var out bytes.Buffer
	r := &Recurring{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, worker := range []string{"audio", "transcode"} {
		r.Failed("take a task", "worker", worker)
	}
	if !strings.Contains(out.String(), "level=DEBUG") || !strings.Contains(out.String(), "worker=transcode") {
		t.Errorf("%s", &out)
	}
}

// A nil logger logs nothing, here as everywhere; in particular it does not use the default logger.
func TestRecurringWithoutALoggerIsSilent(t *testing.T) {
	var out bytes.Buffer
	shared := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(shared)
	new(Recurring).Failed("take a task")
	if out.Len() > 0 {
		t.Errorf("logged %s", &out)
	}
}
