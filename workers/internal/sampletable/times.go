package sampletable

import (
	"context"
	"errors"
)

// Times returns when the samples of a track are shown, in seconds of the track's own time, in decoding
// order: at most the first most of them. tick is the track's clock. A fragmented file has no such table.
func (f *File) Times(ctx context.Context, id int64, most int) (times []float64, tick float64, err error) {
	t, err := f.find(id)
	if err != nil {
		return nil, 0, err
	}
	if f.Fragmented {
		return nil, 0, errors.New("its samples lie in movie fragments")
	}
	tick = 1 / float64(t.timescale())
	err = t.samples(func(one sample) error {
		switch {
		case len(times) == most:
			return errEnough
		case len(times)%4096 == 0 && ctx.Err() != nil:
			return context.Cause(ctx)
		}
		times = append(times, float64(one.shown)*tick)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return times, tick, err
}
