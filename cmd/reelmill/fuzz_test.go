package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// FuzzSettings: an accepted configuration file, written again, is accepted and has the same keys; and it takes no
// more memory than its size explains, whatever its aliases multiply.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{
		"data: /srv/reelmill\nslots: {transcode: 2}\npipelines:\n  - name: a\n    steps: [{name: t, worker: transcode}]\n",
		"pipelines: [{name: [}]", "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nd: [*c,*c,*c]\n", "1: 2\n", "- a\n",
		"<<: {a: 1}\n", "pipelines: null\n", "? [a]\n: b\n", "\xff",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := &settings{path: "config.yaml"}, error(nil)
		if n := pipelinetest.Allocated(func() { err = s.parse(raw) }); n > 64<<20+uint64(20_000*len(raw)) {
			t.Fatalf("%d bytes of memory for %d of configuration", n, len(raw))
		}
		if err != nil {
			return
		}
		for _, v := range s.values {
			if text := fmt.Sprint(flagValue(v)); text == "" && v != nil && v != "" {
				if m, ok := v.(map[string]any); !ok || len(m) > 0 {
					t.Errorf("%v of %q became nothing", v, raw)
				}
			}
		}
		written, err := yaml.Marshal(s.values)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		again := &settings{path: "config.yaml"}
		if err := again.parse(written); err != nil || !slices.Equal(keysOf(again), keysOf(s)) {
			t.Errorf("%q is written as %q, which has the keys %q, %v", raw, written, keysOf(again), err)
		}
	})
}

func keysOf(s *settings) []string { return slices.Sorted(maps.Keys(s.values)) }

// FuzzSlots: accepted slots are not negative, and written again, they are the same.
func FuzzSlots(f *testing.F) {
	for _, text := range []string{"transcode=2;audio=1", "a=-1", "=3", "a=1;a=2", ";;", "a", "a=1=2", "a=+1", "a=1_0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := decodeSlots(text)
		if err != nil {
			return
		}
		var pairs []string
		for worker, n := range first {
			if n < 0 {
				t.Fatalf("%q: %v", text, first)
			}
			pairs = append(pairs, fmt.Sprintf("%s=%d", worker, n))
		}
		if again, err := decodeSlots(strings.Join(pairs, ";")); err != nil || !maps.Equal(again, first) {
			t.Errorf("%q: %v, then %v, %v", text, first, again, err)
		}
	})
}

func decodeSlots(text string) (s slots, err error) {
	err = s.Decode(&kong.DecodeContext{Scan: kong.Scan(text)})
	return s, err
}
