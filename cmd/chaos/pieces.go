package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// tusChunk is how many bytes a request of tus sends: a clip takes some requests.
const tusChunk = 16 << 10

// uploadByTus uploads a video in pieces. Every other try is cut at a random moment; the next one goes on.
func (l *load) uploadByTus(ctx context.Context, v *video) (string, error) {
	if l.phase.intN(2) == 0 {
		l.phase.count("an upload in pieces that was cut", 1)
		cut, cancel := context.WithTimeout(ctx, l.phase.between(0.005, 0.3))
		defer cancel()
		ctx = cut
	}
	o := client.Options{Pipeline: v.pipeline, IdempotencyKey: v.key, Passthrough: v.key, Chunk: tusChunk}
	if v.gone {
		o.Passthrough = gone
	}
	view, err := l.phase.api.UploadFile(ctx, v.file, o)
	if errors.Is(err, client.ErrChanged) {
		l.phase.count("an upload whose video has other bytes", 1) // the check finds it
	}
	return view.ID, err
}

// uploadContent uploads a video with one PUT. Every other try ends in the middle of the body, and the next
// one begins anew.
func (l *load) uploadContent(ctx context.Context, v *video) (string, error) {
	order := map[string]any{"filename": filepath.Base(v.file), "pipeline": v.pipeline, "passthrough": v.key}
	if v.gone {
		order["passthrough"] = gone
	}
	raw, err := json.Marshal(order)
	if err != nil {
		return "", err
	}
	var upload client.UploadView
	err = l.phase.send(ctx, http.MethodPost, "/v1/uploads", v.key, "application/json", bytes.NewReader(raw),
		&upload)
	if err != nil || upload.Status == client.UploadCompleted {
		return upload.Video, err
	}
	content, err := os.ReadFile(v.file)
	if err != nil {
		return "", err
	}
	var body io.Reader = bytes.NewReader(content)
	if l.phase.intN(2) == 0 {
		l.phase.count("a PUT that was cut", 1)
		body = io.MultiReader(bytes.NewReader(content[:l.phase.intN(len(content))]), cutReader{})
	}
	_, path, _ := strings.Cut(upload.ContentURL, "/v1/uploads/")
	err = l.phase.send(ctx, http.MethodPut, "/v1/uploads/"+path, "", "video/mp4", body, &upload)
	if err == nil && upload.Status != client.UploadCompleted {
		err = fmt.Errorf("the upload %s is %s after its last byte", upload.ID, upload.Status)
	}
	return upload.Video, err
}

// errCut is the end of a body that is cut.
var errCut = errors.New("cut on purpose")

// cutReader is the end of a body that is cut.
type cutReader struct{}

// Read implements io.Reader.
func (cutReader) Read([]byte) (int, error) { return 0, errCut }

// send sends a request, and decodes the answer. A refusal is a *client.Error.
func (p *phase) send(ctx context.Context, method, path, key, media string, body io.Reader, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", media)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	hc := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := hc.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return &client.Error{Status: resp.StatusCode, Code: "refused", Detail: string(raw)}
	}
	return json.Unmarshal(raw, into)
}

// checkSources compares the source of each video with the file that was uploaded, byte by byte.
func (p *phase) checkSources(r *result, events map[string][]pipeline.Event) {
	for _, v := range p.load.videos {
		if v.id == "" || v.deleted {
			continue
		}
		want, err := os.ReadFile(v.file)
		if err != nil {
			r.violate(wrong, v.id, "%v", err)
			continue
		}
		for _, e := range events[v.id] {
			var up pipeline.Upload
			if e.Type != pipeline.VideoUploaded {
				continue
			}
			if err := e.Decode(&up); err != nil {
				r.violate(wrong, v.id, "%v", err)
				continue
			}
			got, err := os.ReadFile(filepath.Join(p.store, up.Source.Key))
			switch {
			case err != nil:
				r.violate(lost, v.id, "its source, uploaded by %s: %v", v.way, err)
			case !bytes.Equal(got, want):
				r.violate(wrong, v.id, "its source, uploaded by %s, has other bytes: %d, want %d", v.way, len(got),
					len(want))
			default:
				r.Sources[cmp.Or(v.way, "form")]++
			}
		}
	}
}
