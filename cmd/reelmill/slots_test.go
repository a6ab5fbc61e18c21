package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThreadsFlag checks flag, environment and file, for every command that runs encoders.
func TestThreadsFlag(t *testing.T) {
	dir := t.TempDir()
	file, film := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "film.mp4")
	for name, body := range map[string]string{file: "threads: 3\n", film: "film"} {
		check(t, os.WriteFile(name, []byte(body), 0o600))
	}
	commands := map[string][]string{
		"serve": {"serve"}, "worker": {"worker"}, "run": {"run", film, "--out", filepath.Join(dir, "out")},
	}
	for name, args := range commands {
		got := func(more ...string) threads {
			c := parse(t, append(append([]string{}, args...), more...))
			return map[string]threads{"serve": c.Serve.Threads, "worker": c.Worker.Threads, "run": c.Run.Threads}[name]
		}
		if n := got(); n != 0 {
			t.Errorf("%s: default %d", name, n)
		}
		if n := got("--config", file); n != 3 {
			t.Errorf("%s: %d from the file", name, n)
		}
		t.Setenv("REELMILL_THREADS", "5")
		if n := got("--config", file); n != 5 {
			t.Errorf("%s: %d from the environment", name, n)
		}
		if n := got("--threads", "64"); n != 64 {
			t.Errorf("%s: %d from the flag", name, n)
		}
		check(t, os.Unsetenv("REELMILL_THREADS"))
		for _, bad := range []string{"65", "-1", "two", "1.5"} {
			var out, errOut bytes.Buffer
			err := run(context.Background(), append(append([]string{}, args...), "--threads="+bad), &out, &errOut)
			if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "1 to 64") {
				t.Errorf("%s with %s threads: %v", name, bad, err)
			}
		}
	}
}

// TestSlotsThatNobodyHas checks that 0 slots are refused where no other process can have any. Help and errors
// show how to write slots.
func TestSlotsThatNobodyHas(t *testing.T) {
	film, out := os.Args[0], filepath.Join(t.TempDir(), "out")
	file := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(file, []byte("slots: {transcode: 0}\n"), 0o600))
	for _, c := range []struct {
		args []string
		want string // empty: accepted
	}{
		{[]string{"serve", "--slots", "transcode=0"}, "transcode=0: its jobs would wait for ever"},
		{[]string{"serve", "--config", file}, "transcode=0: its jobs would wait for ever"},
		{[]string{"doctor", "--slots", "audio=1;transcode=0"}, "transcode=0: its jobs would wait for ever"},
		{[]string{"run", film, "--out", out, "--slots", "transcode=0"}, "transcode=0: its jobs would wait for ever"},
		{[]string{"run", film, "--out", out, "--slots", "transcode=-1"}, "transcode=2;audio=1"},
		{[]string{"serve", "--slots", "transcode=2,audio=1"}, "'transcode=2;audio=1', in quotes"},
		{[]string{"worker", "--slots", "transcode"}, "'transcode=2;audio=1', in quotes"},
		{[]string{"serve", "--nats", "nats://a:1", "--slots", "transcode=0"}, ""},
		{[]string{"worker", "--nats", "nats://a:1", "--slots", "transcode=0;audio=3"}, ""},
	} {
		if c.want == "" {
			if got := parse(t, c.args); got.Serve.Slots["transcode"] != 0 || got.Worker.Slots["transcode"] != 0 {
				t.Errorf("%v: %v, %v", c.args, got.Serve.Slots, got.Worker.Slots)
			}
			continue
		}
		ctx, stop := context.WithCancel(t.Context())
		stop() // accepted commands end at once
		err := run(ctx, c.args, &bytes.Buffer{}, &bytes.Buffer{})
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: exit code %d, %v; want 2 and %q", c.args, exitCode(err), err, c.want)
		}
	}
	t.Setenv("REELMILL_SLOTS", "transcode=5;audio=5")
	if got := parse(t, []string{"serve", "--slots", "audio=1"}).Serve.Slots; len(got) != 1 || got["audio"] != 1 {
		t.Errorf("flag and environment give %v", got)
	}
	if got := parse(t, []string{"serve", "--slots", "audio=1", "--slots", "transcode=2"}).Serve.Slots; len(got) != 2 {
		t.Errorf("two flags give %v", got)
	}
	if help := command(t, "serve", "--help"); !strings.Contains(help, "'transcode=2;audio=1'") {
		t.Errorf("help says %s", help)
	}
}
