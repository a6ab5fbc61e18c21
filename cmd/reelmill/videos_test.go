package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/workers/workertest"
)

// answering is a server with one answer to every request.
func answering(t *testing.T, body string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestAWarningIsSaidOnce checks that a warning about an unused part of the source is printed without its
// title.
func TestAWarningIsSaidOnce(t *testing.T) {
	url := answering(t, `{"id":"vid_1","status":"ready","warnings":[
		{"code":"input_partly_used","title":"Not all of the source is used","detail":"subtitle stream 1 is not used: captions are not supported"},
		{"code":"encode_failed","title":"Encoding failed","detail":"ffmpeg ended with 1"}]}`)
	said := command(t, "videos", "get", "vid_1", "--server", url)
	for _, want := range []string{
		"subtitle stream 1 is not used: captions are not supported", "Encoding failed: ffmpeg ended with 1",
	} {
		if !regexp.MustCompile(`(?m)^warning +` + want + `$`).MatchString(said) {
			t.Errorf("no line %q in %s", want, said)
		}
	}
}

// TestCommandsThatWaitPrintWarnings checks that commands that wait print what a ready video lacks of its
// source.
func TestCommandsThatWaitPrintWarnings(t *testing.T) {
	url := answering(t, `{"id":"vid_1","status":"ready","warnings":[
		{"code":"input_partly_used","detail":"the video lasts 0.5 s, but the file claims 35.2 s"}]}`)
	film := clip(t, "a.mp4", 1, "64x64", 5)
	said := command(t, "videos", "watch", "vid_1", "--server", url)
	if !strings.HasSuffix(said, "  warning      the video lasts 0.5 s, but the file claims 35.2 s\n") {
		t.Errorf("videos watch printed %s", said)
	}
	dir := t.TempDir()
	words := filepath.Join(dir, "a.srt")
	check(t, os.WriteFile(words, []byte("1\n00:00:00,000 --> 00:00:01,000\nHello.\n"), 0o600))
	titled := workertest.Clip(t, "a.mkv", "-i", film, "-i", words, "-c:v", "copy", "-c:a", "copy")
	printed, err := exec.Command(binary, "run", titled, "--out", filepath.Join(dir, "out")).Output()
	if err != nil || !regexp.MustCompile(`\nwarning: .*subtitle.*\n$`).Match(printed) {
		t.Errorf("run printed %s, %v", printed, err)
	}
}

// TestTimesNameTheirZone checks that every command prints times with the day, in UTC and saying so.
func TestTimesNameTheirZone(t *testing.T) {
	const at = `"2026-05-02T04:59:00.5+05:00"`
	letter := `{"video_id":"vid_1","job":"a","attempts":1,"created_at":` + at + `,"error":{"code":"x"}}`
	for body, args := range map[string][]string{
		`{"data":[{"id":"vid_1","created_at":` + at + `}]}`:                      {"videos", "list"},
		`{"id":"vid_1","created_at":` + at + `}`:                                 {"videos", "get", "vid_1"},
		`{"video_id":"vid_1","timeline":[{"at":` + at + `,"event":"a"}]}`:        {"videos", "why", "vid_1"},
		`{"data":[` + letter + `]}`:                                              {"dead", "list"},
		letter:                                                                   {"dead", "show", "dead_1"},
		`{"windows":[{"start":` + at + `,"uploaded":1}],"total":{"uploaded":1}}`: {"stats"},
	} {
		said := command(t, append(args, "--server", answering(t, body))...)
		if !regexp.MustCompile(`2026-05-01 23:59:00(\.500)? UTC`).MatchString(said) || strings.Contains(said, "04:59") {
			t.Errorf("%v printed %s", args, said)
		}
	}
}

// TestStatsNameFailures checks that failures of videos and of attempts have separate columns.
func TestStatsNameFailures(t *testing.T) {
	url := answering(t, `{"windows":[],"total":{
		"failed":{"input_not_video":3,"input_too_long":1},"failed_attempts":{"webhook_refused":2}}}`)
	said := command(t, "stats", "--server", url)
	if !regexp.MustCompile(`FAILURES +FAILED ATTEMPTS\n`).MatchString(said) ||
		!regexp.MustCompile(`all .* 4 .*  input_not_video 3, input_too_long 1  webhook_refused 2\n`).MatchString(said) {
		t.Errorf("stats printed %s", said)
	}
}
