package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// largeClip returns a short video with so many bytes that players skip behind it.
func largeClip(t *testing.T, filler int) []byte {
	t.Helper()
	film, err := os.ReadFile(clip(t, "film.mp4", 2, "320x180", 25))
	check(t, err)
	for shift := 24; shift >= 0; shift -= 8 {
		film = append(film, byte((8+filler)>>shift))
	}
	film = append(film, "free"...)
	for i := range filler {
		film = append(film, byte(i>>8^i))
	}
	return film
}

// askToFetch asks a server to fetch a URL.
func askToFetch(t *testing.T, p *process, url string) (status int, view pipeline.VideoView, raw []byte) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"url": url, "title": "Fetched", "pipeline": "default"})
	check(t, err)
	resp, err := http.Post(p.url+"/v1/videos", "application/json", bytes.NewReader(body))
	check(t, err)
	defer resp.Body.Close()
	raw, err = io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode == http.StatusCreated {
		check(t, json.Unmarshal(raw, &view))
	}
	return resp.StatusCode, view, raw
}

// stored returns the bytes of the only object of a server whose name begins with source.
func stored(t *testing.T, data string) []byte {
	t.Helper()
	var found []string
	check(t, filepath.WalkDir(filepath.Join(data, "objects"), func(path string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), "source") {
			found = append(found, path)
		}
		return err
	}))
	if len(found) != 1 {
		t.Fatalf("sources %v", found)
	}
	raw, err := os.ReadFile(found[0])
	check(t, err)
	return raw
}

// TestFetch: a server with --fetch-allow-private fetches a film from a server on loopback, and makes a ready
// video of it. While the bytes come, the events say how many there are. No answer and no log shows the token.
func TestFetch(t *testing.T) {
	film, seen := largeClip(t, 16<<20), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(film)))
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		sent, slow := 0, true
		for slow && sent+8<<10 < len(film) { // until somebody has seen progress
			_, _ = w.Write(film[sent : sent+8<<10])
			w.(http.Flusher).Flush()
			sent += 8 << 10
			select {
			case <-tick.C:
			case <-seen:
				slow = false
			case <-r.Context().Done():
				return
			}
		}
		_, _ = w.Write(film[sent:])
	}))
	defer origin.Close()
	data := t.TempDir()
	p := startServe(t, binary, data, "--fetch-allow-private")
	status, view, raw := askToFetch(t, p, origin.URL+"/a%20film.mp4?sig=topsecret")
	if status != http.StatusCreated || view.Title != "Fetched" || view.Size != 0 {
		t.Fatalf("%d: %s", status, raw)
	}
	told := fetchProgress(t, p, view.ID)
	close(seen)
	if told.Total != int64(len(film)) || told.Bytes < 1 || told.Bytes > told.Total || told.Fraction <= 0 {
		t.Errorf("progress %+v", told)
	}
	end := awaitEnd(t, p.client(), view.ID)
	if end.Status != pipeline.StateVideoReady || end.Filename != "a film.mp4" || end.Size != int64(len(film)) {
		t.Errorf("%+v, %+v", end, end.Problem)
	}
	if !bytes.Equal(stored(t, data), film) {
		t.Error("the source differs from the film")
	}
	events := get(t, p.url+"/v1/events?limit=100")
	if all := string(raw) + string(events) + p.stderr.String(); strings.Contains(all, "topsecret") {
		t.Errorf("the token is shown: %s", all)
	}
	if left, _ := filepath.Glob(filepath.Join(data, "fetch", "*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// fetchProgress returns the first report on the fetch job that a stream of events sends.
func fetchProgress(t *testing.T, p *process, video string) (told pipeline.Progress) {
	t.Helper()
	req, err := http.NewRequestWithContext(pipelinetest.Context(t), http.MethodGet, p.url+"/v1/videos/"+video+"/events", nil)
	check(t, err)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	lines, progress := bufio.NewScanner(resp.Body), false
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			progress = name == "job.progress"
		}
		if doc, ok := strings.CutPrefix(lines.Text(), "data: "); ok && progress {
			check(t, json.Unmarshal([]byte(doc), &told))
			if told.Bytes > 0 {
				return told
			}
		}
	}
	t.Fatalf("the stream ended without progress: %v", lines.Err())
	return told
}

// TestFetchIsGuarded: without the flag, an address that is not public is refused at once, and a name that
// leads to one when it is dialled.
func TestFetchIsGuarded(t *testing.T) {
	asked := make(chan string, 100)
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer origin.Close()
	p := startServe(t, binary, t.TempDir())
	for _, url := range []string{origin.URL, "http://localhost:1/x", "http://[::ffff:10.0.0.1]/x", "http://2130706433/", "file:///etc/passwd"} {
		status, _, raw := askToFetch(t, p, url+"?sig=topsecret")
		if status != http.StatusUnprocessableEntity || !bytes.Contains(raw, []byte(`"input_fetch_refused"`)) ||
			bytes.Contains(raw, []byte("topsecret")) {
			t.Errorf("%s: %d: %s", url, status, raw)
		}
	}
	if len(asked) != 0 {
		t.Errorf("the origin was asked for %s", <-asked)
	}
}

// TestFetchGoesOn kills the process in the middle of a download. The next one asks for the rest and no more,
// on condition that the file is the same; if it has changed, it begins again.
func TestFetchGoesOn(t *testing.T) {
	for _, changes := range []bool{false, true} {
		t.Run(fmt.Sprintf("changes=%v", changes), func(t *testing.T) { fetchGoesOn(t, changes) })
	}
}

func fetchGoesOn(t *testing.T, changes bool) {
	const first = 3 << 20
	film := largeClip(t, 6<<20)
	later, etag := film, `"1"`
	if changes {
		later, etag = append(bytes.Clone(film[:len(film)-1]), film[len(film)-1]^1), `"2"`
		later[0x100000] ^= 1 // among the bytes that came before the kill
	}
	var mu sync.Mutex
	var ranges []string
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
		n := len(ranges)
		mu.Unlock()
		if n > 1 {
			w.Header().Set("ETag", etag)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(later))
			return
		}
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(film)))
		_, _ = w.Write(film[:first])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer origin.Close()
	data := t.TempDir()
	p := startServe(t, binary, data, "--fetch-allow-private")
	status, view, raw := askToFetch(t, p, origin.URL+"/film.mp4")
	if status != http.StatusCreated {
		t.Fatalf("%d: %s", status, raw)
	}
	note := filepath.Join(data, "fetch", view.ID+".note")
	pipelinetest.Until(t, "a note of the download", func() bool { _, err := os.Stat(note); return err == nil })
	p.kill()
	p = startServe(t, binary, data, "--fetch-allow-private")
	end := awaitEnd(t, p.client(), view.ID)
	if end.Status != pipeline.StateVideoReady || !bytes.Equal(stored(t, data), later) {
		t.Errorf("%s, %+v, %d bytes", end.Status, end.Problem, end.Size)
	}
	mu.Lock()
	defer mu.Unlock()
	var from int
	if len(ranges) != 2 || ranges[0] != " " {
		t.Fatalf("requests %q", ranges)
	}
	if n, err := fmt.Sscanf(ranges[1], `bytes=%d- "1"`, &from); n != 1 || err != nil || from < 1<<20 || from > first {
		t.Errorf("requests %q", ranges)
	}
}
