// Package encode owns what every worker that runs ffmpeg does around the run itself: how many threads, where
// progress goes, and what a failure means to the job (fault.go).
package encode

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Threads is how many threads each part of an ffmpeg has when nobody says otherwise (--threads). Two,
// since an encoder keeps more than one core busy, but waits for itself at times, so that a few encoders
// with few threads each do more than one with many. Measured with libx264 on two cores, the chunks of one
// film: two jobs at once with 2 threads each took 17.6 s, one with 2 threads 18.9 s, two with 1 thread
// 19.9 s. With half as many jobs as cores, and two of transcode at least, a machine of four cores or more
// is just full.
func Threads() int { return 2 }

// Step is one ffmpeg run of a job.
type Step struct {
	Tools    ffmpeg.Tools
	Dir      string                        // scratch of the job
	Duration float64                       // seconds of output, for progress; 0: unknown
	Progress func(fraction, speed float64) // nil: nobody asks
	From, To float64                       // the share of the job's progress that this run is
	Nice     int                           // added to ffmpeg's niceness
	Stdin    *os.File                      // what the input that is a pipe reads; closed by Run
	Pulse    *ffmpeg.Pulse                 // shared with the run at the other end of the pipe
}

// Run runs c, with the threads of the tools when it names none, and reports its progress. Its error has a
// code (Fault). It says nothing of the output: verify it.
func (s Step) Run(ctx context.Context, c ffmpeg.Command) error {
	c.Threads = cmp.Or(c.Threads, s.Tools.Threads, Threads())
	options := ffmpeg.RunOptions{
		Dir: s.Dir, Duration: seconds(s.Duration), Nice: s.Nice, Stdin: s.Stdin, Pulse: s.Pulse,
	}
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
