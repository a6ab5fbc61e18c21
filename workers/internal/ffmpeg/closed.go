package ffmpeg

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
)

// mostClosed is how many streams of a file may need a decoder that is not on the list.
const mostClosed = 8

// probeAround probes again a file in which a stream needs a decoder that is not on the list, and marks such
// streams Closed. ffprobe opens a decoder for every stream and gives up if it may not, so a cover or a
// second audio track would have the whole film refused. This second probe may open the decoders of these
// streams too, which then read the header. The list for decoding does not change. If the probe still fails,
// probeAround returns refused.
func (t Tools) probeAround(
	ctx context.Context, path string, o ProbeOptions, args []string, refused error,
) (ProbeResult, error) {
	args = append(slices.Clone(args), "-v", "warning") // the warning names the stream
	var closed []int
	for len(closed) <= mostClosed {
		r, err := t.probe(ctx, path, o, args)
		if err == nil {
			for i, s := range r.Streams {
				r.Streams[i].Closed = slices.Contains(closed, s.Index)
			}
			return r, nil
		}
		stream, decoder, found := unopened(err)
		if !found || slices.Contains(closed, stream) {
			break
		}
		closed = append(closed, stream)
		args = append(args, "-codec_whitelist:"+strconv.Itoa(stream), decoder)
	}
	return ProbeResult{}, refused
}

// notListed reports whether ffprobe gave up on a decoder that is not on the list.
func notListed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == KindExit && unlisted.MatchString(e.Tail)
}

// The messages of ffprobe before it gives up on a stream.
var (
	unlisted = regexp.MustCompile(`Codec \(([a-z0-9_]+)\) not on whitelist`)
	unopen   = regexp.MustCompile(`Could not open codec for input stream ([0-9]+)`)
)

// unopened returns the stream that ffprobe gave up on, and the decoder that it wanted.
func unopened(err error) (stream int, decoder string, found bool) {
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindExit {
		return 0, "", false
	}
	at := unopen.FindStringSubmatch(e.Tail)
	wanted := unlisted.FindAllStringSubmatch(e.Tail, -1)
	if at == nil || wanted == nil {
		return 0, "", false
	}
	stream, err = strconv.Atoi(at[1])
	return stream, wanted[len(wanted)-1][1], err == nil
}
