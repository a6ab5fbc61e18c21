//go:build corpus

package all

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/workertest"
)

var corpus = flag.String("corpus", "", "a folder of videos that TestLengthsOfCorpus runs over")

// TestLengthsOfCorpus checks the outputs of the videos of -corpus. Inspection gives their lengths.
func TestLengthsOfCorpus(t *testing.T) {
	files, err := os.ReadDir(*corpus)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			source := filepath.Join(*corpus, f.Name())
			r, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			in := workertest.Inspect(t, r, workertest.NewStore(t), source)
			if in.Verdict != pipeline.VerdictAccept {
				t.Logf("refused: %v", in.Reason)
				return
			}
			accepted++
			root, results := played(t, source, false)
			checkLengths(t, root, in.Media.Duration, 1) // a silent clip may have one rung
			t.Logf("%.3f s, copied: %v", in.Media.Duration, results["transcode-copy"].Facts)
		})
	}
	if accepted == 0 {
		t.Error("no video is accepted")
	}
}
