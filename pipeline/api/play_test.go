package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// published adds outputs to a video: a manifest, a run of segments, a poster.
func (e *env) published() string {
	e.t.Helper()
	id := e.uploaded().ID
	e.inspected(id)
	e.job(pipeline.JobStarted, id, "thumbnail")
	segments := e.put(id, "thumbnail", "720p/seg_00000.m4s", "0123456789")
	e.put(id, "thumbnail", "720p/seg_00001.m4s", "abc")
	segments.Path = strings.Replace(segments.Path, "00000", pipeline.SegmentVerb, 1)
	segments.Key = strings.Replace(segments.Key, "00000", pipeline.SegmentVerb, 1)
	segments.SHA256, segments.Size, segments.Segments = "", 13, &pipeline.Segments{First: 0, Count: 2}
	e.job(pipeline.JobCompleted, id, "thumbnail", segments,
		e.put(id, "thumbnail", "master.m3u8", "#EXTM3U\n"), e.put(id, "thumbnail", "thumbnail.jpg", "jpeg"),
		e.put(id, "thumbnail", "manifest.mpd", "<MPD/>\n"), e.put(id, "thumbnail", "720p/init.mp4", "ftyp"),
		e.put(id, "thumbnail", "storyboard.vtt", "WEBVTT\n"), e.put(id, "thumbnail", "empty.ts", ""))
	return "/play/" + id + "/"
}

func TestPlay(t *testing.T) {
	e := newEnv(t, nil)
	base := e.published()
	for path, want := range map[string][2]string{
		"master.m3u8":        {"application/vnd.apple.mpegurl", "#EXTM3U\n"},
		"thumbnail.jpg":      {"image/jpeg", "jpeg"},
		"storyboard.vtt":     {"text/vtt; charset=utf-8", "WEBVTT\n"},
		"manifest.mpd":       {"application/dash+xml", "<MPD/>\n"},
		"720p/init.mp4":      {"video/mp4", "ftyp"},
		"720p/seg_00000.m4s": {"video/iso.segment", "0123456789"},
		"720p/seg_00001.m4s": {"video/iso.segment", "abc"},
		"empty.ts":           {"video/mp2t", ""},
	} {
		resp, raw := e.get(base + path)
		if resp.StatusCode != 200 || string(raw) != want[1] || resp.ContentLength != int64(len(want[1])) {
			t.Errorf("%s: %s, %d bytes: %q", path, resp.Status, resp.ContentLength, raw)
		}
		for name, value := range map[string]string{
			"Content-Type": want[0], "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "*",
			"Cache-Control": openCache(playSeconds), "Content-Security-Policy": playPolicy, "Accept-Ranges": "bytes",
		} {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
		etag, modified := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
		if !strings.HasPrefix(etag, `"`) || modified == "" {
			t.Errorf("%s: ETag %q, Last-Modified %q", path, etag, modified)
		}
		head, body := e.do("HEAD", base+path, nil)
		if head.StatusCode != 200 || len(body) != 0 || head.ContentLength != int64(len(want[1])) || head.Header.Get("ETag") != etag {
			t.Errorf("HEAD %s: %s %v", path, head.Status, head.Header)
		}
		for name, value := range map[string]string{"If-None-Match": etag, "If-Modified-Since": modified} {
			if resp, raw := e.get(base+path, name, value); resp.StatusCode != 304 || len(raw) != 0 {
				t.Errorf("%s: %s: %s", path, name, resp.Status)
			}
		}
	}
}

func TestPlayRanges(t *testing.T) {
	e := newEnv(t, nil)
	seg := e.published() + "720p/seg_00000.m4s"
	resp, _ := e.get(seg)
	etag := resp.Header.Get("ETag")
	for _, c := range []struct {
		rng, ifRange string
		status       int
		body         string
		contentRange string
	}{
		{"bytes=0-3", "", 206, "0123", "bytes 0-3/10"},
		{"bytes=7-", "", 206, "789", "bytes 7-9/10"},
		{"bytes=-2", "", 206, "89", "bytes 8-9/10"},
		{"bytes=2-100", "", 206, "23456789", "bytes 2-9/10"},
		{"bytes=0-3", etag, 206, "0123", "bytes 0-3/10"},
		{"bytes=0-3", `"other"`, 200, "0123456789", ""},
		{"bytes=" + strings.Repeat("0-0,", maxRanges) + "1-1", "", 200, "0123456789", ""},
		{"bytes=-0", "", 200, "0123456789", ""}, // not bytes 10-9/10
		{"bytes=0-1, - 00", "", 200, "0123456789", ""},
	} {
		headers := []string{"Range", c.rng}
		if c.ifRange != "" {
			headers = append(headers, "If-Range", c.ifRange)
		}
		resp, raw := e.get(seg, headers...)
		if resp.StatusCode != c.status || string(raw) != c.body || resp.Header.Get("Content-Range") != c.contentRange {
			t.Errorf("%s: %s %q %q", c.rng, resp.Status, raw, resp.Header.Get("Content-Range"))
		}
	}
	resp, raw := e.get(seg, "Range", "bytes=0-1,8-9")
	if resp.StatusCode != 206 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges") ||
		!bytes.Contains(raw, []byte("89")) {
		t.Errorf("two ranges: %s %v %q", resp.Status, resp.Header, raw)
	}
	for _, rng := range []string{"bytes=10-", "bytes=99-100", "bytes=x"} {
		resp, raw := e.get(seg, "Range", rng)
		wantProblem(t, resp, raw, codeRange)
		if got := resp.Header.Get("Content-Range"); rng != "bytes=x" && got != "bytes */10" {
			t.Errorf("%s: Content-Range %q", rng, got)
		}
	}
}

// chunk returns the outputs of one job for a rung: segments of 6 s, numbered from first on, and the init
// section.
func (e *env) chunk(video, job string, first, count int, last bool) []pipeline.Output {
	e.t.Helper()
	header := e.put(video, job, "360p/init.mp4", "ftyp")
	header.Kind = pipeline.KindInit
	var run pipeline.Output
	segments := &pipeline.Segments{First: first, Count: count, Last: last, Header: "h"}
	for i := range count {
		name := fmt.Sprintf("360p/seg_%05d.m4s", first+i)
		run = e.put(video, job, name, job+" "+name)
		number := fmt.Sprintf("%05d", first+i)
		run.Path = strings.Replace(run.Path, number, pipeline.SegmentVerb, 1)
		run.Key = strings.Replace(run.Key, number, pipeline.SegmentVerb, 1)
		segments.Durations = append(segments.Durations, 6)
	}
	run.Kind, run.SHA256, run.Size, run.Segments = pipeline.KindRendition, "", int64(100*count), segments
	run.Width, run.Height, run.Codecs, run.Duration = 640, 360, "avc1.64001E", 6*float64(count)
	run.Bandwidth, run.AverageBandwidth = 700000+int64(first), 600000
	return []pipeline.Output{header, run}
}

// isPlayable appends video.playable.
func (e *env) isPlayable(video string) {
	e.t.Helper()
	e.tell(pipeline.VideoPlayable, pipeline.PlayableSubject(project, video),
		pipeline.Playable{Path: "master.m3u8", Job: "transcode-0000"})
}

func TestPlayWhileItGrows(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	base := "/play/" + id + "/"
	e.inspected(id)
	paths := []string{base + "master.m3u8", base + "360p/index.m3u8"}
	for _, path := range paths { // nothing exists yet
		resp, raw := e.get(path)
		wantProblem(t, resp, raw, codeNotFound)
	}
	e.job(pipeline.JobStarted, id, "transcode-0000")
	e.job(pipeline.JobCompleted, id, "transcode-0000", e.chunk(id, "transcode-0000", 0, 2, false)...)
	for _, path := range paths { // something exists, but the video is not playable
		resp, raw := e.get(path)
		wantProblem(t, resp, raw, codeNotFound)
	}
	e.isPlayable(id)
	var tags []string
	for i, want := range []string{"360p/index.m3u8", "seg_00001.m4s\n"} {
		resp, raw := e.get(paths[i])
		if resp.StatusCode != 200 || !strings.HasPrefix(string(raw), "#EXTM3U\n") || !strings.Contains(string(raw), want) {
			t.Fatalf("%s: %s\n%s", paths[i], resp.Status, raw)
		}
		tags = append(tags, resp.Header.Get("ETag"))
		e.wantGrowing(resp, paths[i], raw)
	}
	if resp, raw := e.get(base + "360p/seg_00001.m4s"); resp.StatusCode != 200 || string(raw) != "transcode-0000 360p/seg_00001.m4s" {
		t.Errorf("a segment that is listed: %s %q", resp.Status, raw)
	}
	for _, path := range []string{"720p/index.m3u8", "index.m3u8", "360p/iframes.m3u8", "x/360p/index.m3u8"} {
		resp, raw := e.get(base + path)
		wantProblem(t, resp, raw, codeNotFound)
	}
	e.job(pipeline.JobStarted, id, "transcode-0001")
	e.job(pipeline.JobCompleted, id, "transcode-0001", e.chunk(id, "transcode-0001", 2, 1, true)...)
	resp, raw := e.get(paths[1], "If-None-Match", tags[1])
	if resp.StatusCode != 200 || resp.Header.Get("ETag") == tags[1] || !strings.HasSuffix(string(raw), "seg_00002.m4s\n#EXT-X-ENDLIST\n") {
		t.Errorf("when it is complete: %s\n%s", resp.Status, raw)
	}
	e.job(pipeline.JobStarted, id, "thumbnail")
	e.job(pipeline.JobCompleted, id, "thumbnail", e.put(id, "thumbnail", "360p/index.m3u8", "#EXTM3U\n#packaged\n"))
	resp, raw = e.get(paths[1])
	if string(raw) != "#EXTM3U\n#packaged\n" || resp.Header.Get("Cache-Control") != openCache(playSeconds) {
		t.Errorf("when it is packaged: %s %v\n%s", resp.Status, resp.Header, raw)
	}
}

// TestPlayWhatFailed: when a playable video fails, its playlists end with what exists; they grow again when
// it is retried.
func TestPlayWhatFailed(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	path := "/play/" + id + "/360p/index.m3u8"
	e.inspected(id)
	e.job(pipeline.JobStarted, id, "transcode-0000")
	e.job(pipeline.JobCompleted, id, "transcode-0000", e.chunk(id, "transcode-0000", 0, 2, false)...)
	e.isPlayable(id)
	for _, tell := range []func() (end bool){
		func() bool { return false },
		func() bool {
			e.tell(pipeline.VideoErrored, pipeline.FinishedSubject(project, id), pipeline.Finish{
				State: pipeline.StateVideoErrored, Problem: &pipeline.Problem{Code: pipeline.CodeEncodeFailed},
			})
			return true
		},
		func() bool {
			e.tell(pipeline.VideoReopened, pipeline.FinishedSubject(project, id),
				pipeline.Finish{State: pipeline.StateVideoProcessing, Generation: 1})
			return false
		},
	} {
		end := tell()
		resp, raw := e.get(path)
		if resp.StatusCode != 200 || strings.HasSuffix(string(raw), "seg_00001.m4s\n#EXT-X-ENDLIST\n") != end {
			t.Errorf("ended is not %t: %s\n%s", end, resp.Status, raw)
		}
	}
}

// wantGrowing checks the headers of a growing playlist, and every kind of request for it.
func (e *env) wantGrowing(resp *http.Response, path string, raw []byte) {
	e.t.Helper()
	for name, value := range map[string]string{
		"Content-Type": "application/vnd.apple.mpegurl", "X-Content-Type-Options": "nosniff",
		"Access-Control-Allow-Origin": "*", "Cache-Control": openCache(growSeconds), "Content-Security-Policy": playPolicy,
		"Last-Modified": "",
	} {
		if got := resp.Header.Get(name); got != value {
			e.t.Errorf("%s: %s is %q, want %q", path, name, got, value)
		}
	}
	etag := resp.Header.Get("ETag")
	head, body := e.do("HEAD", path, nil)
	if head.StatusCode != 200 || len(body) != 0 || head.ContentLength != int64(len(raw)) || head.Header.Get("ETag") != etag {
		e.t.Errorf("HEAD %s: %s %v", path, head.Status, head.Header)
	}
	if resp, raw := e.get(path, "If-None-Match", etag); resp.StatusCode != 304 || len(raw) != 0 {
		e.t.Errorf("%s unchanged: %s", path, resp.Status)
	}
	if resp, part := e.get(path, "Range", "bytes=1-6"); resp.StatusCode != 206 || string(part) != "EXTM3U" {
		e.t.Errorf("a range of %s: %s %q", path, resp.Status, part)
	}
}

// An object that is in the catalog but not in the store is missing: no playlist is made in its place.
func TestPlayPackagedAndGone(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.inspected(id)
	e.job(pipeline.JobStarted, id, "transcode-0000")
	outputs := append(e.chunk(id, "transcode-0000", 0, 1, true), e.put(id, "transcode-0000", "master.m3u8", "#EXTM3U\n"))
	e.job(pipeline.JobCompleted, id, "transcode-0000", outputs...)
	e.isPlayable(id)
	must(t, e.Store.Delete(t.Context(), outputs[2].Key))
	resp, raw := e.get("/play/" + id + "/master.m3u8")
	wantProblem(t, resp, raw, codeNotFound)
}

func TestPlayMissing(t *testing.T) {
	e := newEnv(t, nil)
	base := e.published()
	for _, path := range []string{
		base + "nope.mp4", base + "720p/seg_00002.m4s", base + "720p/seg_%2505d.m4s", base, "/play/vid_x/master.m3u8",
		"/play/a.b/master.m3u8", base + "%2e%2e/%2e%2e/source/x",
	} {
		resp, raw := e.get(path)
		wantProblem(t, resp, raw, codeNotFound)
		if resp.Header.Get("ETag") != "" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
}

func TestPlayPreflight(t *testing.T) {
	e := newEnv(t, nil)
	resp, _ := e.do("OPTIONS", "/play/vid_x/720p/seg_00000.m4s", nil, "Origin", "https://site.example",
		"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range")
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "*" ||
		!strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Range") {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

func TestPlayStoreFails(t *testing.T) {
	fault := &storeFault{}
	e := newEnv(t, func(c *Config) { fault.Store, c.Store = c.Store, fault })
	path := e.published() + "master.m3u8"
	fault.stat = func() error { return errFault }
	resp, raw := e.get(path)
	wantProblem(t, resp, raw, codeStorageFailed)
	fault.stat = func() error { return fmt.Errorf("stat: %w", storage.ErrNotFound) }
	resp, raw = e.get(path)
	wantProblem(t, resp, raw, codeNotFound)
	fault.stat = nil
	for name, get := range map[string]func(context.Context, string, storage.Range) (io.ReadCloser, error){
		"no object": func(context.Context, string, storage.Range) (io.ReadCloser, error) { return nil, errFault },
		"short": func(context.Context, string, storage.Range) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("#E")), nil
		},
		"broken": func(context.Context, string, storage.Range) (io.ReadCloser, error) {
			return io.NopCloser(iotest.ErrReader(errFault)), nil
		},
	} {
		fault.get = get
		req, err := http.NewRequestWithContext(t.Context(), "GET", e.url+path, nil)
		must(t, err)
		resp, err := e.client.Do(req)
		if err != nil {
			continue // cut before the header was sent
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("%s: whole answer %q", name, raw)
		}
	}
}

// An object of several windows is read window by window, from the requested byte on.
func TestPlayWindows(t *testing.T) {
	const size = 2*window + 5
	var asked []storage.Range
	o := &objectReader{ctx: t.Context(), size: size, key: "k", store: &storeFault{
		get: func(_ context.Context, _ string, r storage.Range) (io.ReadCloser, error) {
			asked = append(asked, r)
			return io.NopCloser(&generator{left: int(r.Length)}), nil
		},
	}}
	n, err := io.Copy(io.Discard, o)
	must(t, err)
	if n != size {
		t.Errorf("%d bytes, want %d", n, size)
	}
	if _, err := o.Seek(-3, io.SeekEnd); err != nil {
		t.Error(err)
	}
	n, err = io.Copy(io.Discard, o)
	if n != 3 || err != nil || o.close() != nil {
		t.Errorf("%d bytes: %v", n, err)
	}
	want := fmt.Sprint([]storage.Range{{Offset: 0, Length: window}, {Offset: window, Length: window},
		{Offset: 2 * window, Length: 5}, {Offset: size - 3, Length: 3}})
	if got := fmt.Sprint(asked); got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}
