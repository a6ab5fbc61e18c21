package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strconv"
	"time"
)

// durationLimit is how many bytes ffprobe may list: at about 40 per packet, 100 million packets.
const durationLimit = 4 << 30

// ErrNoDuration: no video or audio packet of the file has a time.
var ErrNoDuration = errors.New("no packet with a time")

// DurationByDecode measures how long a file plays by reading all of its packets, for files that declare no
// duration (live recordings) or a wrong one. It decodes nothing, so it is as fast as the disk. The duration
// goes from the start of the first to the end of the last video or audio packet. Default limit: 5 minutes
// (ProbeOptions.Timeout).
func (t Tools) DurationByDecode(ctx context.Context, path string, o ProbeOptions) (time.Duration, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	span := packetSpan{first: math.Inf(1), last: math.Inf(-1)}
	args := []string{
		"-show_entries", "packet=codec_type,pts_time,dts_time,duration_time", "-of", "csv=p=0:nk=1",
	}
	if err := t.ffprobe(ctx, path, o, args, &span, durationLimit); err != nil {
		return 0, err
	}
	length := span.last - span.first
	if !(length > 0) || length > math.MaxInt64/1e9 {
		return 0, ErrNoDuration
	}
	return time.Duration(length * float64(time.Second)), nil
}

// packetSpan folds "type,pts,dts,duration" lines into the time that they cover, in constant memory.
type packetSpan struct {
	first, last float64
	rest        []byte
}

func (s *packetSpan) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, tail, ok := bytes.Cut(p, []byte("\n"))
		if !ok {
			s.rest = append(s.rest, line...)
			if len(s.rest) > 4096 {
				return 0, errors.New("packet line too long")
			}
			return n, nil
		}
		s.line(append(s.rest, line...))
		s.rest, p = s.rest[:0], tail
	}
}

func (s *packetSpan) line(line []byte) {
	f := bytes.Split(bytes.TrimSpace(line), []byte(","))
	if len(f) < 4 || string(f[0]) != "video" && string(f[0]) != "audio" {
		return
	}
	at, ok := parseSeconds(f[1])
	if !ok {
		at, ok = parseSeconds(f[2]) // AVI only has decode times
	}
	if !ok {
		return
	}
	length, _ := parseSeconds(f[3])
	s.first, s.last = min(s.first, at), max(s.last, at+max(0, length))
}

func parseSeconds(b []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
