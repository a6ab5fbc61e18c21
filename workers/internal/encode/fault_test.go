package encode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

func TestFault(t *testing.T) {
	exit := func(tail string) error {
		return &ffmpeg.Error{Program: "ffmpeg", Kind: ffmpeg.KindExit, ExitCode: 1, Tail: tail}
	}
	coded := pipeline.Fail(pipeline.CodeFetchFailed, "gone")
	for _, c := range []struct {
		name string
		err  error
		want pipeline.Code
	}{
		{"input", exit("Invalid data found when processing input"), pipeline.CodeMalformed},
		{"disk", exit("av_interleaved_write_frame(): No space left on device"), pipeline.CodeDiskFull},
		{"broken disk", exit("Error writing trailer of <out0>: Input/output error"), pipeline.CodeInternal},
		{"scratch", &fs.PathError{Op: "write", Path: "/scratch/x", Err: syscall.ENOSPC}, pipeline.CodeDiskFull},
		{"killed", &ffmpeg.Error{Kind: ffmpeg.KindSignal, Signal: syscall.SIGKILL}, pipeline.CodeOutOfMemory},
		{"no memory", exit("Error while decoding stream #0:0: Cannot allocate memory"), pipeline.CodeOutOfMemory},
		{"no memory for an encoder", exit("x264 [error]: malloc of size 1627904 failed\n" +
			"Error while opening encoder for output stream #0:0"), pipeline.CodeOutOfMemory},
		{"no memory for a thread", exit("Error while opening decoder for input stream #0:0 : " +
			"Resource temporarily unavailable"), pipeline.CodeOutOfMemory},
		{"not loaded", &ffmpeg.Error{Program: "ffmpeg", Kind: ffmpeg.KindExit, ExitCode: 127, Tail: "ffmpeg: error " +
			"while loading shared libraries: libx.so.3: failed to map segment from shared object"}, pipeline.CodeOutOfMemory},
		{"no memory for a process", &ffmpeg.Error{Kind: ffmpeg.KindStart, Err: syscall.ENOMEM}, pipeline.CodeOutOfMemory},
		{"no descriptor", &ffmpeg.Error{Kind: ffmpeg.KindStart, Err: syscall.EMFILE}, pipeline.CodeInternal},
		{"no process", &ffmpeg.Error{Kind: ffmpeg.KindStart, Err: syscall.EAGAIN}, pipeline.CodeInternal},
		{"crashed", &ffmpeg.Error{Kind: ffmpeg.KindSignal, Signal: syscall.SIGSEGV}, pipeline.CodeEncoderCrashed},
		{"stalled", &ffmpeg.Error{Kind: ffmpeg.KindStalled, Err: ffmpeg.ErrStalled}, pipeline.CodeJobStalled},
		{"verify in vain", &ffmpeg.VerifyError{Check: "probe", Err: &ffmpeg.Error{Kind: ffmpeg.KindTimeout, Err: ffmpeg.ErrTimeout}}, pipeline.CodeJobTimeout},
		{"endless", &ffmpeg.Error{Kind: ffmpeg.KindTimeout, Signal: syscall.SIGXCPU, Err: ffmpeg.ErrTimeout}, pipeline.CodeMalformed},
		{"probe in vain", &ffmpeg.Error{Kind: ffmpeg.KindTimeout, Err: ffmpeg.ErrTimeout}, pipeline.CodeJobTimeout},
		{"verify", fmt.Errorf("rung: %w", &ffmpeg.VerifyError{Check: "duration"}), pipeline.CodeVerification},
		{"other", exit("Unknown encoder"), pipeline.CodeEncodeFailed},
		{"coded", fmt.Errorf("x: %w", coded), pipeline.CodeFetchFailed},
	} {
		var got *pipeline.Error
		if err := Fault(t.Context(), c.err); !errors.As(err, &got) || got.Code != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if got != nil && strings.Contains(got.Detail, "/scratch") {
			t.Errorf("%s: the detail names a folder of this machine: %s", c.name, got.Detail)
		}
	}
}

func TestFaultOfAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the lease is lost")
	cancel(why)
	if err := Fault(ctx, &ffmpeg.Error{Kind: ffmpeg.KindCanceled, Err: why}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if err := Fault(ctx, nil); err != nil {
		t.Errorf("nil became %v", err)
	}
}

func TestExpect(t *testing.T) {
	m := pipeline.Media{Duration: 100}
	if e := Expect(m); e.Duration != 100*time.Second || e.Tolerance != 2*time.Second {
		t.Errorf("sound source: %+v", e)
	}
	slow := pipeline.Media{Duration: 5, Video: pipeline.VideoTrack{FrameRateNum: 1, FrameRateDen: 1}}
	if e := Expect(slow); e.Tolerance != 1500*time.Millisecond {
		t.Errorf("one frame a second: %+v", e)
	}
	m.Damaged = true
	if e := Expect(m); e.Tolerance != 10*time.Second {
		t.Errorf("damaged source: %+v", e)
	}
}
