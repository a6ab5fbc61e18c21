package inspect

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// measurement compares what a file claims with what is there, and corrects the facts. Decoding and measuring
// run side by side and only read media; what they found goes into it one after the other, so the same file
// gives the same facts.
type measurement struct {
	tools  ffmpeg.Tools
	path   string
	dir    string
	probe  ffmpeg.ProbeResult
	stream ffmpeg.Stream
	media  *pipeline.Media
}

// run returns the error that comes first in the order head, length, sound.
func (m *measurement) run(ctx context.Context) error {
	var d decoding
	var l length
	var both sync.WaitGroup
	others, stop := context.WithCancel(ctx)
	defer stop()
	both.Go(func() {
		if d = m.decode(ctx); d.headErr != nil {
			stop() // nothing else matters then
		}
	})
	both.Go(func() { l = m.length(others) })
	both.Wait()

	m.note(d.head)
	m.media.Video.Alpha = m.media.Video.Alpha && !d.opaque
	if d.headErr != nil {
		return d.headErr
	}
	if l.err != nil {
		return l.err
	}
	m.settle(l)
	if d.soundErr != nil {
		return d.soundErr
	}
	m.note(d.sound)
	return m.sound(ctx, d.tracks)
}

// notes are what is wrong with a file.
type notes struct {
	damaged  bool
	warnings []string
}

func (n *notes) damage(format string, args ...any) {
	n.damaged = true
	n.warn(format, args...)
}

func (n *notes) warn(format string, args ...any) {
	text := []rune(fmt.Sprintf(format, args...))
	n.warnings = append(n.warnings, string(text[:min(len(text), 256)]))
}

func (m *measurement) note(n notes) {
	m.media.Damaged = m.media.Damaged || n.damaged
	m.media.Warnings = append(m.media.Warnings, n.warnings...)
}

// Sizes of what is read.
const (
	wholeSize  = 1 << 30     // bytes; files up to that are read through
	tailWindow = time.Minute // of longer ones
)

// length is how long the picture is, and what the file's index says.
type length struct {
	index index
	reading
	believed bool // what the file claims is believed; nothing was read through
	err      error
}

// length measures the picture: by the index where that holds, else by the packets. Of a long file the end is
// enough when it lies where the file claims.
func (m *measurement) length(ctx context.Context) (l length) {
	l.index = m.index(ctx)
	if l.index.length != nil {
		l.reading = *l.index.length
		return l
	}
	in := ffmpeg.Input{Path: m.path, Demuxer: m.media.Container}
	claim := m.media.Duration
	if end := time.Duration(claim * float64(time.Second)); m.media.Size > wholeSize && end > 2*tailWindow &&
		m.stream.AvgFrameRate.Float() > 0 {
		in.Seek = end - tailWindow
		l.reading, l.err = m.copied(ctx, in)
		off := math.Abs(in.Seek.Seconds() + l.end - claim)
		l.believed = l.frames > 0 && len(l.errors) == 0 && off <= max(claim/50, m.tolerance())
		if l.err != nil || l.believed {
			return l
		}
		in.Seek = 0
	}
	l.reading, l.err = m.copied(ctx, in)
	return l
}

// copied reads the packets of the picture without decoding them. ffmpeg tells the decode time of the last
// packet, so decode times are set to presentation times, and the length of a frame is added.
func (m *measurement) copied(ctx context.Context, in ffmpeg.Input) (reading, error) {
	r, err := m.read(ctx, []ffmpeg.Input{in}, null([]string{picture.Stream(*m.media)},
		ffmpeg.Option{Key: "c", Value: "copy"}, ffmpeg.Option{Key: "bsf", Value: "setts=ts=PTS"}))
	if r.frames > 0 {
		r.end += 1 / m.media.Video.FrameRate()
	}
	return r, err
}

// tolerance is by how many seconds a file that was read through may be off: its last frame may count or not.
// Chunks are planned by the length, so it is no share of it.
func (m *measurement) tolerance() float64 { return max(0.5, 1.5/m.media.Video.FrameRate()) }

// settle takes what the index says, and decides between the length that the file claims and the one that was
// measured.
func (m *measurement) settle(l length) {
	m.apply(l.index)
	if l.believed {
		return
	}
	n := m.compare(l.reading)
	v := &m.media.Video
	if m.stream.AvgFrameRate.Float() <= 0 && l.frames > 1 && l.end > 0 {
		rate := picture.NewRate(int64(math.Round(float64(l.frames)/l.end*1000)), 1000)
		v.FrameRateNum, v.FrameRateDen = rate.Num, rate.Den
	}
	if m.media.Duration <= 0 {
		m.media.Duration = 1 / v.FrameRate()
	}
	if m.media.Bitrate <= 0 {
		m.media.Bitrate = int64(float64(m.media.Size*8) / m.media.Duration)
	}
	if len(l.errors) > 0 {
		n.damage("parts of the file cannot be read: %s", l.errors[0])
	}
	m.note(n)
}

// compare sets the length.
func (m *measurement) compare(r reading) (n notes) {
	claim, tolerance := m.media.Duration, m.tolerance()
	short := claim - r.end
	whole := m.stream.NbFrames > 0 && r.frames >= m.stream.NbFrames
	switch {
	case r.end <= 0: // nothing that could be measured
	case whole && m.stream.Duration > 0 && short > 0: // the last frame stands for longer
	case claim <= 0, m.stream.Duration <= 0:
		m.media.Duration = r.end // the file speaks of all its streams together, or not at all
		if claim > 0 && short > tolerance && len(m.probe.Audios()) == 0 {
			n.damage("%.1f s of picture, the file claims %.1f s", r.end, claim)
		}
	case short > tolerance:
		m.media.Duration = r.end
		n.damage("%.1f s of picture, the file claims %.1f s", r.end, claim)
	case short < -tolerance:
		m.media.Duration = r.end
		n.warn("%.1f s of picture, the file claims %.1f s", r.end, claim)
	}
	return n
}

// sound measures the tracks that can be decoded, and keeps them.
func (m *measurement) sound(ctx context.Context, tracks []pipeline.AudioTrack) error {
	kept := m.media.Audio[:0]
	for _, a := range m.media.Audio {
		for _, good := range tracks {
			if good.Stream != a.Stream {
				continue
			}
			measured, err := m.soundLength(ctx, a)
			if err != nil {
				return err
			}
			kept = append(kept, measured)
		}
	}
	m.media.Audio = kept
	return nil
}

// soundLength measures a track that does not say how long it is, or that may be cut short like the picture.
func (m *measurement) soundLength(ctx context.Context, a pipeline.AudioTrack) (pipeline.AudioTrack, error) {
	if a.Duration > 0 && !m.media.Damaged {
		return a, nil
	}
	a.Duration = m.media.Duration
	if m.media.Size > wholeSize {
		return a, nil
	}
	in := []ffmpeg.Input{{Path: m.path, Demuxer: m.media.Container}}
	r, err := m.read(ctx, in, null(streams(0, []pipeline.AudioTrack{a}), ffmpeg.Option{Key: "c", Value: "copy"}))
	if offset := math.Max(0, a.Start-m.probe.Format.StartTime); err == nil && r.end > offset {
		a.Duration = r.end - offset
	}
	return a, err
}
