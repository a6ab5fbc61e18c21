package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/loss"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
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
	release, err := catalog.Claim(c.config(log).CatalogPath())
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
	r := &rebuild{config: c.config(log), bus: events, force: c.Force, out: s.out}
	defer func() { err = errors.Join(err, r.close()) }()
	return r.run(ctx)
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

// rebuild is one run of the command.
type rebuild struct {
	config node.Config
	bus    *bus.Bus
	force  bool
	out    io.Writer
	opened []*catalog.Inspection
	old    *catalog.Inspection // nil: none can be read
}

func (r *rebuild) close() (err error) {
	for _, i := range r.opened {
		err = errors.Join(err, i.Close())
	}
	return err
}

func (r *rebuild) run(ctx context.Context) error {
	if err := r.inspect(ctx); err != nil {
		return err
	}
	var model loss.ReadModel
	if r.old != nil {
		model = r.old
	}
	check := loss.NewCheck(r.bus, model, broker.LogPlace(r.config.NATS, r.config.Data))
	extent, lost, err := check.Look(ctx)
	if err != nil {
		return err
	}
	if err := r.refuse(lost); err != nil {
		return err
	}
	dir := filepath.Join(r.config.Data, "rebuild") // on the same disk
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the leftovers of an earlier run: %w", err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "catalog.db")
	replayed, err := r.replay(ctx, made, extent.Last)
	if err != nil {
		return err
	}
	if _, lost, err = check.Look(ctx); err != nil { // events may have been lost meanwhile
		return err
	}
	unread, err := check.Unread(ctx, replayed)
	if err != nil {
		return err
	}
	if err := cmp.Or(r.refuse(lost), r.compare(ctx, made, unread)); err != nil {
		return err
	}
	if err := r.replace(ctx, made, extent); err != nil {
		return err
	}
	told := fmt.Sprintf("rebuilt the read model from %d events", replayed.Events) + loss.GoneText(extent)
	if len(unread) > 0 {
		told += fmt.Sprintf("; left out %s that cannot be read", loss.EventsText(unread))
	}
	_, err = human.Fprintln(r.out, told)
	return err
}

// inspect opens the old read model, if there is one that can be read.
func (r *rebuild) inspect(ctx context.Context) (err error) {
	r.old, err = catalog.Inspect(ctx, r.config.CatalogPath())
	switch {
	case err == nil:
		r.opened = append(r.opened, r.old)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case ctx.Err() != nil || errors.Is(err, fs.ErrPermission):
		return err
	}
	return r.damaged(err)
}

// damaged goes on without the old read model.
func (r *rebuild) damaged(err error) error {
	r.old = nil
	_, failed := human.Fprintf(r.out, "the old read model cannot be read, so it is not compared: %v\n", err)
	return failed
}

// refuse returns what is lost, unless --force accepts it.
func (r *rebuild) refuse(lost *loss.Error) error {
	if lost == nil || r.force {
		return nil
	}
	return fmt.Errorf("%w; nothing was changed. To do: %s", lost, lost.Remedy())
}

// replay makes a read model from the log.
func (r *rebuild) replay(ctx context.Context, path string, through uint64) (bus.Replayed, error) {
	c, err := catalog.Open(ctx, path)
	if err != nil {
		return bus.Replayed{}, err
	}
	c.Logger = r.config.Logger
	replayed, err := r.bus.Replay(ctx, through, c.Apply)
	return replayed, errors.Join(err, c.Close())
}

// compare refuses a new read model that lacks undeleted events of the old one, unless --force accepts that.
// Without an old one, it refuses any event that cannot be read.
func (r *rebuild) compare(ctx context.Context, made string, unread pipeline.Sequences) error {
	if r.force {
		return nil
	}
	var lacking []catalog.Held
	var err error
	if r.old != nil {
		lacking, err = r.old.Lacking(ctx, made)
		if errors.Is(err, catalog.ErrDamaged) {
			err = r.damaged(err)
		}
	}
	if err == nil {
		lacking, err = loss.NotDeleted(ctx, r.bus, lacking)
	}
	switch {
	case err != nil:
		return err
	case len(lacking) > 0:
		err = fmt.Errorf("the new read model would lack %s that the old one has, of %s",
			loss.EventsText(loss.EventsOf(lacking)), loss.VideosText(lacking))
	case r.old == nil && len(unread) > 0:
		err = fmt.Errorf("the event log has %s that cannot be read", loss.EventsText(unread))
	default:
		return nil
	}
	place := broker.LogPlace(r.config.NATS, r.config.Data)
	return fmt.Errorf("%w; nothing was changed. To do: %s", err, loss.Remedy(place))
}

// replace replaces the old read model with the new one, and records in the log that its losses are accepted.
func (r *rebuild) replace(ctx context.Context, made string, extent bus.Extent) error {
	if r.old != nil {
		if err := r.old.Close(); err != nil {
			return err
		}
	}
	if err := catalog.Replace(r.config.CatalogPath(), made); err != nil {
		return err
	}
	lost := extent.Lost.Count() - extent.Lost.Through(extent.Untold).Count()
	if !r.force || lost == 0 {
		return nil
	}
	return r.bus.Accept(ctx, bus.Accepted{Through: extent.Last, Count: lost})
}
