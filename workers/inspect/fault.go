package inspect

import (
	"errors"

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
