package inspect

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestRepeatedBytesAreRefused: an edit list that plays a second 10,000 times makes hours out of little. A few
// repetitions are fine.
func TestRepeatedBytesAreRefused(t *testing.T) {
	film := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "10", "1"), x264)...)
	if in := look(t, Limits{}, edited(t, film, func(b []byte) []byte { return repeat(b, 3) })); in.Reason != nil {
		t.Errorf("three times: %+v", in.Reason)
	}
	in := look(t, Limits{}, edited(t, film, func(b []byte) []byte { return repeat(b, 10_000) }))
	if in.Reason == nil || in.Reason.Code != pipeline.CodeMalformed || !strings.Contains(in.Reason.Detail, "again") {
		t.Errorf("10,000 times: %s %+v", in.Verdict, in.Reason)
	}
}

// repeat replaces the edit list of an MP4 with one track and the index at its end: it plays the track n times.
func repeat(b []byte, n int) []byte {
	b = slices.Clone(b)
	grow := func(name string, by int) int {
		at := bytes.LastIndex(b, []byte(name)) - 4
		binary.BigEndian.PutUint32(b[at:], uint32(int(binary.BigEndian.Uint32(b[at:]))+by))
		return at
	}
	old := bytes.LastIndex(b, []byte("edts"))
	copy(b[old:], "free")
	edit := binary.BigEndian.AppendUint32(nil, 1000) // ms, from the track's start, at its speed
	edit = append(edit, 0, 0, 0, 0, 0, 1, 0, 0)
	list := slices.Concat([]byte("elst\x00\x00\x00\x00"), binary.BigEndian.AppendUint32(nil, uint32(n)),
		bytes.Repeat(edit, n))
	size := len(list) + 4
	box := slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(size+8)), []byte("edts"),
		binary.BigEndian.AppendUint32(nil, uint32(size)), list)
	grow("moov", len(box))
	at := grow("trak", len(box)) + 8
	return slices.Insert(b, at, box...)
}

// TestEndlessReadingIsTheFile: a run that uses up its CPU time is ended, whether or not it heeds the first
// signal, and the file is refused at once. Trying again cannot help.
func TestEndlessReadingIsTheFile(t *testing.T) {
	film := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "1"), x264)...)
	for _, heed := range []string{"", "trap '' XCPU; "} {
		tools, _ := counted(t, heed+"while :; do :; done")
		w := New(tools, Limits{})
		w.patience = time.Second
		_, err := w.look(t.Context(), film, t.TempDir())
		reason := refusal(err)
		if reason == nil || reason.Code != pipeline.CodeMalformed || reason.Retryable {
			t.Errorf("%q: %+v, %v", heed, reason, err)
		}
	}
}

// TestBombIsNotDecoded: packets that are far larger than the file refuse it at once, however long decoding takes.
func TestBombIsNotDecoded(t *testing.T) {
	film := workertest.Clip(t, "a.mp4", args(workertest.Pattern("320x180", "10", "1"), x264)...)
	bomb := edited(t, film, func(b []byte) []byte { return repeat(b, 10_000) })
	tools, _ := counted(t, `case "$*" in *frames:v*) while :; do :; done;; esac`)
	w := New(tools, Limits{})
	_, err := w.look(t.Context(), bomb, t.TempDir())
	reason := refusal(err)
	if reason == nil || reason.Code != pipeline.CodeMalformed || !strings.Contains(reason.Detail, "again") {
		t.Errorf("%+v, %v", reason, err)
	}
}

// TestInvalidPicturesAreTheFile: ffmpeg decodes pictures that its own filters refuse, such as pixels with a
// negative aspect. AVI has the size of a picture beside its aspect, which gives the aspect of its pixels.
func TestInvalidPicturesAreTheFile(t *testing.T) {
	film := workertest.Clip(t, "a.avi", args(workertest.Pattern("320x180", "10", "1"), []string{"-c:v", "mpeg4"})...)
	in := look(t, Limits{}, edited(t, film, func(b []byte) []byte {
		const width = 32 // of dwFrameWidthInPixels from the start of vprp
		b[bytes.Index(b, []byte("vprp"))+width+3] = 0x80
		return b
	}))
	if in.Reason == nil || in.Reason.Code != pipeline.CodeMalformed {
		t.Errorf("%s %+v", in.Verdict, in.Reason)
	}
}

// TestPatienceGrowsWithTheFile: a large file has time to be read.
func TestPatienceGrowsWithTheFile(t *testing.T) {
	m := measurement{patience: time.Second, size: 1 << 30}
	if got := m.cpu(); got < time.Minute {
		t.Errorf("%s for a gigabyte", got)
	}
}

// TestRefusedByTheReader: ffprobe gives up on some files for a limit, which the code must name.
func TestRefusedByTheReader(t *testing.T) {
	film := workertest.Clip(t, "a.mov", "-f", "lavfi", "-i", "color=s=64x48:d=0.2", "-c:v", "rawvideo", "-pix_fmt", "rgb24")
	for name, size := range map[string][]byte{"many": {0x40, 0, 0x40, 0}, "uncountable": {0xff, 0xff, 0xff, 0xff}} {
		in := look(t, Limits{}, edited(t, film, func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte{0, 64, 0, 48}, size)
		}))
		if in.Reason == nil || in.Reason.Code != pipeline.CodeLimits {
			t.Errorf("%s pixels: %s %+v", name, in.Verdict, in.Reason)
		}
	}
	tracks := args(workertest.Pattern("64x64", "10", "0.2"), x264)
	for range 70 {
		tracks = append(tracks, "-map", "0:v")
	}
	in := look(t, Limits{}, workertest.Clip(t, "many.mp4", tracks...))
	if in.Reason == nil || in.Reason.Code != pipeline.CodeLimits || !strings.Contains(in.Reason.Detail, "streams") {
		t.Errorf("70 tracks: %+v", in.Reason)
	}
}

// TestEndlessPicturesAreRefused: a frame that repeats the one before takes a dozen bytes. Hours of large ones are
// refused by their pixels; a long film that is good is not.
func TestEndlessPicturesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name          string
		width, height int
		hours         float64
		rate          int
		bad           bool
	}{
		{"8K for 3 h", 8192, 4320, 3, 25, true}, {"8K for 90 min", 7680, 4320, 1.5, 24, false},
		{"4K for 6 h", 3840, 2160, 6, 30, false}, {"4K for 6 h at 60", 3840, 2160, 6, 60, true},
		{"1080p for 6 h at 60", 1920, 1080, 6, 60, false}, {"still 8K for 6 h", 8192, 4320, 6, 1, false},
	} {
		m := &pipeline.Media{Duration: c.hours * 3600, Size: 10 << 20, Video: pipeline.VideoTrack{
			CodedWidth: c.width, CodedHeight: c.height, FrameRateNum: c.rate, FrameRateDen: 1,
		}}
		err := (Limits{}).withDefaults().checkMedia(m, 0, float64(c.rate))
		if (err != nil) != c.bad || err != nil && !strings.Contains(err.Error(), "pixels together") {
			t.Errorf("%s: %v", c.name, err)
		}
		m.Video.FrameRateNum = 1 // the pictures come in bursts
		frames := int64(m.Duration) * int64(c.rate)
		if err := (Limits{}).withDefaults().checkMedia(m, frames, float64(c.rate)); (err != nil) != c.bad {
			t.Errorf("%s in bursts: %v", c.name, err)
		}
	}
	film := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "3"), x264)...)
	in := look(t, Limits{Pixels: 64 * 64 * 29}, film)
	if in.Reason == nil || in.Reason.Code != pipeline.CodeLimits || !strings.Contains(in.Reason.Detail, "30 frames") {
		t.Errorf("30 frames: %+v", in.Reason)
	}
	if in := look(t, Limits{Pixels: 64 * 64 * 30.5}, film); in.Reason != nil {
		t.Errorf("30 frames of 30: %+v", in.Reason)
	}
}

// TestPauseCounts: a video with a pause of days is as long as that. Filling it with frames would take hours.
func TestPauseCounts(t *testing.T) {
	const later = "setts=ts='if(lt(N,5),TS,TS+200000000)'" // ms
	film := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x64", "10", "1"), x264,
		[]string{"-bf", "0", "-bsf:v", later})...)
	in := look(t, Limits{}, film)
	if in.Reason == nil || in.Reason.Code != pipeline.CodeTooLong {
		t.Errorf("%s %+v, %+v", in.Verdict, in.Reason, in.Media)
	}
}

// TestFarTimesAreRefused: no encoder can shift the times of a video that begins in 1,000 years.
func TestFarTimesAreRefused(t *testing.T) {
	for start, bad := range map[float64]bool{0: false, 1.8e9: false, 3.2e10: true, -3.2e10: true, 4.6e15: true} {
		m := &pipeline.Media{Duration: 1, Video: pipeline.VideoTrack{Start: start}}
		if err := (Limits{}).withDefaults().checkMedia(m, 25, 25); (err != nil) != bad {
			t.Errorf("from %g s on: %v", start, err)
		}
	}
}
