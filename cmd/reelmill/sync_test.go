package main

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline"
)

// Limits with which TestSources compares a source and its renditions.
const (
	inSync   = 0.04 // seconds
	searched = 0.5  // seconds in both directions

	pictureRate = 100 // frames/s at which pictures are compared
	pictureSize = 16  // pixels of both edges
	soundRate   = 4000
	soundLength = 20 // seconds of audio that are compared
)

// rendition is a media playlist of a master playlist.
type rendition struct {
	name string // its folder
	base string // URL of the folder
}

// span is when the first sample of a track is presented and the last one ends, by its boxes.
type span struct{ start, end float64 }

// timeline reads all samples of a rendition. Each must be decoded where the previous one ends, and have its
// own presentation time.
func (r rendition) timeline(t *testing.T) span {
	t.Helper()
	init := get(t, r.base+"init.mp4")
	s := span{start: math.Inf(1)}
	var next uint64
	var shown []int64
	for line := range strings.Lines(string(get(t, r.base+"index.m3u8"))) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		file, err := mp4.DecodeFile(bytes.NewReader(slices.Concat(init, get(t, r.base+line))))
		if err != nil {
			t.Fatal(err)
		}
		scale := float64(file.Init.Moov.Trak.Mdia.Mdhd.Timescale)
		for _, fragment := range file.Segments[0].Fragments {
			samples, err := fragment.GetFullSamples(file.Init.Moov.Mvex.Trex)
			if err != nil {
				t.Fatal(err)
			}
			for _, sample := range samples {
				if sample.DecodeTime != next {
					t.Errorf("%s %s: a sample at %d, the one before it ends at %d", r.name, line, sample.DecodeTime, next)
				}
				next = sample.DecodeTime + uint64(sample.Dur)
				at := sample.PresentationTime() - advance(file.Init)
				shown = append(shown, at)
				s.start = min(s.start, float64(at)/scale)
				s.end = max(s.end, float64(at+int64(sample.Dur))/scale)
			}
		}
	}
	slices.Sort(shown)
	if n := len(slices.Compact(slices.Clone(shown))); n != len(shown) {
		t.Errorf("%s: %d samples at %d times", r.name, len(shown), n)
	}
	return s
}

// raw decodes a stream of a file or URL into bytes; times count from the first of the file.
func raw(t *testing.T, input, stream, kind, filter, format string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-i", input, "-map", stream, kind, filter,
		"-f", format, "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("decode %s of %s: %v\n%s", stream, input, err, stderr.Bytes())
	}
	return out
}

// pictures returns small gray pictures at pictureRate, each with a mean of 0 and a spread of 1.
func pictures(t *testing.T, input, stream string) [][]float64 {
	t.Helper()
	const pixels = pictureSize * pictureSize
	data := raw(t, input, stream, "-vf", fmt.Sprintf("fps=%d:start_time=0,scale=%d:%d:flags=area,format=gray",
		pictureRate, pictureSize, pictureSize), "rawvideo")
	var all [][]float64
	for ; len(data) >= pixels; data = data[pixels:] {
		all = append(all, normal(data[:pixels]))
	}
	return all
}

// flat is the spread below which a picture has only the noise of its encoding.
const flat = 3

// normal scales values to a mean of 0 and a spread of 1; those of a flat picture become 0.
func normal(values []byte) []float64 {
	mean, spread := 0.0, 0.0
	for _, v := range values {
		mean += float64(v) / float64(len(values))
	}
	for _, v := range values {
		spread += (float64(v) - mean) * (float64(v) - mean) / float64(len(values))
	}
	made := make([]float64, len(values))
	if math.Sqrt(spread) < flat {
		return made
	}
	for i, v := range values {
		made[i] = (float64(v) - mean) / math.Sqrt(spread)
	}
	return made
}

// sound returns audio samples.
func sound(t *testing.T, input, stream string) []float64 {
	t.Helper()
	filter := fmt.Sprintf("aresample=%d:async=1:first_pts=0,aformat=s16:%[1]d:mono", soundRate)
	data := raw(t, input, stream, "-af", filter, "s16le")
	all := make([]float64, len(data)/2)
	for i := range all {
		all[i] = float64(int16(uint16(data[2*i]) | uint16(data[2*i+1])<<8))
	}
	return all
}

// picturesLate returns by how many seconds made is later than source: the shift with the least difference, or
// 0 if a shift hardly helps.
func picturesLate(source, made [][]float64) float64 {
	return lag(pictureRate, len(made), func(shift int) float64 {
		sum, n := 0.0, 0
		for i := range made {
			if j := i - shift; j >= 0 && j < len(source) {
				for k, v := range made[i] {
					sum += math.Abs(v - source[j][k])
				}
				n++
			}
		}
		return sum / float64(max(1, n))
	})
}

// soundLate is picturesLate for audio samples, by correlation.
func soundLate(source, made []float64) float64 {
	made = made[:min(len(made), soundLength*soundRate)]
	return lag(soundRate, len(made), func(shift int) float64 {
		var product, one, other float64
		for i, v := range made {
			if j := i - shift; j >= 0 && j < len(source) {
				product, one, other = product+v*source[j], one+v*v, other+source[j]*source[j]
			}
		}
		return 1 - product/max(1, math.Sqrt(one*other))
	})
}

func lag(rate float64, length int, difference func(shift int) float64) float64 {
	best, least := 0, difference(0)
	reach := min(int(searched*rate), length/2)
	for shift := -reach; shift <= reach; shift++ {
		if d := difference(shift); d < 0.97*least {
			best, least = shift, d
		}
	}
	return float64(best) / rate
}

// checkSync checks that the pictures and the audio of renditions are at their times in the source, and end
// with it.
func checkSync(t *testing.T, source, base string, end pipeline.VideoView) string {
	t.Helper()
	var said []string
	late := func(r rendition, seconds, tolerance float64) {
		said = append(said, fmt.Sprintf("%s %+.3f", r.name, seconds))
		if math.Abs(seconds) > tolerance {
			t.Errorf("%s: %s is %.3f s late", end.Filename, r.name, seconds)
		}
	}
	rungs, sounds := renditions(t, base, end.Manifest)
	original := pictures(t, source, "0:"+strconv.Itoa(end.Media.Video.Stream))
	ends, moved := float64(len(original))/pictureRate, inSync
	if v := end.Media.Video; v.Variable { // each frame is shown at the nearest time of the grid
		moved = max(moved, 0.5/v.FrameRate())
	}
	for i, r := range rungs {
		r.checkSpan(t, end.Filename, ends, max(ends, end.Media.Duration)) // the last frame is held
		if i == min(1, len(rungs)-1) || i == len(rungs)-1 {               // the largest, listed second, and the smallest
			late(r, picturesLate(original, pictures(t, r.base+"index.m3u8", "0:v:0")), moved)
		}
	}
	for i, r := range sounds {
		original := sound(t, source, "0:"+strconv.Itoa(end.Media.Audio[i].Stream))
		own := float64(len(original)) / soundRate
		r.checkSpan(t, end.Filename, own, max(own, ends, end.Media.Duration)) // silence follows until the video ends
		late(r, soundLate(original, sound(t, r.base+"index.m3u8", "0:a:0")), inSync)
	}
	return strings.Join(said, ", ")
}

// checkSpan checks that a rendition begins at 0, with filling where the source begins later, and ends between
// two times.
func (r rendition) checkSpan(t *testing.T, file string, earliest, latest float64) {
	t.Helper()
	s := r.timeline(t)
	if math.Abs(s.start) > inSync || s.end < earliest-inSync || s.end > latest+inSync {
		t.Errorf("%s: %s is presented from %.3f to %.3f s, the source until %.3f to %.3f s",
			file, r.name, s.start, s.end, earliest, latest)
	}
}

// renditions lists the variants and the audio renditions of a master playlist, in order.
func renditions(t *testing.T, base, manifest string) (rungs, sounds []rendition) {
	t.Helper()
	for line := range strings.Lines(string(get(t, base+manifest))) {
		line = strings.TrimSpace(line)
		if _, attribute, ok := strings.Cut(line, `URI="`); ok && strings.HasPrefix(line, "#EXT-X-MEDIA:") {
			uri, _, _ := strings.Cut(attribute, `"`)
			sounds = append(sounds, rendition{filepath.Dir(uri), base + filepath.Dir(uri) + "/"})
		} else if line != "" && !strings.HasPrefix(line, "#") {
			rungs = append(rungs, rendition{filepath.Dir(line), base + filepath.Dir(line) + "/"})
		}
	}
	return rungs, sounds
}
