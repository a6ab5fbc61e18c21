package pipeline_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// traceParent is the form of version 00. Source: W3C Trace Context, 3.2.
var traceParent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)

// FuzzChildTrace: whatever a client sends, the new traceparent is valid. It stays in the client's trace, with a
// span of its own, exactly if the client's is valid.
func FuzzChildTrace(f *testing.F) {
	for _, parent := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", "00-0-0-00", "---",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
	} {
		f.Add(parent)
	}
	f.Fuzz(func(t *testing.T, parent string) {
		child := traceParent.FindStringSubmatch(pipeline.ChildTrace(parent))
		if child == nil || strings.Trim(child[1], "0") == "" || strings.Trim(child[2], "0") == "" {
			t.Fatalf("%q became %q", parent, child)
		}
		given := traceParent.FindStringSubmatch(parent)
		valid := given != nil && strings.Trim(given[1], "0") != "" && strings.Trim(given[2], "0") != ""
		if valid != strings.Contains(parent, child[1]) {
			t.Errorf("%q became %q", parent, child[0])
		}
		if valid && given[2] == child[2] {
			t.Errorf("%q has no span of its own: %q", parent, child[0])
		}
	})
}
