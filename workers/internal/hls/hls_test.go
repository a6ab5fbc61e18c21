package hls

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

func TestRates(t *testing.T) {
	for _, c := range []struct {
		name          string
		segments      []Segment
		peak, average int64
	}{
		{"one", []Segment{{6, 6000}}, 8000, 8000},
		{"even", []Segment{{6, 6000}, {6, 6000}}, 8000, 8000},
		{"a peak", []Segment{{6, 3000}, {6, 9000}, {6, 3000}}, 12000, 6667},
		// The last sliver is too short to be a peak of its own; with its neighbour it is one.
		{"a sliver", []Segment{{6, 6000}, {0.04, 5000}}, 14570, 14570},
		{"short", []Segment{{0.04, 500}}, 100000, 100000},
		{"none", nil, 0, 0},
	} {
		peak, average := Rates(c.segments)
		if peak != c.peak || average != c.average {
			t.Errorf("%s: %d %d, want %d %d", c.name, peak, average, c.peak, c.average)
		}
	}
}

func TestMediaPlaylist(t *testing.T) {
	got, err := MediaPlaylist(Track{Segments: []Segment{{6.006, 1}, {6.006, 1}, {0.467133, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-TARGETDURATION:6
#EXT-X-MAP:URI="init.mp4"
#EXTINF:6.006000,
seg_00000.m4s
#EXTINF:6.006000,
seg_00001.m4s
#EXTINF:0.467133,
seg_00002.m4s
#EXT-X-ENDLIST
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMaster(t *testing.T) {
	got, err := Master(
		[]Variant{
			{URI: "720p/index.m3u8", Codecs: "avc1.64001F", Width: 1280, Height: 720, FrameRate: 30000.0 / 1001, Peak: 4000000, Average: 3000000},
			{URI: "360p/index.m3u8", Codecs: "avc1.64001E", Width: 640, Height: 360, FrameRate: 30000.0 / 1001, Peak: 900000, Average: 600000},
		},
		[]Audio{
			{URI: "audio-eng/index.m3u8", Name: "English", Language: "en", Channels: 2, Codecs: "mp4a.40.2", Peak: 130000, Average: 128000},
			{URI: "audio-und/index.m3u8", Name: "Audio", Channels: 2, Codecs: "mp4a.40.2", Peak: 131000, Average: 127000},
		})
	if err != nil {
		t.Fatal(err)
	}
	want := `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=NO,AUTOSELECT=YES,CHANNELS="2",URI="audio-und/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio-eng/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=4131000,AVERAGE-BANDWIDTH=3128000,CODECS="avc1.64001F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio"
720p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1031000,AVERAGE-BANDWIDTH=728000,CODECS="avc1.64001E,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO="audio"
360p/index.m3u8
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := Master([]Variant{{URI: "720p/index.m3u8", Codecs: "avc1.64001F"}}, nil); err == nil {
		t.Error("a variant without a bit rate passed")
	}
}

// fragments makes a fragmented MP4 of pattern frames, a fragment for each second.
func fragments(t *testing.T, frames int) string {
	t.Helper()
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, bytes.Repeat([]byte{90}, frames*32*32*3/2), 0o600); err != nil {
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

// TestCut: 8 seconds in fragments of 2 are segments of 6 and 2, with every byte of the fragments.
func TestCut(t *testing.T) {
	file, dir := fragments(t, 40), t.TempDir()
	track, err := Cut(t.Context(), file, dir, 0)
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
	for _, name := range []string{InitName, fmt.Sprintf(SegmentName, 0), fmt.Sprintf(SegmentName, 1)} {
		part, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, part...)
	}
	if !bytes.HasPrefix(whole, joined) || int64(len(joined)) != track.InitSize+track.Size() {
		t.Error("the pieces are not the file")
	}
	text, err := MediaPlaylist(track)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, PlaylistName)
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (ffmpeg.Tools{}).VerifyHLS(t.Context(), list, ffmpeg.Expect{Width: 32, Height: 32, VideoCodec: "h264"}); err != nil {
		t.Error(err)
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
		if track, err := Cut(t.Context(), file, t.TempDir(), 0); err == nil {
			t.Errorf("%s: %+v", name, track)
		}
	}
}
