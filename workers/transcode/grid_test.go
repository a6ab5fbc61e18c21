package transcode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/workertest"
)

// frames returns, by rung, a hash of each frame that the job's encoders would get.
func frames(t *testing.T, source string, m pipeline.Media, p part) map[string][]string {
	t.Helper()
	task := pipeline.Task{Media: &m}
	c := chunkRun{part: p, job: workers.NewAttempt(workers.Attempt{Task: task, Dir: t.TempDir()}, nil, nil)}
	links, labels := c.graph()
	in, global := c.source(source)
	var outputs []ffmpeg.Output
	dir := t.TempDir()
	for i, r := range p.Rungs {
		outputs = append(outputs, ffmpeg.Output{
			Path: filepath.Join(dir, r.Name), Format: "framemd5", Maps: []string{"[" + labels[i] + "]"},
			Options: []ffmpeg.Option{{Key: "r:v", Value: r.Rate.String()}, {Key: "fps_mode:v", Value: "cfr"}},
		})
	}
	err := (ffmpeg.Tools{}).Run(t.Context(), ffmpeg.Command{
		Inputs: []ffmpeg.Input{in}, Filter: ffmpeg.Graph(links...), Outputs: append(outputs, c.beside(in)...),
		Global: append(global, ffmpeg.Option{Key: "max_error_rate", Value: "1"}), LogLevel: "error",
	}, ffmpeg.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, r := range p.Rungs {
		all[r.Name] = hashes(t, filepath.Join(dir, r.Name))
	}
	return all
}

// hashes returns the hashes of the frames in a framemd5 file. It fails unless each frame begins where the
// previous one ends.
func hashes(t *testing.T, file string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(line, ",")
		if strings.HasPrefix(line, "#") || len(fields) != 6 {
			continue
		}
		if at := strings.TrimSpace(fields[2]); at != strconv.Itoa(len(all)) {
			t.Fatalf("frame %d at %s", len(all), at)
		}
		all = append(all, strings.TrimSpace(fields[5]))
	}
	return all
}

// parts returns the parts of the jobs that encode, in the order of their first frames.
func parts(t *testing.T, jobs []pipeline.Job) []part {
	t.Helper()
	var all []part
	for _, j := range jobs {
		var p part
		if err := json.Unmarshal(j.Part, &p); err != nil {
			t.Fatal(err)
		}
		if p.Kind == chunkKind {
			all = append(all, p)
		}
	}
	return all
}

// checkGrid encodes the video in chunks of one segment and in one chunk, and compares the frames. It returns
// the frames of the best rung. Their number must match the video's length.
func checkGrid(t *testing.T, source string, m pipeline.Media, params Params) []string {
	t.Helper()
	l := newPlanner(params, m)
	l.per = 1
	jobs, err := l.plan()
	if err != nil {
		t.Fatal(err)
	}
	chunks := parts(t, jobs)
	if len(l.rungs) == 0 {
		t.Log("its only rung is a copy")
		return nil
	}
	all := part{Kind: chunkKind, Rate: l.rungs[0].Rate, Size: l.rungs[0].Size, Rungs: l.rungs}
	whole := frames(t, source, m, all)
	divided := map[string][]string{}
	for _, p := range chunks {
		for name, hashes := range frames(t, source, m, p) {
			divided[name] = append(divided[name], hashes...)
		}
	}
	best := whole[l.rungs[0].Name]
	t.Logf("%d jobs, %d frames", len(chunks), len(best))
	if want := max(1, int(math.Round(m.Duration*l.rungs[0].Rate.Float()))); len(best) != want {
		t.Errorf("%d frames, want %d", len(best), want)
	}
	for _, r := range l.rungs {
		if slices.Equal(whole[r.Name], divided[r.Name]) {
			continue
		}
		at := 0
		for at < min(len(whole[r.Name]), len(divided[r.Name])) && whole[r.Name][at] == divided[r.Name][at] {
			at++
		}
		t.Errorf("%s: %d frames in chunks, %d in one; they differ from frame %d on", r.Name,
			len(divided[r.Name]), len(whole[r.Name]), at)
	}
	return best
}

// TestGrid: the frames that the encoders get do not depend on the division into chunks.
func TestGrid(t *testing.T) {
	pattern := func(rate, seconds string) []string { return workertest.Pattern("128x72", rate, seconds) }
	gop := func(n string) []string { return []string{"-g", n} }
	groups := func(borders ...float64) func(m *pipeline.Media) {
		return func(m *pipeline.Media) { m.Video.Groups = &pipeline.Groups{Closed: true, Longest: 6, Borders: borders} }
	}
	for _, c := range pipelinetest.Sweep([]struct {
		name   string
		clip   []string
		rate   [2]int
		length float64
		change func(m *pipeline.Media)
	}{
		{"some keyframes where chunks begin", args(pattern("24", "31"), x264, gop("288"), []string{"-bf", "3"}), [2]int{24, 1}, 31,
			groups(0, 12, 24)},
		{"NTSC keyframes where chunks begin", args(pattern("30000/1001", "19"), x264, gop("60")), [2]int{30000, 1001}, 19,
			groups(0, 6.006, 12.012)},
		{"a pause longer than a chunk", args(pattern("25", "20"), x264,
			[]string{"-vf", "select='lt(t,4)+gt(t,14)'", "-fps_mode", "vfr"}), [2]int{25, 1}, 20, nil},
		{"uneven", args(pattern("30", "20"), x264,
			[]string{"-vf", "select='mod(n,3)+lt(mod(n,100),50)'", "-fps_mode", "vfr"}), [2]int{25, 1}, 20, nil},
		{"interlaced", args(pattern("25", "13"), []string{"-vf", "setfield=tff", "-flags", "+ildct+ilme"}, x264), [2]int{25, 1}, 13,
			func(m *pipeline.Media) { m.Video.Interlaced = true }},
		{"constant", args(pattern("25", "20"), x264), [2]int{25, 1}, 20, nil},
		{"long groups and B-frames", args(pattern("24", "20"), x264, gop("250"), []string{"-bf", "3"}), [2]int{24, 1}, 20, nil},
		{"keyframes where chunks begin", args(pattern("25", "20"), x264, gop("150"), []string{"-bf", "3"}), [2]int{25, 1}, 20,
			groups(0, 6, 12, 18)},
		{"NTSC", args(pattern("30000/1001", "19"), x264), [2]int{30000, 1001}, 19, nil},
		{"rates divided", args(pattern("60", "13"), x264), [2]int{60, 1}, 13, nil},
	}, 5) {
		t.Run(c.name, func(t *testing.T) {
			m := workertest.Media(128, 72, c.rate[0], c.length)
			m.Video.FrameRateDen = c.rate[1]
			if c.change != nil {
				c.change(&m)
			}
			checkGrid(t, workertest.Clip(t, "a.mp4", c.clip...), m, Params{Ladder: []int{36, 72}})
		})
	}
}

// TestKeys: a chunk is decoded from its own first frame if that begins a closed group, and otherwise from an
// earlier one.
func TestKeys(t *testing.T) {
	m := workertest.Media(128, 72, 25, 30)
	m.Video.Start = 0.5
	m.Audio = []pipeline.AudioTrack{{Stream: 1, Duration: 30}}
	m.Video.Groups = &pipeline.Groups{Closed: true, Longest: 6, Borders: []float64{0, 6, 11.5, 18.005, 23.98}}
	keys := func() (all []float64) {
		l := newPlanner(Params{Ladder: []int{72}}, m)
		l.per = 1
		jobs, err := l.plan()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts(t, jobs) {
			all = append(all, p.Key)
		}
		return all
	}
	if got, want := keys(), []float64{0, 6, 0, 18.005, 0}; !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	m.Video.Interlaced = true
	if got := keys(); slices.Max(got) != 0 {
		t.Errorf("keys of interlaced video: %v", got)
	}
}

// TestGridOfHeldPicture: after the end of the video track its last frame is shown, also in chunks that lie
// entirely after it.
func TestGridOfHeldPicture(t *testing.T) {
	for _, c := range pipelinetest.Sweep([]struct {
		file, container string
		rate            [2]int
		end             float64
	}{
		{"a.mp4", "mov", [2]int{873, 100}, 35 / 8.73}, {"a.ts", "mpegts", [2]int{25, 1}, 4},
		{"a.mp4", "mov", [2]int{25, 1}, 4}, {"a.mkv", "matroska", [2]int{24000, 1001}, 4.004},
	}, 2) {
		source := workertest.Clip(t, c.file, args(workertest.Pattern("128x72", fmt.Sprintf("%d/%d", c.rate[0], c.rate[1]), "4"),
			workertest.Tone("26"), x264, []string{"-bf", "2", "-c:a", "mp2"})...)
		m := workertest.Media(128, 72, c.rate[0], 26)
		m.Container, m.Video.FrameRateDen, m.Video.End = c.container, c.rate[1], c.end
		m.Audio = []pipeline.AudioTrack{{Stream: 1, Duration: 26}}
		all := checkGrid(t, source, m, Params{Ladder: []int{36, 72}})
		rate := float64(c.rate[0]) / float64(c.rate[1])
		last := int(math.Round(c.end*rate)) - 1
		if all[last] == all[last-1] || len(slices.Compact(slices.Clone(all[last:]))) != 1 {
			t.Errorf("%s, %v frames/s: frame %d is not held", c.file, c.rate, last)
		}
	}
}

// TestGridOfLatePicture: if the video track begins after the audio, its first frame is shown before, whether
// it begins in the first segment or some segments later.
func TestGridOfLatePicture(t *testing.T) {
	for _, c := range pipelinetest.Sweep([]struct {
		name, container, sound string
		codec                  []string
		delay                  int
	}{
		{"a.mkv", "matroska", "pcm_s16le", x264, 7},
		// In these containers, ffmpeg's time 0 is the first time that it decodes.
		{"a.ts", "mpegts", "mp2", x264, 2}, {"a.mpg", "mpeg", "mp2", []string{"-c:v", "mpeg2video", "-bf", "0"}, 2},
		{"a.mkv", "matroska", "pcm_s16le", x264, 2}, {"a.mkv", "matroska", "pcm_s16le", x264, 13},
	}, 3) {
		source := workertest.Clip(t, c.name, args(workertest.Tone("20"), []string{"-itsoffset", strconv.Itoa(c.delay), "-f", "lavfi",
			"-i", "testsrc2=s=128x72:r=25:d=13", "-fps_mode", "passthrough", "-c:a", c.sound}, c.codec)...)
		m := workertest.Media(128, 72, 25, float64(c.delay+13))
		probed, err := (ffmpeg.Tools{}).Probe(t.Context(), source, ffmpeg.ProbeOptions{Demuxer: c.container})
		if err != nil {
			t.Fatal(err)
		}
		film, sound := probed.Videos()[0], probed.Audios()[0]
		m.Container, m.Video.Stream, m.Video.Start = c.container, film.Index, film.StartTime
		m.Audio = []pipeline.AudioTrack{{Stream: sound.Index, Start: sound.StartTime, Duration: 20}}
		m.Video.End, m.Duration = m.Duration, m.Length()
		all := checkGrid(t, source, m, Params{Ladder: []int{36, 72}})
		if first := 25 * c.delay; all[first] == all[first+1] || len(slices.Compact(slices.Clone(all[:first+1]))) != 1 {
			t.Errorf("late by %d s in %s: the first frame is not shown before", c.delay, c.container)
		}
	}
}

// TestDamagedAV1IsDecodedOn: after a damaged part of AV1 the next group is shown, as with any other codec.
func TestDamagedAV1IsDecodedOn(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("128x72", "10", "6"),
		[]string{"-c:v", "libsvtav1", "-preset", "10", "-g", "10"})...)
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[len(data)*2/5:], bytes.Repeat([]byte{255}, 3000))
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m := workertest.Media(128, 72, 10, 6)
	m.Video.Codec = "av1"
	one := rung{Name: "72p", Size: picture.Size{Width: 128, Height: 72}, Rate: picture.Rate{Num: 10, Den: 1}}
	best := frames(t, source, m, part{Kind: chunkKind, Rate: one.Rate, Size: one.Size, Rungs: []rung{one}})["72p"]
	if len(best) != 60 {
		t.Fatalf("%d frames, want 60", len(best))
	}
	for i := 31; i < len(best); i++ {
		if best[i] == best[i-1] {
			t.Errorf("frame %d repeats the one before", i)
		}
	}
}
