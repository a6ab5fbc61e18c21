package workers

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// gate is the last check before job.completed: the result can be encoded as JSON, and every output, or the
// source that was fetched, is in the store under this attempt's token, with the written size.
func (a *attempt) gate(ctx context.Context, r pipeline.Result) error {
	if _, err := json.Marshal(r); err != nil {
		return pipeline.Fail(pipeline.CodeVerification, "result: %w", err)
	}
	if len(r.Outputs) == 0 && r.Source == nil {
		return nil
	}
	prefix := a.prefix()
	sizes := map[string]int64{}
	for info, err := range a.loop.Store.List(ctx, prefix) {
		if err != nil {
			return pipeline.Fail(pipeline.CodeStorageFailed, "list outputs: %w", err)
		}
		sizes[info.Key] = info.Size
	}
	if o := r.Source; o != nil {
		if size, ok := sizes[o.Key]; !ok || size != o.Size || size == 0 || !strings.HasPrefix(o.Key, prefix) {
			return pipeline.Fail(pipeline.CodeVerification, "source: %d bytes in the store, %d written", size, o.Size)
		}
	}
	for _, o := range r.Outputs {
		size, ok := storedSize(sizes, o)
		if !ok || size != o.Size || size == 0 || o.Key != prefix+o.Path {
			return pipeline.Fail(pipeline.CodeVerification, "output %s: %d bytes in the store, %d written",
				o.Path, size, o.Size)
		}
	}
	return nil
}

// storedSize returns the bytes of an output in the store; ok is false when an object is missing.
func storedSize(sizes map[string]int64, o pipeline.Output) (total int64, ok bool) {
	if o.Segments == nil {
		total, ok = sizes[o.Key]
		return total, ok
	}
	for n := o.Segments.First; n < o.Segments.First+o.Segments.Count; n++ {
		size, ok := sizes[SegmentName(o.Key, n)]
		if !ok {
			return total, false
		}
		total += size
	}
	return total, true
}
