package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// methodMultipart is the method of an upload whose bytes go straight to the bucket.
const methodMultipart = "multipart"

// presignBatch is how many URLs of parts a client asks for at once.
const presignBatch = 16

// sendParts sends the parts that the bucket lacks, or as many as it can before the first failure, and
// completes the upload.
func (t *transfer) sendParts(ctx context.Context) error {
	v, missing, err := t.missingParts(ctx)
	if err != nil || v.Status == UploadCompleted {
		return err
	}
	for batch := range slices.Chunk(missing, presignBatch) {
		if err := t.sendBatch(ctx, *v.PartSize, batch); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, finishPatience, errStalled)
	defer cancel()
	return t.client.once(ctx, call{method: http.MethodPost, path: t.memory.URL + "/complete"})
}

// missingParts returns the upload, and the numbers of the parts that the bucket lacks.
func (t *transfer) missingParts(ctx context.Context) (v UploadView, missing []int, err error) {
	id := call{method: http.MethodGet, path: "/v1/uploads/" + url.PathEscape(t.memory.Upload), into: &v}
	if err := t.client.once(ctx, id); err != nil {
		return v, nil, err
	}
	if v.Status == UploadCompleted {
		return v, nil, t.arrived(t.info.Size())
	}
	if v.Status.Ended() {
		return v, nil, v.problem()
	}
	if v.PartSize == nil || *v.PartSize < 1 {
		return v, nil, fmt.Errorf("the server does not say how large the parts of upload %q are", v.ID)
	}
	has := map[int]bool{}
	most := url.Values{"limit": {"1000"}}
	for part, err := range pages[sentPart](ctx, t.client, t.memory.URL+"/parts", most) {
		if err != nil {
			return v, nil, err
		}
		has[part.Number] = true
	}
	kept := int64(0)
	for n := 1; int64(n-1)**v.PartSize < t.info.Size(); n++ {
		if _, size := t.part(*v.PartSize, n); has[n] {
			kept += size
		} else {
			missing = append(missing, n)
		}
	}
	return v, missing, t.arrived(kept)
}

// sentPart is a part that the bucket has.
type sentPart struct {
	Number int `json:"number"`
}

// part returns where a part begins, and how many bytes it has.
func (t *transfer) part(partSize int64, number int) (at, size int64) {
	at = int64(number-1) * partSize
	return at, min(partSize, t.info.Size()-at)
}

// arrived notes how many bytes the bucket has.
func (t *transfer) arrived(bytes int64) error {
	t.offset, t.best = bytes, max(t.best, bytes)
	if t.options.Progress != nil {
		t.options.Progress(bytes, t.info.Size())
	}
	return nil
}

// sendBatch sends some parts, one after the other.
func (t *transfer) sendBatch(ctx context.Context, partSize int64, numbers []int) error {
	body, err := json.Marshal(map[string][]int{"numbers": numbers})
	if err != nil {
		return err
	}
	var urls struct {
		Parts []struct {
			Number int    `json:"number"`
			URL    string `json:"url"`
		} `json:"parts"`
	}
	err = t.client.once(ctx, call{
		method: http.MethodPost, path: t.memory.URL + "/parts", body: body, into: &urls,
	})
	if err != nil {
		return err
	}
	for _, p := range urls.Parts {
		if !slices.Contains(numbers, p.Number) {
			return fmt.Errorf("the server answered part %d, for which nobody asked", p.Number)
		}
		at, size := t.part(partSize, p.Number)
		if err := t.putPart(ctx, p.Number, p.URL, at, size); err != nil {
			return err
		}
		if err := t.arrived(t.offset + size); err != nil {
			return err
		}
	}
	return nil
}

// bucketError is an answer of the bucket other than success. Another try, with a new URL, may succeed.
type bucketError struct {
	part, status int
	code         string // of S3; may be empty
}

// Error says what the bucket answered.
func (e *bucketError) Error() string {
	if e.code == "" {
		return fmt.Sprintf("the bucket answered status %d to part %d", e.status, e.part)
	}
	return fmt.Sprintf("the bucket answered status %d (%s) to part %d", e.status, e.code, e.part)
}

// bucketCode finds the code in an error document of S3.
var bucketCode = regexp.MustCompile(`<Code>([A-Za-z0-9]{1,64})</Code>`)

// putPart sends a part to the bucket. It has a transport of its own: headers that Config.HTTP adds are for
// the server, and perhaps secret.
func (t *transfer) putPart(ctx context.Context, number int, address string, at, size int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(sendPatience, func() { cancel(errStalled) })
	defer watchdog.Stop()
	body := &chunkBody{t: t, at: at, size: size, left: size, shift: t.offset - at, sent: func(all bool) {
		watchdog.Reset(sendPatience)
		if all {
			watchdog.Reset(answerPatience)
		}
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address, body)
	if err != nil {
		return fmt.Errorf("the server's address of part %d is no URL", number) // which is secret
	}
	req.ContentLength = size
	resp, err := (&http.Client{}).Do(req)
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
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL
		}
		return fmt.Errorf("send part %d to the bucket: %w", number, err)
	}
	defer drain(resp.Body)
	if resp.StatusCode/100 == 2 {
		return nil
	}
	failed := &bucketError{part: number, status: resp.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // a part of it will do
	if m := bucketCode.FindSubmatch(text); m != nil {
		failed.code = string(m[1])
	}
	return failed
}
