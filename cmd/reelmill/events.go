package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// eventsCommand prints events of all videos, or of one.
type eventsCommand struct {
	Video string `arg:"" optional:"" help:"Id of a video. Default: the events of all videos."`
	serverFlags
	Follow bool     `short:"f" help:"Print new events too: of a video until it ends, of all until Ctrl-C."`
	Type   []string `help:"Print only events of these types, such as video.ready,video.errored." placeholder:"TYPE"`
}

// Help is the long help.
func (eventsCommand) Help() string {
	return "  reelmill events -f\n  reelmill events --type video.ready,video.errored --json"
}

// Validate is called by kong.
func (c eventsCommand) Validate() error {
	known := make([]string, len(pipeline.EventTypes))
	for i, t := range pipeline.EventTypes {
		known[i] = string(t)
	}
	for _, t := range c.Type {
		if !slices.Contains(known, t) {
			return errors.New("--type: " + pipeline.Unknown("type of event", t, known))
		}
	}
	if c.Video == "" {
		return nil
	}
	return checkID(c.Video, "a video", "vid_")
}

// Run prints the events so far, and with --follow the new ones.
func (c eventsCommand) Run(ctx context.Context, s streams) error {
	api := c.client()
	filter := client.EventFilter{Video: c.Video}
	for _, t := range c.Type {
		filter.Types = append(filter.Types, pipeline.EventType(t))
	}
	show := func(e pipeline.Event) error { return c.show(s.out, e) }
	switch {
	case c.Follow && c.Video != "":
		return api.Events(ctx, c.Video, 0, func(e client.Event) error {
			if e.Log == nil || len(filter.Types) > 0 && !slices.Contains(filter.Types, e.Log.Type) {
				return nil
			}
			return show(*e.Log)
		})
	case c.Follow:
		return api.FollowAll(ctx, filter, show)
	case c.Video != "":
		if _, err := api.Video(ctx, c.Video); err != nil {
			return err
		}
	}
	for e, err := range api.AllEvents(ctx, filter) {
		if err == nil {
			err = show(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// show prints one event.
func (c eventsCommand) show(w io.Writer, e pipeline.Event) error {
	if c.structured() {
		return c.encode(w, e)
	}
	_, video, job, err := pipeline.Address(e.Subject)
	if err != nil {
		return err
	}
	at := e.Time.UTC().Format(time.DateOnly + " 15:04:05.000 UTC")
	_, err = human.Fprintf(w, "%s  %-16s %s  %s\n", at, e.Type, video, job)
	return err
}
