// Package rebuild makes the read model anew from the event log, beside the old one, and replaces the old one
// unless the new one lacks events.
//
// The old read model, if it can be read, tells what the log has lost. One that is damaged is no proof of
// single events, so it only tells how far the log went.
package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/loss"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/storage/catalog"
)

// Config says what is rebuilt from what. All fields are required.
type Config struct {
	Catalog string   // the file of the read model, which the caller has claimed (catalog.Claim)
	Bus     *bus.Bus // has the event log
	Place   string   // where that is, for remedies
	Force   bool     // accept losses, and record in the log that they are accepted
	Logger  *slog.Logger
	Tell    func(text string) error // gets what people should know
}

// Run rebuilds the read model. If the new one would lack events, it changes nothing, and the error says what
// to do.
func Run(ctx context.Context, c Config) (err error) {
	r := &rebuild{Config: c}
	defer func() { err = errors.Join(err, r.close()) }()
	return r.run(ctx)
}

// rebuild is one run.
type rebuild struct {
	Config
	opened []*catalog.Inspection
	old    *catalog.Inspection // nil: none can be read
	harmed bool                // the old one differs from what it was when it was closed
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
	check := loss.NewCheck(r.Bus, model, r.Place)
	extent, lost, err := check.Look(ctx)
	if err != nil {
		return err
	}
	if err := r.refuse(lost); err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(r.Catalog), "rebuild") // on the same disk
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
	return r.Tell(told)
}

// inspect opens the old read model, if there is one that can be read.
func (r *rebuild) inspect(ctx context.Context) (err error) {
	_, harm := catalog.Verify(r.Catalog)
	r.harmed = errors.Is(harm, catalog.ErrDamaged)
	r.old, err = catalog.Inspect(ctx, r.Catalog)
	switch {
	case err == nil && r.harmed:
		r.opened = append(r.opened, r.old)
		return r.Tell(fmt.Sprintf("the events of the old read model are not compared: %v", harm))
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
	return r.Tell(fmt.Sprintf("the old read model cannot be read, so it is not compared: %v", err))
}

// refuse returns what is lost, unless --force accepts it.
func (r *rebuild) refuse(lost *loss.Error) error {
	if lost == nil || r.Force {
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
	c.Logger = r.Logger
	replayed, err := r.Bus.Replay(ctx, through, c.Apply)
	return replayed, errors.Join(err, c.Close())
}

// compare refuses a new read model that lacks undeleted events of the old one, unless --force accepts that.
// Without an old one that is intact, it refuses any event that cannot be read.
func (r *rebuild) compare(ctx context.Context, made string, unread pipeline.Sequences) error {
	if r.Force {
		return nil
	}
	var lacking []catalog.Held
	var err error
	if r.old != nil && !r.harmed {
		lacking, err = r.old.Lacking(ctx, made)
		if errors.Is(err, catalog.ErrDamaged) {
			err = r.damaged(err)
		}
	}
	if err == nil {
		lacking, err = loss.NotDeleted(ctx, r.Bus, lacking)
	}
	switch {
	case err != nil:
		return err
	case len(lacking) > 0:
		err = fmt.Errorf("the new read model would lack %s that the old one has, of %s",
			loss.EventsText(loss.EventsOf(lacking)), loss.VideosText(lacking))
	case (r.old == nil || r.harmed) && len(unread) > 0:
		err = fmt.Errorf("the event log has %s that cannot be read", loss.EventsText(unread))
	default:
		return nil
	}
	return fmt.Errorf("%w; nothing was changed. To do: %s", err, loss.Remedy(r.Place))
}

// replace replaces the old read model with the new one, and records in the log that its losses are accepted.
func (r *rebuild) replace(ctx context.Context, made string, extent bus.Extent) error {
	if r.old != nil {
		if err := r.old.Close(); err != nil {
			return err
		}
	}
	if err := catalog.Replace(r.Catalog, made); err != nil {
		return err
	}
	lost := extent.Lost.Count() - extent.Lost.Through(extent.Untold).Count()
	if !r.Force || lost == 0 {
		return nil
	}
	return r.Bus.Accept(ctx, bus.Accepted{Through: extent.Last, Count: lost})
}
