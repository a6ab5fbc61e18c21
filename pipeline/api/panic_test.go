package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage"
)

// panicCatalog panics when it is asked for a video.
type panicCatalog struct {
	Catalog
	with any
}

func (c panicCatalog) Video(context.Context, string, string) (pipeline.VideoView, error) {
	panic(c.with)
}

// TestPanics checks that a panic is logged and becomes an answer without its text, and that a cut on purpose
// stays a cut, of which the log has nothing.
func TestPanics(t *testing.T) {
	for name, c := range map[string]struct {
		with any
		cut  bool
	}{
		"text":           {with: "secret"},
		"error":          {with: errors.New("secret")},
		"cut on purpose": {with: http.ErrAbortHandler, cut: true},
	} {
		var log pipelinetest.Buffer
		e := newEnv(t, func(c2 *Config) {
			c2.Catalog = panicCatalog{c2.Catalog, c.with}
			c2.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		resp, err := e.client.Get(e.url + "/v1/videos/vid_a")
		if c.cut {
			if err == nil {
				t.Errorf("%s: answered %s", name, resp.Status)
				must(t, resp.Body.Close())
			}
			if strings.Contains(log.String(), "panic") {
				t.Errorf("%s: logged %s", name, log.String())
			}
			continue
		}
		must(t, err)
		raw, err := io.ReadAll(resp.Body)
		must(t, errors.Join(err, resp.Body.Close()))
		p := wantProblem(t, resp, raw, codeInternal)
		if strings.Contains(string(raw), "secret") {
			t.Errorf("%s: %s", name, raw)
		}
		if l := log.String(); !strings.Contains(l, "secret") || !strings.Contains(l, p.RequestID) {
			t.Errorf("%s: the log has %q", name, l)
		}
	}
}

// panicReader panics when it is read.
type panicReader struct{}

// Read implements io.Reader.
func (panicReader) Read([]byte) (int, error) { panic("secret") }

// TestFilesThatBreakOff checks that a file that breaks off when its first bytes are sent is cut, so that no
// player takes them for all, and that nothing follows them.
func TestFilesThatBreakOff(t *testing.T) {
	const begin = "0123456789"
	for name, rest := range map[string]io.Reader{
		"error": iotest.ErrReader(errFault), "end": strings.NewReader(""), "panic": panicReader{},
	} {
		fault := &storeFault{}
		e := newEnv(t, func(c *Config) { fault.Store, c.Store = c.Store, fault })
		v := e.uploaded()
		e.inspected(v.ID)
		body := strings.Repeat(begin, 10_000) // more than net/http holds back
		o := e.put(v.ID, "j", "x.mp4", body)
		e.job(pipeline.JobCompleted, v.ID, "j", o)
		e.finished(v.ID)
		fault.get = func(context.Context, string, storage.Range) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(body[:50_000]), rest)), nil
		}
		for _, part := range []string{"", "bytes=0-90000"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", e.url+"/play/"+v.ID+"/x.mp4", nil)
			must(t, err)
			if part != "" {
				req.Header.Set("Range", part)
			}
			resp, err := e.client.Do(req)
			must(t, err)
			raw, err := io.ReadAll(resp.Body)
			must(t, resp.Body.Close())
			if !errors.Is(err, io.ErrUnexpectedEOF) || resp.StatusCode/100 != 2 || string(raw) != body[:len(raw)] {
				t.Errorf("%s, %q: %s, %d bytes that end with %.20q, %v", name, part, resp.Status, len(raw),
					raw[max(0, len(raw)-20):], err)
			}
		}
	}
}
