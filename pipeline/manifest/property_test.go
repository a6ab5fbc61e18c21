package manifest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// randomTrack has up to 20 segments of up to three keys each, at 29.97 frames/s.
func randomTrack(r *rand.Rand) Track {
	t := Track{
		Codecs: "avc1.64001F", Header: fmt.Sprint(r.Uint64()), Timescale: 30000, Width: 2 + r.IntN(4096), Height: 2,
		InitSize: r.Int64N(1 << 20), First: r.IntN(200000),
	}
	for range 1 + r.IntN(20) {
		var s Segment
		for range 1 + r.IntN(3) {
			k := Key{Offset: s.Size, Size: 1 + r.Int64N(1<<33), Duration: float64(1+r.IntN(60)) * 1001 / 30000}
			s.Keys, s.Size = append(s.Keys, k), s.Size+k.Size+r.Int64N(1<<33)
			s.Duration += k.Duration
		}
		t.Segments = append(t.Segments, s)
	}
	return t
}

// lines is a media playlist, read by its lines.
type lines struct {
	target, first  int
	names, ranges  []string
	total, longest float64
}

func parse(t *testing.T, text []byte) (l lines) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		line, value := strings.TrimSpace(line), 0.0
		number := func(format string, to any) { _, _ = fmt.Sscanf(line, format, to) }
		number("#EXT-X-TARGETDURATION:%d", &l.target)
		number("#EXT-X-MEDIA-SEQUENCE:%d", &l.first)
		if number("#EXTINF:%f", &value); value > 0 {
			l.total, l.longest = l.total+value, max(l.longest, value)
		}
		if r, ok := strings.CutPrefix(line, "#EXT-X-BYTERANGE:"); ok {
			l.ranges = append(l.ranges, r)
		}
		if line != "" && line[0] != '#' {
			l.names = append(l.names, line)
		}
	}
	return l
}

// TestPlaylistsOfAnyTrack: the playlists name every segment and every key once and in order, their times sum up
// to the track's, and none is longer than the target.
func TestPlaylistsOfAnyTrack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		track := randomTrack(random)
		var names, keyNames, ranges []string
		for i, s := range track.Segments {
			name := fmt.Sprintf("seg_%05d.m4s", track.First+i)
			names = append(names, name)
			for _, k := range s.Keys {
				keyNames, ranges = append(keyNames, name), append(ranges, fmt.Sprintf("%d@%d", k.Size, k.Offset))
			}
		}
		check := func(text []byte, err error, names, ranges []string) {
			t.Helper()
			l := parse(t, text)
			if err != nil || !cmp.Equal(l.names, names) || !cmp.Equal(l.ranges, ranges) || l.first != track.First {
				t.Fatalf("%v: %+v of\n%s", err, track, text)
			}
			if math.Abs(l.total-track.Duration()) > 1e-6*float64(len(names)) || math.Round(l.longest) > float64(l.target) {
				t.Fatalf("%g s, longest %g s, want %g s:\n%s", l.total, l.longest, track.Duration(), text)
			}
		}
		text, err := MediaPlaylist(track)
		check(text, err, names, nil)
		text, err = iFramesText(track)
		check(text, err, keyNames, ranges)
	}
}

// TestIFramesNeedsKeys: whichever segment lacks a key, the error has a code and names the segment.
func TestIFramesNeedsKeys(t *testing.T) {
	track := randomTrack(rand.New(rand.NewPCG(5, 6)))
	for i := range track.Segments {
		kept := track.Segments[i].Keys
		track.Segments[i].Keys = nil
		text, err := iFramesText(track)
		want := fmt.Sprintf("segment %d has no keyframe", track.First+i)
		var coded *pipeline.Error
		if !errors.As(err, &coded) || coded.Code != pipeline.CodeVerification || !strings.Contains(coded.Error(), want) {
			t.Errorf("%v, want %s:\n%s", err, want, text)
		}
		track.Segments[i].Keys = kept
	}
}

// TestIndexOfAnyTrack: what is written is read back, and an index that was cut is an error.
func TestIndexOfAnyTrack(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		runs := []Run{{"720p", randomTrack(random)}, {"audio", randomTrack(random)}}
		data, err := EncodeIndex(runs...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeIndex(data); err != nil || !cmp.Equal(got, runs) {
			t.Fatalf("%v: %s", err, cmp.Diff(runs, got))
		}
		if got, err := DecodeIndex(data[:random.IntN(len(data))]); err == nil {
			t.Fatalf("a cut index: %+v", got)
		}
	}
}
