package pipeline_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

// TestSequencesAreSets compares Sequences with sets of plain numbers.
func TestSequencesAreSets(t *testing.T) {
	numbers := rapid.SliceOf(rapid.Uint64Range(1, 40))
	rapid.Check(t, func(t *rapid.T) {
		a, b := numbers.Draw(t, "a"), numbers.Draw(t, "b")
		s := pipeline.SequencesOf(a)
		left := s.Without(pipeline.SequencesOf(b))
		var count uint64
		for n := range uint64(42) {
			if got, want := s.Has(n), slices.Contains(a, n); got != want {
				t.Fatalf("%v has %d: %t", s, n, got)
			}
			if got, want := left.Has(n), slices.Contains(a, n) && !slices.Contains(b, n); got != want {
				t.Fatalf("%v without %v is %v, which has %d: %t", a, b, left, n, got)
			}
			if s.Has(n) {
				count++
			}
		}
		if s.Count() != count {
			t.Fatalf("%v has %d, counted %d", s, count, s.Count())
		}
		if back := s.Runs().Sequences(); len(s) > 0 && !reflect.DeepEqual(back, s) {
			t.Fatalf("%v was written as %v and read as %v", s, s.Runs(), back)
		}
	})
}

// TestRunsAreWrittenAsTold checks the wire format.
func TestRunsAreWrittenAsTold(t *testing.T) {
	s := pipeline.Merge([]pipeline.Range{{141, 141}, {120, 134}})
	doc, err := json.Marshal(pipeline.Purged{Removed: s.Runs()})
	if err != nil || string(doc) != `{"removed":[119,15,6,1]}` {
		t.Errorf("written as %s, %v", doc, err)
	}
	if doc, err = json.Marshal(pipeline.Purged{Removed: pipeline.Sequences{}.Runs()}); string(doc) != `{"removed":[]}` {
		t.Errorf("an empty set is written as %s, %v", doc, err)
	}
	if doc, err = json.Marshal(pipeline.Purged{}); string(doc) != `{}` {
		t.Errorf("an unknown set is written as %s, %v", doc, err)
	}
}

// FuzzRuns decodes sets that somebody else encoded.
func FuzzRuns(f *testing.F) {
	f.Add([]byte(`[119,15,6,1]`))
	f.Add([]byte(`[18446744073709551615,18446744073709551615,1]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var runs pipeline.Runs
		if json.Unmarshal(doc, &runs) != nil {
			return
		}
		last := uint64(0)
		for _, r := range runs.Sequences() {
			if r.First <= last || r.Last < r.First {
				t.Fatalf("%v is read as %v", runs, runs.Sequences())
			}
			last = r.Last + 1
		}
	})
}

func TestThroughKeepsWhatIsNotAbove(t *testing.T) {
	s := pipeline.Merge([]pipeline.Range{{3, 5}, {9, 12}, {20, 20}})
	for n, want := range map[uint64]uint64{0: 0, 2: 0, 3: 1, 5: 3, 8: 3, 10: 5, 19: 7, 20: 8, math.MaxUint64: 8} {
		if got := s.Through(n); got.Count() != want || got.Has(n+1) {
			t.Errorf("through %d: %v, want %d of them", n, got, want)
		}
	}
}
