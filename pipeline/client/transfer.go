package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// transfer is one upload of a file in pieces.
type transfer struct {
	client  *Client
	options Options
	file    *os.File
	path    string
	info    os.FileInfo // when the upload began
	order   order
	chunk   int64
	sum     *prefixSum

	memory UploadMemory
	old    bool  // an earlier call has begun the upload
	offset int64 // bytes that the server keeps
	best   int64 // the most that it kept so far
}

// send sends all bytes that the server lacks, or as many as it can before the first failure.
func (t *transfer) send(ctx context.Context) error {
	if t.memory.URL == "" {
		if err := t.create(ctx); err != nil {
			return err
		}
	}
	if t.options.Multipart {
		return t.sendParts(ctx)
	}
	if err := t.locate(ctx); err != nil {
		return err
	}
	for t.offset < t.info.Size() {
		if err := t.patch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// create makes the upload, or gets the one that an earlier try has made with the key.
func (t *transfer) create(ctx context.Context) error {
	body, err := json.Marshal(t.order)
	if err != nil {
		return fmt.Errorf("encode upload: %w", err)
	}
	var v UploadView
	err = t.client.once(ctx, call{
		method: http.MethodPost, path: "/v1/uploads", key: t.memory.Key, body: body, into: &v,
	})
	if err != nil {
		return err
	}
	if v.Status.Ended() && v.Status != UploadCompleted {
		return v.problem()
	}
	prefix, address := "/v1/tus/", v.URL
	if t.options.Multipart {
		prefix, address = "/v1/uploads/", strings.TrimSuffix(v.PartsURL, "/parts")
	}
	_, token, found := strings.Cut(address, prefix)
	if !found || token == "" || v.Video == "" {
		return fmt.Errorf("the server's answer has no address for the bytes of upload %q", v.ID)
	}
	// The address that this client knows is sure to lead to the server; that in the answer may be for others.
	t.memory.URL, t.memory.Upload, t.memory.Video = prefix+token, v.ID, v.Video
	return t.save()
}

// tus sends a request of the protocol to the address of the upload.
func (t *transfer) tus(ctx context.Context, method string, body *chunkBody) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = body
	}
	req, err := t.client.request(ctx, method, t.memory.URL, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	if body != nil {
		req.ContentLength = body.size
		req.Header.Set("Upload-Offset", strconv.FormatInt(t.offset, 10))
		req.Header.Set("Content-Type", "application/offset+octet-stream")
		req.Header.Set("Expect", "100-continue") // lets a server refuse before the bytes are sent
	}
	return t.client.http.Do(req)
}

// locate asks how many bytes the server keeps. If all are, the server has made the video when it answers.
func (t *transfer) locate(ctx context.Context) error {
	resp, err := t.tus(ctx, http.MethodHead, nil)
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if resp.StatusCode/100 != 2 {
		return errorOf(resp)
	}
	return t.moved(resp)
}

// moved takes the offset that an answer tells.
func (t *transfer) moved(resp *http.Response) error {
	text := resp.Header.Get("Upload-Offset")
	offset, err := strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 || offset > t.info.Size() {
		return fmt.Errorf("the server answered with the offset %.40q to an upload of %d bytes", text, t.info.Size())
	}
	t.offset = offset
	t.best = max(t.best, offset)
	if t.options.Progress != nil {
		t.options.Progress(offset, t.info.Size())
	}
	return nil
}

// How long a request may stand still: while its bytes are sent, before its answer, and before the answer to
// the last one, for which the server may have to read all bytes of the file once more.
const (
	sendPatience   = time.Minute
	answerPatience = 2 * time.Minute
	finishPatience = time.Hour
)

// errStalled means that a request stood still for too long.
var errStalled = errors.New("the connection stands still")

// patch sends the next piece.
func (t *transfer) patch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(sendPatience, func() { cancel(errStalled) })
	defer watchdog.Stop()
	size := min(t.chunk, t.info.Size()-t.offset)
	body := &chunkBody{t: t, at: t.offset, size: size, left: size, sent: func(all bool) {
		switch {
		case !all:
			watchdog.Reset(sendPatience)
		case t.offset+size < t.info.Size():
			watchdog.Reset(answerPatience)
		default:
			watchdog.Reset(finishPatience)
		}
	}}
	resp, err := t.tus(ctx, http.MethodPatch, body)
	if local := body.stop(); local != nil {
		if err == nil {
			drain(resp.Body)
		}
		return local
	}
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			return cause
		}
		return err
	}
	defer drain(resp.Body)
	if resp.StatusCode/100 != 2 {
		return errorOf(resp)
	}
	before := t.offset
	if err := t.moved(resp); err != nil {
		return err
	}
	if t.offset <= before { // and the next request would not get further either
		return fmt.Errorf("the server keeps nothing of the bytes that it accepted at offset %d", before)
	}
	return nil
}

// chunkBody is the body of a request: bytes of the file. The transport may read it after the request has
// failed, so what it tells ends with stop.
type chunkBody struct {
	t     *transfer
	size  int64
	shift int64 // bytes sent in all, less the place in the file
	sent  func(all bool)

	mu       sync.Mutex
	at, left int64
	stopped  bool
	err      *localError
}

// Read implements io.Reader.
func (b *chunkBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stopped:
		return 0, io.ErrClosedPipe
	case b.left == 0:
		return 0, io.EOF
	}
	n, err := b.t.file.ReadAt(p[:min(int64(len(p)), b.left)], b.at)
	if n == 0 {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s has become shorter during the upload: %w", b.t.path, ErrChanged)
		}
		b.err = &localError{err}
		return 0, b.err
	}
	b.t.sum.add(b.at, p[:n])
	b.at, b.left = b.at+int64(n), b.left-int64(n)
	b.sent(b.left == 0)
	if tell := b.t.options.Progress; tell != nil {
		tell(b.at+b.shift, b.t.info.Size())
	}
	return n, nil
}

// stop ends what the body tells, and returns the error of the file, if that was the fault.
func (b *chunkBody) stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	if b.err == nil {
		return nil
	}
	return b.err
}

// prefixSum is the SHA-256 of the first bytes of a file. Each byte counts as it was when it was first sent.
// What an earlier process has sent is read again.
type prefixSum struct {
	file io.ReaderAt
	hash hash.Hash
	at   int64
}

func newPrefixSum(file io.ReaderAt) *prefixSum { return &prefixSum{file: file, hash: sha256.New()} }

// add takes bytes of the file, if they are the next ones.
func (s *prefixSum) add(at int64, p []byte) {
	if skip := s.at - at; skip >= 0 && skip < int64(len(p)) {
		n, _ := s.hash.Write(p[skip:]) // never fails
		s.at += int64(n)
	}
}

// upTo returns the sum of the first size bytes.
func (s *prefixSum) upTo(size int64) (string, error) {
	if s.at < size {
		n, err := io.Copy(s.hash, io.NewSectionReader(s.file, s.at, size-s.at))
		if s.at += n; err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(s.hash.Sum(nil)), nil
}
