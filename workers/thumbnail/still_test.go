package thumbnail

import (
	"bytes"
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// segmented makes a rendition of 320x180 at 10 frames/s, of two segments of 2 s, and returns what makes stills
// of it and the keys of init section and segments.
func segmented(t *testing.T) (stills *Stills, scratch string, keys [3]string) {
	t.Helper()
	playlist := workertest.Clip(t, "index.m3u8", slices.Concat(workertest.Pattern("320x180", "10", "4"), x264,
		[]string{"-g", "20", "-f", "hls", "-hls_time", "2", "-hls_segment_type", "fmp4", "-hls_playlist_type", "vod"})...)
	store := workertest.NewStore(t)
	for i, name := range []string{"init.mp4", "index0.m4s", "index1.m4s"} {
		keys[i] = store.Add(t, name, filepath.Join(filepath.Dir(playlist), name)).Key
	}
	scratch = filepath.Join(t.TempDir(), "stills")
	return NewStills(ffmpeg.Tools{}, store, scratch), scratch, keys
}

func ask(at float64, keys ...string) pipeline.Still {
	frame := pipeline.Size{Width: 320, Height: 180}
	return pipeline.Still{
		Keys: keys, At: at, FrameRate: 10, Frame: frame, StillShape: pipeline.FitPreserve.Shape(frame, pipeline.Size{}),
		Format: pipeline.StillJPEG,
	}
}

func TestStill(t *testing.T) {
	stills, scratch, keys := segmented(t)
	var images [][]byte
	for _, at := range []float64{0, 1, 1.9, 2.4} { // the last is beyond the segment
		data, err := stills.Still(t.Context(), ask(at, keys[0], keys[2]))
		if err != nil {
			t.Fatalf("at %v: %v", at, err)
		}
		img, format, err := image.Decode(bytes.NewReader(data))
		if err != nil || format != "jpeg" || img.Bounds().Dx() != 320 || img.Bounds().Dy() != 180 {
			t.Errorf("at %v: %s %v, %v", at, format, img, err)
		}
		if slices.ContainsFunc(images[:min(3, len(images))], func(b []byte) bool { return bytes.Equal(b, data) }) && at < 2 {
			t.Errorf("at %v: the frame of another time", at)
		}
		images = append(images, data)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 0 {
		t.Errorf("left in scratch: %v, %v", left, err)
	}
}

// TestStillFaults: what cannot be made ends with an error that says why, and leaves no scratch files.
func TestStillFaults(t *testing.T) {
	stills, scratch, keys := segmented(t)
	store := stills.store.(*workertest.Store)
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("no segment", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	noise := store.Add(t, "junk.m4s", junk).Key
	_, err := stills.Still(t.Context(), ask(0, keys[0], "videos/v/gone/1/x.m4s"))
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a missing segment: %v", err)
	}
	if _, err := stills.Still(t.Context(), ask(0, keys[0], noise)); err == nil {
		t.Error("an image was made of noise")
	}
	wrong := ask(0, keys[0], keys[1])
	wrong.Cut = pipeline.Size{Width: 640, Height: 360}
	if _, err := stills.Still(t.Context(), wrong); err == nil {
		t.Error("a part larger than the frame was cut out")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stills.Still(ended, ask(0, keys[0], keys[1])); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits: %v", err)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 0 {
		t.Errorf("left in scratch: %v, %v", left, err)
	}
}

// TestImageIsWhole: an image that was cut short, as by a full disk, or has another size is refused.
func TestImageIsWhole(t *testing.T) {
	stills, _, keys := segmented(t)
	for _, format := range []pipeline.StillFormat{pipeline.StillJPEG, pipeline.StillWebP} {
		s := ask(0, keys[0], keys[1])
		s.Format = format
		data, err := stills.Still(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		other := s
		other.Canvas.Width++
		for name, fault := range map[string]error{
			"cut short": checkImage(data[:len(data)-100], s), "another size": checkImage(data, other),
			"no image": checkImage([]byte("<svg/>"), s),
		} {
			if pipeline.ProblemOf(fault).Code != pipeline.CodeVerification {
				t.Errorf("%s, %s: %v", format, name, fault)
			}
		}
	}
}
