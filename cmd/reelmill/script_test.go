package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command lines in testdata/script as processes, against a real server, and checks what
// they print and how they end. A script has the address of the server in $REELMILL_SERVER, a short video in
// film.mp4, and in $ELSEWHERE the address of another server that has it. `exits N reelmill ...` checks an exit
// code.
func TestScripts(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--fetch-allow-private")
	film := clip(t, "film.mp4", 1, "320x180", 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/film.mp4" {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, film)
	}))
	t.Cleanup(elsewhere.Close)
	t.Run("script", func(t *testing.T) { // which ends after all scripts, that run beside each other
		testscript.Run(t, testscript.Params{
			Dir: filepath.Join("testdata", "script"), RequireExplicitExec: true, RequireUniqueNames: true,
			Setup: func(env *testscript.Env) error {
				raw, err := os.ReadFile(film)
				if err != nil {
					return err
				}
				env.Setenv("PATH", filepath.Dir(binary)+string(filepath.ListSeparator)+os.Getenv("PATH"))
				env.Setenv("REELMILL_SERVER", p.url)
				env.Setenv("ELSEWHERE", elsewhere.URL)
				env.Setenv("REELMILL_STATE", filepath.Join(env.WorkDir, "state"))
				return os.WriteFile(filepath.Join(env.WorkDir, "film.mp4"), raw, 0o600)
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		})
	})
	p.stop(t)
}

// exits runs a command, and checks that it ends with an exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v ends with %d, want %d", args[1:], got, want)
	}
}
