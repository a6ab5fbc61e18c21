package main

import (
	"context"

	"github.com/reelmill/reelmill/pipeline"
)

type videosHold struct {
	serverFlags
	videoArgs
	Reason string `help:"Why, for people who read the video; may be empty." placeholder:"TEXT"`
}

// Run sets holds.
func (c videosHold) Run(ctx context.Context, s streams) error {
	hold := func(ctx context.Context, id string) (pipeline.VideoView, error) {
		return c.client().SetHold(ctx, id, c.Reason)
	}
	return c.change(ctx, s, "hold", c.IDs, hold, isHeld)
}

type videosRelease struct {
	serverFlags
	videoArgs
}

// Run removes holds.
func (c videosRelease) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, "release", c.IDs, c.client().Release, isHeld)
}

// isHeld says whether a video has a legal hold.
func isHeld(v pipeline.VideoView) string {
	if v.Hold == nil {
		return "has no hold"
	}
	return "is held"
}
