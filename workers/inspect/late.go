package inspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// untold are the containers in which only the first packets of a track describe it.
var untold = []string{"mpegts", "mpeg", "flv"}

// lateLimit is how long the second probe of a file may take.
const lateLimit = 2 * time.Minute

// probe runs ffprobe. If an announced track, all video or all audio is not found near the start of the file,
// it probes again and searches more of the file. late reports whether that found more; if not, the first
// result counts.
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
		return r, false, nil //nolint:nilerr // the first result counts
	}
	return more, true, nil
}

// told reports whether the format of each track is known and, if the container does not announce its tracks,
// whether there are both video and audio.
func told(r ffmpeg.ProbeResult, demuxer string) bool {
	pictures, sounds := len(r.Videos()), len(r.Audios())
	return formed(r) == pictures+sounds && (demuxer == "mpegts" || pictures > 0 && sounds > 0)
}

// formed returns how many tracks have a known format.
func formed(r ffmpeg.ProbeResult) (n int) {
	for _, s := range r.Streams {
		if s.CodecType == "video" && s.Width > 0 || s.CodecType == "audio" && s.Channels > 0 && s.SampleRate > 0 {
			n++
		}
	}
	return n
}
