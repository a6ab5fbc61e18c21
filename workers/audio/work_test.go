package audio

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

func registry() *workers.Registry {
	r := workers.NewRegistry()
	workers.Add(r, "audio", New(ffmpeg.Tools{}))
	return r
}

var x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}

// TestConformance has two tracks of a language, of different length and layout, under a picture of 3 s.
func TestConformance(t *testing.T) {
	source := workertest.Clip(t, "a.mov", slices.Concat(workertest.Pattern("64x64", "10", "3"), workertest.Tone("3"),
		[]string{"-f", "lavfi", "-i", "anoisesrc=d=1.5,aformat=channel_layouts=5.1"}, x264,
		[]string{"-map", "0", "-map", "1", "-map", "2", "-c:a", "pcm_s16le"})...)
	out := workertest.Run(t, workertest.Case{
		Registry: registry(), Worker: "audio", Source: source,
		Media: pipeline.Media{Container: "mov", Duration: 3, Audio: []pipeline.AudioTrack{
			{Stream: 1, Language: "eng", Channels: 1, Duration: 3}, {Stream: 2, Language: "eng", Channels: 6, Duration: 1.5},
		}},
	})
	want := map[string][]string{
		"audio-0": {"audio-eng/index.m3u8", "audio-eng/init.mp4", "audio-eng/seg_%05d.m4s", "audio.m4a"},
		"audio-1": {"audio-eng-2/index.m3u8", "audio-eng-2/init.mp4", "audio-eng-2/seg_%05d.m4s"},
	}
	for name, paths := range want {
		if got := workertest.Paths(out.Results[name]); !slices.Equal(got, paths) {
			t.Errorf("%s: outputs %v, want %v", name, got, paths)
		}
		for _, o := range out.Results[name].Outputs {
			if math.Abs(o.Duration-3) > 0.1 || o.Channels != 2 || o.Language != "eng" || o.Codecs != "mp4a.40.2" && o.Kind != pipeline.KindAudio {
				t.Errorf("%s: %+v", name, o)
			}
		}
	}
}

// TestSync: a click 1 s after the picture began is there in segments and file, also when the sound starts late.
func TestSync(t *testing.T) {
	// A track that starts 0.5 s after the picture, with a click 0.5 s later.
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("64x64", "10", "3"),
		[]string{"-itsoffset", "0.5", "-f", "lavfi", "-i", "aevalsrc=if(between(t\\,0.5\\,0.52)\\,0.9\\,0):s=48000:d=2"},
		x264, []string{"-c:a", "pcm_s16le"})...)
	store := workertest.NewStore(t)
	m := pipeline.Media{Container: "matroska", Duration: 3, Audio: []pipeline.AudioTrack{{Stream: 1, Start: 0.5, Duration: 2}}}
	p := pipeline.Pipeline{Name: "x", Steps: []pipeline.Step{{Worker: "audio"}}}
	results := workertest.Video(t, registry(), store, source, m, p, nil)
	root := store.Tree(t, results)
	var joined []byte
	for _, name := range []string{"init.mp4", "seg_00000.m4s"} {
		part, err := os.ReadFile(filepath.Join(root, "audio-und", name))
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, part...)
	}
	segments := filepath.Join(t.TempDir(), "s.mp4")
	if err := os.WriteFile(segments, joined, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{segments, filepath.Join(root, "audio.m4a")} {
		if at := click(t, file); math.Abs(at-1) > 0.02 {
			t.Errorf("%s: the click is at %.3f s", filepath.Base(file), at)
		}
	}
}

// click decodes a file to mono samples and finds the first loud one, in seconds.
func click(t *testing.T, file string) float64 {
	t.Helper()
	data, err := os.ReadFile(workertest.Clip(t, "pcm.raw", "-i", file, "-ac", "1", "-ar", "48000", "-f", "s16le"))
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]int16, len(data)/2)
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, samples); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(samples, func(s int16) bool { return s > 8000 || s < -8000 })
	return float64(i) / 48000
}
