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

// decoded is what came out of one stream.
type decoded struct {
	frames int64
	end    time.Duration // of the last frame; 0 when there is none
}

// decode runs a command whose output is of the format framecrc and goes to standard output, and counts
// what it decoded, by output stream.
func (t Tools) decode(ctx context.Context, c Command, o RunOptions) (map[int]decoded, error) {
	r, w := io.Pipe()
	streams := make(chan map[int]decoded, 1)
	go func() { streams <- readFrames(r) }()
	o.Stdout = w
	err := t.Run(ctx, c, o)
	_ = w.Close() // of a pipe: it only tells the reader that this is all
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
			if _, err := fmt.Sscanf(line, "#tb %d: %d/%d", &stream, &num, &den); err == nil && den > 0 {
				bases[stream] = float64(num) / float64(den)
			}
			continue
		}
		var stream, dts, pts, duration int64
		fields := strings.Split(line, ",")
		if len(fields) < 6 || !ints(fields, &stream, &dts, &pts, &duration) {
			continue
		}
		d := streams[int(stream)]
		d.frames++
		d.end = max(d.end, time.Duration(float64(pts+duration)*bases[int(stream)]*float64(time.Second)))
		streams[int(stream)] = d
	}
	_, _ = io.Copy(io.Discard, r) // after a line too long, keep ffmpeg from blocking on a full pipe
	return streams
}

// ints reads the first fields as numbers.
func ints(fields []string, numbers ...*int64) bool {
	for i, n := range numbers {
		var err error
		if *n, err = strconv.ParseInt(strings.TrimSpace(fields[i]), 10, 64); err != nil {
			return false
		}
	}
	return true
}
