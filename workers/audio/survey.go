package audio

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// A chunk must place its first sample at the same time as if the whole track were read from its start. It
// uses the time of the first packet that it reads. If the container's clock is coarser than the sample rate
// (Matroska: 1 ms, 48 samples), that time is rounded. But frames have no gaps between them, so each one ends
// a multiple of the frame length after the first one. This is a grid, and a rounded time belongs to its
// nearest point.

// grid is where the frames of a source's track begin and end, in samples of its own rate. The zero grid
// leaves times unchanged.
type grid struct {
	step   int     // samples; 0: leave times unchanged
	rate   int     // samples/s; frames of another rate, after a change, are not on the grid
	origin int     // a point of the grid: the end of the track's first frame
	shift  float64 // of the source's times from the grid, on average
}

// expression returns the filter asetpts's expression for a frame's new time, in its own samples since second
// from.
func (g grid) expression(from int) string {
	at := "PTS"
	if g.step > 0 {
		at = fmt.Sprintf("if(eq(SR,%d),%d+%d*round((PTS-%.3f)/%d),PTS)",
			g.rate, g.origin, g.step, float64(g.origin)+g.shift, g.step)
	}
	return fmt.Sprintf("%s-%d/TB", at, from)
}

// Files of the survey, in the scratch directory.
const (
	headList = "head.txt"
	seekList = "seek.txt"
)

// headSeconds is how much of the track is decoded to find its grid.
const headSeconds = 3

// survey finds out where reading would begin after the seek of w. If that is too late or unknown, the
// returned window reads from the start of the source, which is always correct.
func (r run) survey(ctx context.Context, input string, w window) (window, error) {
	if !w.seek {
		return w, nil
	}
	err := r.tools.Run(ctx, r.surveyCommand(input, w), ffmpeg.RunOptions{Dir: r.job.Dir, Nice: r.job.Nice()})
	if ctx.Err() != nil {
		return w, context.Cause(ctx)
	}
	var head, begin frameList
	if err == nil {
		begin, err = readFrames(r.file(seekList))
	}
	if err == nil {
		head, err = readFrames(r.file(headList))
	}
	if err == nil && len(begin.frames) == 0 {
		err = errors.New("no packet follows the seek")
	}
	if err == nil {
		if late := begin.seconds(0) - float64(w.from); late > 0 {
			err = fmt.Errorf("reading begins %.3f s too late", late)
		}
	}
	if err != nil {
		r.job.Log.Info("read the source from its start", "because", err)
		w.from, w.seek = 0, false
		return w, nil
	}
	if begin.coarse() {
		w.grid = head.grid(r.source().Codec)
	}
	return w, nil
}

// surveyCommand lists the decoded frames at the start of the track, and the first packet after the seek.
func (r run) surveyCommand(input string, w window) ffmpeg.Command {
	stream := strconv.Itoa(r.part.Stream)
	head := picture.Source(input, r.media)
	seek := head
	head.Limit = headSeconds * 1e9
	seek.Seek, seek.Limit = picture.Position(r.media, w.start()), (warmUp+1)*1e9
	seek.Options = append(slices.Clone(seek.Options), option("noaccurate_seek", ""))
	return ffmpeg.Command{
		Inputs: []ffmpeg.Input{head, seek},
		Global: []ffmpeg.Option{option("copyts", ""), option("start_at_zero", "")},
		Outputs: []ffmpeg.Output{
			{
				Path: r.file(headList), Format: "framecrc", Maps: []string{"0:" + stream},
				Options: []ffmpeg.Option{option("c:a", "pcm_s16le")},
			},
			{
				Path: r.file(seekList), Format: "framecrc", Maps: []string{"1:" + stream},
				Options: []ffmpeg.Option{option("c:a", "copy"), option("copypriorss", "1"), option("frames:a", "1")},
			},
		},
	}
}

// frameList is the output of ffmpeg's framecrc muxer for a track.
type frameList struct {
	num, den int // the clock: seconds per tick
	rate     int // samples/s
	frames   []listed
}

// listed is one frame or packet, in ticks.
type listed struct{ time, length int }

func (l frameList) seconds(i int) float64 {
	return float64(l.frames[i].time) * float64(l.num) / float64(l.den)
}

// coarse reports whether the clock is coarser than the sample rate.
func (l frameList) coarse() bool { return l.num*l.rate > l.den }

// minStep is the smallest step of a grid: rounding errors of the source's times may reach half of a smaller
// one.
const minStep = 64

// grid returns the grid of the frames. Its step is the greatest common divisor of their lengths, except for
// the first and the last frame, which may be cut. Vorbis has blocks of two lengths, but the list may have
// only one of them, so its step is at most minStep.
func (l frameList) grid(codec string) grid {
	if len(l.frames) < 4 {
		return grid{}
	}
	end := l.frames[0].time + l.frames[0].length
	step, at, sum := 0, end, 0.0
	if codec == "vorbis" {
		step = minStep
	}
	inner := l.frames[1 : len(l.frames)-1]
	for _, f := range inner {
		step = gcd(f.length, step)
		sum += float64(f.time - at)
		at += f.length
	}
	shift := sum / float64(len(inner))
	if step < minStep || math.Abs(shift) > float64(l.rate)/100 {
		return grid{}
	}
	return grid{step: step, rate: l.rate, origin: end, shift: shift}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// readFrames reads a list: comments "#tb 0: 1/44100" and "#sample_rate 0: 44100", then lines of stream,
// decode time, time, length, size and checksum.
func readFrames(file string) (l frameList, err error) {
	in, err := os.Open(file)
	if err != nil {
		return l, err
	}
	defer in.Close() // read only
	for lines := bufio.NewScanner(in); lines.Scan(); {
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "#tb 0: "); ok {
			_, err = fmt.Sscanf(value, "%d/%d", &l.num, &l.den)
		} else if value, ok := strings.CutPrefix(line, "#sample_rate 0: "); ok {
			l.rate, err = strconv.Atoi(value)
		} else if !strings.HasPrefix(line, "#") {
			var f listed
			var stream, decode int
			_, err = fmt.Sscanf(line, "%d, %d, %d, %d,", &stream, &decode, &f.time, &f.length)
			l.frames = append(l.frames, f)
		}
		if err != nil {
			return l, fmt.Errorf("read list of frames: %w", err)
		}
	}
	if l.num <= 0 || l.den <= 0 || l.rate <= 0 {
		return l, errors.New("read list of frames: no clock")
	}
	return l, nil
}
