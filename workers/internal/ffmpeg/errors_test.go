package ffmpeg

import (
	"strings"
	"testing"
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
