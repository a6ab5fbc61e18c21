package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakesAreTold checks that an error names what was typed wrong and says what to do.
func TestMistakesAreTold(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	address := taken.Addr().String()
	film := clip(t, "a.mp4", 1, "64x64", 5)
	folder := filepath.Dir(film)
	badSecret := filepath.Join(folder, "bad.yaml")
	check(t, os.WriteFile(badSecret, []byte("webhook_secret: abc\n"), 0o600))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "name a command; `reelmill help` lists them"},
		{[]string{"list"}, exitUsage, `unknown command "list" (did you mean "listen"?); ` +
			"see `reelmill help`"},
		{[]string{"serv"}, exitUsage, `unknown command "serv" (did you mean "serve"?); see ` + "`reelmill help`"},
		{[]string{"nonsense"}, exitUsage, "unknown command \"nonsense\"; see `reelmill help`"},
		{[]string{"videos", "lst"}, exitUsage, `unknown command "videos lst" (did you mean "videos list", "videos get" or "videos set"?); ` +
			"see `reelmill help videos`"},
		{[]string{"videos"}, exitUsage, "videos needs a command: list, get, outputs, add-output, additions, cancel-addition, thumbnail, watch, events, why, cancel, retry, set, hold, release or " +
			"delete; see `reelmill help videos`"},
		{[]string{"version", "now"}, exitUsage, "unexpected argument \"now\"; see `reelmill help version`"},
		{[]string{"help", "upload", "now"}, exitUsage, `unknown command "upload now"; see ` + "`reelmill help upload`"},
		{[]string{"help", "list"}, exitUsage, `unknown command "list" (did you mean "listen"?); ` +
			"see `reelmill help`"},
		{[]string{"videos", "cancel"}, exitUsage, "videos cancel needs <id> ...; see `reelmill help videos cancel`"},
		{[]string{"run", film}, exitUsage, "run needs --out=DIR; see `reelmill help run`"},
		{[]string{"videos", "list", "--bogus"}, exitUsage, "unknown flag --bogus; see `reelmill help videos list`"},
		{[]string{"--wait", "ready", "upload", film}, exitUsage, "unknown flag --wait before the command: write it " +
			"after the command; see `reelmill help`"},
		{[]string{"serve", "--port", "1"}, exitUsage, "unknown flag --port (did you mean --listen?); see `reelmill help serve`"},
		{[]string{"-v"}, exitUsage, "unknown flag -v (did you mean --version?); see `reelmill help`"},
		{[]string{"run", "http://example.org/a.mp4", "--out", "x"}, exitUsage, "http://example.org/a.mp4: the command takes " +
			"files; download it first, or let a server fetch it with `reelmill upload`"},
		{[]string{"upload", film, "--webhook-url", "example.org/x"}, exitUsage, "--webhook-url: the value is not an " +
			"http(s) address; write one such as https://example.com"},
		{[]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--store", "s3:/videos"}, exitUsage,
			`--store: parse storage URL: bucket "": Bucket name cannot be empty; write s3://bucket/prefix?endpoint=URL&region=R`},
		{[]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--store", "s3://videos"}, exitFailure,
			"--store: set REELMILL_S3_ACCESS_KEY and REELMILL_S3_SECRET_KEY to the keys of the bucket, or name files that " +
				"hold them with --s3-access-key-file and --s3-secret-key-file"},
		{[]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--config", badSecret}, exitUsage,
			"worker webhook: parameters_invalid: the webhook secret is not whsec_ and base64; " +
				"make one with: echo whsec_$(openssl rand -base64 32)"},
		{[]string{"videos", "get", "film.mp4"}, exitNotFound, `videos get: "film.mp4" is not the id of a video (vid_...)`},
		{[]string{"videos", "retry", "vid_1", "2"}, exitNotFound, `videos retry: "2" is not the id of a video (vid_...)`},
		{[]string{"dead", "show", "foo"}, exitNotFound, `dead show: "foo" is not the id of a dead letter (dead_...)`},
		{[]string{"upload", film, "--wait"}, exitUsage, "--wait needs a value: no, playable or ready"},
		{[]string{"upload", "--wait", film}, exitUsage, `--wait must be no, playable or ready, not "` + film + `"`},
		{[]string{"completion", "tcsh"}, exitUsage, `<shell> must be bash, zsh or fish, not "tcsh"`},
		{[]string{"videos", "list", "--server"}, exitUsage, "--server needs a value"},
		{[]string{"stats", "--last", "1d"}, exitUsage, `--last: "1d" is not a duration; write one such as 90s, 30m or 24h`},
		{[]string{"stats", "--last"}, exitUsage, "--last needs a value such as 90s, 30m or 24h"},
		{[]string{"videos", "list", "--limit", "x"}, exitUsage, `--limit: "x" is not a whole number`},
		{[]string{"serve", "--workers=maybe"}, exitUsage, `--workers must be true or false, not "maybe"`},
		{[]string{"upload", film, "--metadata", "x"}, exitUsage, `--metadata: write KEY=VALUE, not "x"`},
		{[]string{"videos", "list", "--limit", "0"}, exitUsage, "videos list: --limit must be 1 to 200, not 0"},
		{[]string{"dead", "redrive"}, exitUsage, "name dead letters, select them by flags such as --type, or say --all"},
		{[]string{"dead", "redrive", "x", "--all"}, exitUsage, "name dead letters or say --all, not both"},
		{[]string{"serve", "--max-videos=-1"}, exitUsage, "serve: --max-videos must be 0 or more, not -1"},
		{[]string{"serve", "--max-project-videos=-1"}, exitUsage, "serve: --max-project-videos must be 0 or more, not -1"},
		{[]string{"run", folder, "--out", "x"}, exitUsage, folder + " is a folder; name a file"},
		{[]string{"upload", t.TempDir()}, exitUsage, "there is no video to upload: of a folder, only files with the name of a " +
			"video count, such as film.mp4"},
		{[]string{"upload", "/no/film.mp4"}, exitUsage, "/no/film.mp4: no such file or directory"},
		{[]string{"run", "/no/film.mp4", "--out", "x"}, exitUsage, "/no/film.mp4: no such file or directory"},
		{
			[]string{"serve", "--data", t.TempDir(), "--listen", address}, exitFailure,
			"listen tcp " + address + ": bind: address already in use: stop the program that uses the address, or name another with --listen",
		},
	} {
		err := run(t.Context(), c.args, &bytes.Buffer{}, &bytes.Buffer{})
		if exitCode(err) != c.code || err.Error() != c.want {
			t.Errorf("%v: exit code %d\n got %v\nwant %s", c.args, exitCode(err), err, c.want)
		}
	}
}

// TestDoctorGuessesAWorkerType checks that the doctor says which worker type was meant, as serve does.
func TestDoctorGuessesAWorkerType(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"doctor", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--slots", "transcod=2"},
		&out, &bytes.Buffer{})
	if exitCode(err) != exitFailure || !strings.Contains(out.String(), `did you mean "transcode"?`) {
		t.Errorf("%v: %s", err, &out)
	}
}

// TestServersErrorsHaveTheirRemedy checks that a command prints what a server says to do.
func TestServersErrorsHaveTheirRemedy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"code":"upload_empty","title":"The file is empty","status":422,`+
			`"detail":"The file has no bytes.","remedy":"Check the file, then send it again."}`)
	}))
	defer server.Close()
	film := clip(t, "a.mp4", 1, "64x64", 5)
	err := run(t.Context(), []string{"upload", film, "--server", server.URL}, &bytes.Buffer{}, &bytes.Buffer{})
	want := "upload " + film + ": The file has no bytes (upload_empty). Check the file, then send it again"
	if exitCode(err) != exitUsage || err.Error() != want {
		t.Errorf("exit code %d\n got %v\nwant %s", exitCode(err), err, want)
	}
}

// TestErroredVideoPointsToWhy checks that a command that waited in vain names the command that tells more.
func TestErroredVideoPointsToWhy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"vid_1","filename":"a.mp4","status":"errored","error":{"code":"encode_failed",`+
			`"title":"The encoder failed","detail":"no","remedy":"Try it again."}}`)
	}))
	defer server.Close()
	err := run(t.Context(), []string{"videos", "watch", "vid_1", "--server", server.URL}, &bytes.Buffer{}, &bytes.Buffer{})
	want := "a.mp4 is errored: The encoder failed (encode_failed): no. Try it again. " +
		"`reelmill videos why vid_1 --server " + server.URL + "` tells more"
	if exitCode(err) != exitProcessing || err.Error() != want {
		t.Errorf("exit code %d\n got %v\nwant %s", exitCode(err), err, want)
	}
}

// TestRunOutOfTime checks that `run` says which time was too short.
func TestRunOutOfTime(t *testing.T) {
	args := []string{"run", clip(t, "long.mp4", 60, "1280x720", 25), "--out", t.TempDir(), "--timeout", "1ms"}
	err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{})
	if want := "long.mp4 was not ready within 1ms; give it more time with --timeout"; exitCode(err) != exitTimeout ||
		err.Error() != want {
		t.Errorf("exit code %d\n got %v\nwant %s", exitCode(err), err, want)
	}
}

// TestEveryLineOfAnErrorNamesTheProgram checks errors of several lines, and deadlines in plain words.
func TestEveryLineOfAnErrorNamesTheProgram(t *testing.T) {
	var out bytes.Buffer
	printError(&out, errors.Join(errors.New("upload a: gone"), fmt.Errorf("ask: %w", context.DeadlineExceeded)))
	if want := "reelmill: upload a: gone\nreelmill: ask: no answer in time\n"; out.String() != want {
		t.Errorf("printed %q, want %q", &out, want)
	}
	out.Reset()
	if printError(&out, nil); out.Len() > 0 {
		t.Errorf("no error printed %q", &out)
	}
}

// TestStreamsBesideAServer checks that the command says to stop the server, which has the broker to itself.
func TestStreamsBesideAServer(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, binary, data, "--no-workers")
	err := run(t.Context(), []string{"streams", "show", "--data", data}, &bytes.Buffer{}, &bytes.Buffer{})
	want := fmt.Sprintf("a server runs on %s (process %d (reelmill serve) on %s), and its broker serves no other process: "+
		"stop the server, then try again", data, p.cmd.Process.Pid, hostName(t))
	if exitCode(err) != exitFailure || err.Error() != want {
		t.Errorf("exit code %d\n got %v\nwant %s", exitCode(err), err, want)
	}
	p.stop(t)
}

func hostName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReadyVideoIsDescribed checks that only a thumbnail that was made is named, and the job of a warning.
func TestReadyVideoIsDescribed(t *testing.T) {
	outputs := "[]"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/outputs") {
			_, _ = io.WriteString(w, `{"data":`+outputs+`}`)
			return
		}
		_, _ = io.WriteString(w, `{"id":"vid_1","filename":"a.mp4","status":"ready","playable":true,"manifest":"master.m3u8",`+
			`"play_url":"/play/vid_1/master.m3u8","warnings":[{"code":"job_timeout","title":"Too late","detail":"no","job":"audio-0"}]}`)
	}))
	defer server.Close()
	for said, want := range map[string]bool{
		"[]": false, `[{"name":"thumbnail","kind":"poster","path":"thumbnail.jpg","url":"/play/vid_1/thumbnail.jpg"}]`: true,
	} {
		outputs = said
		var out bytes.Buffer
		if err := run(t.Context(), []string{"videos", "get", "vid_1", "--server", server.URL}, &out, &out); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "thumbnail.jpg") != want || !strings.Contains(out.String(), "audio-0: Too late: no") {
			t.Errorf("outputs %s: %s", said, &out)
		}
	}
}

// TestWatermarkedCopyIsNamed checks that the commands that show a ready video name its watermarked copy.
func TestWatermarkedCopyIsNamed(t *testing.T) {
	p := startServe(t, binary, t.TempDir())
	t.Setenv("REELMILL_SERVER", p.url)
	said := command(t, "upload", clip(t, "a.mp4", 1, "320x180", 10), "--watermark", "text:mine", "--wait", "ready")
	id := videoID.FindString(said)
	want := "  " + p.url + "/play/" + id + "/watermarked.mp4\n"
	for _, text := range []string{said, command(t, "videos", "get", id), command(t, "videos", "watch", id)} {
		if !strings.Contains(text, "watermarked"+want) {
			t.Errorf("no watermarked copy in %s", text)
		}
	}
	p.stop(t)
}
