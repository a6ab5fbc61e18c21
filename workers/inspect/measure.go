package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// measurement compares what a file claims with what is there, and corrects the facts.
type measurement struct {
	tools  ffmpeg.Tools
	path   string
	dir    string
	probe  ffmpeg.ProbeResult
	stream ffmpeg.Stream
	media  *pipeline.Media
}

func (m *measurement) run(ctx context.Context) error {
	if err := m.decodeHead(ctx); err != nil {
		return err
	}
	if err := m.length(ctx); err != nil {
		return err
	}
	return m.sound(ctx)
}

// Sizes of the samples.
const (
	headFrames = 12              // decoded at the start
	wholeSize  = 1 << 30         // bytes; files up to that are read through
	tailWindow = time.Minute     // of longer ones
	soundCheck = 2 * time.Second // decoded of each sound track
)

// reading is the outcome of a run that writes nothing.
type reading struct {
	frames int64
	end    float64 // seconds from the start of the file, or of the window
	errors []string
}

// read runs ffmpeg over in with the null muxer. A run that fails but got something counts as damage, not as
// failure.
func (m *measurement) read(ctx context.Context, in ffmpeg.Input, maps []string,
	o ...ffmpeg.Option,
) (reading, error) {
	var r reading
	log := &lines{limit: 20, hide: in.Path}
	err := m.tools.Run(ctx, ffmpeg.Command{
		Inputs:  []ffmpeg.Input{in},
		Outputs: []ffmpeg.Output{{Format: "null", Maps: maps, Options: o}},
		Global:  []ffmpeg.Option{{Key: "max_error_rate", Value: "1"}}, LogLevel: "error", Threads: encode.Threads(),
	}, ffmpeg.RunOptions{Dir: m.dir, Stderr: log, Progress: func(p ffmpeg.Progress) {
		r.frames, r.end = p.Frame, p.OutTime.Seconds()
	}})
	r.errors = log.kept
	var failed *ffmpeg.Error
	if errors.As(err, &failed) && failed.Kind == ffmpeg.KindExit && !failed.DiskFull() && r.frames > 0 {
		err = nil
	}
	return r, err
}

// decodeHead wants at least one frame of picture.
func (m *measurement) decodeHead(ctx context.Context) error {
	options := []ffmpeg.Option{
		{Key: "frames:v", Value: fmt.Sprint(headFrames)}, {Key: "fps_mode", Value: "passthrough"},
	}
	read := func() (reading, error) {
		return m.read(ctx, picture.Source(m.path, *m.media), []string{picture.Stream(*m.media)}, options...)
	}
	r, err := read()
	if m.media.Video.Alpha && (err != nil || r.frames == 0) && ctx.Err() == nil {
		m.media.Video.Alpha = false // libvpx is not in every ffmpeg
		m.warn("the transparency cannot be decoded and is left out")
		r, err = read()
	}
	var failed *ffmpeg.Error
	if errors.As(err, &failed) && failed.Kind == ffmpeg.KindExit {
		if reason := blame(failed); reason == nil || reason.Code != pipeline.CodeMalformed {
			return err
		}
	} else if err != nil {
		return err
	}
	if r.frames == 0 {
		return &pipeline.Error{
			Code: pipeline.CodeMalformed, Detail: "no frame of the video can be decoded",
			Stderr: strings.Join(r.errors, "\n"),
		}
	}
	if len(r.errors) > 0 {
		m.damaged("the first frames cannot all be decoded: %s", r.errors[0])
	}
	return nil
}

// length measures how long the picture is.
func (m *measurement) length(ctx context.Context) error {
	in := ffmpeg.Input{Path: m.path, Demuxer: m.media.Container}
	claim := m.media.Duration
	if end := time.Duration(claim * float64(time.Second)); m.media.Size > wholeSize && end > 2*tailWindow &&
		m.stream.AvgFrameRate.Float() > 0 {
		in.Seek = end - tailWindow
		if r, err := m.copied(ctx, in); err != nil || r.frames > 0 && len(r.errors) == 0 {
			return err // the end is there, so what the file claims is believed
		}
		in.Seek = 0
	}
	r, err := m.copied(ctx, in)
	if err != nil {
		return err
	}
	m.settle(claim, r)
	if len(r.errors) > 0 {
		m.damaged("parts of the file cannot be read: %s", r.errors[0])
	}
	return nil
}

// copied reads the packets of the picture without decoding them. ffmpeg tells the decode time of the last
// packet, so decode times are set to presentation times, and the length of a frame is added.
func (m *measurement) copied(ctx context.Context, in ffmpeg.Input) (reading, error) {
	r, err := m.read(ctx, in, []string{picture.Stream(*m.media)},
		ffmpeg.Option{Key: "c", Value: "copy"}, ffmpeg.Option{Key: "bsf", Value: "setts=ts=PTS"})
	if r.frames > 0 {
		r.end += 1 / m.media.Video.FrameRate()
	}
	return r, err
}

// settle decides between the length that the file claims and the one that was measured.
func (m *measurement) settle(claim float64, r reading) {
	tolerance := max(0.5, claim/50, 1.5/m.media.Video.FrameRate()) // a last frame may count or not
	short := claim - r.end
	whole := m.stream.NbFrames > 0 && r.frames >= m.stream.NbFrames
	switch {
	case r.end <= 0: // nothing that could be measured
	case whole && m.stream.Duration > 0 && short > 0: // the last frame stands for longer
	case claim <= 0, m.stream.Duration <= 0:
		m.media.Duration = r.end // the file speaks of all its streams together, or not at all
		if claim > 0 && short > tolerance && len(m.probe.Audios()) == 0 {
			m.damaged("%.1f s of picture, the file claims %.1f s", r.end, claim)
		}
	case short > tolerance:
		m.media.Duration = r.end
		m.damaged("%.1f s of picture, the file claims %.1f s", r.end, claim)
	case short < -tolerance:
		m.media.Duration = r.end
		m.warn("%.1f s of picture, the file claims %.1f s", r.end, claim)
	}
	v := &m.media.Video
	if m.stream.AvgFrameRate.Float() <= 0 && r.frames > 1 && r.end > 0 {
		rate := picture.NewRate(int64(math.Round(float64(r.frames)/r.end*1000)), 1000)
		v.FrameRateNum, v.FrameRateDen = rate.Num, rate.Den
	}
	if m.media.Duration <= 0 {
		m.media.Duration = 1 / v.FrameRate()
	}
	if m.media.Bitrate <= 0 {
		m.media.Bitrate = int64(float64(m.media.Size*8) / m.media.Duration)
	}
}

// sound leaves out tracks that cannot be decoded: all at once first, one by one when that fails.
func (m *measurement) sound(ctx context.Context) error {
	good, err := m.decodes(ctx, m.media.Audio)
	if err != nil {
		return err
	}
	kept := m.media.Audio[:0]
	for _, a := range m.media.Audio {
		if !good {
			alone, err := m.decodes(ctx, []pipeline.AudioTrack{a})
			if err != nil {
				return err
			}
			if !alone {
				m.warn("audio stream %d (%s) cannot be decoded and is left out", a.Stream, a.Codec)
				continue
			}
		}
		if a, err = m.soundLength(ctx, a); err != nil {
			return err
		}
		kept = append(kept, a)
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
	in := ffmpeg.Input{Path: m.path, Demuxer: m.media.Container}
	r, err := m.read(ctx, in, []string{fmt.Sprintf("0:%d", a.Stream)}, ffmpeg.Option{Key: "c", Value: "copy"})
	if offset := math.Max(0, a.Start-m.probe.Format.StartTime); err == nil && r.end > offset {
		a.Duration = r.end - offset
	}
	return a, err
}

// decodes reports whether the start of every track decodes; an error only for what is not the file's fault.
func (m *measurement) decodes(ctx context.Context, tracks []pipeline.AudioTrack) (bool, error) {
	if len(tracks) == 0 {
		return true, nil
	}
	var maps []string
	for _, a := range tracks {
		maps = append(maps, fmt.Sprintf("0:%d", a.Stream))
	}
	in := ffmpeg.Input{Path: m.path, Demuxer: m.media.Container, Limit: soundCheck}
	_, err := m.read(ctx, in, maps)
	var failed *ffmpeg.Error
	if errors.As(err, &failed) && failed.Kind == ffmpeg.KindExit && !failed.DiskFull() {
		return false, nil
	}
	return err == nil, err
}

func (m *measurement) damaged(format string, args ...any) {
	m.media.Damaged = true
	m.warn(format, args...)
}

func (m *measurement) warn(format string, args ...any) {
	text := []rune(fmt.Sprintf(format, args...))
	m.media.Warnings = append(m.media.Warnings, string(text[:min(len(text), 256)]))
}

// lines keeps the first lines that speak of the input, and drops the rest. It is an io.Writer for stderr.
type lines struct {
	limit int
	hide  string // a path that no user may read
	kept  []string
	rest  []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, tail, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			if len(l.rest) > 4096 {
				l.rest = nil // no line of ffmpeg's is that long
			}
			return len(p), nil
		}
		l.add(string(line))
		l.rest = tail
	}
}

func (l *lines) add(line string) {
	// The null muxer complains about timestamps that matter to nobody, and a repetition is no news.
	if len(l.kept) == l.limit || strings.HasPrefix(line, "[null @") ||
		strings.Contains(line, "Last message repeated") {
		return
	}
	if text := printable(strings.ReplaceAll(line, l.hide, "<in0>")); text != "" {
		l.kept = append(l.kept, text)
	}
}

// printable drops the address that ffmpeg puts into its prefixes, and whatever is not plain text.
func printable(line string) string {
	if name, rest, ok := strings.Cut(line, " @ 0x"); ok && strings.HasPrefix(name, "[") {
		if _, text, ok := strings.Cut(rest, "] "); ok {
			line = name + "] " + text
		}
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, line))
}
