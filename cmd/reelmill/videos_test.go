package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// answering is a server that has one answer to everything.
func answering(t *testing.T, body string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestAWarningIsSaidOnce: what of the source is not used is told by its own words; other warnings have a title.
func TestAWarningIsSaidOnce(t *testing.T) {
	url := answering(t, `{"id":"vid_1","status":"ready","warnings":[
		{"code":"input_partly_used","title":"Not all of the source is used","detail":"subtitle stream 1 is not used: no captions"},
		{"code":"encode_failed","title":"Encoding failed","detail":"ffmpeg ended with 1"}]}`)
	said := command(t, "videos", "get", "vid_1", "--server", url)
	for _, want := range []string{"subtitle stream 1 is not used: no captions", "Encoding failed: ffmpeg ended with 1"} {
		if !regexp.MustCompile(`(?m)^warning +` + want + `$`).MatchString(said) {
			t.Errorf("no line %q in %s", want, said)
		}
	}
}

// TestTimesNameTheirZone: every command prints times in UTC, with the day, and says so, whatever the zone of the
// machine.
func TestTimesNameTheirZone(t *testing.T) {
	here := time.Local
	t.Cleanup(func() { time.Local = here })
	time.Local = time.FixedZone("here", 5*3600)
	const at = `"2026-05-01T23:59:00.5Z"`
	letter := `{"video_id":"vid_1","job":"a","attempts":1,"created_at":` + at + `,"error":{"code":"x"}}`
	for body, args := range map[string][]string{
		`{"data":[{"id":"vid_1","created_at":` + at + `}]}`:                      {"videos", "list"},
		`{"id":"vid_1","created_at":` + at + `}`:                                 {"videos", "get", "vid_1"},
		`{"video_id":"vid_1","timeline":[{"at":` + at + `,"event":"a"}]}`:        {"videos", "why", "vid_1"},
		`{"data":[` + letter + `]}`:                                              {"dead", "list"},
		letter:                                                                   {"dead", "show", "vid_1/a"},
		`{"windows":[{"start":` + at + `,"uploaded":1}],"total":{"uploaded":1}}`: {"stats"},
	} {
		said := command(t, append(args, "--server", answering(t, body))...)
		if !regexp.MustCompile(`2026-05-01 23:59:00(\.500)? UTC`).MatchString(said) || strings.Contains(said, "04:59") {
			t.Errorf("%v printed %s", args, said)
		}
	}
}
