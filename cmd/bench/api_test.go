package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestAPI runs `make bench` for the API with small sizes. The whole test has as many event streams as the
// measurement, of which each must get the event.
func TestAPI(t *testing.T) {
	streams := "40"
	if pipelinetest.Whole() {
		streams = "10000"
	}
	file := filepath.Join(t.TempDir(), "result.json")
	small := "-size 1MiB -piece 300KiB -repeat 1 -videos 20 -requests 200 -clients 4 -uploads 3 -each 100KiB " +
		"-subscribers " + streams
	cmd := exec.CommandContext(t.Context(), "make", "-C", "../..", "bench", "ONLY=api", "API=-json "+file+" "+small)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "MAKE") && !strings.HasPrefix(e, "MFLAGS") { // of a make that runs the tests
			cmd.Env = append(cmd.Env, e)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, r := range doc.Rows {
		rows[r.Name] = r
	}
	for _, want := range []string{
		"upload: ours, tus", "upload: ours, tus in pieces", "upload: ours, PUT", "upload: tusd",
		"upload: tusd durable in pieces", "upload: cp + fsync", "speed: ours, tus / tusd",
		"speed: ours, tus in pieces / tusd durable in pieces", "speed: ours, PUT / cp + fsync",
		"GET a video of 20, 4 clients: ours / net/http", "GET a video of 20, 4 clients: ours, p99",
		"memory, 3 uploads of 100 KiB: ours, peak", "memory, 3 uploads of 100 KiB: tusd, peak",
		streams + " event streams: memory of the server, idle",
	} {
		if len(rows[want].Values) == 0 || rows[want].Median <= 0 {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if !strings.Contains(string(out), "one event reached all") {
		t.Errorf("no event reached all\n%s", out)
	}
}

// TestAPIFlags: wrong flags of `bench api` are refused.
func TestAPIFlags(t *testing.T) {
	b, err := parseAPI([]string{"-only", "get,upload", "-size", "3MiB"})
	if err != nil || b.size != 3<<20 || !b.wants("get") || b.wants("memory") {
		t.Errorf("%+v, %v", b, err)
	}
	for _, bad := range [][]string{
		{"-only", "ready"}, {"-size", "0"}, {"-size", "much"}, {"-clients", "0"}, {"-subscribers", "-1"},
	} {
		if _, err := parseAPI(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// TestCheckKept: a file that is missing, shorter or damaged is noticed.
func TestCheckKept(t *testing.T) {
	file, err := makeSource(filepath.Join(t.TempDir(), "source"), 100_000)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file.path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte{}, raw...)
	damaged[50_000] ^= 1
	for name, c := range map[string]struct {
		kept []byte
		want string
	}{
		"whole": {raw, ""}, "shorter": {raw[1:], "has no file"}, "damaged": {damaged, "has the SHA-256"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "kept"), c.kept, 0o600); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := checkKept(dir, file); err != nil {
			got = err.Error()
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	part, err := file.begin(10)
	if err != nil || part.size != 10 || part.sha256 == file.sha256 {
		t.Errorf("%+v, %v", part, err)
	}
}

// TestReadHead reads the heads of answers.
func TestReadHead(t *testing.T) {
	for head, want := range map[string]int{
		"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 12\r\n\r\nbody":   12,
		"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n":         -1,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":       -1,
		"HTTP/1.1 200 OK\r\nContent-Length: 1":                        -1,
		"HTTP/1.1 200 OK\r\nContent-Length: many\r\nX: y\r\n\r\nbody": -1,
	} {
		got, err := readHead(bufio.NewReader(strings.NewReader(head)))
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, %v; want %d", head, got, err, want)
		}
	}
}

// TestReadEvent reads the events of a stream.
func TestReadEvent(t *testing.T) {
	in := bufio.NewReader(strings.NewReader(
		"id: 4\n\n: beat\n\nid: 5\nevent: video.uploaded\ndata: {\"a\":1}\n\nevent: video.ready\ndata: {}\n\n"))
	if data, err := readEvent(in, "video.uploaded"); err != nil || data != `{"a":1}` {
		t.Errorf("%s, %v", data, err)
	}
	if data, err := readEvent(in, "video.uploaded"); err == nil || !strings.Contains(err.Error(), "video.ready") {
		t.Errorf("another event is taken: %s, %v", data, err)
	}
	if _, err := readEvent(in, "video.uploaded"); err == nil {
		t.Error("the end is no error")
	}
}
