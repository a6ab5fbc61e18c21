package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Upload is a video to upload, with its options. Set Path, or Reader and Name, or URL.
type Upload struct {
	// URL is an http(s) address of a file that the server fetches. It may be signed: answers show only its
	// scheme and host. Upload returns at once, before anything is fetched; what fails later is the Problem of
	// the video. Name is then what the video is called; empty: as its server calls it. An image as Watermark
	// is refused, and Progress is not called: the progress of fetching is in the events (Progress.Bytes).
	URL string

	Path string // a file; every try opens it again

	// Reader is read once, or again if it can Seek back to where it began. Upload returns only after the
	// last Read, so a Read that blocks delays it.
	Reader io.Reader
	Name   string // the file's name; empty: that of Path
	Size   int64  // bytes of Reader, for Progress; 0 if unknown

	Pipeline    string            // empty: the server's default
	Priority    pipeline.Priority // empty: pipeline.Normal
	Title       string            // of the video, at most 512 characters
	Metadata    map[string]string // returned as given
	Passthrough string            // returned as given, in webhooks too
	// PlaybackPolicy says who may play the video. Empty: what the project says.
	PlaybackPolicy pipeline.PlaybackPolicy
	// Watermark is empty, text:..., a JSON object of parameters, or the path of an image (IsParameters).
	Watermark  string
	WebhookURL string
	// IdempotencyKey identifies the upload in all its tries, including those of a later process. Empty: a
	// random key.
	IdempotencyKey string

	// Progress is called from another goroutine while bytes are sent. total is 0 if unknown; sent starts at
	// 0 again with each try.
	Progress func(sent, total int64)
	// Again is called with the error before each pause after which the upload is retried. Without any
	// answer, all tries take about RetryTime; a server that answers may ask for more.
	Again func(err error)
}

// Upload uploads a video and returns the server's view of it. It retries, with one idempotency key, if the
// connection breaks or the server is at fault, but not if the server refuses the upload.
func (c *Client) Upload(ctx context.Context, u Upload) (pipeline.VideoView, error) {
	if u.IdempotencyKey == "" {
		u.IdempotencyKey = rand.Text()
	}
	if u.URL != "" {
		return c.persist(ctx, u, true, func() (pipeline.VideoView, error) { return c.fetch(ctx, u) })
	}
	src, err := openSource(u)
	if err != nil {
		return pipeline.VideoView{}, err
	}
	return c.persist(ctx, u, src.again, func() (pipeline.VideoView, error) { return c.try(ctx, u, src) })
}

// persist tries until the server has the upload, refuses it, or has failed too often.
func (c *Client) persist(ctx context.Context, u Upload, again bool, try func() (pipeline.VideoView, error)) (
	pipeline.VideoView, error,
) {
	for failed := 0; ; {
		v, err := try()
		if err == nil {
			return v, nil
		}
		if failed++; ctx.Err() != nil || failed > maxFailures || !again || !passing(err) {
			return v, err
		}
		wait := c.retry(failed)
		if e, ok := errors.AsType[*Error](err); ok {
			wait = max(wait, e.RetryAfter)
		}
		if u.Again != nil {
			u.Again(err)
		}
		if !pause.For(ctx, wait) {
			return v, context.Cause(ctx)
		}
	}
}

// fetch asks the server once to fetch the video.
func (c *Client) fetch(ctx context.Context, u Upload) (v pipeline.VideoView, err error) {
	if u.Path != "" || u.Reader != nil {
		return v, &localError{errors.New("upload: both URL and a file are set")}
	}
	if u.Watermark != "" && !IsParameters(u.Watermark) {
		return v, &localError{errors.New("upload: an image as watermark cannot come with a URL; " +
			"upload the file itself")}
	}
	o := order{
		URL: u.URL, Filename: u.Name, Pipeline: u.Pipeline, Priority: u.Priority, Title: u.Title,
		Metadata: u.Metadata, Passthrough: u.Passthrough, WebhookURL: u.WebhookURL,
		PlaybackPolicy: u.PlaybackPolicy,
	}
	if o.Watermark, err = watermarkOf(u.Watermark); err != nil {
		return v, &localError{err}
	}
	body, err := json.Marshal(o)
	if err != nil {
		return v, &localError{err}
	}
	err = c.once(ctx, call{
		method: http.MethodPost, path: "/v1/videos", key: u.IdempotencyKey, body: body, into: &v,
	})
	return v, err
}

// source yields the bytes of an upload.
type source struct {
	name  string
	size  int64 // 0 if unknown
	again bool  // open works more than once
	open  func() (io.ReadCloser, error)
}

// localError is an error of a local file: retrying does not help.
type localError struct{ err error }

// Error implements error.
func (e *localError) Error() string { return e.err.Error() }

// Unwrap returns the error within.
func (e *localError) Unwrap() error { return e.err }

func openSource(u Upload) (source, error) {
	if u.Path != "" {
		info, err := os.Stat(u.Path)
		if err != nil {
			return source{}, fmt.Errorf("upload: %w", err)
		}
		if info.IsDir() {
			return source{}, fmt.Errorf("upload %s: it is a folder", u.Path)
		}
		name := u.Name
		if name == "" {
			name = filepath.Base(u.Path)
		}
		open := func() (io.ReadCloser, error) { return os.Open(u.Path) }
		return source{name: name, size: info.Size(), again: info.Mode().IsRegular(), open: open}, nil
	}
	if u.Reader == nil || u.Name == "" {
		return source{}, errors.New("upload: neither Path, nor Reader and Name, nor URL are set")
	}
	src := source{name: u.Name, size: u.Size}
	src.open = func() (io.ReadCloser, error) { return io.NopCloser(u.Reader), nil }
	if seeker, ok := u.Reader.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil { // fails for a pipe
			src.again = true
			src.open = func() (io.ReadCloser, error) {
				_, err := seeker.Seek(start, io.SeekStart)
				return io.NopCloser(u.Reader), err
			}
		}
	}
	return src, nil
}

// try sends the form once. A goroutine writes the body into a pipe, so it is never completely in memory;
// the goroutine has ended when try returns.
func (c *Client) try(ctx context.Context, u Upload, src source) (pipeline.VideoView, error) {
	var v pipeline.VideoView
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	var wg sync.WaitGroup
	var local *localError
	wg.Go(func() {
		err := writeForm(form, u, src)
		if e, ok := errors.AsType[*localError](err); ok {
			local = e
		}
		w.CloseWithError(err)
	})
	defer wg.Wait()
	defer r.Close()
	req, err := c.request(ctx, http.MethodPost, "/v1/videos", r)
	if err != nil {
		return v, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Idempotency-Key", u.IdempotencyKey)
	req.Header.Set("Expect", "100-continue") // lets a server refuse before the bytes are sent
	resp, err := c.http.Do(req)
	if err != nil {
		r.CloseWithError(err)
		wg.Wait()
		if local != nil {
			return v, local
		}
		return v, err
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusCreated {
		return v, errorOf(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&v); err != nil {
		return v, fmt.Errorf("decode answer to the upload: %w", err)
	}
	return v, nil
}

// writeForm writes the fields first, so that the server can refuse them before it reads the file.
func writeForm(form *multipart.Writer, u Upload, src source) error {
	if err := writeFields(form, u); err != nil {
		return err
	}
	body, err := src.open()
	if err != nil {
		return &localError{err}
	}
	err = writeFile(form, "file", src.name, &meter{r: body, total: src.size, tell: u.Progress})
	if closed := body.Close(); err == nil && closed != nil {
		err = &localError{closed}
	}
	if err != nil {
		return err
	}
	return form.Close()
}

func writeFields(form *multipart.Writer, u Upload) error {
	fields := [][2]string{
		{"pipeline", u.Pipeline}, {"priority", string(u.Priority)}, {"title", u.Title},
		{"passthrough", u.Passthrough}, {"webhook_url", u.WebhookURL},
		{"playback_policy", string(u.PlaybackPolicy)},
	}
	if len(u.Metadata) > 0 {
		raw, err := json.Marshal(u.Metadata)
		if err != nil {
			return &localError{err}
		}
		fields = append(fields, [2]string{"metadata", string(raw)})
	}
	if IsParameters(u.Watermark) {
		fields = append(fields, [2]string{"watermark", u.Watermark})
	}
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		if err := form.WriteField(f[0], f[1]); err != nil {
			return err
		}
	}
	if u.Watermark == "" || IsParameters(u.Watermark) {
		return nil
	}
	image, err := os.Open(u.Watermark)
	if err != nil {
		return &localError{fmt.Errorf("watermark: %w", err)}
	}
	defer image.Close()
	return writeFile(form, "watermark", filepath.Base(u.Watermark), &meter{r: image})
}

// IsParameters reports whether a watermark is given as parameters, not as an image.
func IsParameters(watermark string) bool {
	return strings.HasPrefix(watermark, "text:") || strings.HasPrefix(strings.TrimSpace(watermark), "{")
}

// quoter escapes a file name as curl does: as a quoted-string of RFC 7578, section 4.2, which the server
// decodes exactly. Browsers write %22 for a quote, which no server can distinguish from a name with %22.
var quoter = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

// quoted returns a file name as part of a header. It leaves out control characters: a header cannot carry
// them, and the server drops them.
func quoted(name string) string {
	return quoter.Replace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, name))
}

func writeFile(form *multipart.Writer, field, name string, body io.Reader) error {
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, field, quoted(name))},
		"Content-Type":        {"application/octet-stream"},
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(part, body)
	return err
}

// meter counts the bytes read, and marks errors as local.
type meter struct {
	r           io.Reader
	sent, total int64
	tell        func(sent, total int64) // may be nil
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.sent += int64(n)
	if n > 0 && m.tell != nil {
		m.tell(m.sent, m.total)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = &localError{err}
	}
	return n, err
}
