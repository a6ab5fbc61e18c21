package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// operatorCases are the cases of clients and operators. Each has its own server.
func operatorCases() []testCase {
	return []testCase{
		{
			id: "o1", what: "names with quotes, U+202F, emoji, ZWNJ, combining marks and blanks",
			right: "filename comes back as it was sent", run: keepsNames,
		}, {
			id: "o2", what: "three clients send 4 MiB of 8 and go",
			right: "within 60 s no file > 1 MiB more, no video more", run: forgetsHalfUploads,
		}, {
			id: "o3", what: "two of the server's own ffmpeg are killed, 10 s apart, while a film is made",
			right: "ready; scratch empty", run: survivesKilledEncoders,
		}, {
			id: "o5", what: "three videos with webhooks, SIGTERM, start, 20 s",
			right: "6 calls before (playable and ready of each), none after", run: tellsOnce,
		}, {
			id: "o6", what: "HEAD, bytes 0-1 and ranges of playlists, a segment and the poster",
			right: "HEAD 200 with length and type; 206 with 2 and 5 bytes; 416 beyond the end", run: servesRanges,
		},
	}
}

// sentNames are the file names of o1, sent as UTF-8 like a browser does.
var sentNames = []string{
	"Screen Recording 2026-11-26 at 3.07.12\u202fPM.ts",
	`the "final" cut.ts`,
	"holiday \U0001F3D6\uFE0F \U0001F468\u200d\U0001F469\u200d\U0001F467.ts",
	"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.ts",
	"cafe\u0301 nin\u0303o.ts",
	"  two  blanks\u00a0and a hard one.ts",
}

// keepsNames runs o1.
func keepsNames(r *runner, j *judge) error {
	path, err := r.kitchen.make(j.ctx, "r07.ts")
	if err != nil {
		return err
	}
	s, err := r.serve(j.ctx, filepath.Join(r.dir, "o1"))
	if err != nil {
		return err
	}
	defer s.stop()
	for _, name := range sentNames {
		view, err := s.client().Upload(j.ctx, client.Upload{Path: path, Name: name})
		if err != nil {
			return err
		}
		if view, err = s.client().Video(j.ctx, view.ID); err != nil {
			return err
		}
		j.holds("filename", fmt.Sprintf("%+q", view.Filename), fmt.Sprintf("%+q", name), view.Filename == name)
	}
	return nil
}

// forgetsHalfUploads runs o2.
func forgetsHalfUploads(r *runner, j *judge) error {
	s, err := r.serve(j.ctx, filepath.Join(r.dir, "o2"))
	if err != nil {
		return err
	}
	defer s.stop()
	before, err := bigFiles(s.data)
	if err != nil {
		return err
	}
	for range 3 {
		if err := breakOff(j.ctx, s.url, 8<<20, 4<<20); err != nil {
			return err
		}
	}
	var after []string
	for until := time.Now().Add(time.Minute); ; pause.For(j.ctx, time.Second) {
		if after, err = bigFiles(s.data); err != nil {
			return err
		}
		if len(after) <= len(before) || time.Now().After(until) || j.ctx.Err() != nil {
			break
		}
	}
	j.is("files above 1 MiB", len(after), len(before))
	page, err := s.client().List(j.ctx, client.ListOptions{})
	if err != nil {
		return err
	}
	j.is("videos", len(page.Data), 0)
	return nil
}

// breakOff begins an upload of size bytes, and closes the connection midway.
func breakOff(ctx context.Context, server string, size, sent int) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(server, "http://"))
	if err != nil {
		return err
	}
	form := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n"
	head := "POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n" +
		"Content-Length: " + strconv.Itoa(len(form)+size) + "\r\n\r\n" + form
	_, err = io.WriteString(conn, head+strings.Repeat("x", sent))
	return errors.Join(err, conn.Close())
}

// bigFiles lists the files larger than 1 MiB below a folder.
func bigFiles(dir string) ([]string, error) {
	var big []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err == nil && info.Size() > 1<<20 {
			big = append(big, path)
		}
		return ignoreGone(err)
	})
	return big, err
}

// ignoreGone returns err, or nil for a file that vanished meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// survivesKilledEncoders runs o3. It counts only ffmpeg processes that are children of the server.
func survivesKilledEncoders(r *runner, j *judge) error {
	path, err := r.kitchen.make(j.ctx, "ops.mp4")
	if err != nil {
		return err
	}
	s, err := r.serve(j.ctx, filepath.Join(r.dir, "o3"))
	if err != nil {
		return err
	}
	defer s.stop()
	view, err := s.client().Upload(j.ctx, client.Upload{Path: path})
	if err != nil {
		return err
	}
	killed := make(chan int, 1)
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	go func() { killed <- killEncoders(ctx, s.cmd.Process.Pid, 2) }()
	if j.view, err = r.await(j.ctx, s.client(), view.ID); err != nil {
		return err
	}
	cancel()
	j.is("encoders killed", <-killed, 2)
	j.ready()
	left, err := leftInScratch(j.ctx, s.data)
	if err != nil {
		return err
	}
	j.is("left in scratch", len(left), 0)
	return nil
}

// killEncoders kills the wanted number of ffmpeg processes of a server that encode H.264, 10 s apart, and
// returns how many it killed.
func killEncoders(ctx context.Context, server, wanted int) (killed int) {
	for killed < wanted && ctx.Err() == nil {
		for _, pid := range children(server) {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err != nil || !strings.Contains(string(line), "libx264") {
				continue
			}
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
				pause.For(ctx, 10*time.Second)
				break
			}
		}
		pause.For(ctx, 50*time.Millisecond)
	}
	return killed
}

// children lists the children of a process.
func children(parent int) []int {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		return nil
	}
	var all []int
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for _, word := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(word); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// leftInScratch waits until the scratch folder of a server is empty, and returns what is left after
// scratchTime. An attempt removes its folder after its job is completed.
func leftInScratch(ctx context.Context, data string) ([]string, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(scratchTime); ; {
		left, err := scratch(data)
		if err != nil || len(left) == 0 || time.Now().After(until) {
			return left, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

const scratchTime = 30 * time.Second

// scratch lists the leftovers of attempts in a server's scratch folder, without sources, which are kept there
// for further jobs.
func scratch(data string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(data, "scratch"))
	if err != nil {
		return nil, err
	}
	var left []string
	for _, e := range entries {
		if e.Name() != "sources" {
			left = append(left, e.Name())
		}
	}
	return left, nil
}

// hooks counts the webhooks that it receives.
type hooks struct {
	mu    sync.Mutex
	calls int
	wake  chan struct{}
}

// ServeHTTP implements http.Handler.
func (h *hooks) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	w.WriteHeader(http.StatusNoContent)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hooks) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

// tellsOnce runs o5.
func tellsOnce(r *runner, j *judge) error {
	path, err := r.kitchen.make(j.ctx, "r07.ts")
	if err != nil {
		return err
	}
	h := &hooks{wake: make(chan struct{}, 1)}
	listener, err := new(net.ListenConfig).Listen(j.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	receiver := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = receiver.Serve(listener) }() // ends when it is closed
	defer func() { _ = receiver.Close() }()      // all webhooks were received
	data := filepath.Join(r.dir, "o5")
	s, err := r.serve(j.ctx, data, "--webhook-allow-private")
	if err != nil {
		return err
	}
	defer func() { s.stop() }()
	var ids []string
	for range 3 {
		view, err := s.client().Upload(j.ctx, client.Upload{
			Path: path, WebhookURL: "http://" + listener.Addr().String() + "/hook",
		})
		if err != nil {
			return err
		}
		ids = append(ids, view.ID)
	}
	if err := r.told(j, s.client(), ids); err != nil {
		return err
	}
	before := h.count()
	j.is("calls before", before, 2*len(ids))
	s.stop()
	if s, err = r.serve(j.ctx, data, "--webhook-allow-private"); err != nil {
		return err
	}
	pause.For(j.ctx, 20*time.Second)
	j.is("calls after", h.count()-before, 0)
	return nil
}

// told waits until every video has ended and its two webhooks, for playable and for the end, are delivered.
func (r *runner) told(j *judge, api *client.Client, ids []string) error {
	for _, id := range ids {
		view, err := r.await(j.ctx, api, id)
		if err != nil {
			return err
		}
		j.view = view
		j.ready()
		for until := time.Now().Add(r.stall); ; pause.For(j.ctx, 200*time.Millisecond) {
			jobs, err := api.Jobs(j.ctx, id)
			if err != nil {
				return err
			}
			delivered := slices.DeleteFunc(jobs, func(job pipeline.JobView) bool {
				return job.Worker != "webhook" || job.Status != pipeline.StateJobCompleted
			})
			if len(delivered) == 2 {
				break
			}
			if time.Now().After(until) {
				return fmt.Errorf("%s: %w", id, errStuck)
			}
		}
	}
	return nil
}

// servesRanges runs o6.
func servesRanges(r *runner, j *judge) error {
	path, err := r.kitchen.make(j.ctx, "r08.mp4")
	if err != nil {
		return err
	}
	s, err := r.serve(j.ctx, filepath.Join(r.dir, "o6"))
	if err != nil {
		return err
	}
	defer s.stop()
	view, err := s.client().Upload(j.ctx, client.Upload{Path: path})
	if err != nil {
		return err
	}
	if j.view, err = r.await(j.ctx, s.client(), view.ID); err != nil || !j.ready() {
		return err
	}
	base := s.url + "/play/" + view.ID + "/"
	m, err := loadMaster(j.ctx, base+j.view.Manifest)
	if err != nil {
		return err
	}
	list, err := loadMedia(j.ctx, m.rungs[0].url)
	if err != nil {
		return err
	}
	for _, served := range []struct{ url, kind string }{
		{m.url, "mpegurl"}, {list.url, "mpegurl"}, {list.segments[0], "video/"}, {base + "thumbnail.jpg",
			"image/jpeg"},
	} {
		if err := j.ranges(served.url, served.kind); err != nil {
			return err
		}
	}
	return nil
}

// ranges requests parts of one URL as browsers do.
func (j *judge) ranges(at, kind string) error {
	name := at[strings.LastIndex(at, "/")+1:]
	whole, err := fetch(j.ctx, at)
	if err != nil {
		return err
	}
	head, _, err := ask(j.ctx, http.MethodHead, at, nil)
	if err != nil {
		return err
	}
	j.is("HEAD of "+name, head.StatusCode, http.StatusOK)
	j.is("Content-Length of "+name, head.ContentLength, len(whole))
	kinds := head.Header.Get("Content-Type")
	j.holds("Content-Type of "+name, kinds, kind, strings.Contains(strings.ToLower(kinds), kind))
	for _, part := range []struct{ from, to, status int }{
		{0, 1, http.StatusPartialContent}, {3, 7, http.StatusPartialContent},
		{len(whole) + 10, len(whole) + 20, http.StatusRequestedRangeNotSatisfiable},
	} {
		header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", part.from, part.to)}}
		answer, body, err := ask(j.ctx, http.MethodGet, at, header)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("bytes %d-%d of %s", part.from, part.to, name)
		j.is(what, answer.StatusCode, part.status)
		if part.status == http.StatusPartialContent {
			j.holds(what, fmt.Sprintf("%d bytes", len(body)), "those of the whole",
				string(body) == string(whole[part.from:part.to+1]))
		}
	}
	return nil
}
