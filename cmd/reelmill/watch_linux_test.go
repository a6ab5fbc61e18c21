package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// watchOn watches a video that advances with each request, on a terminal of this many rows, and returns what
// the terminal shows.
func watchOn(t *testing.T, rows uint16) string {
	t.Helper()
	asked := 0
	steps := []string{`"queued"`, `"processing","progress":40`, `"processing","progress":41`, `"ready","progress":100`}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"vid_1","filename":"a.mp4","status":%s}`, steps[asked])
		asked++
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
