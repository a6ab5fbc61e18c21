//go:build corpus

package transcode

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

var (
	corpus = flag.String("corpus", "", "a folder of videos that the tests run over")
	facts  = flag.String("facts", "", "what TestFactsOfCorpus of the inspector found of them: JSON of media by file name")
)

// corpusFacts reads the facts of the videos from the file named by -facts, by video name.
func corpusFacts(t *testing.T) (found map[string]pipeline.Media) {
	t.Helper()
	text, err := os.ReadFile(*facts)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("there are no facts")
	}
	return found
}

// TestGridOfCorpus checks the videos of -corpus, with the facts of -facts.
func TestGridOfCorpus(t *testing.T) {
	found := corpusFacts(t)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		t.Run(name, func(t *testing.T) { checkGrid(t, filepath.Join(*corpus, name), found[name], Params{}) })
	}
}

// TestCopiesOfCorpus copies the videos of -corpus that are standard input by the facts of -facts, and logs
// why the others are encoded. At least 60% of the videos of usual formats must be copied.
func TestCopiesOfCorpus(t *testing.T) {
	found := corpusFacts(t)
	copied, usual := 0, 0
	for _, name := range slices.Sorted(maps.Keys(found)) {
		m := found[name]
		why := copyOf(t, filepath.Join(*corpus, name), m)
		if usualInput(m) {
			usual++
			if why == "" {
				copied++
			}
		}
		t.Logf("%-50s usual %-5v %s", name, usualInput(m), why)
	}
	if t.Logf("%d of %d are copied", copied, usual); copied*10 < usual*6 {
		t.Errorf("%d of %d are copied, want 60%%", copied, usual)
	}
}

// usualInput reports whether m is upright H.264 of 8-bit 4:2:0, with AAC or silent.
func usualInput(m pipeline.Media) bool {
	return m.Video.Codec == "h264" && m.Video.BitDepth == 8 && m.Video.Rotation == 0 && !m.Video.Mirrored &&
		slices.Contains([]string{"yuv420p", "yuvj420p"}, m.Video.PixelFormat) &&
		!slices.ContainsFunc(m.Audio, func(a pipeline.AudioTrack) bool { return a.Codec != "aac" })
}

// copyOf runs the jobs that copy, and returns the reason why the top rung is not a copy, or "" if it is.
func copyOf(t *testing.T, source string, m pipeline.Media) string {
	t.Helper()
	l := newPlanner(Params{}, m)
	if l.encoded != "" {
		return l.encoded
	}
	jobs, err := l.plan()
	if err != nil {
		t.Fatal(err)
	}
	store, results := workertest.NewStore(t), map[string]pipeline.Result{}
	for _, j := range jobs {
		var p part
		if err := json.Unmarshal(j.Part, &p); err != nil || p.Kind != copyKind {
			continue
		}
		j.Worker, j.Params = "transcode", json.RawMessage("{}")
		task := pipeline.Task{Video: store.Video, Job: j, Media: &m, Source: store.Add(t, "original", source)}
		r := store.Work(t, registry(), task, results, nil)
		if j.Name == copyJob && r.Facts[factCopied] != true {
			return "FELL BACK: " + r.Facts[factReason].(string)
		}
		results[j.Name] = r
	}
	list := store.Tree(t, results)
	if _, err := (ffmpeg.Tools{}).Probe(t.Context(), workertest.Joined(t, filepath.Join(list, l.copied[0].Name)), ffmpeg.ProbeOptions{Demuxer: "mov"}); err != nil {
		t.Error(err)
	}
	return ""
}
