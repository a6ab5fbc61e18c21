package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Sizes of the samples that are decoded.
const (
	headFrames = 12              // frames decoded at the start
	soundCheck = 2 * time.Second // decoded of each audio track
)

// decoding is what decoding samples showed.
type decoding struct {
	head    notes
	headErr error
	opaque  bool // the alpha cannot be decoded

	sound    notes
	soundErr error
	tracks   []pipeline.AudioTrack // those that can be decoded
}

// decode tries to decode video and audio. It first decodes both in one run (glance), which nearly every file
// passes. If anything is odd, it tries each by itself.
func (m *measurement) decode(ctx context.Context) decoding {
	d := decoding{}
	switch good, err := m.glance(ctx); {
	case err != nil:
		return decoding{headErr: err}
	case good:
		return decoding{tracks: m.media.Audio}
	}
	if d.headErr = m.decodeHead(ctx, &d); d.headErr == nil {
		d.soundErr = m.decodeSound(ctx, &d)
	}
	return d
}

// firstFrames returns the options that stop after the first frames.
func firstFrames() []ffmpeg.Option {
	return []ffmpeg.Option{
		{Key: "frames:v", Value: fmt.Sprint(headFrames)}, {Key: "fps_mode", Value: "passthrough"},
	}
}

// glance decodes the start of video and audio in one run, since starting ffmpeg takes longer than decoding.
// Each has its own input of the file, so that neither makes the other decode more. It reports whether both
// decoded without a complaint. An error means that decoding takes too much time.
func (m *measurement) glance(ctx context.Context) (bool, error) {
	if len(m.media.Audio) == 0 {
		return false, nil
	}
	in := []ffmpeg.Input{picture.Source(m.path, *m.media), m.soundInput()}
	list := packetList{tracks: make([]track, len(m.media.Audio))}
	r, err := m.readTo(ctx, &list, in, null([]string{picture.Stream(*m.media)}, firstFrames()...),
		ffmpeg.Output{Format: "framecrc", Maps: streams(1, m.media.Audio)})
	var coded *pipeline.Error
	if errors.As(err, &coded) {
		return false, err
	}
	return err == nil && r.frames > 0 && len(r.errors) == 0 && list.heard(), nil
}

// heard reports whether every stream has packets.
func (l *packetList) heard() bool {
	return !slices.ContainsFunc(l.tracks, func(t track) bool { return t.packets == 0 })
}

// soundInput returns the start of the file, in which audio is tried.
func (m *measurement) soundInput() ffmpeg.Input {
	in := m.file()
	in.Limit = soundCheck
	return in
}

// decodeHead decodes the first frames of the video track, and fails if there is none.
func (m *measurement) decodeHead(ctx context.Context, d *decoding) error {
	media := *m.media
	read := func() (reading, error) {
		in := []ffmpeg.Input{picture.Source(m.path, media)}
		return m.read(ctx, in, null([]string{picture.Stream(media)}, firstFrames()...))
	}
	r, err := read()
	if media.Video.Alpha && runFault(err) == nil && (err != nil || r.frames == 0) {
		media.Video.Alpha, d.opaque = false, true // not every ffmpeg has libvpx
		d.head.warn("the transparency cannot be decoded and is ignored")
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
		d.head.damage("some of the first frames cannot be decoded: %s", r.errors[0])
	}
	return nil
}

// decodeSound drops audio tracks that cannot be decoded or have no samples. It tries all at once and, if
// that fails, one by one.
func (m *measurement) decodeSound(ctx context.Context, d *decoding) error {
	if len(m.media.Audio) == 0 {
		return nil
	}
	good, err := m.decodes(ctx, m.soundInput(), m.media.Audio)
	if err != nil {
		return err
	}
	if good {
		d.tracks = m.media.Audio
		return nil
	}
	for _, a := range m.media.Audio {
		switch why, err := m.silent(ctx, a); {
		case err != nil:
			return err
		case why == "":
			d.tracks = append(d.tracks, a)
		default:
			d.sound.warn("audio stream %d (%s) is not used: it %s", a.Stream, a.Codec, why)
		}
	}
	return nil
}

// silent says why a track has no audio; empty if it has. It searches the whole file if the track begins
// late.
func (m *measurement) silent(ctx context.Context, a pipeline.AudioTrack) (why string, err error) {
	alone := []pipeline.AudioTrack{a}
	whole := m.file()
	for _, in := range []ffmpeg.Input{m.soundInput(), whole} {
		if good, err := m.decodes(ctx, in, alone); err != nil || good {
			return "", err
		}
	}
	tracks, _, err := m.packets(ctx, whole, []int{a.Stream}, 1)
	switch {
	case ffmpeg.GaveUp(err):
	case err != nil:
		return "", err
	case tracks[0].packets == 0:
		return "has no samples", nil
	}
	return "cannot be decoded", nil
}

// decodes reports whether every track has audio in the part of the file that in reads, and ffmpeg does not
// give up on any. An error is not the file's fault.
func (m *measurement) decodes(
	ctx context.Context, in ffmpeg.Input, tracks []pipeline.AudioTrack,
) (bool, error) {
	enough, stop := context.WithCancel(ctx)
	defer stop()
	list := packetList{tracks: make([]track, len(tracks))}
	if in.Limit == 0 {
		list.most, list.enough = 1, stop
	}
	out := ffmpeg.Output{Format: "framecrc", Maps: streams(0, tracks)}
	_, err := m.readTo(enough, &list, []ffmpeg.Input{in}, out)
	switch {
	case enough.Err() != nil && ctx.Err() == nil:
		return true, nil
	case ffmpeg.GaveUp(err):
		return false, nil
	}
	return err == nil && list.heard(), err
}

// streams returns the labels of tracks in an input, for ffmpeg's maps.
func streams(input int, tracks []pipeline.AudioTrack) []string {
	var maps []string
	for _, a := range tracks {
		maps = append(maps, fmt.Sprintf("%d:%d", input, a.Stream))
	}
	return maps
}
