// Package encode owns what every worker that runs ffmpeg needs around a run: the number of threads, where
// progress goes, and what a failure means for the job (fault.go).
package encode

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Threads returns how many threads each part of an ffmpeg gets by default (--threads). It is two: an
// encoder keeps more than one core busy but sometimes waits for itself, so a few encoders with few threads
// each do more than one with many. Measured with libx264 on two cores, with the chunks of one film: two
// jobs with 2 threads each took 17.6 s, one job with 2 threads 18.9 s, two jobs with 1 thread 19.9 s. With
// half as many jobs as cores, but at least two of transcode, a machine with four or more cores is fully
// busy.
// is just full.
func Threads() int { return 2 }

// Step is one ffmpeg run of a job.
type Step struct {
	Tools    ffmpeg.Tools
	Dir      string                        // scratch directory of the job
	Duration float64                       // seconds of output, for progress; 0 if unknown
	Progress func(fraction, speed float64) // may be nil
	From, To float64                       // this run's share of the job's progress
	Nice     int                           // added to ffmpeg's niceness
	Work     Work                          // limits files, and CPU time: then it is input_malformed
	Stdin    *os.File                      // read by the input that is a pipe; closed by Run
	Pulse    *ffmpeg.Pulse                 // shared with the run at the other end of the pipe
}

// Run runs c, with the default threads if c names none, and reports its progress. Its error has a code
// (Fault). It does not check the output: verify it.
func (s Step) Run(ctx context.Context, c ffmpeg.Command) error {
	c.Threads = cmp.Or(c.Threads, s.Tools.Threads, Threads())
	options := ffmpeg.RunOptions{
		Dir: s.Dir, Duration: seconds(s.Duration), Nice: s.Nice, Stdin: s.Stdin, Pulse: s.Pulse,
		Hang: s.Work.hang(),
	}
	options.Limits.CPU, options.Limits.FileSize = s.Work.limit(), s.Work.file()
	if s.Progress != nil {
		options.Progress = func(p ffmpeg.Progress) {
			s.Progress(s.From+(s.To-s.From)*p.Fraction, p.Speed)
		}
	}
	return Fault(ctx, s.Tools.Run(ctx, c, options))
}

// Expect returns what an output of m must be. The length may differ from m's by max(0.5 s, 2%, 1.5 frames).
// The output of a damaged source may be 10% shorter, since the end of the source may not decode.
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
