package pipelinetest

import (
	"maps"
	"slices"
	"testing"
)

// TestSweep: without TEST_SWEEP a sweep is its sample, with it all cases; a sample that is no sample panics.
func TestSweep(t *testing.T) {
	list, table := []int{1, 2, 3}, map[string]int{"a": 1, "b": 2, "c": 3}
	for value, want := range map[string]struct {
		list  []int
		names []string
	}{"": {[]int{1, 2}, []string{"a", "c"}}, "1": {list, []string{"a", "b", "c"}}} {
		t.Setenv("TEST_SWEEP", value)
		if got := Sweep(list, 2); !slices.Equal(got, want.list) {
			t.Errorf("TEST_SWEEP=%s: %v, want %v", value, got, want.list)
		}
		if got := slices.Sorted(maps.Keys(SweepOf(table, "a", "c"))); !slices.Equal(got, want.names) {
			t.Errorf("TEST_SWEEP=%s: %v, want %v", value, got, want.names)
		}
		for name, wrong := range map[string]func(){
			"no case":   func() { Sweep(list, 0) },
			"all cases": func() { Sweep(list, 3) },
			"unknown":   func() { SweepOf(table, "a", "d") },
		} {
			if !panics(wrong) {
				t.Errorf("TEST_SWEEP=%s: %s as a sample", value, name)
			}
		}
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}
