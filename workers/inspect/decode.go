package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Sizes of the samples.
const (
	headFrames = 12              // decoded at the start
	soundCheck = 2 * time.Second // decoded of each sound track
)

// decoding is what trying the decoders found.
type decoding struct {
	head    notes
	headErr error
	opaque  bool // the transparency cannot be decoded

	sound    notes
	soundErr error
	tracks   []pipeline.AudioTrack // those that can be decoded
}

// decode tries picture and sound. Nearly every file passes at a glance; only when that shows anything odd,
// each is looked at by itself.
func (m *measurement) decode(ctx context.Context) decoding {
	if m.glance(ctx) {
		return decoding{tracks: m.media.Audio}
	}
	d := decoding{}
	if d.headErr = m.decodeHead(ctx, &d); d.headErr == nil {
		d.soundErr = m.decodeSound(ctx, &d)
	}
	return d
}

// firstFrames are the options of the picture's first frames.
func firstFrames() []ffmpeg.Option {
	return []ffmpeg.Option{
		{Key: "frames:v", Value: fmt.Sprint(headFrames)}, {Key: "fps_mode", Value: "passthrough"},
	}
}

// glance decodes the start of picture and sound in one run, since starting ffmpeg costs more than that. Each
// has the file for itself, so neither makes the other decode more. It reports whether there was nothing to
// complain about.
func (m *measurement) glance(ctx context.Context) bool {
	if len(m.media.Audio) == 0 {
		return false
	}
	in := []ffmpeg.Input{picture.Source(m.path, *m.media), m.soundInput()}
	r, err := m.read(ctx, in, null([]string{picture.Stream(*m.media)}, firstFrames()...),
		null(streams(1, m.media.Audio)))
	return err == nil && r.frames > 0 && len(r.errors) == 0
}

// soundInput is the file up to where sound is tried.
func (m *measurement) soundInput() ffmpeg.Input {
	return ffmpeg.Input{Path: m.path, Demuxer: m.media.Container, Limit: soundCheck}
}

// decodeHead wants at least one frame of picture.
func (m *measurement) decodeHead(ctx context.Context, d *decoding) error {
	media := *m.media
	read := func() (reading, error) {
		in := []ffmpeg.Input{picture.Source(m.path, media)}
		return m.read(ctx, in, null([]string{picture.Stream(media)}, firstFrames()...))
	}
	r, err := read()
	if media.Video.Alpha && (err != nil || r.frames == 0) && ctx.Err() == nil {
		media.Video.Alpha, d.opaque = false, true // libvpx is not in every ffmpeg
		d.head.warn("the transparency cannot be decoded and is left out")
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
		d.head.damage("the first frames cannot all be decoded: %s", r.errors[0])
	}
	return nil
}

// decodeSound leaves out tracks that cannot be decoded: all at once first, one by one when that fails.
func (m *measurement) decodeSound(ctx context.Context, d *decoding) error {
	good, err := m.decodes(ctx, m.media.Audio)
	if err != nil {
		return err
	}
	if good {
		d.tracks = m.media.Audio
		return nil
	}
	for _, a := range m.media.Audio {
		switch alone, err := m.decodes(ctx, []pipeline.AudioTrack{a}); {
		case err != nil:
			return err
		case alone:
			d.tracks = append(d.tracks, a)
		default:
			d.sound.warn("audio stream %d (%s) cannot be decoded and is left out", a.Stream, a.Codec)
		}
	}
	return nil
}

// decodes reports whether the start of every track decodes; an error only for what is not the file's fault.
func (m *measurement) decodes(ctx context.Context, tracks []pipeline.AudioTrack) (bool, error) {
	if len(tracks) == 0 {
		return true, nil
	}
	_, err := m.read(ctx, []ffmpeg.Input{m.soundInput()}, null(streams(0, tracks)))
	var failed *ffmpeg.Error
	if errors.As(err, &failed) && failed.Kind == ffmpeg.KindExit && !failed.DiskFull() {
		return false, nil
	}
	return err == nil, err
}

// streams are the maps of tracks in an input.
func streams(input int, tracks []pipeline.AudioTrack) []string {
	var maps []string
	for _, a := range tracks {
		maps = append(maps, fmt.Sprintf("%d:%d", input, a.Stream))
	}
	return maps
}
