package main

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestUploadOfURLShowsProgress lets the server fetch a film that comes slowly until the command has told how
// much is fetched.
func TestUploadOfURLShowsProgress(t *testing.T) {
	film := largeClip(t, 8<<20)
	for _, c := range []struct{ flag, told string }{
		{"--json", `"fetched":`}, {"--parallel=1", " fetched, of 8"},
	} {
		stderr := &pipelinetest.Buffer{}
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(film)))
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			sent := 0
			for !strings.Contains(stderr.String(), c.told) && sent+4096 < len(film) && r.Context().Err() == nil {
				_, _ = w.Write(film[sent : sent+4096])
				w.(http.Flusher).Flush()
				sent += 4096
				<-tick.C
			}
			_, _ = w.Write(film[sent:])
		}))
		p := startServe(t, binary, t.TempDir(), "--fetch-allow-private")
		cmd := exec.CommandContext(t.Context(), binary, "upload", origin.URL+"/film.mp4?sig=topsecret", "--wait=playable",
			"--server", p.url, c.flag)
		cmd.Stderr = stderr
		out, err := cmd.Output()
		check(t, err)
		if all := string(out) + stderr.String(); !strings.Contains(all, c.told) || strings.Contains(all, "topsecret") {
			t.Errorf("%s: it prints %s", c.flag, all)
		}
		origin.Close()
		p.stop(t)
	}
}
