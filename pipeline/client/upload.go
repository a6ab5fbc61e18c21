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

	"github.com/reelmill/reelmill/pipeline"
)

// Upload is a video to be uploaded, and what is wanted of it. Either Path or Reader and Name are set.
type Upload struct {
	Path string // a file; it is opened anew for every try

	// Reader is read once, and again only when it can Seek back to where it began. Upload returns when its
	// last Read has: one that blocks holds it up.
	Reader io.Reader
	Name   string // the file's name; that of Path when empty
	Size   int64  // bytes of Reader, for Progress; 0 when unknown

	Pipeline    string            // the server's default when empty
	Priority    pipeline.Priority // pipeline.Normal when empty
	Metadata    map[string]string // returned as given
	Passthrough string            // returned as given, in webhooks too
	// Watermark is empty, text:..., a JSON object of parameters, or the path of an image (IsParameters).
	Watermark  string
	WebhookURL string
	// IdempotencyKey names the upload over all its tries, also those of a later process; a random one when
	// empty.
	IdempotencyKey string

	// Progress is called from another goroutine while bytes are sent: how many of total, which is 0 when
	// unknown. It falls back to 0 when the upload is tried again.
	Progress func(sent, total int64)
	// Again is called before each pause after which the upload is tried again, with what went wrong. All tries
	// of an upload to which nothing answers take about RetryTime; a server that answers may ask for more.
	Again func(err error)
}

// Upload uploads a video and returns it as the server knows it. It is tried again, under one idempotency
// key, when the connection breaks or the server is at fault, and never for what the server refused.
func (c *Client) Upload(ctx context.Context, u Upload) (pipeline.VideoView, error) {
	src, err := openSource(u)
	if err != nil {
		return pipeline.VideoView{}, err
	}
	if u.IdempotencyKey == "" {
		u.IdempotencyKey = rand.Text()
	}
	for failed := 0; ; {
		v, err := c.try(ctx, u, src)
		if err == nil {
			return v, nil
		}
		if failed++; ctx.Err() != nil || failed > maxFailures || !src.again || !passing(err) {
			return v, err
		}
		wait := c.retry(failed)
		if e, ok := errors.AsType[*Error](err); ok {
			wait = max(wait, e.RetryAfter)
		}
		if u.Again != nil {
			u.Again(err)
		}
		if err := pause(ctx, wait); err != nil {
			return v, err
		}
	}
}

// source is where the bytes of an upload come from.
type source struct {
	name  string
	size  int64 // 0 when unknown
	again bool  // whether open works more than once
	open  func() (io.ReadCloser, error)
}

// localError is an error of this machine's file: trying again does not help.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
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
		return source{}, errors.New("upload: neither Path nor Reader and Name are set")
	}
	src := source{name: u.Name, size: u.Size}
	src.open = func() (io.ReadCloser, error) { return io.NopCloser(u.Reader), nil }
	if seeker, ok := u.Reader.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil { // a pipe says that it cannot
			src.again = true
			src.open = func() (io.ReadCloser, error) {
				_, err := seeker.Seek(start, io.SeekStart)
				return io.NopCloser(u.Reader), err
			}
		}
	}
	return src, nil
}

// try sends the form once. The body is written by a goroutine into a pipe, and so is never whole in memory;
// it has ended when try returns.
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
	req.Header.Set("Expect", "100-continue") // a server that refuses does so before the bytes are sent
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

// writeForm writes the fields before the file, so that the server can refuse them before it reads the file.
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
		{"pipeline", u.Pipeline}, {"priority", string(u.Priority)}, {"passthrough", u.Passthrough},
		{"webhook_url", u.WebhookURL},
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

// IsParameters reports whether a watermark is given by parameters, and not by an image.
func IsParameters(watermark string) bool {
	return strings.HasPrefix(watermark, "text:") || strings.HasPrefix(strings.TrimSpace(watermark), "{")
}

// quoter escapes a file name as curl does: a quoted-string of RFC 7578, section 4.2, which the server reads
// back as it was. Browsers write %22 for a quote, which no server can tell from a name that has %22. Line
// ends are of no name that a server keeps.
var quoter = strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, `\"`, `\`, `\\`)

func writeFile(form *multipart.Writer, field, name string, body io.Reader) error {
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, field, quoter.Replace(name))},
		"Content-Type":        {"application/octet-stream"},
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(part, body)
	return err
}

// meter tells how many bytes were read, and marks errors as this machine's.
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
