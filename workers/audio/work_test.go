package audio

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/workertest"
)

func registry() *workers.Registry { return registryOf(standard) }

// registryOf returns a registry with the worker, with chunks of another length.
func registryOf(l layout) *workers.Registry {
	return workertest.Registry("audio", &Worker{layout: l})
}

var (
	step = pipeline.Pipeline{Name: "x", Steps: []pipeline.Step{{Worker: "audio"}}}
	x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}
)

// rendered is the outputs of a video's jobs.
type rendered struct {
	results map[string]pipeline.Result
	root    string
}

// render runs all jobs of a video.
func render(t *testing.T, l layout, source string, m pipeline.Media) rendered {
	t.Helper()
	store := workertest.NewStore(t)
	results := workertest.Video(t, registryOf(l), store, source, m, step, nil)
	return rendered{results, store.Tree(t, results)}
}

// joined returns a file of the joined segments of a rendition.
func (r rendered) joined(t *testing.T, name string) string {
	t.Helper()
	return workertest.Joined(t, filepath.Join(r.root, name))
}

// index reads the indexes of the jobs, in order.
func (r rendered) index(t *testing.T) []manifest.Track {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.root, "index", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []manifest.Track
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var entries []struct {
			Rendition string         `json:"rendition"`
			Track     manifest.Track `json:"track"`
		}
		if err := json.Unmarshal(data, &entries); err != nil || len(entries) != 1 || entries[0].Rendition == "" {
			t.Fatalf("%s: %s, %v", file, data, err)
		}
		all = append(all, entries[0].Track)
	}
	slices.SortFunc(all, func(a, b manifest.Track) int { return a.First - b.First })
	return all
}

// packetsOf returns the packets of a fragmented file, and checks that each begins where the previous one
// ends.
func packetsOf(t *testing.T, file string) (all [][]byte, f form) {
	t.Helper()
	p, err := openPackets(file)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	err = p.each(t.Context(), func(q packet) error {
		if q.time != int64(len(all))*frameSamples {
			t.Fatalf("packet %d is at sample %d", len(all), q.time)
		}
		all = append(all, bytes.Clone(q.data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, p.form
}

// samplesOf decodes a file to the left channel at 48 kHz.
func samplesOf(t *testing.T, file string) []float32 {
	t.Helper()
	data, err := os.ReadFile(workertest.Clip(t, "pcm.raw", "-i", file, "-vn",
		"-af", "aresample=48000:async=1:first_pts=0,aformat=channel_layouts=stereo,pan=mono|c0=c0", "-f", "f32le"))
	if err != nil {
		t.Fatal(err)
	}
	return floats(data)
}

// floats decodes little-endian 32-bit floats.
func floats(data []byte) []float32 {
	samples := make([]float32, len(data)/4)
	for i := range samples {
		samples[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return samples
}

// sweep makes a WAV of a rising tone with a little noise.
func sweep(t *testing.T, seconds int) string {
	t.Helper()
	const rate = 44100
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 0, 4*seconds*rate)
	for i := range seconds * rate {
		at := float64(i) / rate
		left := 10000*math.Sin(2*math.Pi*(200+40*at)*at) + 500*(random.Float64()-0.5)
		data = binary.LittleEndian.AppendUint16(data, uint16(int16(left)))
		data = binary.LittleEndian.AppendUint16(data, uint16(int16(8000*math.Sin(2*math.Pi*440*at))))
	}
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return workertest.Clip(t, "sweep.wav", "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", raw)
}

// TestConformance encodes two tracks of one language, of different lengths and layouts, of a video of 3 s.
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
		"audio-0": {"audio-eng/init.mp4", "audio-eng/seg_%05d.m4s", "audio.m4a", "index/audio-0.json"},
		"audio-1": {"audio-eng-2/init.mp4", "audio-eng-2/seg_%05d.m4s", "index/audio-1.json"},
	}
	for name, paths := range want {
		if got := workertest.Paths(out.Results[name]); !slices.Equal(got, paths) {
			t.Errorf("%s: outputs %v, want %v", name, got, paths)
		}
		for _, o := range out.Results[name].Outputs {
			if o.Kind != pipeline.KindIndex && (math.Abs(o.Duration-3) > 0.1 || o.Channels != 2 ||
				o.Language != "eng" || o.Codecs != "mp4a.40.2") {
				t.Errorf("%s: %+v", name, o)
			}
			if s := o.Segments; s != nil && (s.First != 0 || s.Count != 1 || len(s.Durations) != 1 || !s.Last ||
				len(s.Header) != 64 || o.Bandwidth <= 0 || o.AverageBandwidth <= 0) {
				t.Errorf("%s: %+v of %+v", name, s, o)
			}
		}
	}
}

// TestConformanceOfCopy is the same with a copied track.
func TestConformanceOfCopy(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", slices.Concat(workertest.Pattern("64x64", "10", "3"), workertest.Tone("3"),
		x264, []string{"-c:a", "aac", "-ar", "48000", "-ac", "2"})...)
	out := workertest.Run(t, workertest.Case{
		Registry: registry(), Worker: "audio", Source: source, Media: soundMP4(3),
	})
	r := out.Results["audio-0"]
	want := []string{"audio-und/init.mp4", "audio-und/seg_%05d.m4s", "audio.m4a", "index/audio-0.json"}
	if got := workertest.Paths(r); !slices.Equal(got, want) || r.Facts["copied"] != true {
		t.Errorf("outputs %v, facts %v", got, r.Facts)
	}
}

// TestSync: a click 1 s after the start of the video is at the same time in segments and audio.m4a, even if
// the audio starts late.
func TestSync(t *testing.T) {
	// The audio starts 0.5 s after the video, clicks 0.5 s later, and ends 0.5 s before the video.
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("64x64", "10", "3"),
		[]string{"-itsoffset", "0.5", "-f", "lavfi", "-i", "aevalsrc=if(between(t\\,0.5\\,0.52)\\,0.9\\,0):s=48000:d=2"},
		x264, []string{"-c:a", "pcm_s16le"})...)
	m := pipeline.Media{Container: "matroska", Duration: 3, Audio: []pipeline.AudioTrack{{Stream: 1, Start: 0.5, Duration: 2}}}
	out := render(t, standard, source, m)
	for _, file := range []string{out.joined(t, "audio-und"), filepath.Join(out.root, "audio.m4a")} {
		samples := samplesOf(t, file)
		if at := click(samples); math.Abs(at-1) > 0.005 {
			t.Errorf("%s: the click is at %.3f s", filepath.Base(file), at)
		}
		if long := float64(len(samples)) / 48000; long < 3 || long > 3.05 {
			t.Errorf("%s lasts %.3f s", filepath.Base(file), long)
		}
	}
}

// click returns the time of the first loud sample, in seconds.
func click(samples []float32) float64 {
	return float64(slices.IndexFunc(samples, func(s float32) bool { return s > 0.25 || s < -0.25 })) / 48000
}

// TestChunksWithoutSound: a track of some seconds in the middle of a video. The chunks before and after it
// have nothing to decode, and the track is shorter than its facts say.
func TestChunksWithoutSound(t *testing.T) {
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("64x64", "5", "60"),
		[]string{"-itsoffset", "26", "-f", "lavfi", "-i", "sine=d=3"},
		x264, []string{"-g", "25", "-c:a", "pcm_s16le"})...)
	m := pipeline.Media{Container: "matroska", Duration: 60, Audio: []pipeline.AudioTrack{{Stream: 1, Start: 26, Duration: 30}}}
	out := render(t, layout{whole: 1, chunk: 4}, source, m)
	if len(out.results) != 5 {
		t.Errorf("%d jobs", len(out.results))
	}
	packetsOf(t, out.joined(t, "audio-und"))
	for _, file := range []string{out.joined(t, "audio-und"), filepath.Join(out.root, "audio.m4a")} {
		samples := samplesOf(t, file)
		loud := func(s float32) bool { return s > 0.02 || s < -0.02 }
		first := float64(slices.IndexFunc(samples, loud)) / 48000
		slices.Reverse(samples)
		last := float64(len(samples)-slices.IndexFunc(samples, loud)) / 48000
		if long := float64(len(samples)) / 48000; math.Abs(first-26) > 0.03 || math.Abs(last-29) > 0.03 ||
			math.Abs(long-60) > 0.05 {
			t.Errorf("%s: sound from %.3f to %.3f of %.3f s", filepath.Base(file), first, last, long)
		}
	}
}

// TestOverlongClaim: a track that claims to end after the video, but ends long before that, is not published.
func TestOverlongClaim(t *testing.T) {
	source := workertest.Clip(t, "a.mov", slices.Concat(workertest.Pattern("64x64", "5", "10"),
		workertest.Tone("10"), x264, []string{"-c:a", "pcm_s16le"})...)
	m := pipeline.Media{Container: "mov", Duration: 10, Audio: []pipeline.AudioTrack{{Stream: 1, Duration: 90}}}
	store := workertest.NewStore(t)
	jobs, err := pipeline.NewPlan(step, nil, m, registryOf(layout{1, 4}))
	if err != nil {
		t.Fatal(err)
	}
	task := pipeline.Task{
		Project: pipeline.DefaultProject, Video: store.Video, Source: store.Add(t, "original", source),
		Media: &m, Job: jobs[len(jobs)-2],
	}
	if _, err := store.Try(t, t.Context(), registry(), task, nil); err == nil || !strings.Contains(err.Error(), "duration") {
		t.Errorf("job %s: %v", task.Job.Name, err)
	}
}

// TestUnindexed: if a source cannot be sought in, its track has two jobs, "first" and the rest.
func TestUnindexed(t *testing.T) {
	source := workertest.Clip(t, "a.ts", slices.Concat(workertest.Pattern("64x64", "5", "20"),
		[]string{"-i", sweep(t, 20)}, x264, []string{"-c:a", "mp2", "-b:a", "256k"})...)
	m := pipeline.Media{Container: "mpegts", Duration: 20, Video: pipeline.VideoTrack{Start: 1.48},
		Audio: []pipeline.AudioTrack{{Stream: 1, Start: 1.4, Duration: 20}}}
	chunked, whole := render(t, layout{1, 4}, source, m), render(t, layout{1000, 4}, source, m)
	if len(chunked.results) != 3 || len(whole.results) != 1 {
		t.Errorf("%d and %d jobs", len(chunked.results), len(whole.results))
	}
	compare(t, samplesOf(t, source), chunked, whole)
}

// TestOpenPackets: a file without packets is refused; an empty or missing file is io.EOF.
func TestOpenPackets(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"empty": "", "text": "hello, world: this is no MP4", "short": "\x00\x00\x00\x18ftyp", "no moov": "\x00\x00\x00\x08free",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openPackets(file); err == nil || errors.Is(err, io.EOF) && name != "empty" && name != "short" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := openPackets(filepath.Join(dir, "missing")); !errors.Is(err, io.EOF) {
		t.Errorf("missing: %v", err)
	}
}
