package inspect

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestEncryptedIsRefusedByName: encrypted tracks are refused in every container; ffmpeg would decode garbage.
func TestEncryptedIsRefusedByName(t *testing.T) {
	cenc := []string{
		"-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb",
		"-encryption_kid", "a7e61c373e219033c21091fa607bf3b8",
	}
	both := args(workertest.Pattern("64x48", "10", "1"), workertest.Tone("1"), x264, []string{"-c:a", "aac"})
	plain := workertest.Clip(t, "p.mkv", both...)
	whole := workertest.Clip(t, "c.mp4", append(both, cenc...)...)
	stream := workertest.Clip(t, "s.ts", both...)
	program := workertest.Clip(t, "p.vob", args(workertest.Pattern("64x48", "25", "1"), workertest.Tone("1"), []string{"-c:v", "mpeg2video", "-c:a", "mp2"})...)
	media := workertest.Clip(t, "a.asf", args(workertest.Pattern("64x48", "10", "1"), []string{"-c:v", "msmpeg4"})...)
	for name, path := range map[string]string{
		"CENC":                      whole,
		"CENC at the end":           workertest.Clip(t, "e.mp4", args(both, cenc, []string{"-movflags", "-faststart"})...),
		"CENC in fragments":         workertest.Clip(t, "f.mp4", args(both, cenc, []string{"-movflags", "frag_keyframe+empty_moov"})...),
		"sound alone":               edited(t, whole, func(b []byte) []byte { return bytes.Replace(b, []byte("encv"), []byte("avc1"), 1) }),
		"FairPlay":                  edited(t, whole, func(b []byte) []byte { return bytes.Replace(b, []byte("encv"), []byte("drmi"), 1) }),
		"Matroska":                  edited(t, plain, encrypt),
		"Matroska of long numbers":  edited(t, plain, encryptLong),
		"CENC behind many boxes":    edited(t, whole, behindBoxes),
		"a scrambled transport":     edited(t, stream, scramble),
		"scrambled sound alone":     edited(t, stream, func(b []byte) []byte { return scramblePIDs(b, 0x101, 0x101) }),
		"a scrambled DVD":           edited(t, program, scrambleDVD),
		"Windows Media with rights": edited(t, media, func(b []byte) []byte { return slices.Insert(b, 30, drmObjects[0]...) }),
	} {
		in := look(t, Limits{}, path)
		if in.Verdict != pipeline.VerdictReject || in.Reason == nil || in.Reason.Code != pipeline.CodeEncrypted || in.Reason.Retryable {
			t.Errorf("%s: %s %+v", name, in.Verdict, in.Reason)
		}
	}
	for name, path := range map[string]string{"Matroska": plain, "MPEG-TS": stream, "MPEG-PS": program, "ASF": media, "MP4": clip(t)} {
		if in := look(t, Limits{}, path); in.Verdict != pipeline.VerdictAccept {
			t.Errorf("%s that is not encrypted: %+v", name, in.Reason)
		}
	}
	if in := look(t, Limits{}, whole); !strings.Contains(in.Reason.Detail, "encv") || !strings.Contains(in.Reason.Detail, "cenc") {
		t.Errorf("detail %q", in.Reason.Detail)
	}
}

// edited returns a changed copy of a file.
func edited(t *testing.T, path string, change func([]byte) []byte) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return save(t, "edited", change(data))
}

// encrypt marks the first track of a Matroska file as encrypted.
func encrypt(b []byte) []byte { return encryptWith(b, func(entry []byte) []byte { return entry }) }

// encryptLong is encrypt, with the type of the track in 8 bytes in place of 1.
func encryptLong(b []byte) []byte {
	return encryptWith(b, func(entry []byte) []byte {
		return bytes.Replace(entry, []byte{0x83, 0x81, 1}, []byte{0x83, 0x88, 0, 0, 0, 0, 0, 0, 0, 1}, 1)
	})
}

// behindBoxes puts 12,000 empty boxes before the index of an MP4, which is at its end.
func behindBoxes(b []byte) []byte {
	at := bytes.LastIndex(b, []byte("moov")) - 4
	return slices.Concat(b[:at], bytes.Repeat([]byte("\x00\x00\x00\x08free"), 12_000), b[at:])
}

// encryptWith marks the first track of a Matroska file as encrypted, and changes its entry. It rewrites the
// elements around the new one, whose lengths change.
func encryptWith(b []byte, change func(entry []byte) []byte) []byte {
	master := func(id []byte, parts ...[]byte) []byte {
		inside := slices.Concat(parts...)
		length := binary.BigEndian.AppendUint64(nil, 1<<56|uint64(len(inside)))
		return slices.Concat(id, length, inside)
	}
	id := []byte{0x16, 0x54, 0xae, 0x6b}
	at := bytes.LastIndex(b[:bytes.Index(b, []byte{0x1f, 0x43, 0xb6, 0x75})], id) // after the seek head, before clusters
	_, length, start := element(b[at:])
	tracks := b[at+start : at+start+int(length)]
	behind := b[at+start+int(length):]
	if tracks[0] == 0xbf { // a checksum, which would be wrong
		tracks = tracks[6:]
	}
	_, length, start = element(tracks)
	content, others := change(tracks[start:start+int(length)]), tracks[start+int(length):]
	encryption := master([]byte{0x50, 0x35}, []byte{0x47, 0xe1, 0x81, 5}) // by AES
	encodings := master([]byte{0x6d, 0x80}, master([]byte{0x62, 0x40}, []byte{0x50, 0x33, 0x81, 1}, encryption))
	whole := master(id, master([]byte{idTrackEntry}, content, encodings), others)
	b = slices.Concat(b[:at], whole, behind)
	segment := bytes.Index(b, []byte{0x18, 0x53, 0x80, 0x67}) + 4
	binary.BigEndian.PutUint64(b[segment:], 1<<56|uint64(len(b)-segment-8))
	return b
}

// scramble marks every packet of a transport stream as scrambled, except those of its tables.
func scramble(b []byte) []byte { return scramblePIDs(b, 0x100, 0xfff) }

func scramblePIDs(b []byte, from, to int) []byte {
	for at := 0; at+188 <= len(b); at += 188 {
		if pid := int(b[at+1]&0x1f)<<8 | int(b[at+2]); pid >= from && pid <= to {
			b[at+3] |= 0x80
		}
	}
	return b
}

// scrambleDVD marks the video packets of a program stream as scrambled.
func scrambleDVD(b []byte) []byte {
	start := []byte{0, 0, 1, 0xe0}
	for at := bytes.Index(b, start); at >= 0; {
		b[at+6] |= 0x10
		next := bytes.Index(b[at+4:], start)
		if next < 0 {
			break
		}
		at += 4 + next
	}
	return b
}

// FuzzEncrypted: no header makes the parser panic or read without end.
func FuzzEncrypted(f *testing.F) {
	f.Add([]byte{0x1a, 0x45, 0xdf, 0xa3, 0x80, 0x18, 0x53, 0x80, 0x67, 0xff, 0x16, 0x54, 0xae, 0x6b, 0x80}, 0)
	f.Add([]byte("\x00\x00\x00\x10moov\x00\x00\x00\x08trak"), 1)
	f.Add(bytes.Repeat([]byte{0x47}, 600), 2)
	f.Fuzz(func(_ *testing.T, data []byte, which int) {
		demuxer := []string{"matroska", "mov", "mpegts", "asf", "mpeg"}[uint(which)%5]
		_ = encrypted(bytes.NewReader(data), int64(len(data)), demuxer, data)
	})
}
