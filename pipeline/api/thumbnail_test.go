package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// stillMaker is a Stills whose images say what they were made of. A real one, which runs ffmpeg, is a worker's:
// cmd/reelmill tests it.
type stillMaker struct {
	made  atomic.Int64
	begun chan struct{}                   // a value for each image that is begun; nil: nobody looks
	block func(ctx context.Context) error // called before an image is made; nil: it is made at once
}

func (m *stillMaker) Still(ctx context.Context, s pipeline.Still) ([]byte, error) {
	m.made.Add(1)
	if m.begun != nil {
		m.begun <- struct{}{}
	}
	if m.block != nil {
		if err := m.block(ctx); err != nil {
			return nil, err
		}
	}
	return json.Marshal(s)
}

// rung returns the outputs of a rendition of three segments of 6 s at 25 frames/s.
func (e *env) rung(video, dir string, width, height int) []pipeline.Output {
	e.t.Helper()
	outputs := e.chunk(video, "transcode-0000", 0, 3, true)
	for i := range outputs {
		o := &outputs[i]
		o.Path, o.Key = strings.Replace(o.Path, "360p", dir, 1), strings.Replace(o.Key, "360p", dir, 1)
	}
	outputs[1].Width, outputs[1].Height, outputs[1].FrameRate = width, height, 25
	return outputs
}

// pictured makes a playable video of 18 s with renditions of 1280x720 and 640x360, and perhaps a poster.
func (e *env) pictured(poster bool) string {
	e.t.Helper()
	id := e.uploaded().ID
	e.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, id), pipeline.Inspected{
		Inspection: pipeline.Inspection{
			Verdict: pipeline.VerdictAccept, Media: &pipeline.Media{Container: "mov", Duration: 18},
		},
		Plan: []pipeline.Job{{Name: "transcode-0000", Step: "transcode", Worker: "transcode"}},
	})
	e.job(pipeline.JobStarted, id, "transcode-0000")
	outputs := slices.Concat(e.rung(id, "720p", 1280, 720), e.rung(id, "360p", 640, 360), e.rung(id, "mark/900p", 1600, 900))
	if poster {
		o := e.put(id, "transcode-0000", "thumbnail.jpg", "jpeg")
		o.Kind, o.Width, o.Height = pipeline.KindPoster, 960, 540
		outputs = append(outputs, o)
	}
	e.job(pipeline.JobCompleted, id, "transcode-0000", outputs...)
	e.isPlayable(id)
	return id
}

func newStillEnv(t *testing.T, change func(*Config)) (*env, *stillMaker) {
	t.Helper()
	m := &stillMaker{}
	return newEnv(t, func(c *Config) {
		c.Stills = m
		if change != nil {
			change(c)
		}
	}), m
}

func TestThumbnailIsOfTheRightFrame(t *testing.T) {
	e, _ := newStillEnv(t, nil)
	id := e.pictured(true)
	key := func(path string) string { return pipeline.AttemptPrefix(id, "transcode-0000", 1) + path }
	size := func(w, h int) pipeline.Size { return pipeline.Size{Width: w, Height: h} }
	for query, want := range map[string]struct {
		dir           string // of the rendition; empty: the poster
		segment       int
		at            float64
		frame, canvas pipeline.Size
	}{
		"time=0":                               {"720p", 0, 0, size(1280, 720), size(1280, 720)},
		"time=5.999":                           {"720p", 0, 5.96, size(1280, 720), size(1280, 720)},
		"time=6":                               {"720p", 1, 0, size(1280, 720), size(1280, 720)},
		"time=6.0799":                          {"720p", 1, 0.08, size(1280, 720), size(1280, 720)},
		"time=6.075":                           {"720p", 1, 0.04, size(1280, 720), size(1280, 720)},
		"time=18":                              {"720p", 2, 5.96, size(1280, 720), size(1280, 720)},
		"time=12.5&width=640":                  {"360p", 2, 0.48, size(640, 360), size(640, 360)},
		"time=12.5&width=100&height=100":       {"360p", 2, 0.48, size(640, 360), size(100, 56)},
		"time=1&height=361":                    {"720p", 0, 1, size(1280, 720), size(642, 361)},
		"time=1&width=300&height=720&fit=crop": {"720p", 0, 1, size(1280, 720), size(300, 720)},
		"time=1&width=3840&fit=stretch":        {"720p", 0, 1, size(1280, 720), size(3840, 2160)},
		"time=1&width=90&height=90&fit=pad":    {"360p", 0, 1, size(640, 360), size(90, 90)},
		"width=96":                             {"", 0, 0, size(960, 540), size(96, 54)},
		"fit=crop&width=96&height=96":          {"", 0, 0, size(960, 540), size(96, 96)},
	} {
		resp, raw := e.get("/play/" + id + "/thumbnail.webp?" + query)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "image/webp" {
			t.Fatalf("%s: %s %s", query, resp.Status, raw)
		}
		s := decode[pipeline.Still](t, raw)
		keys := []string{key(want.dir + "/init.mp4"), key(fmt.Sprintf("%s/seg_%05d.m4s", want.dir, want.segment))}
		if want.dir == "" {
			keys = []string{key("thumbnail.jpg")}
		}
		if !slices.Equal(s.Keys, keys) || s.Poster != (want.dir == "") || s.Frame != want.frame ||
			s.Canvas != want.canvas || s.Format != pipeline.StillWebP || s.At-want.at > 1e-9 || want.at-s.At > 1e-9 {
			t.Errorf("%s: %s", query, raw)
		}
	}
	resp, raw := e.get("/play/" + id + "/thumbnail.jpg")
	if resp.StatusCode != 200 || string(raw) != "jpeg" || resp.Header.Get("Cache-Control") != openCache(playSeconds) {
		t.Errorf("the poster itself: %s %q %v", resp.Status, raw, resp.Header)
	}
	other := e.pictured(false) // without a poster, a size alone is a frame near the first quarter
	_, raw = e.get("/play/" + other + "/thumbnail.jpg?width=640")
	if s := decode[pipeline.Still](t, raw); s.Poster || s.At != 4.48 || !strings.HasSuffix(s.Keys[1], "360p/seg_00000.m4s") {
		t.Errorf("without a poster: %s", raw)
	}
}

// TestThumbnailIsKept: one that was made is read from the store below its video, whatever the order of the
// parameters, and clients learn that they have it.
func TestThumbnailIsKept(t *testing.T) {
	e, m := newStillEnv(t, nil)
	id := e.pictured(true)
	path := "/play/" + id + "/thumbnail.jpg?time=7&width=320"
	resp, first := e.get(path)
	etag := resp.Header.Get("ETag")
	for name, value := range map[string]string{
		"Content-Type": "image/jpeg", "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "*",
		"Cache-Control": openCache(stillSeconds), "Content-Security-Policy": playPolicy,
	} {
		if got := resp.Header.Get(name); resp.StatusCode != 200 || got != value {
			t.Errorf("%s: %s is %q, want %q", resp.Status, name, got, value)
		}
	}
	for _, same := range []string{path, "/play/" + id + "/thumbnail.jpg?width=320&time=7.01&fit=preserve"} {
		if resp, raw := e.get(same); resp.Header.Get("ETag") != etag || string(raw) != string(first) {
			t.Errorf("%s: %s %q", same, resp.Status, raw)
		}
	}
	head, body := e.do("HEAD", path, nil)
	if head.StatusCode != 200 || len(body) != 0 || head.ContentLength != int64(len(first)) || head.Header.Get("ETag") != etag {
		t.Errorf("HEAD: %s %v", head.Status, head.Header)
	}
	if resp, raw := e.get(path, "If-None-Match", etag); resp.StatusCode != 304 || len(raw) != 0 {
		t.Errorf("unchanged: %s", resp.Status)
	}
	if n := m.made.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	kept := slices.DeleteFunc(e.objects(), func(key string) bool { return !strings.HasPrefix(key, pipeline.StillsPrefix(id)) })
	if len(kept) != 1 || !strings.HasPrefix(kept[0], "videos/"+id+"/") || !strings.HasSuffix(kept[0], ".jpg") {
		t.Errorf("kept: %v", kept)
	}
	if _, err := storage.DeletePrefix(t.Context(), e.Store, "videos/"+id+"/"); err != nil {
		t.Fatal(err)
	}
	e.get(path)
	if n := m.made.Load(); n != 2 {
		t.Errorf("after its objects were deleted: made %d times", n)
	}
}

// TestThumbnailsKeptAreBounded: a new one makes room by the oldest.
func TestThumbnailsKeptAreBounded(t *testing.T) {
	e, _ := newStillEnv(t, nil)
	id := e.pictured(true)
	prefix := pipeline.StillsPrefix(id)
	kept := func() (n int, size int64) {
		for info, err := range e.Store.List(t.Context(), prefix) {
			must(t, err)
			n, size = n+1, size+info.Size
		}
		return n, size
	}
	for i := range keptStills {
		_, err := e.Store.Put(t.Context(), fmt.Sprintf("%sold-%03d.jpg", prefix, i), strings.NewReader("old"), storage.PutOptions{})
		must(t, err)
	}
	for i := range 3 {
		e.get(fmt.Sprintf("/play/%s/thumbnail.jpg?time=%d", id, i))
	}
	if n, _ := kept(); n != keptStills {
		t.Errorf("%d are kept, want %d", n, keptStills)
	}
	if _, err := e.Store.Stat(t.Context(), prefix+"old-099.jpg"); err != nil {
		t.Errorf("not the oldest were deleted: %v", err)
	}
	for i := range 5 {
		_, err := e.Store.Put(t.Context(), fmt.Sprintf("%sbig-%d.jpg", prefix, i), strings.NewReader(strings.Repeat("x", 8<<20)), storage.PutOptions{})
		must(t, err)
	}
	e.get("/play/" + id + "/thumbnail.jpg?time=9")
	if n, size := kept(); size > keptStillBytes || n < 2 {
		t.Errorf("%d of %d bytes are kept, want at most %d bytes", n, size, keptStillBytes)
	}
}

func TestThumbnailRefusals(t *testing.T) {
	e, m := newStillEnv(t, nil)
	id := e.pictured(true)
	fresh := e.uploaded().ID
	failed := pipeline.Fail(pipeline.CodeParameters, "ffmpeg on the server has no libwebp, so it makes no webp")
	for _, c := range []struct {
		video, query string
		code         code
		says         []string
	}{
		{id, "time=1&size=3", codeInvalid, []string{"Unknown parameter", "fit, height, time, width"}},
		{id, "heigth=100", codeInvalid, []string{`did you mean "height"?`}},
		{id, "time=x", codeInvalid, []string{"seconds"}},
		{id, "time=-1", codeInvalid, []string{"from 0 on"}},
		{id, "time=NaN", codeInvalid, []string{"time"}},
		{id, "time=", codeInvalid, []string{"time"}},
		{id, "time=18.5", codeInvalid, []string{"18.5 s is beyond the end", "18 s long"}},
		{id, "time=1e300", codeInvalid, []string{"beyond the end"}},
		{id, "width=15", codeInvalid, []string{"16 to 3840"}},
		{id, "height=3841&width=9999999999999999999", codeInvalid, []string{"The height", "The width"}},
		{id, "width=1.5", codeInvalid, []string{"whole number"}},
		{id, "fit=smartcrop", codeInvalid, []string{"Unknown fit", "crop, pad, preserve, stretch"}},
		{id, "width=100&width=200", codeInvalid, []string{"appears twice"}},
		{fresh, "time=1", codeNotPlayable, []string{"queued"}},
		{"vid_missing", "time=1", codeNotFound, nil},
		{"a.b", "time=1", codeNotFound, nil},
	} {
		resp, raw := e.get("/play/" + c.video + "/thumbnail.jpg?" + c.query)
		p := wantProblem(t, resp, raw, c.code)
		for _, says := range c.says {
			if !strings.Contains(p.Detail, says) {
				t.Errorf("%s: %q does not say %q", c.query, p.Detail, says)
			}
		}
		if resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", c.query, resp.Header)
		}
	}
	for want, err := range map[code]error{
		codeParameters: failed, codeNotFound: fmt.Errorf("read: %w", storage.ErrNotFound), codeInternal: errors.New("broken"),
	} {
		m.block = func(context.Context) error { return err }
		resp, raw := e.get("/play/" + id + "/thumbnail.webp?time=2")
		wantProblem(t, resp, raw, want)
	}
	m.block = func(context.Context) error { panic("a bug") }
	resp, raw := e.get("/play/" + id + "/thumbnail.webp?time=2")
	wantProblem(t, resp, raw, codeInternal)
	if n := len(slices.DeleteFunc(e.objects(), func(key string) bool { return !strings.Contains(key, "stills") })); n != 0 {
		t.Errorf("%d failures are kept", n)
	}
	none := newEnv(t, nil)
	resp, raw = none.get("/play/vid_x/thumbnail.jpg?time=1")
	wantProblem(t, resp, raw, codeUnavailable)
}

// TestThumbnailIsMadeByOne: requests for one image wait for one making, and it goes on when the request that
// began it ends.
func TestThumbnailIsMadeByOne(t *testing.T) {
	release := make(chan struct{})
	e, m := newStillEnv(t, nil)
	m.begun = make(chan struct{}, 10)
	m.block = func(ctx context.Context) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	id := e.pictured(true)
	address := "/play/" + id + "/thumbnail.jpg?time=3"
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, "GET", e.url+address, nil)
		if err == nil {
			_, err = e.client.Do(req)
		}
		left <- err
	}()
	<-m.begun
	statuses := make(chan int, 5)
	for range cap(statuses) {
		go func() {
			resp, err := e.client.Get(e.url + address)
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(release)
	for range cap(statuses) {
		if status := <-statuses; status != 200 {
			t.Errorf("status %d", status)
		}
	}
	if n := m.made.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
}

// TestThumbnailsAtOnceAreLimited: the next ones are refused with a time to come back, and the end of the
// server ends those under way.
func TestThumbnailsAtOnceAreLimited(t *testing.T) {
	for want, limits := range map[code]Limits{
		codeTooManyStills: {Stills: 1, MaxStills: 1},
		codeClientStills:  {Stills: 1, MaxStills: 5, MaxClientStills: 1},
	} {
		e, m := newStillEnv(t, func(c *Config) {
			c.Limits.Stills, c.Limits.MaxStills = limits.Stills, limits.MaxStills
			c.Limits.MaxClientStills = limits.MaxClientStills
		})
		m.begun = make(chan struct{}, 10)
		m.block = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		id := e.pictured(true)
		ended := make(chan int, 1)
		go func() {
			resp, err := e.client.Get(e.url + "/play/" + id + "/thumbnail.jpg?time=3")
			if err != nil {
				ended <- 0
				return
			}
			resp.Body.Close()
			ended <- resp.StatusCode
		}()
		<-m.begun
		resp, raw := e.get("/play/" + id + "/thumbnail.jpg?time=4")
		wantProblem(t, resp, raw, want)
		e.api.EndStreams(t.Context())
		if status := <-ended; status != 503 {
			t.Errorf("%s: the one under way: %d", want, status)
		}
		resp, raw = e.get("/play/" + id + "/thumbnail.jpg?time=5")
		wantProblem(t, resp, raw, codeUnavailable)
	}
}
