package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// watchOn watches a video that advances with each event, on a terminal of this many rows, and returns what
// the terminal shows.
func watchOn(t *testing.T, rows uint16) string {
	t.Helper()
	steps := []string{`"queued"`, `"processing","progress":40`, `"processing","progress":41`}
	looked := make(chan struct{}) // closed when all steps were looked at
	var mu sync.Mutex
	answer := func(w http.ResponseWriter, status string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"vid_1","filename":"a.mp4","status":%s}`, status)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/events"):
			w.Header().Set("Content-Type", "text/event-stream")
			for i, kind := range []pipeline.EventType{pipeline.VideoInspected, pipeline.VideoPlayable} {
				e, _ := json.Marshal(pipeline.Event{Type: kind, ID: "evt_1", Time: time.Now()})
				fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", i+1, kind, e)
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case r.URL.Query().Has("wait"):
			<-looked
			answer(w, `"ready","progress":100`)
		default:
			mu.Lock()
			defer mu.Unlock()
			answer(w, steps[0])
			if steps = steps[1:]; len(steps) == 0 {
				close(looked)
			}
		}
	}))
	defer server.Close()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	check(t, err)
	defer master.Close()
	check(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	check(t, err)
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	check(t, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: 4 * rows}))
	shown := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(master) // the error means that the terminal is closed
		shown <- string(text)
	}()
	c := videosWatch{Until: "ready", Timeout: time.Hour}
	c.Server, c.ID = webURL(server.URL), "vid_1"
	_, err = c.wait(t.Context(), newScreen(streams{out: io.Discard, err: terminal}))
	check(t, errors.Join(err, terminal.Close()))
	return pipelinetest.Receive(t, "the end of the terminal", shown)
}

// TestWatchShowsProgress checks the bar of the work, and the lines on a terminal without a size.
func TestWatchShowsProgress(t *testing.T) {
	said := watchOn(t, 24)
	if !strings.Contains(said, "a.mp4 process") || !strings.Contains(said, "100 %") || strings.Contains(said, "upload") {
		t.Errorf("the terminal shows %q", said)
	}
	const want = "vid_1  queued, 0 %  a.mp4\r\nvid_1  processing, 40 %  a.mp4\r\n"
	if said := watchOn(t, 0); said != want {
		t.Errorf("the terminal without a size shows %q, want %q", said, want)
	}
}
