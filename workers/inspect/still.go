package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// looks are the positions at which a track's frames are compared, as shares of its length.
var looks = []float64{0.1, 0.3, 0.5, 0.7, 0.9}

// changing returns the tracks that are not stills by their decoded frames: a still may be encoded like a
// film, with different bytes in each frame. It compares the likeliest films, and then the next ones while all
// are stills. If every track is a still, it returns the likeliest ones.
func (m *measurement) changing(ctx context.Context, videos []ffmpeg.Stream) ([]ffmpeg.Stream, error) {
	groups := m.likely(videos)
	for i, group := range groups {
		changing, err := m.notStill(ctx, group)
		if err != nil {
			return nil, err
		}
		if len(changing) > 0 {
			m.pass(groups[i+1:])
			return changing, nil
		}
	}
	return groups[0], nil
}

// pass marks the tracks as not compared.
func (m *measurement) pass(groups [][]ffmpeg.Stream) {
	for _, s := range slices.Concat(groups...) {
		c := m.seen[s.Index]
		c.passed = true
		m.seen[s.Index] = c
	}
}

// notStill compares frames of each track, marks the stills, and returns the others.
func (m *measurement) notStill(ctx context.Context, videos []ffmpeg.Stream) ([]ffmpeg.Stream, error) {
	var changing []ffmpeg.Stream
	for _, s := range videos {
		still, err := m.still(ctx, s)
		if err != nil {
			return nil, err
		}
		if !still {
			changing = append(changing, s)
			continue
		}
		c := m.seen[s.Index]
		c.still = true
		m.seen[s.Index] = c
	}
	return changing, nil
}

// still reports whether at least two frames of the track were decoded and all are alike.
func (m *measurement) still(ctx context.Context, s ffmpeg.Stream) (bool, error) {
	length := m.seen[s.Index].last
	if !m.seen[s.Index].whole {
		length = max(length, m.probe.Format.Duration)
	}
	var first []byte
	alike := 0
	for _, share := range looks {
		shot, err := m.shot(ctx, s, share*length)
		switch {
		case err != nil:
			return false, err
		case len(shot) == 0:
			continue
		case first == nil:
			first = shot
		case !similar(first, shot):
			return false, nil
		}
		alike++
	}
	return alike > 1, nil
}

// shotEdge is how many samples each edge of a shot has.
const shotEdge = 32

// shot returns a track's frame at a time, small and in grey; empty if nothing decodes.
func (m *measurement) shot(ctx context.Context, s ffmpeg.Stream, at float64) ([]byte, error) {
	path := filepath.Join(m.dir, "shot.raw")
	defer os.Remove(path) // in any case, the directory is removed with the job
	in := m.file()
	in.Seek = seconds(at)
	err := m.tools.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{in},
		Outputs: []ffmpeg.Output{{
			Path: path, Format: "rawvideo", Maps: []string{fmt.Sprintf("0:%d", s.Index)},
			Options: []ffmpeg.Option{
				{Key: "frames:v", Value: "1"},
				{Key: "filter:v", Value: fmt.Sprintf("scale=%d:%d,format=gray", shotEdge, shotEdge)},
			},
		}},
		LogLevel: "error", Threads: encode.Threads(),
	}, m.options())
	err = m.tooMuch(err)
	if ffmpeg.GaveUp(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// codingNoise is how much a sample may change in a still that was encoded several times.
const codingNoise = 6

// similar reports whether two shots differ by no more than coding noise in every sample.
func similar(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if abs(int(a[i])-int(b[i])) > codingNoise {
			return false
		}
	}
	return true
}
