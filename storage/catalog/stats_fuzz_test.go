package catalog

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/stats"
)

// FuzzStatsQuery: an accepted range has at most as many windows as an answer may have. They follow one another, hold
// the range, and can be written as JSON.
func FuzzStatsQuery(f *testing.F) {
	f.Add("2026-11-27T10:00:00Z", "2026-11-27T11:00:00Z", int64(time.Minute))
	f.Add("0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z", int64(time.Second))
	f.Add("9999-12-31T23:59:58Z", "9999-12-31T23:59:59.999999999Z", int64(5*time.Minute))
	f.Add("1969-12-31T23:59:59.9999999+23:59", "1970-01-01T00:00:00-23:59", int64(time.Hour))
	f.Add("2026-11-27T10:00:00.0000001Z", "2026-11-27T10:00:00.0000002Z", int64(-1))
	f.Fuzz(func(t *testing.T, from, to string, window int64) {
		q := StatsQuery{Window: time.Duration(window)}
		var err error
		if q.From, err = time.Parse(time.RFC3339, from); err != nil {
			return
		}
		if q.To, err = time.Parse(time.RFC3339, to); err != nil || q.validate() != nil {
			return
		}
		s := stats.NewTally(q.Window, q.From, q.To).Stats(q.To)
		if n := len(s.Windows); n == 0 || n > stats.MaxWindows || s.From.After(q.From) || s.To.Before(q.To) {
			t.Fatalf("%d windows from %s to %s for %s to %s", n, s.From, s.To, from, to)
		}
		at := s.From
		for _, w := range s.Windows {
			if !w.Start.Equal(at) || w.End.Sub(w.Start) != q.Window {
				t.Fatalf("a window from %s to %s, not from %s", w.Start, w.End, at)
			}
			at = w.End
		}
		if _, err := json.Marshal(s); err != nil || !at.Equal(s.To) {
			t.Errorf("the last window ends at %s, not %s; %v", at, s.To, err)
		}
	})
}
