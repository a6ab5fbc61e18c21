package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestParseStat(t *testing.T) {
	const stat = "1234 (ffm) peg (x) R 77 1 1 0 -1 4194560 100 0 0 0 1500 250 30 20 20 0 5 0 987654 1000 200\n"
	got, err := parseStat([]byte(stat))
	if want := (procStat{parent: 77, start: 987654, own: 17.5, gone: 0.5}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{
		"", "1 2 3", "1 (x) R 1 2", "1 (x) R x 1 1 0 -1 4 1 0 0 0 1 2 3 2 20 0 5 0 9 1 2",
	} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is parsed", bad)
		}
	}
}

func TestOwnProcess(t *testing.T) {
	s, err := readStat(os.Getpid())
	if err != nil || s.parent != os.Getppid() {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, ok := children(os.Getppid())[os.Getpid()]; !ok {
		t.Error("this process is no child of its parent")
	}
	if rss := peakRSS(os.Getpid()); rss < 1<<20 {
		t.Errorf("a peak of %d bytes", rss)
	}
	if m := readMachineTime(); m.busy <= 0 || m.idle <= 0 {
		t.Errorf("%+v", m)
	}
	if got := watchOthers()(0); got < 0 || got > 2*float64(runtime.NumCPU()) {
		t.Errorf("others keep %g cores busy", got)
	}
}

func TestParseStatus(t *testing.T) {
	const status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nOdd:\tmany kB\n"
	for field, want := range map[string]int64{"VmHWM": 512 << 10, "VmRSS": 0, "Odd": 0} {
		if got := parseStatus([]byte(status), field); got != want {
			t.Errorf("%s is %d, want %d", field, got, want)
		}
	}
}

func TestParseMachineTime(t *testing.T) {
	got, err := parseMachineTime([]byte("cpu  100 20 30 4000 50 6 7 800 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"))
	if err != nil || !near(got.busy, 1.63) || !near(got.idle, 40.5) || !near(got.stolen, 8) {
		t.Errorf("%+v, %v", got, err)
	}
	if d := got.since(machineTime{busy: 0.63, idle: 0.5}); !near(d.busy, 1) || !near(d.idle, 40) {
		t.Errorf("%+v", d)
	}
	for _, bad := range []string{"", "cpu 1 2", "cpu a b c d e f g h i\n", "intr 1 2 3 4 5 6 7 8 9"} {
		if _, err := parseMachineTime([]byte(bad)); err == nil {
			t.Errorf("%q is parsed", bad)
		}
	}
}

func TestFolderSize(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "a/y", "a/b/z"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := folderSize(dir); got != 300 {
		t.Errorf("%d bytes, want 300", got)
	}
	if got := folderSize(filepath.Join(dir, "gone")); got != 0 {
		t.Errorf("what is not there has %d bytes", got)
	}
}

func TestMachineFacts(t *testing.T) {
	if got := cpuModel([]byte("processor : 0\nmodel name\t: A B @ 2\nmodel name\t: C\n")); got != "A B @ 2" {
		t.Errorf("model %q", got)
	}
	if got := cpuModel([]byte("Features : fp\n")); got != runtime.GOARCH {
		t.Errorf("model %q", got)
	}
	for video, want := range map[string]string{
		"..x264 - core 164 r3095 baee400 - H.264/MPEG-4": "164 r3095 baee400",
		"..x264 - core 164 - H.264":                      "164",
		"none":                                           "unknown",
	} {
		if got := x264Version([]byte(video)); got != want {
			t.Errorf("%q: %q, want %q", video, got, want)
		}
	}
}

func TestPlainEnvironment(t *testing.T) {
	got := plainEnvironment([]string{"PATH=/bin", "REELMILL_SLOTS=transcode=9", "HOME=/"})
	if len(got) != 2 || got[0] != "PATH=/bin" || got[1] != "HOME=/" {
		t.Errorf("%v", got)
	}
}

func near(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }
