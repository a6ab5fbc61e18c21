package pipelinetest

import (
	"fmt"
	"os"
)

// Whole reports whether tests run all cases of their sweeps: whether TEST_SWEEP is set, as `make sweep` and
// `make mutate` do. Otherwise, a sweep is so long that each run of the tests takes a sample of it.
func Whole() bool { return os.Getenv("TEST_SWEEP") != "" }

// Sweep returns the cases that a test runs: the first n, or all of them if Whole. The first n must have
// whatever is most different. It panics unless there are more than n.
func Sweep[T any](cases []T, n int) []T {
	if n < 1 || n >= len(cases) {
		panic(fmt.Sprintf("a sample of %d of %d cases", n, len(cases)))
	}
	if Whole() {
		return cases
	}
	return cases[:n]
}

// SweepOf is Sweep for cases with names. sample names those that each run has. It panics if one is missing.
func SweepOf[T any](cases map[string]T, sample ...string) map[string]T {
	some := map[string]T{}
	for _, name := range sample {
		c, ok := cases[name]
		if !ok {
			panic(fmt.Sprintf("there is no case %q", name))
		}
		some[name] = c
	}
	if Whole() {
		return cases
	}
	return some
}
