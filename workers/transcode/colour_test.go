package transcode

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestTagged: a tagged parameter set says BT.709 except for the matrix, and all else in it is unchanged.
func TestTagged(t *testing.T) {
	for name, options := range map[string][]string{
		"untagged":       nil,
		"PAL":            {"-color_primaries", "bt470bg", "-color_trc", "gamma28", "-colorspace", "bt470bg"},
		"BT.709":         {"-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"},
		"a matrix alone": {"-colorspace", "smpte170m"},
		"rates":          {"-x264-params", "nal-hrd=vbr", "-b:v", "100k", "-maxrate", "100k", "-bufsize", "100k"},
		"scaling lists":  {"-x264-params", "cqm=jvt"},
		"cropped fields": {"-x264-params", "tff=1", "-s", "82x44"},
		"baseline":       {"-profile:v", "baseline", "-aspect", "16:11"},
	} {
		file := workertest.Clip(t, "a.mp4", args(workertest.Pattern("96x64", "10", "1"),
			[]string{"-c:v", "libx264", "-pix_fmt", "yuv420p"}, options)...)
		config := configOf(t, file)
		for _, matrix := range []byte{bt601, bt709} {
			made, err := tagged(config, matrix)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			record, err := avc.DecodeAVCDecConfRec(made)
			if err != nil || len(record.PPSnalus) == 0 {
				t.Fatalf("%s: %+v, %v", name, record, err)
			}
			checkTags(t, name, record.SPSnalus[0], matrix)
		}
	}
	// Without any VUI: 128x96, written by hand.
	made, err := retag([]byte{0x67, 0x42, 0x00, 0x0a, 0xf8, 0x41, 0xa2}, bt601)
	if err != nil {
		t.Fatal(err)
	}
	checkTags(t, "no VUI", made, bt601)
	if s, err := avc.ParseSPSNALUnit(made, true); err != nil || s.Width != 128 || s.Height != 96 {
		t.Errorf("no VUI: %+v, %v", s, err)
	}
}

func checkTags(t *testing.T, name string, set []byte, matrix byte) {
	t.Helper()
	s, err := avc.ParseSPSNALUnit(set, true)
	if err != nil || s.VUI == nil {
		t.Fatalf("%s: %+v, %v", name, s, err)
	}
	v := s.VUI
	if !v.ColourDescriptionFlag || v.VideoFullRangeFlag || v.ColourPrimaries != bt709 ||
		v.TransferCharacteristics != bt709 || v.MatrixCoefficients != uint(matrix) {
		t.Errorf("%s: %+v", name, v)
	}
}

func configOf(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	table, err := sampletable.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := table.Pictures(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p.Config
}

// TestTaggedRefuses: a configuration that cannot be read is an error; it is never copied untagged.
func TestTaggedRefuses(t *testing.T) {
	good := configOf(t, workertest.Clip(t, "a.mp4", args(workertest.Pattern("96x64", "10", "1"), x264)...))
	for name, config := range map[string][]byte{
		"nothing": nil, "the fixed part": good[:6], "half of a set": good[:20], "zeros": append(bytes.Clone(good[:8]), make([]byte, 90)...),
	} {
		if made, err := tagged(config, bt601); err == nil {
			t.Errorf("%s: %x", name, made)
		}
	}
}

// FuzzTagged: no bytes make it panic, and its output can be read again.
func FuzzTagged(f *testing.F) {
	f.Add([]byte{0x67, 0x42, 0x00, 0x0a, 0xf8, 0x41, 0xa2})
	f.Fuzz(func(t *testing.T, set []byte) {
		made, err := taggedSet(set, bt601)
		if err != nil {
			return
		}
		again, err := taggedSet(made, bt601)
		if err != nil || !bytes.Equal(made, again) {
			t.Errorf("%x became %x, then %x, %v", set, made, again, err)
		}
	})
}

// TestCopyIsTagged: the colr box and the parameter sets of the copied rung name the colours from which
// encoded rungs are converted, whatever the tags of the source.
func TestCopyIsTagged(t *testing.T) {
	_, m := standardClip(t, "50", 0, 5, 10)
	for tags, want := range map[string]string{
		"": "smpte170m", "bt470bg": "smpte170m", "smpte170m": "smpte170m", "bt709": "bt709",
	} {
		options := []string{"-g", "50", "-sc_threshold", "0", "-bf", "2", "-profile:v", "high"}
		if tags != "" {
			options = append(options, "-colorspace", tags)
		}
		m.Video.Matrix = tags
		source := workertest.Clip(t, "a.mp4", args(workertest.Pattern("640x360", "10", "14"), x264, options)...)
		root := runAll(t, `{"ladder":[360]}`, source, m)
		copied := workertest.Joined(t, filepath.Join(root, "360p"))
		if !bytes.Equal(payload(t, source), payload(t, copied)) {
			t.Errorf("%q: the frames are not the source's", tags)
		}
		f, err := mp4.ReadMP4File(copied)
		if err != nil {
			t.Fatal(err)
		}
		matrix := map[string]byte{"smpte170m": bt601, "bt709": bt709}[want]
		checkTags(t, tags, f.Moov.Trak.Mdia.Minf.Stbl.Stsd.AvcX.AvcC.SPSnalus[0], matrix)
		probe, err := (ffmpeg.Tools{}).Probe(t.Context(), copied, ffmpeg.ProbeOptions{Demuxer: "mov"})
		if err != nil {
			t.Fatal(err)
		}
		v := probe.Streams[0]
		if v.ColorSpace != want || v.ColorPrimaries != "bt709" || v.ColorTransfer != "bt709" || v.ColorRange != "tv" {
			t.Errorf("%q: %+v, want %s", tags, v, want)
		}
	}
}
