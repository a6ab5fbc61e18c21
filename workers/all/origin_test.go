package all

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestTimeBeginsWithWhatIsPlayed: unused tracks change neither the start nor the length of outputs. Video and
// audio that begin at different times stay in sync, in every container.
func TestTimeBeginsWithWhatIsPlayed(t *testing.T) {
	// 4 s that change from black to white, and from silence to a tone, after 2 s.
	film := workertest.Clip(t, "film.mp4", "-f", "lavfi", "-i", "color=black:s=320x180:r=10:d=4,drawbox=c=white:t=fill:enable='gte(t,2)'",
		"-f", "lavfi", "-i", "aevalsrc=gte(t\\,2)*0.5*sin(2*PI*1000*t):s=48000:d=4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-c:a", "aac")
	words := filepath.Join(t.TempDir(), "a.srt")
	if err := os.WriteFile(words, []byte("1\n00:00:00,000 --> 00:00:09,000\nhello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(seconds, file string) []string { return []string{"-itsoffset", seconds, "-i", file} }
	other, tone := []string{"-f", "lavfi", "-i", "testsrc2=s=64x36:r=10:d=1"}, workertest.Tone("9")
	cover := []string{"-f", "lavfi", "-i", "color=red:s=64x36:r=10:d=0.1"}
	copied := []string{"-c", "copy"}
	// The film's streams begin at 1, after the unused ones.
	behind := []string{"-map", "1", "-map", "0", "-c", "copy", "-disposition:v:0", "0", "-disposition:v:1", "default"}
	nine := slices.Concat(at("2", film), tone, []string{"-map", "0:v"}, slices.Repeat([]string{"-map", "0:a"}, 8),
		[]string{"-map", "1", "-c", "copy", "-c:a:8", "mp2"})
	for _, c := range pipelinetest.Sweep([]struct {
		name, file            string
		clip                  []string
		picture, sound, until float64 // seconds: of the change, of the tone, of the end
	}{
		{"a picture before the film, MP4", "a.mp4", slices.Concat(at("2", film), other, behind, []string{"-c:v:0", "libx264"}), 2, 2, 4},
		{"audio that cannot be decoded before the film", "a.mkv", slices.Concat(at("2", film), tone,
			[]string{"-map", "0", "-map", "1", "-c", "copy", "-c:a:1", "flac", "-bsf:a:1", "noise=amount=1"}), 2, 2, 4},
		{"late audio, MPEG-TS", "a.ts", slices.Concat([]string{"-i", film}, at("1.5", film), []string{"-map", "0:v", "-map", "1:a"}, copied), 2, 3.5, 5.5},
		{"a late picture, MPEG-TS", "a.ts", slices.Concat(at("1.5", film), []string{"-i", film, "-map", "0:v", "-map", "1:a"}, copied), 3.5, 2, 5.5},
		{"a ninth language before the film, MPEG-TS", "a.ts", nine, 2, 2, 4},
		{"subtitles within a second of the film", "a.mkv", slices.Concat(at("0.6", film), []string{"-i", words, "-map", "0", "-map", "1"}, copied), 2, 2, 4},
		{"a cover before the film", "a.mkv", slices.Concat(at("2", film), cover, behind, []string{"-c:v:0", "mjpeg"}), 2, 2, 4},
		{"a ninth language before the film", "a.mkv", nine, 2, 2, 4},
		{"late audio, MPEG-PS", "a.mpg", slices.Concat([]string{"-i", film}, at("1.5", film), []string{"-map", "0:v", "-map", "1:a",
			"-r", "25", "-c:v", "mpeg2video", "-c:a", "mp2"}), 2, 3.5, 5.5},
		{"audio 16 s late, MPEG-TS", "a.ts", slices.Concat([]string{"-stream_loop", "4", "-i", film}, at("16", film), []string{"-map", "0:v", "-map", "1:a"},
			copied), 2, 18, 20},
		{"a picture 16 s late, MPEG-TS", "a.ts", slices.Concat(at("16", film), []string{"-stream_loop", "4", "-i", film, "-map", "0:v", "-map", "1:a"},
			copied), 18, 2, 20},
	}, 4) {
		t.Run(c.name, func(t *testing.T) {
			root, _ := played(t, workertest.Clip(t, c.file, c.clip...), true)
			lists, err := filepath.Glob(filepath.Join(root, "*", "index.m3u8"))
			if err != nil || len(lists) < 2 {
				t.Fatalf("playlists %q, %v", lists, err)
			}
			for _, file := range append(lists, filepath.Join(root, "watermarked.mp4")) {
				name := strings.TrimPrefix(file, root)
				for kind, span := range spans(t, file) {
					begins, want := sounds, c.sound
					if kind == "video" {
						begins, want = changes, c.picture
					}
					if got := begins(t, file); math.Abs(got-want) > 0.11 {
						t.Errorf("%s: %s changes at %.2f s, want %.2f", name, kind, got, want)
					}
					if math.Abs(span[1]-c.until) > 0.12 {
						t.Errorf("%s: %s to %.3f s, want %.3f", name, kind, span[1], c.until)
					}
				}
			}
		})
	}
}

// changes returns the time at which a file turns white; -1 if it does not.
func changes(t *testing.T, file string) float64 {
	t.Helper()
	frames := output(t, "ffmpeg", "-v", "error", "-i", file, "-map", "0:v", "-r", "50", "-vf", "scale=1:1,format=gray", "-f", "rawvideo", "-")
	for i, luma := range []byte(frames) {
		if luma > 128 {
			return float64(i) / 50
		}
	}
	return -1
}

// sounds returns the time at which the audio of a file is first heard; -1 if it is not.
func sounds(t *testing.T, file string) float64 {
	t.Helper()
	samples := output(t, "ffmpeg", "-v", "error", "-i", file, "-map", "0:a", "-af", "aresample=8000,aformat=u8:channel_layouts=mono", "-f", "u8", "-")
	for i, level := range []byte(samples) {
		if level > 150 {
			return float64(i) / 8000
		}
	}
	return -1
}
