//go:build corpus

package main

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

var corpus = flag.String("corpus", "", "a folder of videos that TestSourcesOfCorpus processes")

// TestSourcesOfCorpus is TestSources with the videos of -corpus, some of which may be rejected.
func TestSourcesOfCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(*corpus, "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	ready := func(end pipeline.VideoView) bool { return end.Status == pipeline.StateVideoReady }
	if !slices.ContainsFunc(checkSources(t, files), ready) {
		t.Errorf("of %d videos none is ready", len(files))
	}
}
