package ffmpeg

import (
	"errors"
	"io"
	"regexp"
	"sort"
	"strings"
	"sync"
)

const defaultTail = 8 << 10

// tail keeps the last bytes written to it and hides paths. It is safe for concurrent use, since it is read
// while a killed process may still hold the pipe.
type tail struct {
	mu    sync.Mutex
	max   int
	buf   []byte
	cut   bool
	paths []redaction
}

type redaction struct{ path, name string }

func newTail(limit int) *tail {
	if limit <= 0 {
		limit = defaultTail
	}
	t := &tail{max: limit}
	t.hide(codecWhitelist(), "<codecs>") // a message would have two kilobytes of it
	t.hide(formatWhitelist, "<formats>")
	return t
}

// pointer is the address of an ffmpeg object: noise that differs in each run.
var pointer = regexp.MustCompile(` @ 0x[0-9a-f]+\]`)

// hide replaces path by name in everything that this tail returns.
func (t *tail) hide(path, name string) {
	if len(path) < 4 {
		return // not a secret, and part of many words
	}
	t.paths = append(t.paths, redaction{path, name})
	// Longest first, or a directory would replace the start of its files' paths.
	sort.SliceStable(t.paths, func(i, j int) bool { return len(t.paths[i].path) > len(t.paths[j].path) })
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > t.max {
		p, t.cut = p[len(p)-t.max:], true
	}
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
		t.cut = true
	}
	return n, nil
}

// String returns the cleaned end of the stream. It starts at a whole line if something was cut off.
func (t *tail) String() string {
	t.mu.Lock()
	s, cut := string(t.buf), t.cut
	t.mu.Unlock()
	if cut {
		if _, rest, ok := strings.Cut(s, "\n"); ok {
			s = rest
		}
	}
	s = strings.ReplaceAll(s, "\r", "\n")
	s = cleanRunes(pointer.ReplaceAllString(s, "]"), t.max, true)
	// ffmpeg prints names from files as they are. None of them may look like a hidden path.
	return t.redact(strings.ReplaceAll(s, "<", "("))
}

func (t *tail) redact(s string) string {
	for _, r := range t.paths {
		s = strings.ReplaceAll(s, r.path, r.name)
	}
	return s
}

func (t *tail) redactAll(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = t.redact(a)
	}
	return out
}

// capped passes on at most left bytes, then calls over (once, may be nil) and fails.
type capped struct {
	w    io.Writer
	left int64
	over func()
}

var errCapped = errors.New("output limit passed")

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left {
		c.left -= int64(len(p))
		return c.w.Write(p)
	}
	if c.over != nil {
		c.over()
		c.over = nil
	}
	return 0, errCapped
}
