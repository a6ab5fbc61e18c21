package inspect

import (
	"errors"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// runFault returns err if the file is not at fault: the attempt ended, or a disk, the memory or a program
// failed. It returns nil if the file is at fault.
func runFault(err error) error {
	var run *ffmpeg.Error
	if ffmpeg.GaveUp(err) || errors.As(err, &run) && blame(run) != nil {
		return nil //nolint:nilerr // the file is at fault, which others report
	}
	return err
}
