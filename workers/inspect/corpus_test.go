//go:build corpus

package inspect

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

var (
	corpus = flag.String("corpus", "", "a folder of videos that TestFactsOfCorpus inspects")
	found  = flag.String("facts", "", "where it writes what it found: JSON of media by file name")
)

// TestFactsOfCorpus inspects the videos of -corpus, and writes the facts of those that are accepted to
// -facts, for the tests of workers that run over the same videos (make corpustest).
func TestFactsOfCorpus(t *testing.T) {
	files, err := os.ReadDir(*corpus)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there is no video")
	}
	all := map[string]*pipeline.Media{}
	w := New(ffmpeg.Tools{}, Limits{})
	for _, f := range files {
		m, err := w.look(t.Context(), filepath.Join(*corpus, f.Name()), t.TempDir())
		if err == nil {
			all[f.Name()] = m
		} else {
			t.Logf("%s: %v", f.Name(), err)
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.WriteFile(*found, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
