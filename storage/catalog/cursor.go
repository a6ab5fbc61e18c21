package catalog

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// position is a place between two videos of a list, and a direction. A cursor is a position as text.
type position struct {
	kind      byte // one of kinds; 0: the beginning of the list
	back      bool // towards the beginning
	inclusive bool // the video at the place counts, if it exists
	micros    int64
	id        string
	tag       string // of the query
}

// The kinds of cursors: after or before a video, and from a video on, with it, in either direction.
const kinds = "abft"

// newPosition returns the position at a video.
func (q Query) newPosition(back, inclusive bool, micros int64, id string) position {
	p := position{back: back, inclusive: inclusive, micros: micros, id: id, tag: q.tag()}
	switch {
	case back && inclusive:
		p.kind = 't'
	case inclusive:
		p.kind = 'f'
	case back:
		p.kind = 'b'
	default:
		p.kind = 'a'
	}
	return p
}

// position returns where the page of q begins. ErrCursor: the cursor is not one of this query.
func (q Query) position() (position, error) {
	if q.Cursor == "" {
		return position{}, nil
	}
	p, err := parseCursor(q.Cursor)
	if err != nil {
		return p, err
	}
	if p.tag != q.tag() {
		return p, fmt.Errorf("%w: it belongs to a list with other filters or another order", ErrCursor)
	}
	return p, nil
}

// edges returns the positions before the first and after the last of some videos, in the order of the list.
// When there are none, these are on both sides of at.
func (q Query) edges(views []pipeline.VideoView, at position) (first, last position) {
	if len(views) > 0 {
		head, tail := views[0], views[len(views)-1]
		return q.newPosition(true, false, head.CreatedAt.UnixMicro(), head.ID),
			q.newPosition(false, false, tail.CreatedAt.UnixMicro(), tail.ID)
	}
	// What at excludes is on its other side: a page after a video begins behind it, and the page before that
	// ends with it.
	first = q.newPosition(true, at.back == at.inclusive, at.micros, at.id)
	last = q.newPosition(false, at.back != at.inclusive, at.micros, at.id)
	return first, last
}

// turned returns the edge from which the list goes on against the direction of p.
func (p position) turned(first, last position) position {
	if p.back {
		return last
	}
	return first
}

// String returns the cursor: base 64 of the kind, the tag, the time in microseconds and the id, with dots
// between.
func (p position) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%c.%s.%d.%s", p.kind, p.tag, p.micros, p.id))
}

// parseCursor accepts what String returns, and nothing else.
func parseCursor(cursor string) (p position, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	parts := strings.SplitN(string(raw), ".", 4)
	if err != nil || len(parts) != 4 || len(parts[0]) != 1 || !strings.Contains(kinds, parts[0]) {
		return p, ErrCursor
	}
	p = position{kind: parts[0][0], tag: parts[1], id: parts[3]}
	p.back, p.inclusive = p.kind == 'b' || p.kind == 't', p.kind == 'f' || p.kind == 't'
	p.micros, err = strconv.ParseInt(parts[2], 10, 64)
	if err != nil || !pipeline.ValidName(p.id) || p.String() != cursor { // 012 is none of ours, nor a line break
		return p, ErrCursor
	}
	return p, nil
}
