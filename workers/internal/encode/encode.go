// Package encode owns what every worker that runs ffmpeg does around the run itself: how many threads, where
// progress goes, and what a failure means to the job (fault.go).
package encode

import (
	"context"
	"runtime"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// slots is how many jobs a machine is expected to run at once.
const slots = 2

// Threads is how many threads each part of an ffmpeg may have: the cores of one slot, at least 2 since a lone
// job should not leave half of a small machine idle, at most 8 since x264 gains little beyond.
func Threads() int { return min(8, max(2, runtime.NumCPU()/slots)) }

// Step is one ffmpeg run of a job.
type Step struct {
	Tools    ffmpeg.Tools
	Dir      string                        // scratch of the job
	Duration float64                       // seconds of output, for progress; 0: unknown
	Progress func(fraction, speed float64) // nil: nobody asks
	From, To float64                       // the share of the job's progress that this run is
	Nice     int                           // added to ffmpeg's niceness
}

// Run runs c and reports its progress. Its error has a code (Fault). It says nothing of the output: verify
// it.
func (s Step) Run(ctx context.Context, c ffmpeg.Command) error {
	if c.Threads == 0 {
		c.Threads = Threads()
	}
	options := ffmpeg.RunOptions{Dir: s.Dir, Duration: seconds(s.Duration), Nice: s.Nice}
	if s.Progress != nil {
		options.Progress = func(p ffmpeg.Progress) {
			s.Progress(s.From+(s.To-s.From)*p.Fraction, p.Speed)
		}
	}
	return Fault(ctx, s.Tools.Run(ctx, c, options))
}

// Expect returns what an output of m must be, length included: m's, within max(0.5 s, 2%, 1.5 frames). A
// damaged source may fall short by 10%, since what cannot be decoded at its end is missing.
func Expect(m pipeline.Media) ffmpeg.Expect {
	e := ffmpeg.Expect{Duration: seconds(m.Duration), Demuxer: "mov"}
	e.Tolerance = max(500*time.Millisecond, e.Duration/50)
	if fps := m.Video.FrameRate(); fps > 0 {
		e.Tolerance = max(e.Tolerance, seconds(1.5/fps))
	}
	if m.Damaged {
		e.Tolerance = max(e.Tolerance, time.Second, e.Duration/10)
	}
	return e
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
