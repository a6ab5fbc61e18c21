package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
)

// TestStreamsApply checks that serve refuses a flag that contradicts the live log, and names the command; and
// that the command prints the changes, and makes them with --yes.
func TestStreamsApply(t *testing.T) {
	data := t.TempDir()
	onLog(t, data, bus.Config{}, func(*bus.Bus, jetstream.JetStream) {})
	serve := []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--events-max-bytes", "9GiB"}
	err := run(t.Context(), serve, &bytes.Buffer{}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "max bytes is 8 GiB, want 9 GiB") ||
		!strings.Contains(err.Error(), "`reelmill streams apply`") {
		t.Errorf("serve with another size of the log: %v", err)
	}
	apply := []string{"streams", "apply", "--data", data, "--events-max-bytes", "9GiB"}
	printed := runText(t, apply...)
	if !strings.Contains(printed, "EVENTS: max bytes is 8 GiB, want 9 GiB\n") ||
		!strings.Contains(printed, "nothing was changed; add --yes") || logSize(t, data) != 8<<30 {
		t.Errorf("apply without --yes printed %q, and the log has %d", printed, logSize(t, data))
	}
	printed = runText(t, append(apply, "--yes")...)
	if !strings.Contains(printed, "EVENTS: max bytes is 8 GiB, want 9 GiB\nchanged 1 of them\n") ||
		logSize(t, data) != 9<<30 {
		t.Errorf("apply printed %q, and the log has %d", printed, logSize(t, data))
	}
	printed = runText(t, "streams", "show", "--data", data)
	if !strings.Contains(printed, "nothing differs") || !strings.Contains(printed, "  9 GiB  ") {
		t.Errorf("show printed %q", printed)
	}
	printed = runText(t, "streams", "show", "--data", data, "-o", "json", "--events-max-bytes", "8GiB")
	var views []streamView
	check(t, json.Unmarshal([]byte(printed), &views))
	log := slices.IndexFunc(views, func(v streamView) bool { return v.Stream == "EVENTS" && v.Consumer == "" })
	if log < 0 || !views[log].Exists || *views[log].MaxBytes != 9<<30 ||
		!slices.Equal(views[log].Differences, []string{"max bytes is 9 GiB, want 8 GiB"}) {
		t.Errorf("show -o json printed %s", printed)
	}
}

// TestStreamsApplyWantsAClusterForCopies checks that impossible replicas are refused before any change, also
// without --yes.
func TestStreamsApplyWantsAClusterForCopies(t *testing.T) {
	data := t.TempDir()
	onLog(t, data, bus.Config{}, func(*bus.Bus, jetstream.JetStream) {})
	apply := []string{"streams", "apply", "--data", data, "--replicas", "3", "--events-max-bytes", "9GiB"}
	serve := []string{"serve", "--data", data, "--replicas", "3"}
	for _, args := range [][]string{apply, append(apply, "--yes"), serve} {
		err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{})
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "with --nats") {
			t.Errorf("%v: exit code %d, %v", args, exitCode(err), err)
		}
	}
	if size := logSize(t, data); size != 8<<30 {
		t.Errorf("the log has %d", size)
	}
	if said := runText(t, "streams", "apply", "--data", data, "--replicas", "1"); said != "nothing differs\n" {
		t.Errorf("one copy: %s", said)
	}
	s := bustest.Start(t, &server.Options{JetStream: true})
	conn, err := nats.Connect(s.ClientURL())
	check(t, err)
	defer conn.Close()
	_, err = bus.Open(t.Context(), conn, bus.Config{})
	check(t, err)
	for _, args := range [][]string{apply, append(apply, "--yes")} {
		err := run(t.Context(), append(args, "--nats", s.ClientURL()), &bytes.Buffer{}, &bytes.Buffer{})
		if exitCode(err) != exitFailure || !strings.HasPrefix(err.Error(), "nothing was changed: ") ||
			!strings.Contains(err.Error(), "the broker is a single one") {
			t.Errorf("%v: exit code %d, %v", args, exitCode(err), err)
		}
	}
	all, err := bus.Look(t.Context(), conn, bus.Config{})
	check(t, err)
	if all[0].MaxBytes != 8<<30 {
		t.Errorf("the log of a single server has %d", all[0].MaxBytes)
	}
}

// TestStreamsOfNoServer checks that showing streams makes none.
func TestStreamsOfNoServer(t *testing.T) {
	data := filepath.Join(t.TempDir(), "nothing")
	err := run(t.Context(), []string{"streams", "show", "--data", data}, &bytes.Buffer{}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "has no broker") {
		t.Errorf("showed the streams of nobody: %v", err)
	}
	if files, err := filepath.Glob(data + "*"); err != nil || len(files) != 0 {
		t.Errorf("made %v, %v", files, err)
	}
}

// runText runs the program and returns what it prints.
func runText(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := run(t.Context(), args, &out, &errs); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

// onLog calls do with the bus of a data folder whose server is stopped, opened with c.
func onLog(t *testing.T, data string, c bus.Config, do func(*bus.Bus, jetstream.JetStream)) {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: broker.Dir(data)})
	check(t, err)
	defer server.Shutdown()
	conn, err := server.Conn()
	check(t, err)
	defer conn.Close()
	c.Exclusive = true
	b, err := bus.Open(t.Context(), conn, c)
	check(t, err)
	js, err := jetstream.New(conn)
	check(t, err)
	do(b, js)
}

// logSize returns the limit of the event log.
func logSize(t *testing.T, data string) (limit int64) {
	t.Helper()
	onLog(t, data, bus.Config{}, func(_ *bus.Bus, js jetstream.JetStream) {
		stream, err := js.Stream(context.Background(), "EVENTS")
		check(t, err)
		limit = stream.CachedInfo().Config.MaxBytes
	})
	return limit
}
