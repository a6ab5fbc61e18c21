package transcode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// shown returns when libavformat shows the frames of a playlist, in seconds.
func shown(t *testing.T, playlist string) (times []float64) {
	t.Helper()
	text, err := os.ReadFile(workertest.Clip(t, "a.txt", "-copyts", "-i", playlist, "-map", "0:v", "-c", "copy", "-f", "framecrc"))
	if err != nil {
		t.Fatal(err)
	}
	var num, den float64
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "#tb 0: "); ok {
			if _, err := fmt.Sscanf(rest, "%g/%g", &num, &den); err != nil {
				t.Fatal(err)
			}
		}
		var stream, decoded, shown float64
		if n, _ := fmt.Sscanf(line, "%g,%g,%g", &stream, &decoded, &shown); n == 3 {
			times = append(times, shown*num/den)
		}
	}
	slices.Sort(times)
	return times
}

// TestFramesAreShownOnTime: every player shows every frame of every rung at its time, the first at 0. Players
// with libavformat would shift a track with negative composition offsets. Browsers read the boxes: decode
// times are on the grid, and the edit list undoes the delay that the offsets add.
func TestFramesAreShownOnTime(t *testing.T) {
	source, m := standardClip(t, "50", 0, 5, 10)
	for _, c := range []struct {
		params string
		rungs  []string
	}{
		{`{"ladder":[180,360]}`, []string{"360p", "180p"}},                      // copied, encoded
		{`{"ladder":[90],"copy":"never"}`, []string{"90p"}},                     // in two parts
		{`{"ladder":[90],"copy":"never","quality":"premium"}`, []string{"90p"}}, // another preset
	} {
		root := runAll(t, c.params, source, m)
		for _, rung := range c.rungs {
			times := shown(t, filepath.Join(root, rung, "index.m3u8"))
			if len(times) != 140 {
				t.Errorf("%s of %s: %d frames", rung, c.params, len(times))
			}
			for n, at := range times {
				if want := float64(n) / 10; math.Abs(at-want) > 0.001 {
					t.Errorf("%s of %s: frame %d is shown at %.3f s, want %.3f s", rung, c.params, n, at, want)
					break
				}
			}
			checkBoxes(t, workertest.Joined(t, filepath.Join(root, rung)))
		}
	}
}

// checkBoxes checks that no frame is shown before it is decoded, and that the first frame of each fragment is
// shown when the fragment begins.
func checkBoxes(t *testing.T, file string) {
	t.Helper()
	f, err := mp4.ReadMP4File(file)
	if err != nil {
		t.Fatal(err)
	}
	edits := f.Moov.Trak.Edts
	if edits == nil || len(edits.Elst) != 1 || len(edits.Elst[0].Entries) != 1 {
		t.Fatalf("%s: edits %+v", file, edits)
	}
	edit := edits.Elst[0].Entries[0]
	if edit.SegmentDuration != 0 || edit.MediaTime <= 0 || edit.MediaRateInteger != 1 {
		t.Errorf("%s: edit %+v", file, edit)
	}
	next := uint64(0)
	for _, s := range f.Segments {
		for _, fragment := range s.Fragments {
			traf := fragment.Moof.Traf
			if got := traf.Tfdt.BaseMediaDecodeTime(); got != next {
				t.Errorf("%s: a fragment begins at tick %d, want %d", file, got, next)
			}
			next += traf.Trun.AddSampleDefaultValues(traf.Tfhd, f.Moov.Mvex.Trex)
			for i, one := range traf.Trun.Samples {
				if one.CompositionTimeOffset < 0 || i == 0 && int64(one.CompositionTimeOffset) != edit.MediaTime {
					t.Errorf("%s: sample %d has the offset %d, the edit list %d", file, i, one.CompositionTimeOffset, edit.MediaTime)
				}
			}
		}
	}
}

// TestPlansOfBefore: a video that was planned before edit lists existed gets no edit list in any of its
// parts.
func TestPlansOfBefore(t *testing.T) {
	source, m := standardClip(t, "50", 0, 5, 10)
	jobs, err := New(ffmpeg.Tools{}).Plan(Params{Ladder: []int{90}, Copy: copyNever}, m)
	if err != nil {
		t.Fatal(err)
	}
	store, results := workertest.NewStore(t), map[string]pipeline.Result{}
	for _, j := range jobs {
		j.Worker, j.Params = "transcode", json.RawMessage("{}")
		now := j.Part
		if j.Part = bytes.Replace(now, []byte(`,"delay":2`), nil, 1); bytes.Equal(j.Part, now) {
			continue // a job of another kind
		}
		task := pipeline.Task{Video: store.Video, Job: j, Media: &m, Source: store.Add(t, "original", source)}
		results[j.Name] = store.Work(t, registry(), task, results, nil)
	}
	f, err := mp4.ReadMP4File(workertest.Joined(t, filepath.Join(store.Tree(t, results), "90p")))
	if err != nil || len(results) != 2 || f.Moov.Trak.Edts != nil {
		t.Errorf("%d jobs, %+v, %v", len(results), f.Moov.Trak.Edts, err)
	}
}
