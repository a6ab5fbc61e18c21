package transcode

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
	"github.com/reelmill/reelmill/workers/workertest"
)

// remuxedMedia returns facts of a clip whose container has no index. Its video track begins at start, 0.08 s
// after the audio.
func remuxedMedia(container string, start float64, borders ...float64) pipeline.Media {
	m := standardMedia()
	m.Container, m.Duration, m.Video.Start = container, 14.08, start
	m.Video.Width, m.Video.Height, m.Video.CodedWidth, m.Video.CodedHeight = 320, 180, 320, 180
	m.Video.FrameRateNum, m.Video.Bitrate, m.Video.Edits = 25, 300_000, ""
	m.Video.Groups.Borders, m.Video.Groups.Remuxed = borders, true
	m.Audio = []pipeline.AudioTrack{{Stream: 1, Codec: "mp3", Start: start - 0.08, Duration: 14}}
	return m
}

// TestCopyOfWhatHasNoIndex: for Matroska, MPEG-TS, FLV and movie fragments the top rung has the source's own
// frames. Each is shown at its time counted from the start of the audio, except that the first is shown from
// time 0.
func TestCopyOfWhatHasNoIndex(t *testing.T) {
	film := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "25", "14"), x264,
		[]string{"-g", "75", "-bf", "2", "-sc_threshold", "0", "-profile:v", "high"})...)
	as := func(name string, more ...string) string {
		return workertest.Clip(t, name, args([]string{"-i", film, "-c", "copy"}, more)...)
	}
	for name, c := range map[string]struct {
		path, container string
		jobs            int // number of jobs that copy
	}{
		"Matroska": {as("a.mkv"), "matroska", 1},
		"MPEG-TS": {workertest.Clip(t, "a.ts", args([]string{"-itsoffset", "0.08", "-i", film}, workertest.Tone("14"),
			[]string{"-c:v", "copy", "-c:a", "mp2"})...), "mpegts", 1},
		"FLV":       {as("a.flv"), "flv", 1},
		"fragments": {as("a.mp4", "-movflags", "frag_keyframe+empty_moov"), "mov", 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := remuxedMedia(c.container, 1.48, 0, 6.08, 12.08)
			root := runAll(t, `{"ladder":[90,180]}`, c.path, m)
			verifyTree(t, root, map[string][2]int{"180p": {320, 180}, "90p": {160, 90}})
			if !bytes.Equal(payload(t, film), payload(t, workertest.Joined(t, filepath.Join(root, "180p")))) {
				t.Error("the frames are not the source's")
			}
			times := shown(t, filepath.Join(root, "180p", "index.m3u8"))
			if len(times) != 350 || times[0] != 0 {
				t.Fatalf("%d frames from %v", len(times), times[:min(2, len(times))])
			}
			for n, at := range times[1:] {
				if want := 0.08 + float64(n+1)/25; math.Abs(at-want) > 0.0015 {
					t.Fatalf("frame %d is shown at %.4f s, want %.4f s", n+1, at, want)
				}
			}
		})
	}
}

// TestCopyOfSoundThatBeginsFirst: an encoder's first frame makes the audio begin half a frame before the
// video. Then the top rung still has the source's own frames, and the encoded rungs show the same frame at
// the same time.
func TestCopyOfSoundThatBeginsFirst(t *testing.T) {
	for _, c := range pipelinetest.Sweep([]struct {
		name, container, rate, sound string
		lead                         float64
	}{
		{"a.mkv", "matroska", "20", "44100", 0},
		{"a.ts", "mpegts", "24000/1001", "48000", 1001.0 / 24000},
		{"a.mkv", "matroska", "25", "48000", 0.04},
		{"a.ts", "mpegts", "25", "48000", 0.04},
		{"a.mkv", "matroska", "24", "44100", 1.0 / 24},
	}, 2) {
		t.Run(c.rate+" frames in "+c.container, func(t *testing.T) {
			source := workertest.Clip(t, c.name, args(workertest.Tone("14"), workertest.Pattern("320x180", c.rate, "14"), x264,
				[]string{"-g", "60", "-bf", "2", "-sc_threshold", "0", "-profile:v", "high", "-c:a", "aac", "-ar", c.sound})...)
			probed, err := (ffmpeg.Tools{}).Probe(t.Context(), source, ffmpeg.ProbeOptions{Demuxer: c.container})
			if err != nil {
				t.Fatal(err)
			}
			film, sound := probed.Videos()[0], probed.Audios()[0]
			m := remuxedMedia(c.container, film.StartTime)
			m.Video.Stream, m.Audio[0].Stream, m.Audio[0].Start = film.Index, sound.Index, sound.StartTime
			before := film.StartTime - sound.StartTime
			if before < 0.02 || before > 0.024 {
				t.Fatalf("the video begins %.4f s after the audio", before)
			}
			num, den, _ := strings.Cut(c.rate, "/")
			m.Video.FrameRateNum, _ = strconv.Atoi(num)
			if den != "" {
				m.Video.FrameRateDen, _ = strconv.Atoi(den)
			}
			rate := m.Video.FrameRate()
			m.Duration = before + 14
			m.Video.Groups.Borders = []float64{0, 120/rate + c.lead, 240/rate + c.lead}
			root := runAll(t, `{"ladder":[90,180]}`, source, m)
			verifyTree(t, root, map[string][2]int{"180p": {320, 180}, "90p": {160, 90}})
			if !bytes.Equal(payload(t, source), payload(t, workertest.Joined(t, filepath.Join(root, "180p")))) {
				t.Error("the frames are not the source's")
			}
			checkInStep(t, root, c.rate, "180p", "90p")
		})
	}
}

// checkInStep decodes two rungs. Each frame of one must look like the other's frame at the same time, and
// unlike the frames before and after it.
func checkInStep(t *testing.T, root, rate string, rungs ...string) {
	t.Helper()
	const size = 64 * 36
	var all [2][]byte
	for i, rung := range rungs {
		data, err := os.ReadFile(workertest.Clip(t, "a.gray", "-i", filepath.Join(root, rung, "index.m3u8"), "-vf",
			"fps="+rate+":start_time=0,scale=64:36,format=gray", "-f", "rawvideo"))
		if err != nil || len(data) < 275*size {
			t.Fatalf("%s: %d bytes, %v", rung, len(data), err)
		}
		all[i] = data
	}
	off := func(n, k int) (sum int) {
		for i := range size {
			d := int(all[0][n*size+i]) - int(all[1][k*size+i])
			sum += d * d
		}
		return sum
	}
	for n := 3; n < 270; n++ {
		if same := off(n, n); same >= off(n, n-1) || same >= off(n, n+1) {
			t.Fatalf("frame %d differs in %q by %d, from its neighbours by %d and %d", n, rungs, same, off(n, n-1), off(n, n+1))
		}
	}
}

// TestPartsOfWhatHasNoIndex: a source is remuxed at most twice, and only once if it cannot be encoded in
// parts.
func TestPartsOfWhatHasNoIndex(t *testing.T) {
	for container, want := range map[string][]string{
		"matroska": {"copy! 180p 0-1500", "copy-0001 180p 1500-0 after copy"},
		"mpegts":   {"copy! 180p 0-0"},
	} {
		m := remuxedMedia(container, 0)
		m.Duration = 1000
		for at := 0.0; at < 1000; at += 6 {
			m.Video.Groups.Borders = append(m.Video.Groups.Borders, at)
		}
		got := outline(t, Params{Ladder: []int{180}}, m)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", container, got, want)
		}
	}
}

// uneven returns the facts that inspection finds in a file of standard input.
func uneven(t *testing.T, path string, m pipeline.Media) pipeline.Media {
	t.Helper()
	rate := m.Video.FrameRate()
	p := pictureOf(t, path, sampletable.Grid{Low: rate, Rate: rate})
	m.Duration, m.Video.Groups = p.Length, &p.Groups
	return m
}

// TestCopyOfDefaultGroups: groups of x264's default length, 250 frames or 10.43 s at 23.976 frames/s, are
// copied.
func TestCopyOfDefaultGroups(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "24000/1001", "24"),
		[]string{"-c:v", "libx264", "-pix_fmt", "yuv420p", "-sc_threshold", "0"})...)
	m := remuxedMedia("mov", 0)
	m.Video.FrameRateNum, m.Video.FrameRateDen, m.Audio = 24000, 1001, nil
	m = uneven(t, source, m)
	root := runAll(t, `{"ladder":[90,180]}`, source, m)
	verifyTree(t, root, map[string][2]int{"180p": {320, 180}, "90p": {160, 90}})
	if !bytes.Equal(payload(t, source), payload(t, workertest.Joined(t, filepath.Join(root, "180p")))) {
		t.Error("the frames are not the source's")
	}
}

// TestCopyOfTremblingClock: frames that are up to half a frame early or late, and a pause, are copied as they
// are. The encoded rungs are cut at the same keyframes.
func TestCopyOfTremblingClock(t *testing.T) {
	source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "25", "16"), x264, []string{
		"-vf", "select='lt(n,200)+gt(n,215)',settb=1/1000,setpts='PTS+8*sin(N)'", "-fps_mode", "passthrough", "-enc_time_base", "1/1000",
		"-g", "75", "-sc_threshold", "0", "-profile:v", "high"})...)
	m := remuxedMedia("mov", 0)
	m.Video.Variable, m.Audio = true, nil
	m = uneven(t, source, m)
	if g := m.Video.Groups; g.FrameLeast > 0.035 || g.FrameMost < 0.6 || len(g.Borders) < 2 {
		t.Fatalf("the clip has no jitter: %+v", g)
	}
	root := runAll(t, `{"ladder":[90,180]}`, source, m)
	verifyTree(t, root, map[string][2]int{"180p": {320, 180}, "90p": {160, 90}})
	if !bytes.Equal(payload(t, source), payload(t, workertest.Joined(t, filepath.Join(root, "180p")))) {
		t.Error("the frames are not the source's")
	}
	want, got := shown(t, source), shown(t, filepath.Join(root, "180p", "index.m3u8"))
	if !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b+want[0]) < 0.0015 }) {
		t.Errorf("%d frames at %v..., want %d at %v...", len(got), got[:5], len(want), want[:5])
	}
}

// TestWhyNotCopied: the first job says why the top rung is encoded, in a note of the plan and among its
// facts.
func TestWhyNotCopied(t *testing.T) {
	note := func(m pipeline.Media) (notes []string) {
		jobs, err := newPlanner(Params{}, m).plan()
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.Note != "" {
				notes = append(notes, j.Note)
			}
		}
		return notes
	}
	m := standardMedia()
	if got := note(m); got != nil {
		t.Errorf("notes on a copy: %q", got)
	}
	m.Video.Interlaced = true
	if got, want := note(m), []string{"the top rung is not a copy of the source: it is interlaced"}; !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	r, err := part{Encoded: "it is interlaced"}.told(pipeline.Result{}, nil)
	if err != nil || r.Facts[factCopied] != false || r.Facts[factReason] != "it is interlaced" {
		t.Errorf("facts %v, %v", r.Facts, err)
	}
}
