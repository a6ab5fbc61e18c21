package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reelmill/reelmill/pipeline"
)

// Bounds of what Resolve looks up: a path is as long as a key may be, and a request costs few look-ups.
const (
	maxPath = 512 // bytes
	maxRuns = 4   // runs of digits that may be a segment's number
)

// Resolve returns the object that is played at path below a video: the output of that path, or one segment
// of an output whose Path has pipeline.SegmentVerb where path has the number, if its Segments have that
// number. A segment has no size and hash of its own in the catalog: both are zero. Anything else is
// pipeline.ErrNotFound: paths are only ever compared with those of outputs, so a hostile one names nothing.
// The number must not touch other digits.
//
// The project is not asked for: whoever calls has checked that the video may be played.
func (c *Catalog) Resolve(ctx context.Context, video, path string) (pipeline.Object, error) {
	if len(path) > maxPath || !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
		return pipeline.Object{}, fmt.Errorf("resolve %.80q of %s: %w", path, video, pipeline.ErrNotFound)
	}
	found, err := c.resolve(ctx, video, path)
	if err != nil {
		return pipeline.Object{}, fmt.Errorf("resolve %q of %s: %w", path, video, err)
	}
	return found, nil
}

func (c *Catalog) resolve(ctx context.Context, video, path string) (pipeline.Object, error) {
	o, err := c.outputAt(ctx, video, path)
	if err == nil && o.Segments == nil {
		return pipeline.Object{Key: o.Key, Size: o.Size, SHA256: o.SHA256, ContentType: o.ContentType}, nil
	}
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		return pipeline.Object{}, err
	}
	for _, r := range segmentRuns(path) {
		o, err := c.outputAt(ctx, video, path[:r.from]+pipeline.SegmentVerb+path[r.to:])
		if errors.Is(err, pipeline.ErrNotFound) {
			continue
		}
		if err != nil {
			return pipeline.Object{}, err
		}
		if s := o.Segments; s == nil || r.number < s.First || r.number-s.First >= s.Count {
			continue
		}
		key := strings.Replace(o.Key, pipeline.SegmentVerb, path[r.from:r.to], 1)
		return pipeline.Object{Key: key, ContentType: o.ContentType}, nil
	}
	return pipeline.Object{}, pipeline.ErrNotFound
}

func (c *Catalog) outputAt(ctx context.Context, video, path string) (pipeline.Output, error) {
	var o pipeline.OutputView
	err := scanDoc(c.reader.stmt(sqlOutputAt).QueryRowContext(ctx, video, path), &o)
	return o.Output, err
}

// run is a number in a path, as pipeline.SegmentVerb writes it.
type run struct{ from, to, number int }

// segmentRuns returns the last maxRuns runs of digits in path that SegmentVerb can have written: five
// digits, or more without a zero in front. The last comes first, as numbers stand in file names.
func segmentRuns(path string) []run {
	var runs []run
	for to := len(path); to > 0 && len(runs) < maxRuns; {
		if !isDigit(path[to-1]) {
			to--
			continue
		}
		from := to
		for from > 0 && isDigit(path[from-1]) {
			from--
		}
		n, err := strconv.Atoi(path[from:to])
		if err == nil && fmt.Sprintf(pipeline.SegmentVerb, n) == path[from:to] {
			runs = append(runs, run{from, to, n})
		}
		to = from
	}
	return runs
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }
