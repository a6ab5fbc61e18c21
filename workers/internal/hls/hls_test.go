package hls

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// fragments makes a fragmented MP4 of frames that grow lighter, 5 per second, with a fragment for each two
// seconds.
func fragments(t testing.TB, frames int) string {
	t.Helper()
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw")
	var pictures []byte
	for i := range frames {
		pictures = append(pictures, bytes.Repeat([]byte{byte(40 + 4*i)}, 32*32*3/2)...)
	}
	if err := os.WriteFile(raw, pictures, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "f.mp4")
	err := (ffmpeg.Tools{}).Run(t.Context(), ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: raw, Demuxer: "rawvideo", Trusted: true, Options: []ffmpeg.Option{
			{Key: "pixel_format", Value: "yuv420p"}, {Key: "video_size", Value: "32x32"}, {Key: "framerate", Value: "5"},
		}}},
		Outputs: []ffmpeg.Output{{Path: file, Format: "mp4", Maps: []string{"0:0"}, Options: []ffmpeg.Option{
			{Key: "c:v", Value: "libx264"}, {Key: "g", Value: "10"}, {Key: "keyint_min", Value: "10"},
			{Key: "sc_threshold", Value: "0"}, {Key: "avoid_negative_ts", Value: "disabled"},
			{Key: "movflags", Value: "cmaf+frag_keyframe+negative_cts_offsets+frag_discont"},
		}}},
	}, ffmpeg.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCut: 8 seconds in fragments of 2 become segments of 6 and 2, with every byte of the fragments.
func TestCut(t *testing.T) {
	file, dir := fragments(t, 40), t.TempDir()
	track, err := Cut(t.Context(), file, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(track.Segments) != 2 || math.Abs(track.Segments[0].Duration-6) > 1e-9 || math.Abs(track.Duration()-8) > 1e-9 {
		t.Errorf("track %+v", track)
	}
	if !strings.HasPrefix(track.Codecs, "avc1.64") {
		t.Errorf("codecs %q", track.Codecs)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var joined []byte
	for _, name := range []string{manifest.InitName, fmt.Sprintf(manifest.SegmentName, 0), fmt.Sprintf(manifest.SegmentName, 1)} {
		part, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, part...)
	}
	if !bytes.HasPrefix(whole, joined) || int64(len(joined)) != track.InitSize+track.Size() {
		t.Error("the pieces are not the file")
	}
	text, err := manifest.MediaPlaylist(track)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, manifest.PlaylistName)
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (ffmpeg.Tools{}).VerifyHLS(t.Context(), list, ffmpeg.Expect{Width: 32, Height: 32, VideoCodec: "h264"}); err != nil {
		t.Error(err)
	}
}

// TestCutAtBorders: segments begin at the borders; a border at which no fragment begins is refused.
func TestCutAtBorders(t *testing.T) {
	file := fragments(t, 40)
	cut := func(borders ...float64) (manifest.Track, error) {
		return Cut(t.Context(), file, t.TempDir(), Options{First: 7, Borders: borders})
	}
	track, err := cut(0, 2.003, 6)
	if err != nil || !slices.Equal(track.Durations(), []float64{2, 4, 2}) || track.First != 7 {
		t.Errorf("%+v, %v", track, err)
	}
	for _, borders := range [][]float64{{0, 3}, {0, 2, 12}, {1}} {
		if track, err := cut(borders...); err == nil {
			t.Errorf("%v: %+v", borders, track)
		}
	}
}

func TestCutRefuses(t *testing.T) {
	whole, err := os.ReadFile(fragments(t, 30))
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.Index(whole, []byte("moof")) - 4
	second := first + 8 + bytes.Index(whole[first+8:], []byte("moof")) - 4
	for name, data := range map[string][]byte{
		"empty":             nil,
		"no fragments":      whole[:first],
		"no init section":   whole[first:],
		"cut short":         whole[:second+20],
		"starts late":       append(bytes.Clone(whole[:first]), whole[second:]...),
		"the same again":    append(bytes.Clone(whole[:second]), whole[first:second]...),
		"not boxes at all":  bytes.Repeat([]byte("no"), 100),
		"a box of no bytes": append(bytes.Clone(whole[:second]), 0, 0, 0, 4, 'm', 'o', 'o', 'f'),
	} {
		file := filepath.Join(t.TempDir(), "f.mp4")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if track, err := Cut(t.Context(), file, t.TempDir(), Options{}); err == nil {
			t.Errorf("%s: %+v", name, track)
		}
	}
}
