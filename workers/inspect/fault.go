package inspect

import (
	"context"
	"errors"
	"syscall"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// runFault returns what a run of ffmpeg failed of where that says nothing of the file: the attempt ended, or
// a disk, the memory or a program is at fault. It is nil where the file is.
func runFault(err error) error {
	var run *ffmpeg.Error
	if ffmpeg.GaveUp(err) || errors.As(err, &run) && blame(run) != nil {
		return nil //nolint:nilerr // the file is to blame, which others say
	}
	return err
}

// readFault is runFault of a file that we read ourselves. A place that no file has, which the system calls
// EINVAL or EOVERFLOW, is one that the file told of.
func readFault(ctx context.Context, err error) error {
	var disk syscall.Errno
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &disk) && disk != syscall.EINVAL && disk != syscall.EOVERFLOW:
		return err
	}
	return nil
}
