package encode

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Fault adds the code to a failure of ffmpeg, of the verify gate or of the scratch disk:
//
//	the context ended         the context's error, as it is
//	no space left             disk_full
//	a disk is broken or gone  internal_error, which is tried again
//	killed from outside       out_of_memory: the kernel's killer is who does that
//	memory was refused        out_of_memory
//	ffmpeg did not start      internal_error, which is tried again: descriptors or processes ran out
//	ended by another signal   encoder_crashed
//	no sign of life           job_stalled
//	the input is at fault     input_malformed
//	its CPU time is used up   input_malformed
//	it took too long          job_timeout
//	an output is not fit      output_verification_failed
//	anything else of ffmpeg   encode_failed
//
// An error that has a code already, or matches none of these, is unchanged. Fault(nil) is nil.
func Fault(ctx context.Context, err error) error {
	var coded *pipeline.Error
	var run *ffmpeg.Error
	var verify *ffmpeg.VerifyError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &coded):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return pipeline.Fail(pipeline.CodeDiskFull, "%w", withoutPath(err))
	case errors.As(err, &verify) && errors.Is(err, ffmpeg.ErrTimeout):
		return &pipeline.Error{Code: pipeline.CodeJobTimeout, Detail: verify.Error(), Err: err}
	case errors.As(err, &verify):
		e := &pipeline.Error{Code: pipeline.CodeVerification, Detail: verify.Error(), Err: err}
		if errors.As(err, &run) {
			e.Stderr = run.Tail
		}
		return e
	case ffmpeg.Exhausted(err) && errors.As(err, &run):
		return &pipeline.Error{
			Code: pipeline.CodeMalformed, Detail: "decoding the file takes too much time", Stderr: run.Tail, Err: err,
		}
	case errors.As(err, &run):
		return &pipeline.Error{Code: code(run), Detail: run.Error(), Stderr: run.Tail, Err: err}
	}
	return err
}

// DiskFault returns the cause if a file could not be read or written for a reason other than its contents:
// the context ended, or the disk is broken. Otherwise it returns nil. EINVAL and EOVERFLOW mean an offset
// that no file has, which the file's own contents gave; they are not a disk's fault.
func DiskFault(ctx context.Context, err error) error {
	var disk syscall.Errno
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &disk) && disk != syscall.EINVAL && disk != syscall.EOVERFLOW:
		return err
	}
	return nil
}

// withoutPath removes this machine's directory names from what a user may read.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func code(e *ffmpeg.Error) pipeline.Code {
	switch {
	case e.DiskFull():
		return pipeline.CodeDiskFull
	case e.NoMemory():
		return pipeline.CodeOutOfMemory
	case e.Unwritten(), e.NotLoaded():
		return pipeline.CodeInternal
	case e.Kind == ffmpeg.KindSignal && e.Signal == syscall.SIGKILL:
		return pipeline.CodeOutOfMemory
	case e.Kind == ffmpeg.KindSignal:
		return pipeline.CodeEncoderCrashed
	case e.Kind == ffmpeg.KindStalled:
		return pipeline.CodeJobStalled
	case e.Kind == ffmpeg.KindTimeout:
		return pipeline.CodeJobTimeout
	case e.BadInput():
		return pipeline.CodeMalformed
	}
	return pipeline.CodeEncodeFailed
}
