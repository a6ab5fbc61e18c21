package all

import (
	"context"
	"errors"
	"fmt"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
	"github.com/reelmill/reelmill/workers/internal/userimage"
)

// Cage is where ffmpeg and other programs run on untrusted files. A nil Cage is none.
type Cage = sandbox.Cage

// The tiers of a cage that lacks what protects from hostile files; see sandbox.Tier.
const (
	TierPartial = sandbox.TierPartial
	TierOff     = sandbox.TierOff
)

// NewCage returns the cage of this machine for Config.Cage. Mode is required, best-effort or off. It fails
// if the mode is required and the machine lacks something, or if ffmpeg or ffprobe does not start in the
// cage; the error says how to go on. It takes about 0.2 s.
func NewCage(ctx context.Context, mode string, c Config) (*Cage, error) {
	cage, err := sandbox.New(ctx, sandbox.Mode(mode))
	if err != nil || cage == nil {
		return nil, err
	}
	tools, err := c.find()
	if err != nil {
		return nil, errors.Join(err, cage.Close())
	}
	tools.Cage = cage
	if err := tools.Start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("in the sandbox: %w; --sandbox off runs it without", err), cage.Close())
	}
	return cage, nil
}

// Tasks runs a task of a worker and ends the process, if the process was started for one (sandbox.Main).
// Otherwise it returns at once. Call it first in main.
func Tasks() { sandbox.Main(userimage.Task()) }
