package ffmpeg

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Progress is one report of a running ffmpeg: about two a second and one at the end.
type Progress struct {
	Fraction float64       // 0..1 of RunOptions.Duration; 0 when that is unknown
	Frame    int64         // video frames written so far; 0 for audio
	FPS      float64       // frames per second of wall time
	Speed    float64       // media seconds per second of wall time; 0 when unknown
	OutTime  time.Duration // end of the output so far, never negative
}

// progressParser folds the lines of "-progress" into reports. It never fails: it skips what it cannot
// parse. Source of the format: print_report in fftools/ffmpeg.c.
type progressParser struct {
	total time.Duration
	cur   Progress
}

// line reads one "key=value" line without its line break. It returns a report at the end of each block.
func (p *progressParser) line(s string) (report Progress, ok bool) {
	key, value, found := strings.Cut(s, "=")
	if !found {
		return Progress{}, false
	}
	value = strings.TrimSpace(value)
	switch strings.TrimSpace(key) {
	case "frame":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			p.cur.Frame = n
		}
	case "fps":
		p.cur.FPS = rate(value)
	case "speed":
		p.cur.Speed = rate(strings.TrimSuffix(value, "x"))
	case "out_time_us":
		us, err := strconv.ParseInt(value, 10, 64)
		if err == nil && us >= 0 && us <= math.MaxInt64/int64(time.Microsecond) {
			p.cur.OutTime = time.Duration(us) * time.Microsecond
		}
	case "progress":
		p.cur.Fraction = p.fraction()
		return p.cur, true
	}
	return Progress{}, false
}

func (p *progressParser) fraction() float64 {
	if p.total <= 0 {
		return 0
	}
	return min(1, float64(p.cur.OutTime)/float64(p.total))
}

// rate parses a finite, non-negative number; anything else, such as "N/A", is 0.
func rate(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return 0
	}
	return f
}
