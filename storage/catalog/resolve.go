package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reelmill/reelmill/pipeline"
)

// Limits of Resolve: a path is at most as long as a key, and a request costs few look-ups.
const (
	maxPath = 512 // bytes
	maxRuns = 4   // runs of digits tried as a segment's number
)

// Resolve returns the object that a video plays at path. That is the output with this path, or one segment:
// an output whose Path has pipeline.SegmentVerb where path has a number that is among its Segments. Several
// jobs may each have made a run of an output's segments. If two jobs claim a path or number, the later one
// wins. Size and hash of a segment are zero, since the catalog does not know them. Anything else is
// pipeline.ErrNotFound; a path is only compared with those of outputs, so a hostile one names nothing. The
// number must not touch other digits.
//
// Resolve does not check the project: its caller has checked that the video may be played.
func (c *Catalog) Resolve(ctx context.Context, video, path string) (pipeline.Object, error) {
	if len(path) > maxPath || !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
		return pipeline.Object{}, fmt.Errorf("resolve %.80q of %s: %w", path, video, pipeline.ErrNotFound)
	}
	found, err := c.resolve(ctx, video, path)
	if err != nil {
		return pipeline.Object{}, fmt.Errorf("resolve %q of %s: %w", path, video, c.explain(err))
	}
	return found, nil
}

func (c *Catalog) resolve(ctx context.Context, video, path string) (pipeline.Object, error) {
	o, err := c.outputAt(ctx, video, path, func(o pipeline.Output) bool { return o.Segments == nil })
	if err == nil {
		return pipeline.Object{Key: o.Key, Size: o.Size, SHA256: o.SHA256, ContentType: o.ContentType}, nil
	}
	if !errors.Is(err, pipeline.ErrNotFound) {
		return pipeline.Object{}, err
	}
	for _, r := range segmentRuns(path) {
		template := path[:r.from] + pipeline.SegmentVerb + path[r.to:]
		o, err := c.outputAt(ctx, video, template, func(o pipeline.Output) bool {
			s := o.Segments
			return s != nil && r.number >= s.First && r.number-s.First < s.Count
		})
		if errors.Is(err, pipeline.ErrNotFound) {
			continue
		}
		if err != nil {
			return pipeline.Object{}, err
		}
		key := strings.Replace(o.Key, pipeline.SegmentVerb, path[r.from:r.to], 1)
		return pipeline.Object{Key: key, ContentType: o.ContentType}, nil
	}
	return pipeline.Object{}, pipeline.ErrNotFound
}

// outputAt returns the latest output with this path that fits, or pipeline.ErrNotFound. It reads no more
// rows than needed.
func (c *Catalog) outputAt(ctx context.Context, video, path string, fits func(pipeline.Output) bool) (
	pipeline.Output, error,
) {
	rows, err := c.reader.stmt(sqlOutputsAt).QueryContext(ctx, video, path)
	if err != nil {
		return pipeline.Output{}, explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var doc sql.RawBytes
		if err := rows.Scan(&doc); err != nil {
			return pipeline.Output{}, explain(err)
		}
		var o pipeline.OutputView
		if err := decode(doc, &o); err != nil {
			return pipeline.Output{}, err
		}
		if fits(o.Output) {
			return o.Output, nil
		}
	}
	if err := rows.Err(); err != nil {
		return pipeline.Output{}, explain(err)
	}
	return pipeline.Output{}, pipeline.ErrNotFound
}

// Playback returns whose a video is, and who may play it. An unknown video is pipeline.ErrNotFound.
func (c *Catalog) Playback(ctx context.Context, video string) (
	project string, policy pipeline.PlaybackPolicy, err error,
) {
	signed := false
	err = c.reader.stmt(sqlPlayback).QueryRowContext(ctx, video).Scan(&project, &signed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", "", fmt.Errorf("playback of %s: %w", video, pipeline.ErrNotFound)
	case err != nil:
		return "", "", fmt.Errorf("playback of %s: %w", video, c.explain(err))
	case signed:
		return project, pipeline.PlaybackSigned, nil
	}
	return project, pipeline.PlaybackPublic, nil
}

// Played returns a video and, if it is playable, the outputs of its completed jobs as the jobs published
// them, in the order of the jobs' names. An unknown video is pipeline.ErrNotFound. Like Resolve, it does
// not check the project.
func (c *Catalog) Played(ctx context.Context, video string) (
	view pipeline.VideoView, outputs []pipeline.Output, err error,
) {
	view, outputs, err = c.played(ctx, video)
	if err != nil {
		return pipeline.VideoView{}, nil, fmt.Errorf("what is played of %s: %w", video, c.explain(err))
	}
	return view, outputs, nil
}

func (c *Catalog) played(ctx context.Context, video string) (
	view pipeline.VideoView, outputs []pipeline.Output, err error,
) {
	err = scanDoc(c.reader.stmt(sqlAnyVideo).QueryRowContext(ctx, video), &view)
	if err != nil || !view.Playable {
		return view, nil, err
	}
	rows, err := c.reader.stmt(sqlAnyOutputs).QueryContext(ctx, video)
	if err != nil {
		return view, nil, explain(err)
	}
	views, err := scanDocs[pipeline.OutputView](rows)
	for _, v := range views {
		outputs = append(outputs, v.Output)
	}
	return view, outputs, err
}

// run is a number in a path, as pipeline.SegmentVerb writes it.
type run struct{ from, to, number int }

// segmentRuns returns the last maxRuns runs of digits in path that SegmentVerb can have written: five
// digits, or more without a leading zero. It starts with the last run, since numbers usually end file
// names.
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
