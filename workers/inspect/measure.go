package inspect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// measurement compares what a file claims with what is there, and corrects the facts. Decoding and
// measuring run at the same time and only read the file; their findings are added in a fixed order, so the
// same file gives the same facts.
type measurement struct {
	tools   ffmpeg.Tools
	path    string
	dir     string
	demuxer string
	probe   ffmpeg.ProbeResult
	late    bool  // a track begins late
	size    int64 // of the file in bytes
	// patience is the CPU time of each run for a small file; 0: no limit.
	patience time.Duration

	stream ffmpeg.Stream
	media  *pipeline.Media
	seen   map[int]seen // streams that were read completely to choose among them
	frames int64        // found; 0 if only the end of the file was read
	fps    float64      // measured; 0 if there is one frame, or if unknown
	claim  float64      // seconds that the file claims to last; 0 without a claim, or if it was believed
}

// seen is what reading a stream showed.
type seen struct {
	track
	reading
	zero  float64 // the time of the source from which its times count
	whole bool    // read to its end
	still bool    // all its sampled pictures are the same
}

// file is the whole file as an input.
func (m *measurement) file() ffmpeg.Input {
	return ffmpeg.Input{Path: m.path, Demuxer: m.demuxer, Late: m.late}
}

// zero returns the time of the source from which ffmpeg counts in a run that reads these streams.
func (m *measurement) zero(streams ...int) float64 {
	if !picture.Discontinuous(m.demuxer) {
		return m.probe.Format.StartTime
	}
	first := math.Inf(1)
	for _, s := range m.probe.Streams {
		if slices.Contains(streams, s.Index) {
			first = min(first, s.StartTime)
		}
	}
	return first
}

// before sets how much earlier unused tracks begin than used ones.
func (m *measurement) before() {
	m.media.Before = math.Round((m.media.Origin()-m.probe.Format.StartTime)*1e6) / 1e6
}

// run returns the first error in the order head, length, audio.
func (m *measurement) run(ctx context.Context) error {
	m.before()
	origin := m.media.Origin()
	d, l := m.look(ctx)
	if errors.Is(d.headErr, errRefused) {
		return l.err
	}
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
	m.sound(d.tracks)
	if moved := m.media.Origin() - origin; moved != 0 {
		m.media.Duration = math.Max(0, m.media.Duration-moved)
		m.before()
		x, err := m.index(ctx) // its times count from the start of the video
		if err != nil {
			return err
		}
		m.apply(x)
	}
	return m.ends(ctx, l)
}

// errRefused ends decoding when measuring has shown that the file is refused.
var errRefused = errors.New("the file is refused already")

// look decodes and measures at the same time, until one of both refuses the file. Then the other's result
// does not matter: decoding a bomb takes long, but its packets show it at once.
func (m *measurement) look(ctx context.Context) (d decoding, l length) {
	var both sync.WaitGroup
	toDecode, endDecoding := context.WithCancelCause(ctx)
	toMeasure, endMeasuring := context.WithCancel(ctx)
	defer endDecoding(nil)
	defer endMeasuring()
	both.Go(func() {
		if d = m.decode(toDecode); d.headErr != nil {
			endMeasuring()
		}
	})
	both.Go(func() {
		if l = m.length(toMeasure); l.err != nil && refusal(l.err) != nil {
			endDecoding(errRefused)
		}
	})
	both.Wait()
	return d, l
}

// notes are the faults of a file.
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

// How much of a file is read.
const (
	wholeSize  = 1 << 30     // bytes; files up to this size are read completely
	tailWindow = time.Minute // the end of longer ones
)

// length is the measured length of the video track, and what the file's index says.
type length struct {
	index   index
	spacing spacing
	reading
	first    float64 // when the first frame is shown, as a time of the source; 0 if not measured
	last     float64 // when the last frame is shown, in seconds from the start of the video; 0 if not measured
	believed bool    // the file's claim is believed; nothing was read completely
	err      error
}

// length measures the video track: by the index if that is complete, else by the packets. In a large file it
// only reads the end, unless that is not where the file claims.
func (m *measurement) length(ctx context.Context) (l length) {
	if l.index, l.err = m.index(ctx); l.err != nil {
		return l
	}
	l.spacing = l.index.spacing
	if l.index.length != nil {
		l.reading = *l.index.length
		return l
	}
	in := m.file()
	claim := m.media.Duration
	if end := time.Duration(claim * float64(time.Second)); m.media.Size > wholeSize && end > 2*tailWindow &&
		m.stream.AvgFrameRate.Float() > 0 {
		in.Seek = picture.Position(*m.media, end-tailWindow)
		m.copied(ctx, in, &l)
		off := math.Abs(l.end - claim)
		l.believed = l.frames > 0 && len(l.errors) == 0 && off <= max(claim/50, m.tolerance(l.spacing))
		if l.err != nil || l.believed {
			return l
		}
		in.Seek = 0
	}
	m.copied(ctx, in, &l)
	return l
}

// copied reads the packets of the video track without decoding them. The last frame counts as long as the
// others.
func (m *measurement) copied(ctx context.Context, in ffmpeg.Input, l *length) {
	c := m.seen[m.stream.Index]
	if !c.whole || in.Seek > 0 {
		var tracks []track
		tracks, c.reading, l.err = m.packets(ctx, in, []int{m.stream.Index}, 0)
		c.track, c.zero = tracks[0], m.zero(m.stream.Index)+in.Seek.Seconds()
	}
	if l.spacing.rate == 0 && l.err == nil {
		l.spacing, l.err = m.fields(ctx, space(c.times, c.tick))
	}
	l.reading = c.reading
	if l.frames, l.end = c.packets, 0; l.frames > 0 {
		l.end = c.zero + c.last - m.media.Origin()
		l.last = l.end
		l.end += m.held(l.spacing, l.end)
	}
	if in.Seek == 0 && len(c.times) > 0 {
		l.first = c.zero + slices.Min(c.times)
	}
}

// held returns how many seconds the last frame is shown, which begins at last. If frames are further apart
// than at the lowest output rate, it believes the file, but no more than their distance.
func (m *measurement) held(s spacing, last float64) float64 {
	frame := 1 / m.rate(s).Float()
	if s.rate > 0 {
		frame = max(frame, min(1/s.rate, m.media.Duration-last))
	}
	return frame
}

// rate returns the measured frame rate s, or the one that the container declares if s has none.
func (m *measurement) rate(s spacing) picture.Rate {
	if s.rate > 0 {
		return s.of(hints(m.stream)...)
	}
	return picture.SourceRate(m.media.Video)
}

// fieldsAbove is the highest frame rate of interlaced video, with a margin.
const fieldsAbove = 31 // frames/s

// fields halves the rate of interlaced H.264 with one field per packet, since the decoder makes a frame of
// two packets.
func (m *measurement) fields(ctx context.Context, s spacing) (spacing, error) {
	if !m.media.Video.Interlaced || m.stream.CodecName != "h264" || s.rate < fieldsAbove {
		return s, nil
	}
	list := packetList{tracks: make([]track, 1)}
	out := ffmpeg.Output{Format: "framecrc", Maps: []string{picture.Stream(*m.media)}, Options: firstFrames()}
	_, err := m.readTo(ctx, &list, []ffmpeg.Input{picture.Source(m.path, *m.media)}, out)
	frames := space(list.tracks[0].times, list.tracks[0].tick)
	if err != nil || frames.rate == 0 || frames.rate > 0.6*s.rate {
		return s, runFault(err)
	}
	s.rate /= 2
	for i := range s.all {
		s.all[i] *= 2
	}
	return s, nil
}

// tolerance returns by how many seconds the claimed length may differ from the measured one, since the last
// frame may count or not. It is not a share of the length, since chunks are planned by the length.
func (m *measurement) tolerance(s spacing) float64 { return max(0.5, 1.5/m.rate(s).Float()) }

// settle applies the index, and decides between the claimed length and the measured one.
func (m *measurement) settle(l length) {
	m.apply(l.index)
	v := &m.media.Video
	if m.fps = l.spacing.rate; m.fps > 0 {
		rate := m.rate(l.spacing)
		v.FrameRateNum, v.FrameRateDen, v.Variable = rate.Num, rate.Den, l.spacing.variable
	}
	// If the container does not say when a track begins, ffprobe only searches the first seconds.
	if l.first > v.Start+m.tolerance(l.spacing) {
		v.Start = l.first
	}
	if l.believed {
		return
	}
	m.frames = l.frames
	n := m.compare(l)
	if held := m.media.Duration - l.last; l.last > 0 && held > m.tolerance(l.spacing) {
		v.Held = held
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

// compare chooses between the claimed and the measured length, and notes a difference.
func (m *measurement) compare(r length) (n notes) {
	claim, tolerance := m.media.Duration, m.tolerance(r.spacing)
	short := claim - r.end
	whole := m.stream.NbFrames > 0 && r.frames >= m.stream.NbFrames
	switch {
	case r.end <= 0: // nothing could be measured
	case whole && m.stream.Duration > 0 && short > 0: // the last frame is held longer
	case m.media.Container == "ogg" && m.stream.Duration > 0 && short > 0 && len(r.errors) == 0:
		// The same for Theora, which has no packets while nothing moves. The claim is the time of the last page.
	case slices.Contains(byTimes, m.media.Container):
		m.media.Duration, m.claim = r.end, claim // ends compares the claim with the audio, too
		if -short > untimedEnd {
			n.warn("the video lasts %.1f s, but the file claims %.1f s", r.end, claim)
		}
	case claim <= 0, m.stream.Duration <= 0:
		m.media.Duration = r.end // the claim covers all streams together, or is missing
		if claim > 0 && short > tolerance && len(m.probe.Audios()) == 0 {
			n.damage("the video lasts %.1f s, but the file claims %.1f s", r.end, claim)
		}
	case short > tolerance:
		m.media.Duration = r.end
		n.damage("the video lasts %.1f s, but the file claims %.1f s", r.end, claim)
	case short < -tolerance:
		m.media.Duration = r.end
		n.warn("the video lasts %.1f s, but the file claims %.1f s", r.end, claim)
	}
	return n
}

// sound keeps the tracks that can be decoded.
func (m *measurement) sound(tracks []pipeline.AudioTrack) {
	kept := m.media.Audio[:0]
	for _, a := range m.media.Audio {
		for _, good := range tracks {
			if good.Stream == a.Stream {
				kept = append(kept, a)
			}
		}
	}
	m.media.Audio = kept
}
