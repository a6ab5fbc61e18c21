package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/pipeline/pace"
)

// uploadBody reads a body until no bytes arrive for too long or the client is too slow, and keeps how it
// ended.
type uploadBody struct {
	body    io.Reader
	limit   int64 // bytes of the whole body
	control *http.ResponseController
	idle    time.Duration
	pace    pace.Pace
	moved   time.Time // when the deadline was last moved; zero before the first read
	ended   bool      // the body was read to its end
	slow    bool      // the client was too slow
	err     error     // the error that ended it otherwise
	stopped atomic.Bool
}

// newUploadBody reads the body of r, of at most limit bytes.
func newUploadBody(w http.ResponseWriter, r *http.Request, limit int64, l Limits) *uploadBody {
	return &uploadBody{
		body: http.MaxBytesReader(w, r.Body, limit), limit: limit, idle: l.UploadIdle,
		control: http.NewResponseController(w),
		pace:    pace.New(l.MinUploadRate, l.UploadSlack),
	}
}

// Read implements io.Reader.
func (b *uploadBody) Read(p []byte) (int, error) {
	if b.slow {
		return 0, os.ErrDeadlineExceeded
	}
	now, wait := time.Now(), min(b.idle, b.pace.Left())
	if wait < b.idle || now.Sub(b.moved) >= min(deadlineStep, b.idle/4) {
		b.moved = now
		if err := b.control.SetReadDeadline(now.Add(wait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, fmt.Errorf("set read deadline: %w", err)
		}
	}
	if b.stopped.Load() { // after the deadline was moved: interrupt may have come before that
		b.err = os.ErrDeadlineExceeded
		return 0, b.err
	}
	n, err := b.body.Read(p)
	b.slow = b.pace.Spent(time.Since(now), n)
	switch {
	case errors.Is(err, io.EOF):
		b.ended, b.slow = true, false
	case err == nil && b.slow:
		b.err = os.ErrDeadlineExceeded
		return 0, b.err
	case err != nil:
		b.err = err
	}
	return n, err
}

// interrupt makes Read fail, also one that waits for bytes. It may be called at any time, by anybody.
func (b *uploadBody) interrupt() {
	b.stopped.Store(true)
	_ = b.control.SetReadDeadline(time.Unix(1, 0)) // a connection without deadlines has none to move
}

// done removes the deadline: the server goes on reading, to notice when the client hangs up.
func (b *uploadBody) done() {
	_ = b.control.SetReadDeadline(time.Time{}) // a connection without deadlines has none to remove
}
