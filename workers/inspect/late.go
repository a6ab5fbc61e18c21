package inspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// untold are the containers whose headers do not say what tracks are like: their first packets do.
var untold = []string{"mpegts", "mpeg", "flv"}

// lateLimit is how long the second look at a file may take.
const lateLimit = 2 * time.Minute

// probe reads the facts. Where a track that the container announces, or a whole kind of them, is not found
// near the start of the file, it is looked for in more of it: late says that this found more. Nothing is lost
// where it does not.
func (w *Worker) probe(ctx context.Context, path, demuxer string) (
	r ffmpeg.ProbeResult, late bool, err error,
) {
	r, err = w.tools.Probe(ctx, path, ffmpeg.ProbeOptions{Demuxer: demuxer})
	if err != nil || !slices.Contains(untold, demuxer) || told(r, demuxer) {
		return r, false, err
	}
	more, err := w.tools.Probe(ctx, path, ffmpeg.ProbeOptions{Demuxer: demuxer, Late: true, Timeout: lateLimit})
	if ctx.Err() != nil {
		return r, false, context.Cause(ctx)
	}
	if !errors.Is(err, ffmpeg.ErrTimeout) && runFault(err) != nil {
		return r, false, err
	}
	if err != nil || formed(more) <= formed(r) {
		return r, false, nil //nolint:nilerr // what was found at first is good
	}
	return more, true, nil
}

// told reports that of each track its form is known and, where the container announces none, that there is
// picture and audio.
func told(r ffmpeg.ProbeResult, demuxer string) bool {
	pictures, sounds := len(r.Videos()), len(r.Audios())
	return formed(r) == pictures+sounds && (demuxer == "mpegts" || pictures > 0 && sounds > 0)
}

// formed is how many tracks there are of a known form.
func formed(r ffmpeg.ProbeResult) (n int) {
	for _, s := range r.Streams {
		if s.CodecType == "video" && s.Width > 0 || s.CodecType == "audio" && s.Channels > 0 && s.SampleRate > 0 {
			n++
		}
	}
	return n
}
