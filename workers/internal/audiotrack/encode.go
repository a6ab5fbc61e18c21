package audiotrack

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Samples returns the input for Encode's ffmpeg: 32-bit float samples with the track's rate and channels,
// the first at time 0.
func (t Track) Samples() ffmpeg.Input {
	return ffmpeg.Input{Pipe: true, Demuxer: "f32le", Trusted: true, Options: []ffmpeg.Option{
		option("ar", itoa(t.Rate)), option("ac", itoa(t.Channels)),
	}}
}

// AAC returns the options of the audio encoder: AAC-LC at 128 kbit/s.
func AAC() []ffmpeg.Option { return aac("twoloop") }

// SteadyAAC is AAC with a search that stays closer to the peaks of its input. It is for a mix that AAC
// brings above MaxPeak: AAC raises tones with noise by up to 5 dB. It is not the default, since it lowers
// tones at full level by up to 1.4 dB.
func SteadyAAC() []ffmpeg.Option { return aac("fast") }

func aac(search string) []ffmpeg.Option {
	return []ffmpeg.Option{
		option("c:a", "aac"), option("profile:a", "aac_low"), option("b:a", "128k"), option("aac_coder", search),
	}
}

// Encode runs c, one of whose inputs is t.Samples(), with step. heard reports whether the source had any
// audio, even outside of the wanted part. Its error has a code, as that of step.Run.
func (t Track) Encode(ctx context.Context, step encode.Step, c ffmpeg.Command) (heard bool, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return false, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	step.Stdin, step.Pulse = r, &ffmpeg.Pulse{}
	type played struct {
		heard bool
		err   error
	}
	done := make(chan played, 1)
	go func() {
		line, err := t.play(ctx, w, step.Pulse)
		done <- played{line.heard, errors.Join(err, w.Close())}
	}()
	err = step.Run(ctx, c)
	failed := err != nil
	if failed {
		stop()
	}
	p := <-done
	if !failed {
		err = encode.Fault(ctx, p.err)
	}
	return p.heard, err
}

// play decodes the track and writes the wanted part to w. A reader that stops early is not an error.
func (t Track) play(ctx context.Context, w io.Writer, pulse *ffmpeg.Pulse) (*timeline, error) {
	if t.packed() {
		if err := t.unpack(ctx, pulse); err != nil {
			return t.timeline(w), err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	decoded, movie := io.Pipe()
	done := make(chan error, 1)
	go func() {
		c := t.command()
		c.Threads = cmp.Or(t.Tools.Threads, encode.Threads())
		err := t.Tools.Run(ctx, c, ffmpeg.RunOptions{
			Dir: t.Dir, Stdout: movie, Nice: t.Nice, Pulse: pulse,
		})
		movie.CloseWithError(err) // nil means the end; it returns nil
		done <- err
	}()
	out := bufio.NewWriterSize(w, 64<<10)
	line := t.timeline(out)
	err := eachPiece(decoded, line.add)
	if err == nil {
		err = line.finish()
	}
	err = errors.Join(err, out.Flush())
	decoded.CloseWithError(errEnough)
	if errors.Is(err, errEnough) || errors.Is(err, syscall.EPIPE) {
		stop()
		<-done //nolint:errcheck // stopped on purpose
		return line, nil
	}
	if err != nil {
		stop()
	}
	return line, cmp.Or(err, <-done)
}
