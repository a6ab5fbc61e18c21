package inspect

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/workertest"
)

// beside copies a cover and a film into the container of name. The cover comes first, and is the default
// track.
func beside(t *testing.T, cover, film, name string, more ...string) string {
	t.Helper()
	return workertest.Clip(t, name, args([]string{"-i", cover, "-i", film, "-map", "0", "-map", "1", "-c", "copy",
		"-disposition:v:0", "default", "-disposition:v:1", "0"}, more)...)
}

// red returns a cover of that many frames.
func red(t *testing.T, name string, frames string, codec ...string) string {
	t.Helper()
	return workertest.Clip(t, name, args([]string{"-f", "lavfi", "-i", "color=red:s=96x96:r=25", "-frames:v", frames}, codec)...)
}

// TestStillBesideAFilmIsNeverTheFilm, whatever the container, codec, order and disposition.
func TestStillBesideAFilmIsNeverTheFilm(t *testing.T) {
	film := workertest.Clip(t, "f.mp4", args(workertest.Pattern("64x48", "25", "3"), workertest.Tone("3"), x264, []string{"-c:a", "aac"})...)
	motion := workertest.Clip(t, "f.avi", args(workertest.Pattern("64x48", "25", "3"), workertest.Tone("3"), []string{"-c:v", "mpeg4", "-c:a", "mp2"})...)
	mjpeg, png := []string{"-c:v", "mjpeg"}, []string{"-c:v", "png"}
	jpeg := red(t, "c.mkv", "1", mjpeg...)
	long := workertest.Clip(t, "l.mkv", args([]string{"-f", "lavfi", "-i", "color=red:s=96x96:r=1/3", "-frames:v", "1"}, x264)...)
	for name, path := range pipelinetest.SweepOf(map[string]string{
		"Matroska":              beside(t, jpeg, film, "a.mkv"),
		"MP4":                   beside(t, jpeg, film, "a.mp4"),
		"QuickTime, PNG":        beside(t, red(t, "c.mov", "1", png...), film, "a.mov"),
		"AVI":                   beside(t, red(t, "c.avi", "1", mjpeg...), motion, "a.avi"),
		"Windows Media":         beside(t, red(t, "c.avi", "1", mjpeg...), motion, "a.asf"),
		"PNG in Matroska":       beside(t, red(t, "c.mkv", "1", png...), film, "a.mkv"),
		"GIF":                   beside(t, red(t, "c.mov", "1", "-c:v", "gif"), film, "a.mov"),
		"raw":                   beside(t, red(t, "c.avi", "1", "-c:v", "rawvideo", "-pix_fmt", "bgr24"), motion, "a.avi"),
		"H.264":                 beside(t, red(t, "c.mp4", "1", x264...), film, "a.mp4"),
		"H.264 in Matroska":     beside(t, red(t, "c.mp4", "1", x264...), film, "a.mkv"),
		"one that lasts long":   beside(t, long, film, "a.mp4"),
		"written over and over": beside(t, red(t, "c.mkv", "75", mjpeg...), film, "a.mkv"),
		"a film of a still":     beside(t, red(t, "c.mp4", "75", x264...), film, "a.mp4"),
		"written twice":         beside(t, red(t, "c.mp4", "2", x264...), film, "a.mkv"),
		"fragments":             beside(t, jpeg, film, "a.mp4", "-movflags", "frag_keyframe+empty_moov"),
		"behind the film": workertest.Clip(t, "b.mkv", "-i", film, "-i", jpeg, "-map", "0", "-map", "1", "-c", "copy",
			"-disposition:v:0", "0", "-disposition:v:1", "default"),
		"two of them": workertest.Clip(t, "two.mkv", "-i", jpeg, "-i", film, "-i", jpeg, "-map", "0", "-map", "1", "-map", "2", "-c", "copy",
			"-disposition:v:0", "default", "-disposition:v:1", "0"),
		"marked": workertest.Clip(t, "m.mp4", "-i", film, "-i", jpeg, "-map", "1", "-map", "0", "-c", "copy", "-disposition:v:0", "attached_pic"),
	}, "Matroska", "MP4", "AVI", "H.264 in Matroska", "a film of a still", "two of them") {
		in := look(t, Limits{}, path)
		if m := in.Media; in.Verdict != pipeline.VerdictAccept || m.Video.Width != 64 || len(m.Audio) != 1 || m.Duration < 2.9 || m.Damaged ||
			!slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, "is not used") }) {
			t.Errorf("%s: %s %+v %+v", name, in.Verdict, in.Reason, m)
		}
	}
}

// TestTrackThatMayNotBeDecodedIsLeftOut: a film is neither refused nor damaged because the decoder of another
// track is not allowed for untrusted input.
func TestTrackThatMayNotBeDecodedIsLeftOut(t *testing.T) {
	film := workertest.Clip(t, "f.mp4", args(workertest.Pattern("64x48", "25", "2"), workertest.Tone("2"), x264, []string{"-c:a", "aac"})...)
	cover := workertest.Clip(t, "c.tiff", "-f", "lavfi", "-i", "color=red:s=96x96", "-frames:v", "1")
	other := workertest.Pattern("96x96", "25", "2")
	for name, c := range map[string]struct {
		path, named string
		sounds      int
	}{
		"a cover": {workertest.Clip(t, "a.mkv", "-i", film, "-attach", cover, "-metadata:s:t", "mimetype=image/tiff", "-c", "copy"), "tiff", 1},
		"two sounds, and a picture before the film": {workertest.Clip(t, "b.mkv", args(other, []string{"-i", film, "-map", "0", "-map", "1",
			"-map", "1:a", "-map", "1:a", "-c", "copy", "-c:v:0", "snow", "-c:a:1", "tta", "-c:a:2", "wavpack", "-strict", "-2"})...), "snow", 1},
		"the only sound": {workertest.Clip(t, "c.ts", "-i", film, "-c", "copy", "-c:a", "s302m", "-ac", "2", "-ar", "48000", "-strict", "-2"), "s302m", 0},
	} {
		in := look(t, Limits{}, c.path)
		m := in.Media
		if in.Verdict != pipeline.VerdictAccept || m.Video.Width != 64 || len(m.Audio) != c.sounds || m.Damaged ||
			!slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, c.named) }) {
			t.Errorf("%s: %s %+v %+v", name, in.Verdict, in.Reason, m)
		}
	}
	alone := workertest.Clip(t, "d.mkv", args(other, workertest.Tone("2"), []string{"-c:v", "snow", "-strict", "-2"})...)
	if in := look(t, Limits{}, alone); in.Reason == nil || in.Reason.Code != pipeline.CodeCodec || !strings.Contains(in.Reason.Detail, "snow") {
		t.Errorf("a video whose decoder is not allowed: %s %+v", in.Verdict, in.Reason)
	}
}

// TestStillAloneIsTheVideo: a played still is the video if there is no film, even beside a cover.
func TestStillAloneIsTheVideo(t *testing.T) {
	speech := workertest.Clip(t, "s.mp4", args([]string{"-f", "lavfi", "-i", "testsrc2=s=64x48:r=1/6:d=6"}, workertest.Tone("6"),
		x264, []string{"-c:a", "aac"})...)
	for name, path := range map[string]string{
		"alone":          speech,
		"beside a cover": beside(t, red(t, "c.mkv", "1", "-c:v", "mjpeg"), speech, "a.mp4"),
	} {
		in := look(t, Limits{}, path)
		if m := in.Media; in.Verdict != pipeline.VerdictAccept || m.Video.Width != 64 || m.Duration < 5.9 || len(m.Audio) != 1 {
			t.Errorf("%s: %s %+v %+v", name, in.Verdict, in.Reason, m)
		}
	}
}

// TestOfTwoFilmsTheDefault: a slow track and a fast one are both films.
func TestOfTwoFilmsTheDefault(t *testing.T) {
	path := workertest.Clip(t, "two.mkv", args(workertest.Pattern("64x48", "30", "2"), workertest.Pattern("96x96", "2", "2"), x264,
		[]string{"-map", "0", "-map", "1", "-disposition:v:0", "0", "-disposition:v:1", "default"})...)
	if m := look(t, Limits{}, path).Media; m == nil || m.Video.Width != 96 || m.Video.FrameRate() != 2 {
		t.Errorf("%+v", m)
	}
}

// TestManyStillsCostLittle: of many tracks only a few are compared, including the film, even if many stills
// come before it or are the default, and whether or not the container has bit rates. Warnings name the
// others.
func TestManyStillsCostLittle(t *testing.T) {
	const stills = mostLooked + 1
	film := workertest.Clip(t, "f.mp4", args(workertest.Pattern("64x48", "25", "2"), x264)...)
	noise := func(more ...string) []string { return append([]string{"-vf", "noise=alls=2:allf=t"}, more...) }
	for name, c := range pipelinetest.SweepOf(map[string]struct {
		still  string
		looked int
	}{
		"covers that vary":       {red(t, "c.mkv", "10", noise("-c:v", "mjpeg")...), mostLooked},
		"covers of fewer frames": {red(t, "c.mp4", "10", x264...), mostLooked},
		"covers of more frames":  {red(t, "c.mp4", "150", x264...), mostLooked},
		"covers of more bytes":   {red(t, "c.mp4", "150", args(noise(), x264, []string{"-qp", "4"})...), stills + 1},
	}, "covers that vary", "covers of more bytes") {
		var inputs, maps []string
		for i := range stills {
			inputs = append(inputs, "-i", c.still)
			maps = append(maps, "-map", strconv.Itoa(i))
		}
		for _, file := range pipelinetest.Sweep([]string{"a.mkv", "a.mp4"}, 1) {
			path := workertest.Clip(t, file, args(inputs, []string{"-i", film}, maps, []string{"-map", strconv.Itoa(stills),
				"-c", "copy", "-disposition:v", "default", "-disposition:v:" + strconv.Itoa(stills), "0"})...)
			m, starts := factsOf(t, path)
			if m.Video.Width != 64 || starts > c.looked*len(looks)+5 {
				t.Errorf("%s in %s: %d starts of ffmpeg, %+v", name, file, starts, m)
			}
			saying := func(what string) (n int) {
				for _, w := range m.Warnings {
					if strings.Contains(w, what) {
						n++
					}
				}
				return n
			}
			if saying("is not used: other tracks are more likely to be the film") != stills+1-c.looked || saying("is not used") != stills {
				t.Errorf("%s in %s: warnings %q", name, file, m.Warnings)
			}
		}
	}
}

// TestOfManyFilmsTheDefault: the default track is compared, wherever it is in the file.
func TestOfManyFilmsTheDefault(t *testing.T) {
	const others = mostLooked
	film := workertest.Clip(t, "f.mp4", args(workertest.Pattern("64x48", "25", "1"), x264)...)
	maps := slices.Repeat([]string{"-map", "0"}, others+1)
	path := workertest.Clip(t, "many.mkv", args([]string{"-i", film}, maps, []string{"-c", "copy", "-disposition:v", "0",
		"-disposition:v:" + strconv.Itoa(others), "default"})...)
	if m, _ := factsOf(t, path); m.Video.Stream != others {
		t.Errorf("%+v", m)
	}
}

// TestLikely: each doubt puts a track after otherwise equal ones, and counts more than all later doubts
// together.
func TestLikely(t *testing.T) {
	type of struct {
		ffmpeg.Stream
		track
	}
	sure := of{ffmpeg.Stream{CodecName: "h264", Disposition: ffmpeg.Disposition{Default: true}}, track{unlike: 100, size: 1000}}
	doubts := []struct {
		name  string
		doubt func(*of)
	}{
		{"another track is the default", func(v *of) { v.Disposition.Default = false }},
		{"few pictures", func(v *of) { v.unlike = 49 }},
		{"a low bit rate", func(v *of) { v.size = 249 }},
		{"a codec of images", func(v *of) { v.CodecName = "png" }},
		{"an attached picture", func(v *of) { v.Disposition.AttachedPic = true }},
	}
	better := sure // than a track with the next doubt
	for _, d := range doubts {
		worse := sure
		d.doubt(&worse)
		m := measurement{seen: map[int]seen{}}
		var videos []ffmpeg.Stream
		for i, v := range append([]of{worse, sure}, slices.Repeat([]of{better}, mostLooked)...) {
			v.Index = i
			m.seen[i], videos = seen{track: v.track}, append(videos, v.Stream)
		}
		groups := m.likely(videos)
		if len(groups) != 2 || len(groups[1]) != 2 || groups[1][0].Index != 0 {
			t.Errorf("%s: %+v", d.name, groups)
		}
		d.doubt(&better)
	}
}

// TestUnusedTracksAreNamed: each warning says what the track is and why it is not used.
func TestUnusedTracksAreNamed(t *testing.T) {
	text := filepath.Join(t.TempDir(), "a.srt")
	if err := os.WriteFile(text, []byte("1\n00:00:00,000 --> 00:00:01,000\nword\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	picture := args(workertest.Pattern("64x48", "10", "1"), []string{"-i", text})
	surround := []string{"-f", "lavfi", "-i", "anullsrc=cl=5.1:d=1"}
	matroska := workertest.Clip(t, "a.mkv", args(picture, surround, workertest.Pattern("96x96", "10", "1"), x264, []string{
		"-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c:a", "flac", "-c:s", "srt", "-t", "1",
		"-metadata:s:s:0", "language=eng", "-attach", text, "-metadata:s:t:0", "mimetype=application/octet-stream",
	})...)
	quicktime := workertest.Clip(t, "a.mov", args(workertest.Pattern("64x48", "10", "1"), x264, []string{"-timecode", "01:00:00:00"})...)
	many := workertest.Pattern("64x48", "10", "1")
	maps := []string{"-map", "0", "-c:a", "aac", "-b:a", "32k"}
	for i := range 10 {
		many, maps = append(many, workertest.Tone("1")...), append(maps, "-map", string(rune('1'+i)))
		if i == 9 {
			maps[len(maps)-1] = "10"
		}
	}
	languages := workertest.Clip(t, "l.mkv", args(many, maps, x264, []string{"-disposition:a", "0", "-disposition:a:9", "default"})...)
	for path, want := range map[string][]string{
		matroska: {
			"subtitle stream 1 (subrip, eng) is not used: captions are not supported",
			"audio stream 2 (flac) is mixed down to stereo: it has 6 channels",
			"video stream 3 (h264) is not used: only one video track is, stream 0",
			"attachment stream 4 is not used: it is an attached file",
		},
		quicktime: {"data stream 1 (tmcd, eng) is not used: it is a time code"},
		languages: {
			"audio stream 8 (aac) is not used: only 8 audio tracks are", "audio stream 9 (aac) is not used: only 8 audio tracks are",
		},
	} {
		m := look(t, Limits{}, path).Media
		if m == nil || len(m.Warnings) != len(want) {
			t.Errorf("%s: %+v, want %q", filepath.Base(path), m, want)
			continue
		}
		for _, w := range want {
			if !slices.ContainsFunc(m.Warnings, func(got string) bool { return strings.HasPrefix(got, w) }) {
				t.Errorf("%s: %q, want %q", filepath.Base(path), m.Warnings, w)
			}
		}
	}
}

// TestSoundWithoutSamplesIsLeftOut: phones write an empty track if they may not use the microphone. A track
// whose audio begins late is kept.
func TestSoundWithoutSamplesIsLeftOut(t *testing.T) {
	both := args(workertest.Pattern("64x48", "10", "4"), workertest.Tone("4"), x264, []string{"-c:a", "aac"})
	none := []string{"-bsf:a", "noise=drop=1"}
	whole := workertest.Clip(t, "w.mp4", both...)
	for name, c := range map[string]struct {
		path string
		left int
	}{
		"empty tables": {edited(t, whole, noSamples), 0},
		"empty samples": {edited(t, whole, func(b []byte) []byte {
			sizes := bytes.LastIndex(b, []byte("stsz"))
			clear(b[sizes+16 : sizes-4+int(binary.BigEndian.Uint32(b[sizes-4:]))])
			return b
		}), 0},
		"fragments":         {workertest.Clip(t, "a.mp4", args(both, none, []string{"-movflags", "frag_keyframe+empty_moov"})...), 0},
		"Matroska":          {workertest.Clip(t, "a.mkv", append(both, none...)...), 0},
		"one beside others": {workertest.Clip(t, "a.mkv", args(both, []string{"-map", "0", "-map", "1", "-map", "1", "-bsf:a:0", "noise=drop=1"})...), 1},
		"begins late": {workertest.Clip(t, "a.mov", args(workertest.Pattern("64x48", "10", "4"), []string{"-itsoffset", "3"}, workertest.Tone("1"),
			x264, []string{"-map", "0", "-map", "1", "-c:a", "aac"})...), 1},
	} {
		in := look(t, Limits{}, c.path)
		m := in.Media
		if in.Verdict != pipeline.VerdictAccept || len(m.Audio) != c.left || m.Damaged || m.Duration < 3.9 {
			t.Errorf("%s: %s %+v %+v", name, in.Verdict, in.Reason, m)
			continue
		}
		said := slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, "has no samples") })
		if said != (name != "begins late") {
			t.Errorf("%s: warnings %q", name, m.Warnings)
		}
	}
}

// noSamples empties the tables of an MP4's last track, and sets its lengths to 0. Source: ISO/IEC 14496-12,
// 8.6.1.2, 8.7 and 8.2 to 8.4.
func noSamples(b []byte) []byte {
	track := bytes.LastIndex(b, []byte("trak"))
	at := func(name string) int { return track + bytes.Index(b[track:], []byte(name)) }
	for name, count := range map[string]int{"stts": 8, "stsc": 8, "stco": 8, "stsz": 12, "tkhd": 24, "mdhd": 20} {
		clear(b[at(name)+count : at(name)+count+4])
	}
	copy(b[at("edts"):], "free")
	return b
}

// TestCountEnough: reading stops once one track has enough packets. Files that are too large to read
// completely need that.
func TestCountEnough(t *testing.T) {
	path := workertest.Clip(t, "a.mkv", args(workertest.Pattern("64x48", "100", "40"), []string{"-map", "0", "-map", "0", "-c:v", "mpeg4"})...)
	m := measurement{tools: ffmpeg.Tools{}, path: path, dir: t.TempDir()}
	tracks, _, err := m.packets(t.Context(), ffmpeg.Input{Path: path, Demuxer: "matroska"}, []int{0, 1}, 100)
	if err != nil || tracks[0].packets < 50 || tracks[0].packets >= 4000 {
		t.Errorf("%d packets of the first, %v", tracks[0].packets, err)
	}
}
