package ffmpeg

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// decoded is the result of decoding one stream.
type decoded struct {
	frames int64
	end    time.Duration // of the last frame; 0 if there is none
	begin  time.Duration // of the stretch without a gap that ends there
	solid  time.Duration // end of the last such stretch of leastStretch or more
}

// leastStretch is the length of a stretch of frames that cannot have decoded by chance.
const leastStretch = 500 * time.Millisecond

// add counts a frame.
func (d *decoded) add(at, end time.Duration) {
	if d.frames++; at > d.end+leastStretch/2 {
		d.begin = at
	}
	if d.end = max(d.end, end); d.end-d.begin >= leastStretch {
		d.solid = d.end
	}
}

// SoundEnd decodes a track of in, given by a label such as "0:1", and returns when its audio ends, counted
// from the start of in. That is the end of the last stretch of half a second or more that decodes without a
// gap; meaningless bytes that decode by chance give shorter ones. It returns 0 if there is none.
func (t Tools) SoundEnd(ctx context.Context, in Input, track string, o RunOptions) (time.Duration, error) {
	streams, err := t.decode(ctx, Command{
		Inputs: []Input{in}, Outputs: []Output{{Format: "framecrc", Maps: []string{track}}},
		Global: []Option{{"max_error_rate", "1"}}, LogLevel: "error",
	}, o)
	if GaveUp(err) {
		err = nil // nothing decodes
	}
	return streams[0].solid, err
}

// decode runs a command whose output is framecrc on standard output, and returns what it decoded, by output
// stream.
func (t Tools) decode(ctx context.Context, c Command, o RunOptions) (map[int]decoded, error) {
	r, w := io.Pipe()
	streams := make(chan map[int]decoded, 1)
	go func() { streams <- readFrames(r) }()
	o.Stdout = w
	err := t.Run(ctx, c, o)
	_ = w.Close() // closing a pipe only ends its reader
	return <-streams, err
}

// readFrames reads framecrc: "#tb stream: num/den" for each stream, then for each frame "stream, dts, pts,
// duration, size, crc". Source of the format: libavformat/framecrcenc.c.
func readFrames(r io.Reader) map[int]decoded {
	streams, bases := map[int]decoded{}, map[int]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			var stream, num, den int
			if _, err := fmt.Sscanf(line, "#tb %d: %d/%d", &stream, &num, &den); err == nil && num > 0 && den > 0 {
				bases[stream] = float64(num) / float64(den)
			}
			continue
		}
		var stream, dts, pts, duration int64
		fields := strings.Split(line, ",")
		if len(fields) < 6 || !ints(fields, &stream, &dts, &pts, &duration) {
			continue
		}
		d, tick := streams[int(stream)], bases[int(stream)]
		d.add(duringVideo(float64(pts)*tick), duringVideo((float64(pts)+float64(max(0, duration)))*tick))
		streams[int(stream)] = d
	}
	_, _ = io.Copy(io.Discard, r) // after an overlong line, keep ffmpeg from blocking on a full pipe
	return streams
}

// duringVideo returns a time in seconds as a duration; times before the start, and later than any video is
// long, are moved to those limits.
func duringVideo(seconds float64) time.Duration {
	return time.Duration(min(max(0, seconds), century) * float64(time.Second))
}

// ints parses the first fields as numbers.
func ints(fields []string, numbers ...*int64) bool {
	for i, n := range numbers {
		var err error
		if *n, err = strconv.ParseInt(strings.TrimSpace(fields[i]), 10, 64); err != nil {
			return false
		}
	}
	return true
}
