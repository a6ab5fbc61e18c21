package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage/catalog"
)

// rebuildCommand makes the read model anew.
type rebuildCommand struct {
	dataFlags
}

// Run empties the catalog and applies the whole event log to it.
func (c rebuildCommand) Run(ctx context.Context, s streams, log *slog.Logger) (err error) {
	n := &node{nodeConfig: nodeConfig{data: c.Data, nats: c.NATS, log: log}}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := n.openBroker(ctx); err != nil {
		return err
	}
	err = n.openCatalog(ctx)
	if errors.Is(err, catalog.ErrSchema) || errors.Is(err, catalog.ErrDamaged) {
		if err := catalog.Remove(n.catalogPath()); err != nil {
			return err
		}
		err = n.openCatalog(ctx)
	}
	if err != nil {
		return err
	}
	if err := n.catalog.Reset(ctx); err != nil {
		return err
	}
	last, err := n.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	count := 0
	follow, stop := context.WithCancel(ctx)
	defer stop()
	if last == 0 {
		stop()
	}
	err = n.bus.Follow(follow, 0, func(ctx context.Context, events []pipeline.Event) error {
		if err := n.catalog.Apply(ctx, events); err != nil {
			return err
		}
		count += len(events)
		if events[len(events)-1].Sequence >= last {
			stop()
		}
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := ignoreCanceled(err); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "rebuilt the read model from %d events\n", count)
	return err
}
