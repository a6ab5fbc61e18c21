package audio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
)

// codecs is AAC-LC in the notation of RFC 6381.
const codecs = "mp4a.40.2"

// sliver is the least number of frames in the last segment of a track. Fewer are added to the segment before,
// which stays below 6.5 s, so that a playlist rounds it to 6.
const sliver = 22

// segmenter writes frames as CMAF segments of one fragment each.
type segmenter struct {
	dir     string
	form    form
	next    int // number of the first pending frame
	pending [][]byte
	track   manifest.Track
}

// newSegmenter creates dir and writes init.mp4 to it. The first frame to add is that of segment number first.
func newSegmenter(dir string, f form, language string, first int) (*segmenter, error) {
	head, err := header(f, language)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.InitName), head, 0o600); err != nil {
		return nil, err
	}
	return &segmenter{dir: dir, form: f, next: border(first, f.rate), track: manifest.Track{
		Codecs: codecs, Header: headerName(head), Timescale: f.rate, InitSize: int64(len(head)), First: first,
	}}, nil
}

// frames returns how many frames were added.
func (s *segmenter) frames() int { return s.next + len(s.pending) - border(s.track.First, s.form.rate) }

// full returns how many frames the current segment has when it is full.
func (s *segmenter) full() int {
	return border(s.track.First+len(s.track.Segments)+1, s.form.rate) - s.next
}

// add adds the next frame, and keeps data.
func (s *segmenter) add(data []byte) error {
	if len(data) == 0 {
		return errors.New("a packet is empty")
	}
	s.pending = append(s.pending, data)
	if n := s.full(); len(s.pending) >= n+sliver {
		return s.write(n)
	}
	return nil
}

// finish writes the pending frames. If whole is set, every segment ends at its border, and even a sliver is a
// segment of its own.
func (s *segmenter) finish(whole bool) error {
	for len(s.pending) > 0 {
		n := min(s.full(), len(s.pending))
		if rest := len(s.pending) - n; !whole && rest < sliver {
			n = len(s.pending)
		}
		if err := s.write(n); err != nil {
			return err
		}
	}
	if len(s.track.Segments) == 0 {
		return pipeline.Fail(pipeline.CodeMalformed, "nothing was encoded: no audio of the track can be decoded")
	}
	return nil
}

// write writes the first n pending frames as a segment.
func (s *segmenter) write(n int) error {
	number := s.track.First + len(s.track.Segments)
	fragment, err := mp4.CreateFragment(uint32(number+1), trackID)
	if err != nil {
		return fmt.Errorf("make fragment: %w", err)
	}
	fragment.EncOptimize = mp4.OptimizeTrun
	for i, data := range s.pending[:n] {
		fragment.AddFullSample(mp4.FullSample{
			Sample:     mp4.NewSample(mp4.SyncSampleFlags, frameSamples, uint32(len(data)), 0),
			DecodeTime: uint64(s.next+i) * frameSamples, Data: data,
		})
	}
	size, err := writeFragment(filepath.Join(s.dir, fmt.Sprintf(manifest.SegmentName, number)), fragment)
	if err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	s.pending = append(s.pending[:0:0], s.pending[n:]...)
	s.next += n
	s.track.Segments = append(s.track.Segments, manifest.Segment{
		Duration: frameSeconds(n, s.form.rate), Size: size,
	})
	return nil
}

func writeFragment(name string, f *mp4.Fragment) (size int64, err error) {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := f.Encode(out); err != nil {
		return 0, err
	}
	return int64(f.Size()), nil
}
