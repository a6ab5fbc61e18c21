package ffmpeg

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSniffGenerated(t *testing.T) {
	dir := t.TempDir()
	src := []string{"-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.5", "-f", "lavfi", "-i", "sine=r=44100:d=0.5"}
	tests := []struct{ file, want string }{
		{"a.mp4", "mov"}, {"a.mov", "mov"}, {"a.mkv", "matroska"}, {"a.webm", "matroska"}, {"a.avi", "avi"},
		{"a.ts", "mpegts"}, {"a.m2ts", "mpegts"}, {"a.mpg", "mpeg"}, {"a.flv", "flv"}, {"a.ogv", "ogg"},
		{"a.wmv", "asf"}, {"a.mxf", "mxf"}, {"a.wav", "wav"}, {"a.mp3", "mp3"}, {"id3.mp3", "mp3"},
		{"a.flac", "flac"}, {"a.aac", "aac"}, {"a.m4a", "mov"},
	}
	for _, tt := range tests {
		path := filepath.Join(dir, tt.file)
		args := append([]string{}, src...)
		switch filepath.Ext(tt.file) {
		case ".wav", ".mp3", ".flac", ".aac", ".m4a":
			args = append(args, "-map", "1")
		case ".webm":
			args = append(args, "-c:v", "libvpx", "-c:a", "libopus")
		case ".mxf":
			args = append(args, "-c:v", "mpeg2video", "-ar", "48000")
		}
		switch tt.file {
		case "a.mp3":
			args = append(args, "-id3v2_version", "0", "-write_xing", "0")
		case "a.m2ts":
			args = append(args, "-mpegts_m2ts_mode", "1")
		}
		generate(t, append(args, path)...)
		got, known := Sniff(head(t, path))
		if got != tt.want || !known {
			t.Errorf("%s: %q %v, want %q", tt.file, got, known, tt.want)
			continue
		}
		if r := probe(t, path, ProbeOptions{Demuxer: got}); len(r.Streams) == 0 {
			t.Errorf("%s: forced %s finds no streams", tt.file, got)
		}
	}
}

// TestSniffCut: a recording of a transport stream may begin within a packet, or after the remains of
// another.
func TestSniffCut(t *testing.T) {
	for _, step := range []int{188, 192, 204} {
		packet := append([]byte{0x47}, make([]byte, step-1)...)
		stream := bytes.Repeat(packet, 30)
		for _, first := range []int{1, 70, step - 1} {
			if got, known := Sniff(stream[first:]); got != "mpegts" || !known {
				t.Errorf("packets of %d bytes, cut at %d: %q %v", step, first, got, known)
			}
			broken := bytes.Clone(stream[first:])
			broken[10*step-first] = 0
			if got, _ := Sniff(broken); got != "" {
				t.Errorf("packets of %d bytes, cut at %d, one without a sync byte: %q", step, first, got)
			}
		}
	}
}

// TestSniffGarbageFirst: Sniff finds a transport stream after a few kilobytes of other bytes, as players
// do.
func TestSniffGarbageFirst(t *testing.T) {
	packet := append([]byte{0x47, 0x01, 0x00, 0x10}, make([]byte, 184)...)
	for _, garbage := range []int{189, 3000, 12000} {
		head := append(bytes.Repeat([]byte{0xa5}, garbage), bytes.Repeat(packet, 100)...)
		if got, known := Sniff(head); got != "mpegts" || !known {
			t.Errorf("%d bytes: %q %v", garbage, got, known)
		}
		head[garbage+3] = 0 // neither adaptation field nor payload
		head = head[:garbage+20*188]
		if got, _ := Sniff(head); got != "" {
			t.Errorf("%d bytes, and 19 packets: %q", garbage, got)
		}
	}
}

// TestSniffFirstBox: an MP4 may begin with a private box of a valid size.
func TestSniffFirstBox(t *testing.T) {
	for head, want := range map[string]string{
		"\x00\x00\x00\x18uuid": "mov", "\x00\x00\x00\x08udta": "mov", "{\"a\"uuid": "", "\x00\x00\x00\x01uuid": "",
	} {
		if got, _ := Sniff([]byte(head + strings.Repeat("\x00", 32))); got != want {
			t.Errorf("%q: %q, want %q", head, got, want)
		}
	}
}

func TestSniffUnknown(t *testing.T) {
	for _, s := range []string{
		"", "G", "#EXTM3U\n#EXTINF:1,\na.ts\n", "#EXTINF:1,", "ffconcat version 1.0\nfile x", "\xef\xbb\xbf#EXTM3U",
		`<?xml version="1.0"?><MPD>`, "\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "<SMIL>", "v=0\no=- 0 0 IN IP4 1.2.3.4\n", "WEBVTT\n\n", "GIF89a", "\x89PNG\r\n\x1a\n",
		"\xff\xd8\xff\xe0\x00\x10JFIF", "RIFF\x00\x00\x00\x00WEBPVP8 ", "%PDF-1.7", "#!/bin/sh", "PK\x03\x04", "\xff\xfb",
		"\x1a\x45\xdf\xa3 something else", "GGGG" + strings.Repeat("x", 1000), "#!AMR\n", "[playlist]\nFile1=x",
	} {
		if d, known := Sniff([]byte(s)); known || d != "" {
			t.Errorf("%q: %s", s, d)
		}
	}
}

func head(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, SniffLen))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzSniff(f *testing.F) {
	for _, s := range []string{"\x00\x00\x00\x18ftypisom", "ID3\x04\x00", "\xff\xf1\x50\x80", "\xff\xfb\x90\x00", "OggS\x00"} {
		f.Add([]byte(s))
	}
	allowed := "," + formatWhitelist + ","
	f.Fuzz(func(t *testing.T, data []byte) {
		d, known := Sniff(data)
		if known != (d != "") || known && !strings.Contains(allowed, ","+d+",") {
			t.Fatalf("%q %v", d, known)
		}
		if known && (strings.HasPrefix(string(data), "#EXT") || strings.HasPrefix(string(data), "ffconcat")) {
			t.Fatalf("a playlist passed as %s", d)
		}
	})
}
