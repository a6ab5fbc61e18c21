package inspect

import (
	"context"
	"os"
	"path/filepath"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
)

// index is what the sample tables and edit lists of an MP4 say. All of it may be unknown.
type index struct {
	groups  *pipeline.Groups
	bitrate int64                  // bits/s of the video track
	edits   map[int]pipeline.Edits // by stream
	frames  map[int]int            // number of AAC frames, by stream
	spacing spacing                // of the video track's samples
	// fragmented: the samples, and so the lengths of the tracks, are in movie fragments.
	fragmented bool
	// length is set if every sample is there and looks valid. nil: measure by the packets.
	length *reading
}

// index reads the index of an MP4. It matches tracks to ffmpeg's streams by their ids. It uses the tables of
// the video track only if they have as many frames as ffmpeg found. An error is the machine's fault.
func (m *measurement) index(ctx context.Context) (index, error) {
	if m.media.Container != "mov" {
		return m.remuxed(ctx, index{})
	}
	file, err := os.Open(m.path)
	if err != nil {
		return index{}, pipeline.Fail(pipeline.CodeFetchFailed, "read source: %w", err)
	}
	defer file.Close()
	f, err := sampletable.Read(file, m.media.Size)
	if err != nil {
		return index{}, encode.DiskFault(ctx, err)
	}
	x := index{edits: map[int]pipeline.Edits{}, frames: map[int]int{}, fragmented: f.Fragmented}
	m.soundIndex(ctx, f, &x)
	edits, err := f.Edits(m.stream.ID, 0)
	if err != nil {
		return x, encode.DiskFault(ctx, err)
	}
	x.edits[m.stream.Index] = edits
	if times, tick, err := f.Times(ctx, m.stream.ID, mostTimes); err == nil {
		x.spacing = space(times, tick)
	}
	if f.Fragmented {
		return m.remuxed(ctx, x)
	}
	// Checking every sample reads the whole file, in small pieces.
	p, err := f.Picture(ctx, m.stream.ID, m.media.Size <= wholeSize, m.grid(x.spacing))
	if err != nil || p.Samples == 0 || p.Samples != m.stream.NbFrames || p.Length <= 0 {
		return x, encode.DiskFault(ctx, err)
	}
	x.groups, x.bitrate = &p.Groups, int64(float64(p.Bytes*8)/p.Length)
	if p.Whole && edits != pipeline.EditsComplex {
		x.length = &reading{frames: p.Samples, end: m.media.Video.Start - m.media.Origin() + p.Length}
	}
	return x, nil
}

// soundIndex adds what the index says about the audio tracks. It only reads tables that f holds.
func (m *measurement) soundIndex(ctx context.Context, f *sampletable.File, x *index) {
	for _, a := range m.media.Audio {
		if edits, err := f.Edits(a.ID, a.SampleRate); err == nil {
			x.edits[a.Stream] = edits
		}
		if a.Codec != "aac" {
			continue
		}
		if frames, err := f.Frames(ctx, a.ID, m.media.Origin()); err == nil {
			x.frames[a.Stream] = frames.Count
		}
	}
}

// grid returns where the frames of outputs are.
func (m *measurement) grid(s spacing) sampletable.Grid {
	rate := m.rate(s).AtMost(picture.MaxRate)
	return sampletable.Grid{
		Low: rate.AtMost(picture.LowRate).Float(), Rate: rate.Float(), Lead: picture.LeadAt(*m.media, rate),
	}
}

// remuxSize is the largest file that is remuxed for its index, in bytes.
const remuxSize = 8 << 30

// coarse are the clocks, in seconds per tick, to which containers round times; the remuxed file may have a
// finer clock. Sources: RFC 9559, 5.1.2.9 (TimestampScale, nearly always 1 ms); the FLV format, E.4.1.
var coarse = map[string]float64{"matroska": 0.001, "flv": 0.001}

// remuxed adds the groups of a video track without an index: it remuxes the track to an MP4 in the scratch
// directory. If that fails, the groups stay unknown, and the file is not blamed. An error is the machine's
// fault.
func (m *measurement) remuxed(ctx context.Context, x index) (index, error) {
	v := m.media.Video
	if v.Codec != "h264" || v.PixelFormat != "yuv420p" || v.Interlaced || m.media.Size > remuxSize ||
		!picture.NeedsRemux(*m.media, true) {
		return x, nil
	}
	path := filepath.Join(m.dir, "remuxed.mp4")
	defer os.Remove(path) // in any case, the directory is removed with the job
	c := picture.Remux(m.path, *m.media, path)
	c.Threads = encode.Threads()
	if err := m.tools.Run(ctx, c, m.options()); err != nil {
		return x, runFault(m.tooMuch(err))
	}
	file, err := os.Open(path)
	if err != nil {
		return x, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return x, err
	}
	f, err := sampletable.Read(file, info.Size())
	if err != nil {
		return x, encode.DiskFault(ctx, err)
	}
	if times, tick, err := f.Times(ctx, 1, mostTimes); err == nil {
		x.spacing = space(times, max(tick, coarse[m.media.Container]))
	}
	p, err := f.Picture(ctx, 1, info.Size() <= wholeSize, m.grid(x.spacing))
	if err != nil || p.Samples == 0 || p.Length <= 0 {
		return x, encode.DiskFault(ctx, err)
	}
	p.Groups.Remuxed = true
	x.groups, x.bitrate = &p.Groups, int64(float64(p.Bytes*8)/p.Length)
	return x, nil
}

// apply adds the index to the facts.
func (m *measurement) apply(x index) {
	v := &m.media.Video
	v.Groups, v.Edits = x.groups, x.edits[v.Stream]
	if v.Bitrate <= 0 {
		v.Bitrate = x.bitrate
	}
	for i := range m.media.Audio {
		a := &m.media.Audio[i]
		a.Edits, a.Frames = x.edits[a.Stream], x.frames[a.Stream]
	}
}
