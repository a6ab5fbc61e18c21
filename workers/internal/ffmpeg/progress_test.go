package ffmpeg

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProgressParser(t *testing.T) {
	const text = `frame=1
fps=0.00
out_time_us=N/A
speed=N/A
progress=continue
frame=50
fps=24.5
stream_0_0_q=28.0
out_time_us=2000000
out_time_ms=2000000
out_time=00:00:02.000000
speed= 1.5x
nonsense
progress=continue
frame=101
out_time_us=-9223372036854775807
fps=nan
progress=continue
out_time_us=5000000
progress=end
`
	p := progressParser{total: 4 * time.Second}
	var got []Progress
	for line := range strings.Lines(text) {
		if r, ok := p.line(strings.TrimSuffix(line, "\n")); ok {
			got = append(got, r)
		}
	}
	want := []Progress{
		{Frame: 1},
		{Frame: 50, FPS: 24.5, Speed: 1.5, OutTime: 2 * time.Second, Fraction: 0.5},
		{Frame: 101, Speed: 1.5, OutTime: 2 * time.Second, Fraction: 0.5},
		{Frame: 101, Speed: 1.5, OutTime: 5 * time.Second, Fraction: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func FuzzProgress(f *testing.F) {
	f.Add("frame=1\nout_time_us=5\nprogress=end\n", int64(10))
	f.Add("out_time_us=9223372036854775807\nspeed=1e999x\nprogress=", int64(1))
	f.Fuzz(func(t *testing.T, text string, total int64) {
		p := progressParser{total: time.Duration(total)}
		for line := range strings.Lines(text) {
			r, ok := p.line(line)
			if !ok {
				continue
			}
			if r.Fraction < 0 || r.Fraction > 1 || math.IsNaN(r.Fraction) || r.Frame < 0 || r.OutTime < 0 ||
				r.FPS < 0 || r.Speed < 0 || math.IsInf(r.Speed, 0) {
				t.Fatalf("%q gave %+v", line, r)
			}
		}
	})
}
