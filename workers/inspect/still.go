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

// looks are the shares of a track's length at which it is looked at.
var looks = []float64{0.1, 0.3, 0.5, 0.7, 0.9}

// changing returns the tracks that do not show the same picture all the time: a still may be encoded as a
// film is, with frames of other bytes each. The likeliest films are looked at, and the next ones where no
// picture of these changes. Where none changes at all, the likeliest are returned.
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

// pass notes that the tracks are not looked at.
func (m *measurement) pass(groups [][]ffmpeg.Stream) {
	for _, s := range slices.Concat(groups...) {
		c := m.seen[s.Index]
		c.passed = true
		m.seen[s.Index] = c
	}
}

// notStill looks at tracks, notes which are stills, and returns the others.
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

// still reports that all pictures that were looked at are alike, and that there are two at least.
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

// shot is the picture of a track at a time, in shades of grey; empty where nothing decodes.
func (m *measurement) shot(ctx context.Context, s ffmpeg.Stream, at float64) ([]byte, error) {
	path := filepath.Join(m.dir, "shot.raw")
	defer os.Remove(path) // the folder goes with the job
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
	}, ffmpeg.RunOptions{Dir: m.dir})
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

// codingNoise is by how much a sample of a still may change that was encoded several times.
const codingNoise = 6

// similar reports that no part of a picture differs from that of another by more than coding makes it.
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
