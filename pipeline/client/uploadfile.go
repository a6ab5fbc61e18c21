package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Options are the options of UploadFile. The zero value uploads with the defaults of the server.
type Options struct {
	Name        string            // of the file; empty: that of its path
	Pipeline    string            // empty: the server's default
	Priority    pipeline.Priority // empty: pipeline.Normal
	Title       string            // of the video, at most 512 characters
	Metadata    map[string]string // returned as given
	Passthrough string            // returned as given, in webhooks too
	// PlaybackPolicy says who may play the video. Empty: what the project says.
	PlaybackPolicy pipeline.PlaybackPolicy
	// Watermark is empty, text:..., or a JSON object of parameters (IsParameters). With an image, use Upload.
	Watermark  string
	WebhookURL string

	// SHA256 is the sum that the file must have, in hex. The server's sum is always compared with that of the
	// bytes sent; this also finds a file that was changed before.
	SHA256 string
	// State is the path of a file that remembers the upload, with mode 0600: its URL is a secret. Another call,
	// of any process, with the same State, path and options goes on with the upload; when that was completed,
	// it returns its video, so that one state is one video. Remove the file to upload the same again. When the
	// file to upload, an option or the server has changed, UploadFile begins a new upload and forgets the old
	// one. Empty: nothing is remembered after the call.
	State string
	// IdempotencyKey identifies the upload, also to another process without the state. Empty: a random key.
	IdempotencyKey string
	// Chunk is how many bytes one request sends at most. Default: 64 MiB; less when a proxy refuses that much.
	Chunk int64
	// Multipart sends the bytes straight to the bucket of the server, in parts, to presigned URLs. So the
	// bucket must be reachable from here. A server without one refuses: an *Error with code
	// multipart_unsupported. Chunk has no meaning then: the server says how large parts are.
	Multipart bool

	// Progress is called while bytes are sent, never from two goroutines at once. sent includes what the server
	// keeps from before, and falls to that when a connection breaks.
	Progress func(sent, total int64)
	// Again is called with the error before each pause after which UploadFile goes on. Without any progress,
	// all tries take about RetryTime; a server that answers may ask for more.
	Again func(err error)
}

// ErrChanged means that the video that the server has is not the file: somebody wrote to the file during the
// upload, or it does not have the sum of Options.SHA256. The video exists; delete it.
var ErrChanged = errors.New("the video is not what the file is now")

const (
	defaultChunk = 64 << 20
	minChunk     = 256 << 10
)

// UploadFile uploads a regular file by tus 1.0 (https://tus.io) and returns the server's view of the video.
// It sends the file in pieces; with Options.Multipart, straight to the server's bucket. When a connection
// breaks, the server restarts or, with Options.State, this program does, it goes on after the bytes that the
// server keeps: none that was acknowledged is sent again. In the end it compares size and SHA-256 with those
// of the server (ErrChanged). A refusal is an *Error.
func (c *Client) UploadFile(ctx context.Context, path string, o Options) (pipeline.VideoView, error) {
	t, err := c.transfer(path, o)
	if err != nil {
		return pipeline.VideoView{}, err
	}
	defer t.file.Close()
	if err := t.load(); err != nil {
		return pipeline.VideoView{}, err
	}
	for failed := 0; ; {
		before := t.best
		v, err := t.try(ctx)
		switch {
		case err == nil:
			return v, nil
		case ctx.Err() != nil:
			return v, context.Cause(ctx)
		case t.lost(err) && t.old:
			if err := t.renew(); err != nil {
				return v, err
			}
			continue
		case t.tooLarge(err):
			t.chunk /= 2
			continue
		case t.best > before:
			failed = 0
		}
		if failed++; failed > maxFailures || !t.passing(err) {
			return v, err
		}
		if o.Again != nil {
			o.Again(err)
		}
		if !pause.For(ctx, max(c.retry(failed), asked(err))) {
			return v, context.Cause(ctx)
		}
	}
}

// transfer opens the file and returns an upload of it that has not begun.
func (c *Client) transfer(path string, o Options) (*transfer, error) {
	if o.Watermark != "" && !IsParameters(o.Watermark) {
		return nil, errors.New("upload: an image as watermark cannot be sent in pieces; use Upload")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("upload: %w", err)
	case info.IsDir():
		err = fmt.Errorf("upload %s: it is a folder", path)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("upload %s: it is no regular file, so it cannot be sent in pieces; use Upload", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t := &transfer{
		client: c, options: o, file: f, path: path, info: info,
		chunk: max(cmp.Or(o.Chunk, defaultChunk), 1), sum: newPrefixSum(f),
	}
	size := info.Size()
	t.order = order{
		Filename: cmp.Or(o.Name, filepath.Base(path)), Size: &size, Pipeline: o.Pipeline,
		Priority: o.Priority, Title: o.Title, Metadata: o.Metadata, Passthrough: o.Passthrough,
		WebhookURL: o.WebhookURL, PlaybackPolicy: o.PlaybackPolicy,
	}
	if o.Multipart {
		t.order.Method = methodMultipart
	}
	if t.order.Watermark, err = watermarkOf(o.Watermark); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// load finds out whether the upload was begun before.
func (t *transfer) load() error {
	request, err := hashOf(t.order)
	if err != nil {
		return err
	}
	fresh := UploadMemory{
		Server: t.client.base, Path: t.path, Size: t.info.Size(), Modified: t.info.ModTime().UTC(),
		Request: request, Key: cmp.Or(t.options.IdempotencyKey, rand.Text()),
	}
	if t.options.State == "" {
		t.memory = fresh
		return nil
	}
	before, err := ReadUploadMemory(t.options.State)
	switch {
	case err == nil && before.sameUpload(fresh):
		t.memory, t.old = before, true
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	t.memory = fresh
	return t.save() // before the request, whose answer may be lost
}

// renew begins a new upload instead of one that the server has forgotten or ended.
func (t *transfer) renew() error {
	t.old, t.offset, t.best = false, 0, 0
	t.memory.Key, t.memory.URL, t.memory.Upload, t.memory.Video = rand.Text(), "", "", ""
	t.memory.Completed = false
	return t.save()
}

// try brings the upload to its end, or as far as the first failure.
func (t *transfer) try(ctx context.Context) (pipeline.VideoView, error) {
	if t.memory.Completed {
		return t.client.Video(ctx, t.memory.Video)
	}
	if err := t.send(ctx); err != nil && !t.forgotten(err) {
		return pipeline.VideoView{}, err
	}
	v, err := t.client.Video(ctx, t.memory.Video)
	if err != nil {
		return v, fmt.Errorf("look at video %s, whose bytes are all sent: %w", t.memory.Video, err)
	}
	if err := t.compare(v); err != nil {
		return v, errors.Join(err, t.forget())
	}
	t.memory.Completed = true
	return v, t.save()
}

// compare compares the video with the file. It reads what was sent by an earlier process.
func (t *transfer) compare(v pipeline.VideoView) error {
	now, err := t.file.Stat()
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if now.Size() != t.info.Size() || !now.ModTime().Equal(t.info.ModTime()) {
		return fmt.Errorf("video %s of %s: the file was written to during the upload: %w", v.ID, t.path, ErrChanged)
	}
	sum, err := t.sum.upTo(t.info.Size())
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	want := cmp.Or(strings.ToLower(t.options.SHA256), sum)
	if v.Size != t.info.Size() || v.SHA256 != sum || sum != want {
		return fmt.Errorf("video %s has %d bytes with SHA-256 %s, and %s has %d with %s, expected %s: %w", v.ID,
			v.Size, v.SHA256, t.path, t.info.Size(), sum, want, ErrChanged)
	}
	return nil
}

// lost reports whether err means that the server no longer has the upload.
func (t *transfer) lost(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// forgotten reports whether err may mean that the server has forgotten an upload which an earlier call has
// completed. Then its video is there, unless somebody deleted it.
func (t *transfer) forgotten(err error) bool { return t.old && t.memory.Video != "" && t.lost(err) }

// tooLarge reports whether a proxy refuses a request of this size, and a smaller one is possible.
func (t *transfer) tooLarge(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusRequestEntityTooLarge && e.Code == "" && t.memory.URL != "" &&
		t.chunk > minChunk
}

// passing reports whether going on may succeed later. Answers to HEAD have no problem document, so the status
// has to do.
func (t *transfer) passing(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusConflict, http.StatusLocked, http.StatusRequestTimeout, statusChecksum:
			return t.memory.URL != ""
		}
	}
	return passing(err)
}

// statusChecksum is the status of tus for bytes that were changed on the way.
const statusChecksum = 460
