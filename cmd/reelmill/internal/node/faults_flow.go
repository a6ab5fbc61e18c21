//go:build chaos

package node

import (
	"context"
	"errors"
	"sync"

	"github.com/reelmill/reelmill/pipeline"
)

// apply folds some batches twice, and some again after a newer one.
func (f faults) apply(next applyFunc) applyFunc {
	var older []pipeline.Event
	return func(ctx context.Context, events []pipeline.Event) error {
		err := f.around("apply", func() error { return next(ctx, events) })
		if err != nil {
			return err
		}
		if f.chance(f.Double) {
			err = next(ctx, events)
		}
		if f.chance(f.Double) && len(older) > 0 {
			err = errors.Join(err, next(ctx, older))
		}
		older = events
		return err
	}
}

// handle handles some events twice at once, late, or after later ones. The latter fail first, and come again.
func (f faults) handle(next handleFunc) handleFunc {
	return func(ctx context.Context, e pipeline.Event) error {
		if f.chance(f.Reorder) {
			return errChaos
		}
		f.delay(ctx)
		return f.around("handle."+string(e.Type), func() error {
			if !f.chance(f.Double) {
				return next(ctx, e)
			}
			var twin error
			var wg sync.WaitGroup
			wg.Go(func() { twin = next(ctx, e) })
			err := next(ctx, e)
			wg.Wait()
			return errors.Join(err, twin)
		})
	}
}
