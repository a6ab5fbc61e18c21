package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/rebuild"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/storage/catalog"
	"github.com/reelmill/reelmill/storage/claim"
)

// rebuildCommand rebuilds the read model.
type rebuildCommand struct {
	dataFlags
	Force bool `help:"${force_help}"`
}

// Run makes a read model from the whole event log beside the old one, and replaces the old one unless the new
// one lacks events. It creates no broker, log or queue.
func (c rebuildCommand) Run(ctx context.Context, s streams, log *slog.Logger) (err error) {
	if _, err := os.Stat(c.Data); err != nil {
		return fmt.Errorf("there is no data folder; name that of a server with --data: %w", err)
	}
	if err := c.checkBrokerFolder(); err != nil {
		return fmt.Errorf("%w; if the broker is lost, restore it from a backup; or start `reelmill serve`, which "+
			"makes an empty one, and accept the loss with --force", err)
	}
	config := c.config(log)
	release, err := catalog.Claim(config.CatalogPath())
	if errors.Is(err, catalog.ErrInUse) && c.NATS.Empty() {
		err = fmt.Errorf("%w (%s)", err, claim.Holder(embedded.LockFile(broker.Dir(c.Data))))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := c.mend(s.out, log); err != nil {
		return err
	}
	b, err := broker.Open(ctx, c.broker(), c.Data, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	events, err := bus.Open(ctx, b.Conn, bus.Config{Exclusive: b.Exclusive(), Join: true, Logger: log})
	if err != nil {
		return err
	}
	return rebuild.Run(ctx, rebuild.Config{
		Catalog: config.CatalogPath(), Bus: events, Place: broker.LogPlace(config.NATS, config.Data),
		Force: c.Force, Logger: log,
		Tell: func(text string) error { _, err := human.Fprintln(s.out, text); return err },
	})
}

// mend accepts, with --force, what cannot be read in the files of an embedded broker.
func (c rebuildCommand) mend(out io.Writer, log *slog.Logger) error {
	if !c.Force || !c.broker().Embedded() {
		return nil
	}
	mended, err := broker.Mend(c.Data, log)
	for _, told := range mended {
		if _, failed := human.Fprintln(out, "left out of the broker: "+told); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}
