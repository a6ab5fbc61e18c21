package ffmpeg

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestErrorClasses(t *testing.T) {
	tests := []struct {
		kind          Kind
		tail          string
		bad, diskFull bool
	}{
		{KindExit, "[mov] moov atom not found\nfile:<in0>: Invalid data found when processing input", true, false},
		{KindExit, "Stream map '0:v:0' matches no streams.", true, false},
		{KindExit, "Decoder (codec none) not found for input stream #0:1", true, false},
		{KindExit, "[hls] Format not on whitelist 'mov'", true, false},
		{KindExit, "av_interleaved_write_frame(): No space left on device\nInvalid data found when processing input", false, true},
		{KindExit, "Unknown encoder 'libx999'", false, false},
		{KindExit, "", false, false},
		{KindSignal, "Invalid data found when processing input", false, false},
		{KindStalled, "moov atom not found", false, false},
	}
	for _, tt := range tests {
		e := &Error{Program: "ffmpeg", Kind: tt.kind, Tail: tt.tail}
		if e.BadInput() != tt.bad || e.DiskFull() != tt.diskFull {
			t.Errorf("%v %q: bad %v, disk full %v", tt.kind, tt.tail, e.BadInput(), e.DiskFull())
		}
	}
}

// TestKillForCPUTimeIsTheFile: the kernel kills a process for its CPU limit somewhat before as much is measured. A kill
// long before the limit is another's.
func TestKillForCPUTimeIsTheFile(t *testing.T) {
	const busy = "i=0; while [ $i -lt 600000 ]; do i=$((i+1)); done; kill -9 $$"
	err := exec.CommandContext(t.Context(), "sh", "-c", busy).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatal(err)
	}
	used := (exit.UserTime() + exit.SystemTime()).Seconds()
	for share, spent := range map[float64]bool{1: true, 0.9: true, 0.7: true, 0.3: false, 0.01: false} {
		limit := time.Duration(used / share * float64(time.Second))
		if got := Exhausted(newError(t.Context(), "ffmpeg", nil, limit, err, newTail(100))); got != spent {
			t.Errorf("killed after %g of %s: exhausted %v", share, limit, got)
		}
	}
	if Exhausted(newError(t.Context(), "ffmpeg", nil, 0, err, newTail(100))) {
		t.Error("a limit that is not there is exhausted")
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("a\nb\xff\r\x1b[0m [mov @ 0x55aa] /secret/in.mp4: no"), 10, 3)
	f.Fuzz(func(t *testing.T, data []byte, limit, cut int) {
		tl := newTail(limit % 100)
		tl.hide("/secret/in.mp4", "<in0>")
		cut = max(0, min(cut, len(data)))
		for _, p := range [][]byte{data[:cut], data[cut:]} {
			if n, err := tl.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		s := tl.String()
		bad := func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }
		if !utf8.ValidString(s) || strings.ContainsFunc(s, bad) || len(tl.buf) > tl.max {
			t.Fatalf("%q became %q", data, s)
		}
		if strings.ContainsFunc((&Error{Tail: s}).Error(), func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q in one line", s)
		}
	})
}
