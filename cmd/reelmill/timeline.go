package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// timeline prints the events of a video, a line each, with the time since the first.
type timeline struct {
	out    io.Writer
	format output
	first  time.Time
}

// errPrinted stops a timeline before the video ends.
var errPrinted = errors.New("all wanted events are printed")

// follow prints the events up to the first of type last, or until the video ends.
func (t *timeline) follow(ctx context.Context, api *client.Client, id string, last pipeline.EventType) error {
	err := api.Events(ctx, id, 0, func(e client.Event) error {
		if e.Log == nil {
			return nil // progress
		}
		err := t.print(*e.Log)
		if err == nil && e.Log.Type == last {
			err = errPrinted
		}
		return err
	})
	if errors.Is(err, errPrinted) {
		return nil
	}
	return err
}

func (t *timeline) print(e pipeline.Event) error {
	if t.format.structured() {
		return t.format.encode(t.out, e)
	}
	if t.first.IsZero() {
		t.first = e.Time
	}
	_, _, job, err := pipeline.Address(e.Subject)
	if err != nil {
		return err
	}
	_, err = human.Fprintf(t.out, "  %8.3f s  %-16s %s\n", e.Time.Sub(t.first).Seconds(), e.Type, job)
	return err
}
