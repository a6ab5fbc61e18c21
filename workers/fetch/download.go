package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pace"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/workers"
)

// download is one attempt to fetch a file, with as many requests as it takes.
type download struct {
	config Config
	client *http.Client
	from   pipeline.Fetch
	job    workers.Attempt
	pace   pace.Pace

	kept     *kept // nil: nothing is kept for another attempt
	file     *os.File
	requests int
	got      int64 // bytes in file
	best     int64 // the most bytes that file ever had
	roomFor  int64 // bytes for which the disk had room
	paged    bool  // the first bytes were looked at

	// What the server said of the file that is being written; reset when a download begins anew.
	total       int64  // bytes; -1: unknown
	validator   string // strong, for If-Range; empty: there is none
	mediaType   string
	disposition string
}

func newDownload(w *Worker, from pipeline.Fetch, job workers.Attempt) *download {
	c := w.config
	return &download{
		config: c, client: w.client, from: from, job: job, total: -1,
		pace: pace.New(c.MinRate, c.Slack),
	}
}

const (
	// maxBroken is how many requests in a row may break without a new byte.
	maxBroken = 5
	// maxWait is the longest Retry-After that an attempt waits for.
	maxWait = 2 * time.Minute
	// roomStep is how many bytes the disk must have room for at a time while the size of the file is unknown.
	roomStep = 64 << 20
)

// brokenError says that a request did not bring the rest of the file, and that another may.
type brokenError struct {
	reason string
	after  time.Duration // the server asks to wait that long; 0: it does not say
}

// Error is the reason.
func (e brokenError) Error() string { return e.reason }

// to writes the whole file to a file called name. It goes on where an earlier attempt ended, if that was
// kept.
func (d *download) to(ctx context.Context, name string) (err error) {
	d.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.file.Close()) }()
	if err := d.restore(); err != nil {
		return err
	}
	if d.got > 0 && d.got == d.total {
		return d.ended()
	}
	err = d.fetch(ctx)
	return errors.Join(err, d.save(true))
}

// restore takes over what an earlier attempt kept, or makes the file empty.
func (d *download) restore() error {
	if d.kept == nil {
		return d.begin()
	}
	n, ok := d.kept.read()
	info, err := d.file.Stat()
	if err != nil || !ok || info.Size() < n.Size {
		return errors.Join(err, d.begin())
	}
	if err := d.file.Truncate(n.Size); err != nil {
		return err
	}
	_, err = d.file.Seek(0, io.SeekEnd)
	d.got, d.best, d.total, d.validator = n.Size, n.Size, n.Total, n.Validator
	d.mediaType, d.disposition = n.MediaType, n.Disposition
	return err
}

// save keeps what is there for a later attempt, if that is worth its cost, or always.
func (d *download) save(always bool) error {
	if d.kept == nil || d.validator == "" || d.got == 0 {
		return nil
	}
	n := noted{
		Size: d.got, Total: d.total, Validator: d.validator, MediaType: d.mediaType, Disposition: d.disposition,
	}
	if !always && !d.kept.due(n) {
		return nil
	}
	return d.kept.write(d.file, n)
}

// fetch makes requests until the file is whole.
func (d *download) fetch(ctx context.Context) error {
	for failed := 0; ; {
		before := d.best
		err := d.request(ctx)
		broken, again := errors.AsType[brokenError](err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !again:
			return err
		case d.best > before:
			failed = 0
		}
		if failed++; failed == maxBroken || broken.after > maxWait {
			return pipeline.Fail(pipeline.CodeFetchFailed, "%s", broken.reason)
		}
		if err := d.wait(ctx, failed, broken.after); err != nil {
			return err
		}
	}
}

// wait waits before the next request: as long as the server asks for, or longer each time that one fails.
func (d *download) wait(ctx context.Context, failed int, asked time.Duration) error {
	wait := d.config.Pause << (failed - 1)
	if d.pace.Spent(wait, 0) {
		return d.slow()
	}
	if !pause.For(ctx, max(wait, asked)) {
		return context.Cause(ctx)
	}
	return nil
}

func (d *download) slow() error {
	return pipeline.Fail(pipeline.CodeFetchFailed, "the server sent fewer than %d bytes a second for too long",
		d.config.MinRate)
}

// errSilent is the cause of a request that ended because the server sent nothing.
var errSilent = errors.New("the server sent nothing")

// request makes one request, for the rest of the file if there is a part of it that can be continued.
func (d *download) request(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.from.URL, http.NoBody)
	if err != nil {
		return pipeline.Fail(pipeline.CodeFetchRefused, "the URL cannot be used")
	}
	r.Header.Set("User-Agent", "ReelMill")
	r.Header.Set("Accept", "*/*")
	r.Header.Set("Accept-Encoding", "identity")
	ranged := d.got > 0 && d.validator != ""
	if ranged {
		r.Header.Set("Range", "bytes="+strconv.FormatInt(d.got, 10)+"-")
		r.Header.Set("If-Range", d.validator)
	}
	d.requests++
	began := time.Now()
	answer, err := d.client.Do(r)
	d.pace.Spent(time.Since(began), 0)
	if err != nil {
		return d.unanswered(err)
	}
	defer answer.Body.Close()
	if err := d.judge(answer, ranged); err != nil {
		return err
	}
	return d.read(ctx, answer.Body, cancel)
}

// begin makes the file empty, for a body that begins with the first byte.
func (d *download) begin() error {
	if d.kept != nil {
		if err := d.kept.forget(); err != nil {
			return err
		}
	}
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	d.got, d.total, d.validator, d.mediaType, d.disposition, d.paged = 0, -1, "", "", "", false
	return err
}

// read writes a body to the file until it ends. stop ends ctx and the request.
func (d *download) read(ctx context.Context, body io.Reader, stop context.CancelCauseFunc) error {
	watch := time.AfterFunc(d.config.Idle, func() { stop(errSilent) })
	defer watch.Stop()
	buffer := make([]byte, 256<<10)
	for {
		watch.Reset(min(d.config.Idle, d.pace.Left()))
		began := time.Now()
		n, err := body.Read(buffer)
		watch.Stop()
		slow := d.pace.Spent(time.Since(began), n)
		if err := d.write(buffer[:n]); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF):
			return d.ended()
		case slow:
			return d.slow()
		case errors.Is(context.Cause(ctx), errSilent):
			return brokenError{reason: fmt.Sprintf("the server sent nothing for %s after %s", d.config.Idle,
				d.share())}
		case err != nil:
			return brokenError{reason: fmt.Sprintf("the connection broke after %s", d.share())}
		}
	}
}

// share says how much of the file is there.
func (d *download) share() string {
	if d.total < 0 {
		return fmt.Sprintf("%d bytes", d.got)
	}
	return fmt.Sprintf("%d of %d bytes", d.got, d.total)
}

// write writes the next bytes.
func (d *download) write(p []byte) error {
	if limit := d.from.MaxBytes; limit > 0 && d.got+int64(len(p)) > limit {
		return d.tooLarge()
	}
	if err := d.room(int64(len(p))); err != nil {
		return err
	}
	n, err := d.file.Write(p)
	d.got += int64(n)
	d.best = max(d.best, d.got)
	if err != nil {
		return err
	}
	if d.got >= sniffed {
		if err := d.look(); err != nil {
			return err
		}
	}
	if err := d.save(false); err != nil {
		return err
	}
	d.job.Transferred(d.got, max(0, d.total))
	return nil
}

// room returns why the disk has no room for n more bytes. It asks for all that is to come, or for a step.
func (d *download) room(n int64) error {
	if d.got+n <= d.roomFor {
		return nil
	}
	need := max(n, roomStep)
	if d.total >= 0 {
		need = max(n, d.total-d.got)
	}
	if err := d.job.Room(need); err != nil {
		return err
	}
	d.roomFor = d.got + need
	return nil
}

func (d *download) tooLarge() error {
	return pipeline.Fail(pipeline.CodeTooLarge, "the file has more than %d bytes", d.from.MaxBytes)
}

// ended judges a body that ended without an error.
func (d *download) ended() error {
	switch {
	case d.total >= 0 && d.got != d.total:
		return brokenError{reason: fmt.Sprintf("the connection broke after %s", d.share())}
	case d.got == 0:
		return pipeline.Fail(pipeline.CodeFetchRefused, "the server sent a file without bytes")
	}
	return d.look()
}
