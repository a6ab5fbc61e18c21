package hls

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// pieces returns the init section and the segments of a cut file, joined by Join.
func pieces(t *testing.T, track manifest.Track, dir string) string {
	t.Helper()
	joined, files := filepath.Join(t.TempDir(), "joined.mp4"), []string{filepath.Join(dir, manifest.InitName)}
	for i := range track.Segments {
		files = append(files, filepath.Join(dir, fmt.Sprintf(manifest.SegmentName, track.First+i)))
	}
	if err := Join(joined, files...); err != nil {
		t.Fatal(err)
	}
	return joined
}

// shown returns what ffmpeg decodes: a line for each frame, with its time and checksum.
func shown(t *testing.T, name string, o ...ffmpeg.Option) []string {
	t.Helper()
	var out bytes.Buffer
	err := (ffmpeg.Tools{}).Run(t.Context(), ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: name, Demuxer: "mov"}},
		Outputs: []ffmpeg.Output{{Format: "framecrc", Maps: []string{"0:0"},
			Options: append([]ffmpeg.Option{{Key: "fps_mode", Value: "passthrough"}}, o...)}},
		Global: []ffmpeg.Option{{Key: "copyts"}},
	}, ffmpeg.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	var frames []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "#") {
			frames = append(frames, line)
		}
	}
	return frames
}

// TestDelayChangesNoPicture: a delayed track shows the same pictures, from time 0 on, and none of its
// composition offsets is negative. ffmpeg shifts the file as it was by its negative offsets.
func TestDelayChangesNoPicture(t *testing.T) {
	file, dir := fragments(t, 30), t.TempDir()
	const delay = 2 * 10240 / 5 // two frames
	track, err := Cut(t.Context(), file, dir, Options{Delay: delay})
	if err != nil {
		t.Fatal(err)
	}
	checkTrack(t, "delayed", track, dir)
	plain, err := Cut(t.Context(), file, t.TempDir(), Options{})
	if err != nil || plain.Header == track.Header || plain.Duration() != track.Duration() {
		t.Errorf("%v: header %s with an edit list and without, %g s and %g s",
			err, track.Header, track.Duration(), plain.Duration())
	}
	joined := pieces(t, track, dir)
	want, got := shown(t, file), shown(t, joined)
	if len(got) != 30 || len(want) != 30 {
		t.Fatalf("%d frames of %d", len(got), len(want))
	}
	for i := range got {
		if picture(got[i]) != picture(want[i]) || !strings.HasPrefix(got[i], fmt.Sprintf("0,%11d,%11d,", i, i)) {
			t.Errorf("frame %d: %s, want %s", i, got[i], want[i])
		}
	}
	least, before := offsets(t, joined), offsets(t, file)
	if least != before+delay || least < 0 || before >= 0 {
		t.Errorf("least composition offset %d, before %d", least, before)
	}
	if _, err := Cut(t.Context(), joined, t.TempDir(), Options{Delay: delay}); err == nil {
		t.Error("a track was delayed twice")
	}
}

// picture returns the checksum of a line of shown.
func picture(frame string) string { return frame[strings.LastIndexByte(frame, ',')+1:] }

// offsets returns the least composition offset of a fragmented file, in ticks.
func offsets(t *testing.T, name string) int {
	t.Helper()
	least := math.MaxInt
	for _, f := range parsed(t, read(t, name)) {
		for _, s := range f.Moof.Traf.Trun.Samples {
			least = min(least, int(s.CompositionTimeOffset))
		}
	}
	return least
}

// parsed returns the fragments of a file, as another reader finds them.
func parsed(t *testing.T, data []byte) (all []*mp4.Fragment) {
	t.Helper()
	f, err := mp4.DecodeFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Segments {
		all = append(all, s.Fragments...)
	}
	return all
}

// TestKeysAreKeyframes: the bytes of each key end with its first sample, and decode to the picture that the
// whole file has at that time, with a delay or without.
func TestKeysAreKeyframes(t *testing.T) {
	file := fragments(t, 40)
	all := shown(t, file)
	for _, o := range []Options{{}, {Delay: 8192}} {
		dir, next := t.TempDir(), 0
		track, err := Cut(t.Context(), file, dir, o)
		if err != nil {
			t.Fatal(err)
		}
		head := read(t, filepath.Join(dir, manifest.InitName))
		for i, s := range track.Segments {
			segment := read(t, filepath.Join(dir, fmt.Sprintf(manifest.SegmentName, i)))
			found := parsed(t, append(bytes.Clone(head), segment...))
			if len(found) != len(s.Keys) {
				t.Fatalf("segment %d: %d keys of %d fragments", i, len(s.Keys), len(found))
			}
			for k, key := range s.Keys {
				run, start := found[k].Moof.Traf.Trun, int64(found[k].Moof.StartPos)-int64(len(head))
				end := start + int64(run.DataOffset) + int64(run.Samples[0].Size)
				if key.Offset != start || key.Offset+key.Size != end || key.Duration != 2 {
					t.Errorf("segment %d: key %+v, want bytes %d to %d", i, key, start, end)
				}
				one := filepath.Join(dir, "one.mp4")
				data := append(bytes.Clone(head), segment[key.Offset:key.Offset+key.Size]...)
				if err := os.WriteFile(one, data, 0o600); err != nil {
					t.Fatal(err)
				}
				got := shown(t, one, ffmpeg.Option{Key: "frames:v", Value: "1"})
				if len(got) != 1 || picture(got[0]) != picture(all[next]) {
					t.Errorf("segment %d, key %d: %q, want %q", i, k, got, all[next])
				}
				next += 10
			}
		}
	}
}

// TestCutAudio: audio has a codec and lengths, but no keyframes and no size.
func TestCutAudio(t *testing.T) {
	name, dir := filepath.Join(t.TempDir(), "a.mp4"), t.TempDir()
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, make([]byte, 48000*2*4), 0o600); err != nil {
		t.Fatal(err)
	}
	err := (ffmpeg.Tools{}).Run(t.Context(), ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: raw, Demuxer: "s16le", Trusted: true,
			Options: []ffmpeg.Option{{Key: "ar", Value: "48000"}, {Key: "ac", Value: "1"}}}},
		Outputs: []ffmpeg.Output{{Path: name, Format: "mp4", Maps: []string{"0:0"}, Options: []ffmpeg.Option{
			{Key: "c:a", Value: "aac"}, {Key: "movflags", Value: "cmaf"}, {Key: "frag_duration", Value: "1000000"},
			{Key: "use_editlist", Value: "0"}}}},
	}, ffmpeg.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	track, err := Cut(t.Context(), name, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkTrack(t, "audio", track, dir)
	frames := len(shown(t, pieces(t, track, dir)))
	if track.Codecs != "mp4a.40.2" || track.Width != 0 || track.Timescale != 48000 ||
		math.Abs(track.Duration()-float64(frames)*1024/48000) >= 1024.0/48000 {
		t.Errorf("%d frames: %+v", frames, track)
	}
	for i, s := range track.Segments {
		if len(s.Keys) > 0 {
			t.Errorf("segment %d has keys: %+v", i, s)
		}
	}
}
