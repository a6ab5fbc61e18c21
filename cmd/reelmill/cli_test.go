package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/vbauerster/mpb/v8"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// sentinel is a writer that calls found when its content has a text.
type sentinel struct {
	pipelinetest.Buffer
	text  string
	found func()
}

func (s *sentinel) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if strings.Contains(s.String(), s.text) {
		s.found()
	}
	return n, err
}

var videoID = regexp.MustCompile(`vid_[0-9a-z]{26}`)

// TestUploadGoesOnWithoutTheCommand checks that the command prints the id early, and that an interrupted or
// late command says that the video goes on and how to watch it.
func TestUploadGoesOnWithoutTheCommand(t *testing.T) {
	p := startServe(t, binary, t.TempDir())
	source := clip(t, "a.mp4", 60, "1280x720", 25)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	said := &sentinel{text: "vid_", found: interrupt}
	var out bytes.Buffer
	err := run(ctx, []string{"upload", source, "--server", p.url, "--wait", "ready"}, &out, said)
	id := videoID.FindString(said.String())
	if id == "" || exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), "reelmill videos watch "+id) {
		t.Fatalf("it printed %q and failed with %d %v", said, exitCode(err), err)
	}
	args := []string{"upload", source, source, "--server", p.url, "--wait", "ready", "--timeout", "1ms"}
	err = run(t.Context(), args, &out, said)
	if text := err.Error(); exitCode(err) != exitTimeout || strings.Count(text, "the server goes on with it") != 2 {
		t.Errorf("out of time: %d %s", exitCode(err), text)
	}
	var page []pipeline.VideoView
	list := command(t, "videos", "list", "--json", "--server", p.url)
	if err := json.Unmarshal([]byte(list), &page); err != nil || len(page) != 2 { // the second command goes on with the first video

		t.Fatalf("%d videos, %v", len(page), err)
	}
	for _, v := range page {
		command(t, "videos", "cancel", v.ID, "--server", p.url)
	}
	p.stop(t)
}

// TestCommandsOfAVideo checks the commands about an uploaded video. Its receiver refuses webhooks.
func TestCommandsOfAVideo(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusGone)
	}))
	defer refusing.Close()
	t.Setenv("REELMILL_WEBHOOK_SECRET", testSecret)
	p := startServe(t, binary, t.TempDir(), "--webhook-allow-private")
	t.Setenv("REELMILL_SERVER", p.url)
	first, second := clip(t, "a.mp4", 1, "320x180", 10), clip(t, "b.mp4", 1, "320x180", 10)
	said := command(t, "upload", first, second, "--wait", "ready", "--priority", "bulk", "--passthrough", "mine",
		"--metadata", "who=me", "--webhook-url", refusing.URL)
	ids := videoID.FindAllString(said, -1)
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 2 {
		t.Fatalf("the upload printed %s", said)
	}
	var view pipeline.VideoView
	if err := json.Unmarshal([]byte(command(t, "videos", "get", ids[0], "--json")), &view); err != nil ||
		view.Passthrough != "mine" || view.Metadata["who"] != "me" {
		t.Errorf("video %+v, %v", view, err)
	}
	for want, args := range map[string][]string{
		"320x180, 10 frames/s":   {"get", ids[0]},
		"180p/index.m3u8 (1 seg": {"outputs", ids[0]},
		"/master.m3u8":           {"watch", ids[0]},
		"video.ready":            {"events", ids[0]},
		`"type":"video.ready"`:   {"events", ids[0], "--json"},
		"job.completed    inspe": {"events", ids[0], "--follow"},
	} {
		if said := command(t, append([]string{"videos"}, args...)...); !strings.Contains(said, want) {
			t.Errorf("videos %v printed %s\nwant %s", args, said, want)
		}
	}
	said = command(t, "videos", "set", ids[0], "--title", "Cats", "--metadata", "a=b", "--remove", "who")
	if !strings.Contains(said, "Cats") || !strings.Contains(said, "a=b") || strings.Contains(said, "who=") {
		t.Errorf("set printed %s", said)
	}
	for filters, want := range map[string][]string{
		"--text cats": {ids[0]}, "--metadata a=b --status ready,errored": {ids[0]}, "--metadata a=c": nil,
		"--text lake": nil, "--created-before 2020-01-01T00:00:00Z": nil,
	} {
		args := append([]string{"videos", "list"}, strings.Fields(filters)...)
		if got := videoID.FindAllString(command(t, args...), -1); !slices.Equal(got, want) {
			t.Errorf("list %s printed %v, want %v", filters, got, want)
		}
	}
	if said := command(t, "videos", "list", "--counts"); !strings.Contains(said, "ready") {
		t.Errorf("counts: %s", said)
	}
	checkRefused(t, p, ids[0])
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"videos", "list", "--limit", "1"}, &out, &errs); err != nil {
		t.Fatal(err)
	}
	_, cursor, more := strings.Cut(strings.TrimSpace(errs.String()), "--cursor ")
	rest := command(t, "videos", "list", "--cursor", cursor)
	if !more || videoID.FindString(out.String()) == videoID.FindString(rest) {
		t.Errorf("page %s, hint %s, rest %s", &out, &errs, rest)
	}
	p.stop(t)
}

// checkRefused checks that a video whose receiver refuses both calls is ready nevertheless, with a warning
// for each, and that `why` has the answer of the receiver and how to retry.
func checkRefused(t *testing.T, p *process, id string) {
	t.Helper()
	var view pipeline.VideoView
	refused := func() (n int) {
		var err error
		view, err = p.client().Video(t.Context(), id)
		check(t, err)
		for _, w := range view.Warnings {
			if w.Code == pipeline.CodeWebhookRefused && strings.Contains(w.Detail, "410 Gone") {
				n++
			}
		}
		return n
	}
	pipelinetest.Until(t, "both webhooks are refused", func() bool { return refused() == 2 })
	if view.Status != pipeline.StateVideoReady || view.Problem != nil || len(view.Warnings) != 2 {
		t.Errorf("the video is %s, %+v, with the warnings %+v", view.Status, view.Problem, view.Warnings)
	}
	if said := command(t, "videos", "get", id); strings.Count(said, "410 Gone") != 2 {
		t.Errorf("videos get printed %s", said)
	}
	pipelinetest.Until(t, "why names the answer", func() bool {
		said := command(t, "videos", "why", id)
		return strings.Count(said, "was given up after 1 attempt (webhook_refused: the receiver answered 410 Gone") == 2 &&
			strings.Contains(said, "`reelmill jobs retry "+id+"/")
	})
}

// TestWatchOnATerminalEndsBeforeTheVideo checks that the terminal is released when a watch ends before the
// bar is full.
func TestWatchOnATerminalEndsBeforeTheVideo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"vid_1","status":"processing","playable":true,"progress":40}`)
	}))
	defer server.Close()
	for until, timeout := range map[string]time.Duration{"playable": time.Hour, "ready": time.Nanosecond} {
		c := videosWatch{Until: until, Timeout: timeout}
		c.Server, c.ID = webURL(server.URL), "vid_1"
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, err := c.wait(t.Context(), &screen{p: mpb.New(mpb.WithOutput(io.Discard))})
			if _, goesOn := errors.AsType[*goesOnError](err); goesOn != (until == "ready") {
				t.Errorf("until %s: %v", until, err)
			}
		}()
		select {
		case <-ended:
		case <-pipelinetest.Context(t).Done():
			t.Fatalf("until %s: it waits for a bar", until)
		}
	}
}

// TestURLsBeginWithThePublicURL checks that with --public-url, URLs in the API, on the command line and in
// webhooks begin with it. Without it they are paths in answers, and begin with --server on the command line.
func TestURLsBeginWithThePublicURL(t *testing.T) {
	film := clip(t, "a.mp4", 1, "320x180", 10)
	for flag, public := range map[string]string{"https://video.example.org/tube/": "https://video.example.org/tube", "": ""} {
		hooks := newReceiver(t)
		t.Setenv("REELMILL_WEBHOOK_SECRET", testSecret)
		args := []string{"--webhook-allow-private", "--auth", "off", "--public-url", flag}
		p := startServe(t, binary, t.TempDir(), args...)
		t.Setenv("REELMILL_SERVER", p.url)
		printed := public
		if public == "" {
			printed = p.url
		}
		said := command(t, "upload", film, "--wait", "ready", "--webhook-url", hooks.URL)
		id := videoID.FindString(said)
		play := "/play/" + id + "/"
		for _, text := range []string{said, command(t, "videos", "get", id), command(t, "videos", "watch", id)} {
			for _, path := range []string{"master.m3u8\n", "manifest.mpd\n", "thumbnail.jpg\n"} {
				if !strings.Contains(text, " "+printed+play+path) {
					t.Errorf("--public-url %q: no %q in %s", flag, path, text)
				}
			}
		}
		if said := command(t, "videos", "outputs", id); !strings.Contains(said, " "+printed+play+"180p/index.m3u8 (1 segment)\n") {
			t.Errorf("--public-url %q: outputs %s", flag, said)
		}
		if said := command(t, "videos", "list", "--json"); !strings.Contains(said, `"play_url":"`+public+play) {
			t.Errorf("--public-url %q: list %s", flag, said)
		}
		for range 2 { // video.playable, before there is a DASH manifest, and video.ready, in any order
			m := pipelinetest.Receive(t, "a webhook", hooks.got)
			dash := m.Data.DASHURL == public+play+"manifest.mpd" || m.Type == pipeline.VideoPlayable
			if m.Data.PlayURL != public+play+"master.m3u8" || !dash {
				t.Errorf("--public-url %q: %s has %q and %q", flag, m.Type, m.Data.PlayURL, m.Data.DASHURL)
			}
		}
		p.stop(t)
	}
}

// TestRunPrintsALineForEachRendition checks that a rendition of several chunks has one line.
func TestRunPrintsALineForEachRendition(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	said := command(t, "run", clip(t, "a.mp4", 40, "320x180", 10), "--out", out)
	if strings.Count(said, "\nrendition ") != 1 || !strings.Contains(said, " KiB ") || strings.Contains(said, "init.mp4") {
		t.Errorf("it printed %s", said)
	}
}

// TestNoServerIsToldAlike checks that every command that asks a server has the same error without one.
func TestNoServerIsToldAlike(t *testing.T) {
	url := "http://" + pipelinetest.FreeAddress(t)
	want := "no server answers at " + url + ": start one with `reelmill serve`, or name it with --server ("
	film := clip(t, "a.mp4", 1, "64x64", 5)
	for _, args := range [][]string{
		{"upload", film, film}, {"videos", "list"}, {"videos", "get", "vid_x"},
		{"videos", "events", "vid_x"}, {"videos", "watch", "vid_x"}, {"videos", "why", "vid_x"},
		{"jobs", "retry", "vid_x/a"}, {"dead", "list"}, {"dead", "redrive", "--all"}, {"stats"},
	} {
		var errs bytes.Buffer
		err := run(t.Context(), append(args, "--server", url), &bytes.Buffer{}, &errs)
		if err == nil || !strings.HasPrefix(err.Error(), want) || exitCode(err) != exitFailure {
			t.Errorf("%v: %v", args, err)
		}
		if told := strings.Count(errs.String(), "trying again"); told > 1 || told == 1 != (args[0] == "upload") {
			t.Errorf("%v: it said %s", args, &errs)
		}
	}
}

// TestUploadTellsAtOnceThatItTriesAgain checks that an upload to an absent or busy server says once, at the
// first failure, that it tries again.
func TestUploadTellsAtOnceThatItTriesAgain(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	source := clip(t, "a.mp4", 1, "64x64", 5)
	for url, want := range map[string]string{
		"http://" + pipelinetest.FreeAddress(t): `^no server at http://\S+: dial tcp .*refused; trying again for 30 s\n$`,
		busy.URL:                                `^upload \S+a.mp4: the server answered 503 .*; trying again\n$`,
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		said := &sentinel{text: "trying again", found: interrupt}
		err := run(ctx, []string{"upload", source, "--server", url}, &bytes.Buffer{}, said)
		if exitCode(err) != exitInterrupted || !regexp.MustCompile(want).MatchString(said.String()) {
			t.Errorf("it said %q and ended with %v, want %s", said, err, want)
		}
		interrupt()
	}
}

func newParser(t *testing.T) *kong.Kong {
	t.Helper()
	var c commands
	parser, err := kong.New(&c, kong.Name("reelmill"), helpTexts, kong.PostBuild(setOwnHelp), kong.Vars{"version": version})
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// TestHelpTextsAreSentences checks that each begins with a capital letter, ends with a full stop, and has two
// words.
func TestHelpTextsAreSentences(t *testing.T) {
	sentence := regexp.MustCompile(`(?s)^[A-Z$0-9].* .*\.$`)
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		if n.Type == kong.CommandNode && !sentence.MatchString(n.Help) {
			t.Errorf("%s: %q", n.FullPath(), n.Help)
		}
		for _, f := range n.Flags {
			if !f.Hidden && !sentence.MatchString(f.Help) {
				t.Errorf("%s --%s: %q", n.FullPath(), f.Name, f.Help)
			}
		}
		for _, a := range n.Positional {
			if !sentence.MatchString(a.Help) {
				t.Errorf("%s <%s>: %q", n.FullPath(), a.Name, a.Help)
			}
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(newParser(t).Model.Node)
}

// TestHelpIsTrueOfEachCommand checks texts of flags that several commands share, but that mean something else
// for some.
func TestHelpIsTrueOfEachCommand(t *testing.T) {
	for _, c := range []struct{ command, want, lie string }{
		{"serve", "embedded in the process", "needs"},
		{"doctor", "embedded in the process", "needs"},
		{"worker", "A worker needs it, the same as its server", "Default: a folder"},
		{"worker", "A worker needs that of its server", "embedded"},
		{"run", "half the cores for each type ($", "--nats"},
		{"rebuild", "Default: the broker in --data", "s3://bucket"},
		{"streams show", "Default: the broker in --data", "s3://bucket"},
		{"streams apply", "This command ignores the flag", "embedded"},
	} {
		said := strings.Join(strings.Fields(command(t, append([]string{"help"}, strings.Fields(c.command)...)...)), " ")
		if !strings.Contains(said, c.want) || strings.Contains(said, c.lie) {
			t.Errorf("help %s: want %q, not %q, in %s", c.command, c.want, c.lie, said)
		}
	}
}

func TestHelpOfACommandIsItsHelp(t *testing.T) {
	for _, args := range [][]string{{"videos", "why"}, {"upload"}, {}} {
		if asked := command(t, append([]string{"help"}, args...)...); asked != command(t, append(args, "--help")...) {
			t.Errorf("help %v printed %s", args, asked)
		}
	}
	err := run(t.Context(), []string{"help", "uplod"}, &bytes.Buffer{}, &bytes.Buffer{})
	if exitCode(err) != exitUsage {
		t.Errorf("help of an unknown command: %v", err)
	}
	if command(t, "--version") != command(t, "version") {
		t.Error("--version is not version")
	}
	if got := command(t, "version", "-o", "yaml"); got != "---\nversion: "+version+"\n" {
		t.Errorf("version -o yaml printed %q", got)
	}
}

func TestCompletionKnowsCommandsFlagsAndValues(t *testing.T) {
	model := newParser(t).Model
	for line, want := range map[string]string{
		"reelmill w":                    "worker watch webhooks workers",
		"reelmill ev":                   "events",
		"reelmill config ":              "show",
		"reelmill watch --se":           "--server --settle",
		"reelmill videos get --output ": "table json yaml",
		"reelmill vi":                   "videos",
		"reelmill videos w":             "watch why",
		"reelmill upload --wa":          "--watermark --wait",
		"reelmill upload --wait ":       "no playable ready",
		"reelmill upload --wait p":      "playable",
		"reelmill videos list --json ":  "",
		"reelmill completion z":         "zsh",
		"reelmill serve --s3":           "--s3-access-key-file --s3-secret-key-file",
		"reelmill serve --webhook-sec":  "--webhook-secret-file", // secrets themselves are no flags
		"reelmill help vi":              "videos",
		"reelmill help videos w":        "watch why",
		"reelmill workers show w":       "watermark webhook",
	} {
		var out bytes.Buffer
		if err := complete(&out, model, line); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if said := command(t, "completion", shell); !strings.Contains(said, "reelmill") {
			t.Errorf("%s: %s", shell, said)
		}
	}
}

func TestWorkersShowPrintsTheSchema(t *testing.T) {
	said := command(t, "workers", "show", "watermark")
	for _, want := range []string{"opacity", "0 to 1", "bottom-right", "up to 200 characters"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	if said := command(t, "workers", "list"); !strings.Contains(said, "transcode\n") {
		t.Errorf("the types are %s", said)
	}
	err := run(t.Context(), []string{"workers", "show", "watermrk"}, &bytes.Buffer{}, &bytes.Buffer{})
	if exitCode(err) != exitUsage || !strings.Contains(err.Error(), `did you mean "watermark"?`) {
		t.Errorf("an unknown type: %v", err)
	}
	var none *noServerError
	if errors.As(err, &none) {
		t.Error("it asked a server")
	}
}
