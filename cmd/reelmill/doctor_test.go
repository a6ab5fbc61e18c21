package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers/all"
)

// examine runs the doctor, and returns its lines by the name of the check, with the remedy on the next line.
func examine(t *testing.T, args ...string) (lines map[string]string, code int) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), append([]string{"doctor", "--listen", "127.0.0.1:0"}, args...), &out, io.Discard)
	lines = map[string]string{}
	for _, line := range strings.Split(strings.ReplaceAll(out.String(), "\n                      to do", "; to do"), "\n") {
		if len(line) > 22 {
			lines[strings.TrimSpace(line[6:21])] = line[:4] + " " + line[22:]
		}
	}
	t.Logf("exit %d: %v\n%s", exitCode(err), err, &out)
	return lines, exitCode(err)
}

// wantLine checks the result and the content of the line of a check.
func wantLine(t *testing.T, lines map[string]string, about, verdict string, parts ...string) {
	t.Helper()
	line := lines[about]
	if !strings.HasPrefix(line, verdict) {
		t.Errorf("%s: %q, want %s", about, line, verdict)
	}
	for _, part := range parts {
		if !strings.Contains(line, part) {
			t.Errorf("%s: %q lacks %q", about, line, part)
		}
	}
}

// TestDoctorLeavesNothingBehind checks that the doctor passes where serve would run, and leaves nothing
// behind.
func TestDoctorLeavesNothingBehind(t *testing.T) {
	above := t.TempDir()
	lines, code := examine(t, "--data", filepath.Join(above, "data"), "--min-free", "1")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for about := range lines {
		wantLine(t, lines, about, "ok")
	}
	left, err := os.ReadDir(above)
	check(t, err)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestDoctorFindsFoldersThatCannotBeWritten checks data folders and stores, also as root.
func TestDoctorFindsFoldersThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{"/proc/data", filepath.Join(file, "data")} {
		lines, code := examine(t, "--data", dir, "--min-free", "1")
		if code != exitFailure {
			t.Errorf("%s: exit code %d", dir, code)
		}
		wantLine(t, lines, "data folder", "FAIL", "to do: ")
		wantLine(t, lines, "store", "FAIL", "to do: ")
	}
	lines, code := examine(t, "--data", t.TempDir(), "--store", "/proc/objects", "--min-free", "1")
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	wantLine(t, lines, "data folder", "ok")
	wantLine(t, lines, "store", "FAIL", "--store")
}

// TestDoctorTellsPrograms: with --json, each check is a line with its verdict and, if it failed, what to do.
func TestDoctorTellsPrograms(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"doctor", "--listen", "127.0.0.1:0", "--data", "/proc/data", "--min-free", "1", "--json"},
		&out, io.Discard)
	if exitCode(err) != exitFailure {
		t.Errorf("exit %d: %v", exitCode(err), err)
	}
	found := map[string]finding{}
	for d := json.NewDecoder(&out); d.More(); {
		var f finding
		check(t, d.Decode(&f))
		found[f.Check] = f
	}
	if f := found["data folder"]; f.Verdict != "fail" || f.Detail == "" || !strings.Contains(f.Remedy, "--data") {
		t.Errorf("data folder: %+v", f)
	}
	if f := found["clock"]; f.Verdict != "ok" || f.Detail == "" || f.Remedy != "" {
		t.Errorf("clock: %+v", f)
	}
}

// TestDoctorMeasuresTheDiskAsServeDoes checks the rule of serve, and that the doctor prints the numbers.
func TestDoctorMeasuresTheDiskAsServeDoes(t *testing.T) {
	dir := t.TempDir()
	disk := &node.Disk{Dir: dir}
	_, total, err := disk.Measure()
	check(t, err)
	lines, _ := examine(t, "--data", dir)
	if !strings.Contains(lines["disk"], "uploads leave "+bytesize.Size(disk.Reserve(total)).String()) {
		t.Errorf("%q, of %d bytes", lines["disk"], total)
	}
	lines, code := examine(t, "--data", dir, "--min-free", "900TiB")
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	wantLine(t, lines, "disk", "FAIL", "uploads leave 900 TiB", "--min-free")
}

// TestDoctorTestsTheBrokerThatServeWouldUse checks that the doctor tests the broker at --nats, not an
// embedded one.
func TestDoctorTestsTheBrokerThatServeWouldUse(t *testing.T) {
	nobody := "nats://" + pipelinetest.FreeAddress(t)
	lines, code := examine(t, "--data", t.TempDir(), "--min-free", "1", "--nats", nobody)
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	wantLine(t, lines, "broker", "FAIL", nobody, "--nats")

	lines, _ = examine(t, "--data", t.TempDir(), "--min-free", "1", "--nats", bustest.Start(t, &server.Options{}).ClientURL())
	wantLine(t, lines, "broker", "FAIL", "JetStream")

	s := bustest.Start(t, &server.Options{JetStream: true})
	lines, code = examine(t, "--data", t.TempDir(), "--min-free", "1", "--nats", s.ClientURL())
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantLine(t, lines, "broker", "ok", s.ClientURL(), server.VERSION)
	lines, _ = examine(t, "--data", t.TempDir(), "--min-free", "1", "--nats", s.ClientURL(), "--replicas", "3")
	wantLine(t, lines, "broker", "FAIL", "3 replicas")
	nc, err := nats.Connect(s.ClientURL())
	check(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	check(t, err)
	for name := range js.StreamNames(t.Context()).Name() {
		t.Errorf("the doctor left the stream %s", name)
	}
}

func TestDoctorRefusesAnOldBroker(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.15.2": true, "2.16.0-beta": true, "3.0.0": true, "2.9.25": false, "2.14.9": false, "": false,
	} {
		if err := newEnough(version); (err == nil) != ok {
			t.Errorf("%q: %v", version, err)
		}
	}
}

// TestDoctorComparesTheReadModelWithTheLog checks that the doctor finds a read model that is ahead of its
// log, or no database.
func TestDoctorComparesTheReadModelWithTheLog(t *testing.T) {
	data := t.TempDir()
	s := &site{t, data, ""}
	n := s.open()
	accept(t, n.bus, "one")
	s.close(n)
	lines, code := examine(t, "--data", data, "--min-free", "1")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantLine(t, lines, "read model", "ok", "has the events up to number 1")

	check(t, os.RemoveAll(broker.Dir(data)))
	lines, code = examine(t, "--data", data, "--min-free", "1")
	wantLine(t, lines, "broker", "ok")
	if code != exitFailure {
		t.Errorf("a lost log: exit code %d", code)
	}
	wantLine(t, lines, "event log", "FAIL", "1 of 1 events", "this affects 1 video: one", "to do: ", "reelmill rebuild --force")

	check(t, os.WriteFile(filepath.Join(data, "catalog.db"), []byte(strings.Repeat("no database ", 1000)), 0o600))
	lines, _ = examine(t, "--data", data, "--min-free", "1")
	wantLine(t, lines, "read model", "FAIL", "rebuild")
}

// TestDoctorAdvisesWhatCanBeDone checks that the doctor advises `streams apply` only for changes that it can
// make, and otherwise says what prevents them.
func TestDoctorAdvisesWhatCanBeDone(t *testing.T) {
	s := bustest.Start(t, &server.Options{JetStream: true})
	nc, err := nats.Connect(s.ClientURL())
	check(t, err)
	defer nc.Close()
	_, err = bus.Open(t.Context(), nc, bus.Config{})
	check(t, err)
	broker := []string{"--data", t.TempDir(), "--min-free", "1", "--nats", s.ClientURL(), "--events-max-bytes", "9GiB"}
	lines, _ := examine(t, broker...)
	wantLine(t, lines, "broker", "FAIL", "EVENTS: max bytes is 8 GiB, want 9 GiB",
		"to do: change the flags, or change the streams with `reelmill streams apply`")
	lines, _ = examine(t, append(broker, "--replicas", "3")...)
	wantLine(t, lines, "broker", "FAIL", "EVENTS: replicas is 1, want 3",
		"to do: change the flags; `reelmill streams apply` cannot change the streams: EVENTS, TASKS, DEAD, PROGRESS, KV_WORKERS, KV_WEBHOOKS, HOOKS, DELIVERIES, KV_CONTROL, KV_SECRETS: "+
			"3 copies need a cluster of NATS servers")
}

// TestDoctorOfARunningServer checks that the doctor accepts a data folder and an address that a running
// server uses.
func TestDoctorOfARunningServer(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, binary, data, "--min-free", "1")
	var out bytes.Buffer
	err := run(t.Context(), []string{
		"doctor", "--data", data, "--min-free", "1", "--listen", strings.TrimPrefix(p.url, "http://"),
	}, &out, io.Discard)
	if err != nil || !strings.Contains(out.String(), "a server runs on "+data) {
		t.Errorf("%v\n%s", err, &out)
	}
	p.stop(t)
}

// TestDoctorWithoutFFmpeg checks that every check that needs ffmpeg says to install it.
func TestDoctorWithoutFFmpeg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	lines, _ := examine(t, "--data", t.TempDir(), "--min-free", "1")
	for _, about := range []string{"ffmpeg", "workers", "configuration"} {
		wantLine(t, lines, about, "FAIL", "to do: install ffmpeg and ffprobe")
	}
}

// TestDoctorWarnsWithoutASandbox: serve would start, and the doctor says what nothing guards.
func TestDoctorWarnsWithoutASandbox(t *testing.T) {
	lines, code := examine(t, "--data", t.TempDir(), "--min-free", "1", "--sandbox", "off")
	wantLine(t, lines, "sandbox", "warn", "sandbox off", "secrets", "other videos", "the network", "to do: ")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestDoctorKnowsWhatWasAskedFor: where best effort reaches no sandbox, nobody said --sandbox off.
func TestDoctorKnowsWhatWasAskedFor(t *testing.T) {
	d := &checkup{config: node.ServerConfig{Jobs: node.Jobs{Sandbox: "best-effort"}}}
	_, err := d.sandbox(t.Context())
	told, ok := errors.AsType[remedied](err)
	if !ok || strings.Contains(told.remedy, "--sandbox off") || !strings.Contains(told.remedy, "--sandbox required") {
		t.Errorf("%v, to do: %s", err, told.remedy)
	}
}

// TestDoctorAsksFFmpegOnce: what ffmpeg says about its version when it is tried in the cage is not asked again.
func TestDoctorAsksFFmpegOnce(t *testing.T) {
	real, err := exec.LookPath("ffmpeg")
	check(t, err)
	ours := filepath.Join(t.TempDir(), "ffmpeg")
	writeProgram(t, ours, string(readFile(t, real)))
	d := &checkup{config: node.ServerConfig{Jobs: node.Jobs{Sandbox: "required"}}}
	d.programs, err = all.Find(all.Config{FFmpeg: ours})
	check(t, err)
	d.openCage(t.Context())
	check(t, os.Remove(ours)) // whoever asks again fails
	if detail, err := d.sandbox(t.Context()); err != nil {
		t.Errorf("%s, %v", detail, err)
	}
	if detail, err := d.versions(t.Context()); err != nil || !strings.Contains(detail, "ffmpeg ") {
		t.Errorf("ffmpeg is asked again: %s, %v", detail, err)
	}
	check(t, d.close())
}

// TestDoctorReadsALongLog checks that the doctor does not give up on an embedded broker that reads a large log
// for longer than a NATS server may take to answer.
func TestDoctorReadsALongLog(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, data := range []string{t.TempDir(), filepath.Join(t.TempDir(), "new")} {
		d := &checkup{config: parse(t, []string{"doctor", "--data", data}).Doctor.configWith(secret.Text{}, nil, log)}
		d.patience = 1 // over before anything is read
		if detail, err := d.broker(t.Context()); err != nil {
			t.Errorf("%s, %v", detail, err)
		}
	}
	d := &checkup{patience: time.Millisecond, config: node.ServerConfig{Config: node.Config{
		NATS: broker.At("nats://127.0.0.1:1"), Logger: log,
	}}}
	if _, err := d.broker(t.Context()); err == nil || !strings.Contains(err.Error(), "connect to broker") {
		t.Errorf("without a server: %v", err)
	}
}
