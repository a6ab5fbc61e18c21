package audio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
)

// unsound is the reason why a track that looked fit for copying cannot be copied.
type unsound string

// Error implements error.
func (u unsound) Error() string { return string(u) }

// copied is the progress of the job after copying.
const copied = 0.3

// copyOrEncode copies the part, or encodes it if it cannot be copied. If the reason is in the index, all
// parts of the track find the same reason, and all are encoded. If only this part cannot be decoded, it is
// encoded in the form of the others.
func (r run) copyOrEncode(ctx context.Context, input string) (pipeline.Result, error) {
	m, err := r.copy(ctx, input)
	if err == nil {
		err = r.verify(ctx, m)
	}
	if err == nil {
		result, err := r.publishVerified(ctx, m)
		if r.part.First == 0 {
			result.Facts = map[string]any{"copied": true}
		}
		return result, err
	}
	reason, ok := blame(ctx, err)
	if !ok {
		return pipeline.Result{}, err
	}
	r.job.Log.Info("encode the audio instead of copying it", "because", err)
	if err := os.RemoveAll(r.file(r.part.Name)); err != nil {
		return pipeline.Result{}, err
	}
	if !r.part.entire() && m.form.rate > 0 {
		r.form = m.form
	}
	r.part.Reason = reason
	result, err := r.encoded(ctx, input, copied)
	if note := r.note(m.form.rate > 0); err == nil && note != "" {
		result.Facts[pipeline.FactNote] = note
	}
	return result, err
}

// note says why the part is encoded. If alone is set, other parts of the track may be copied. Otherwise all
// parts are encoded, and only the note of the first says so.
func (r run) note(alone bool) string {
	name, p := "", r.part
	if len(r.media.Audio) > 1 {
		name = p.Name
	}
	note := notCopied(name, p.Reason)
	from, to := p.First*manifest.SegmentSeconds, p.End*manifest.SegmentSeconds
	switch {
	case p.entire(), !alone && p.First == 0:
		return note
	case !alone:
		return ""
	case p.End == 0:
		return fmt.Sprintf("from %d s on, %s", from, note)
	}
	return fmt.Sprintf("from %d s to %d s, %s", from, to, note)
}

// blame reports whether err is the fault of the track, and returns the reason for people.
func blame(ctx context.Context, err error) (reason string, ok bool) {
	var u unsound
	var v *ffmpeg.VerifyError
	switch {
	case ctx.Err() != nil:
		return "", false
	case errors.As(err, &u):
		return u.Error(), true
	case errors.As(err, &v) && v.Check == "decode":
		return "part of it cannot be decoded: " + v.Detail, true
	case errors.As(err, &v):
		return v.Error(), true
	}
	return "", false
}

// copy makes segments of the track's own frames. If it fails, made has a form only if the index of the track
// is good.
func (r run) copy(ctx context.Context, input string) (m made, err error) {
	file, err := os.Open(input)
	if err != nil {
		return m, err
	}
	defer file.Close() // read only
	frames, err := r.frames(ctx, file)
	if err != nil {
		return m, err
	}
	m = made{dir: r.file(r.part.Name), last: r.part.End == 0, form: form{
		rate: frames.Rate, channels: frames.Channels, config: frames.Config,
	}}
	from, to := border(r.part.First, frames.Rate), frames.Count
	if r.part.End > 0 {
		to = border(r.part.End, frames.Rate)
	}
	if from >= to || to > frames.Count {
		return m, fmt.Errorf("frames %d to %d of %d", from, to, frames.Count)
	}
	s, err := newSegmenter(m.dir, m.form, r.part.Language, r.part.First)
	if err != nil {
		return m, err
	}
	err = frames.Each(ctx, from, to, func(data []byte) error { return s.add(bytes.Clone(data)) })
	if err != nil {
		return m, fmt.Errorf("read frames: %w", err)
	}
	for r.part.End == 0 && from+s.frames() < framesFor(r.length(), frames.Rate) {
		if err := s.add(m.form.silentFrame()); err != nil {
			return m, err
		}
	}
	if err := s.finish(r.part.End > 0); err != nil {
		return m, err
	}
	m.track = s.track
	r.job.Progress(copied, 0)
	return m, nil
}

// frames finds all frames of the track in the source. It returns an unsound error if the fault is in the
// track, and another error if the disk cannot be read.
func (r run) frames(ctx context.Context, file *os.File) (*sampletable.Frames, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	table, err := sampletable.Read(file, info.Size())
	var frames *sampletable.Frames
	if err == nil {
		frames, err = table.Frames(ctx, r.source().ID, r.media.Origin())
	}
	if fault := encode.DiskFault(ctx, err); fault != nil {
		return nil, fault
	}
	if err != nil {
		return nil, unsound(err.Error())
	}
	if end := frames.Seconds(frames.Count); math.Abs(end-r.media.Duration) > maxApart+frames.Seconds(1) {
		return nil, unsound(fmt.Sprintf(
			"its packets end at %.3f s, but the video at %.3f s", end, r.media.Duration))
	}
	return frames, nil
}
