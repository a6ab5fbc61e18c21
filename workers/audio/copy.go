package audio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// unsound says why a track cannot be copied after all.
type unsound string

// Error implements error.
func (u unsound) Error() string { return string(u) }

// copied is the share of the progress that copying is.
const copied = 0.3

// ahead is by how many seconds ffmpeg moves a track that is copied: a fragment cannot begin before 0, but
// priming does.
const ahead = 1

// maxJitter is how far a packet may be from its place, in seconds: clocks of 1 ms round, some twice.
const maxJitter = 0.003

// copyOrEncode copies the track, or encodes it when it turns out not to be sound.
func (r run) copyOrEncode(ctx context.Context, input string) (pipeline.Result, error) {
	m, err := r.copy(ctx, input)
	if err == nil {
		err = r.verify(ctx, m)
	}
	if err == nil {
		result, err := r.publishVerified(ctx, m)
		result.Facts = map[string]any{"copied": true}
		return result, err
	}
	reason, ok := blame(ctx, err)
	if !ok {
		return pipeline.Result{}, err
	}
	r.job.Log.Info("the sound is encoded, not copied", "because", err)
	if err := errors.Join(os.RemoveAll(r.file(r.part.Name)), os.RemoveAll(r.file(encodedFile))); err != nil {
		return pipeline.Result{}, err
	}
	r.part.Reason = reason
	return r.encoded(ctx, input, copied)
}

// blame reports an error that is the track's own, and says it for people.
func blame(ctx context.Context, err error) (reason string, ok bool) {
	var u unsound
	var v *ffmpeg.VerifyError
	var f *ffmpeg.Error
	switch {
	case ctx.Err() != nil:
		return "", false
	case errors.As(err, &u):
		return u.Error(), true
	case errors.As(err, &v):
		return v.Error(), true
	case errors.As(err, &f) && f.Kind == ffmpeg.KindExit && !f.DiskFull():
		return "its packets cannot be copied", true
	}
	return "", false
}

// copy makes segments of the track's own packets.
func (r run) copy(ctx context.Context, input string) (made, error) {
	step := encode.Step{
		Tools: r.tools, Dir: r.job.Dir, Duration: r.media.Duration, Progress: r.job.Progress, To: copied,
		Nice: r.job.Nice(),
	}
	err := step.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{picture.Source(input, r.media)},
		Outputs: []ffmpeg.Output{{
			Path: r.file(encodedFile), Format: "mp4", Maps: []string{"0:" + strconv.Itoa(r.part.Stream)},
			Options: []ffmpeg.Option{
				option("c:a", "copy"), option("copypriorss", "1"), option("output_ts_offset", strconv.Itoa(ahead)),
				option("avoid_negative_ts", "disabled"), option("movflags", "cmaf+frag_discont"),
				option("frag_duration", strconv.Itoa(manifest.FragmentSeconds*1000000)),
			},
		}},
	})
	if err != nil {
		return made{}, err
	}
	p, err := openPackets(r.file(encodedFile))
	if errors.Is(err, io.EOF) {
		return made{}, unsound("it has no packets")
	} else if err != nil {
		return made{}, unsound("its header is damaged: " + err.Error())
	}
	defer p.Close() //nolint:errcheck // read only
	track, err := r.take(ctx, p)
	if err != nil {
		return made{}, err
	}
	return made{r.file(r.part.Name), p.form, track, true}, os.Remove(r.file(encodedFile))
}

// take writes the packets from time 0 on as segments.
func (r run) take(ctx context.Context, p *packets) (manifest.Track, error) {
	rate, channels, reason := parseConfig(p.form.config)
	if reason == "" && rate != p.form.rate {
		reason = fmt.Sprintf("its clock runs at %d Hz, its sound at %d", p.form.rate, rate)
	}
	if reason != "" {
		return manifest.Track{}, unsound(reason)
	}
	p.form.channels = channels
	s, err := newSegmenter(r.file(r.part.Name), p.form, r.part.Language, 0)
	if err != nil {
		return manifest.Track{}, err
	}
	line := timeline{rate: rate}
	err = p.each(ctx, func(q packet) error {
		keep, err := line.place(q.time - ahead*int64(rate))
		if err != nil || !keep {
			return err
		}
		if len(q.data) == 0 {
			return unsound("a packet is empty")
		}
		return s.add(q.data)
	})
	if err != nil {
		return manifest.Track{}, err
	}
	if line.frames == 0 {
		return manifest.Track{}, unsound("it has no packets")
	}
	if end := frameSeconds(line.frames, rate); math.Abs(end-r.media.Duration) > maxApart+frameSeconds(1, rate) {
		return manifest.Track{}, unsound(
			fmt.Sprintf("its packets end at %.3f s, the picture at %.3f s", end, r.media.Duration))
	}
	if err := s.finish(false); err != nil {
		return manifest.Track{}, err
	}
	return s.track, nil
}

// timeline checks that packets follow on each other.
type timeline struct {
	rate   int
	start  int64 // time of the first packet that is kept, in samples
	frames int
}

// place says whether the packet at time is kept. The first is the one that is nearest to 0: those before it
// are priming. Each further one must be a frame later.
func (t *timeline) place(time int64) (keep bool, err error) {
	if t.frames == 0 {
		if time < -frameSamples/2 {
			return false, nil
		}
		t.start = time
	}
	jitter := int64(maxJitter * float64(t.rate))
	if t.start > frameSamples+jitter {
		return false, unsound(fmt.Sprintf("it begins at %.3f s", float64(t.start)/float64(t.rate)))
	}
	want := t.start + int64(t.frames)*frameSamples
	if gap := time - want; gap > jitter || gap < -jitter {
		return false, unsound(fmt.Sprintf("the packet at %.3f s is off by %.3f s",
			float64(want)/float64(t.rate), float64(gap)/float64(t.rate)))
	}
	t.frames++
	return true, nil
}
