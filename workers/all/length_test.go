package all

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// red2blue returns ffmpeg's arguments for a video at a rate in frames/s, red in its first half and blue in
// its second.
func red2blue(rate, seconds string) []string {
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("color=red:s=320x180:r=%[1]s:d=%[2]s,drawbox=c=blue:t=fill:enable='gte(t,%[2]s/2)'",
		rate, seconds)}
}

// TestEveryOutputIsAsLongAsTheVideo: all outputs are as long as the longest track. The first frame also fills
// the time before the video track, and the last the time after it; silence fills the time around the audio.
func TestEveryOutputIsAsLongAsTheVideo(t *testing.T) {
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"}
	// Standard input, which is copied, with a keyframe every 5 s.
	plain := slices.Concat(x264, []string{"-g", "50", "-bf", "2", "-profile:v", "high", "-vf", "scale=640:360:out_color_matrix=bt709",
		"-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-b:v", "200k"})
	vp8 := []string{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"}
	late := slices.Concat(workertest.Tone("9"), []string{"-itsoffset", "7"}, red2blue("10", "2"), []string{"-fps_mode", "passthrough"})
	for _, c := range pipelinetest.Sweep([]struct {
		name, file string
		clip       []string
		want       float64 // seconds
		copied     bool
	}{
		{"a screen that stands still", "a.webm", slices.Concat(red2blue("25", "3"), workertest.Tone("10"), vp8), 10, false},
		{"the video begins after the audio", "a.mp4", slices.Concat(late, x264), 9, false},
		{"the audio ends before the video", "a.mp4", slices.Concat(red2blue("10", "8"), workertest.Tone("2"), x264), 8, false},
		{"a copied picture ends long before the audio", "a.mp4", slices.Concat(red2blue("10", "8"), workertest.Tone("13"), plain), 13, true},
		{"the video ends before the audio", "a.mp4", slices.Concat(red2blue("24000/1001", "2"), workertest.Tone("8"), x264), 8, false},
		// Theora has no packets while nothing moves.
		{"a Theora that stands still", "a.ogv", slices.Concat(red2blue("5", "12"), workertest.Tone("12"),
			[]string{"-c:v", "libtheora", "-g", "64", "-c:a", "libvorbis"}), 12, false},
		{"a Theora that moves and then stands still", "a.ogv", slices.Concat(red2blue("10", "9"), workertest.Tone("9"),
			[]string{"-vf", "noise=alls=4:allf=t:enable='lt(t,5)'", "-c:v", "libtheora", "-g", "64", "-c:a", "libvorbis"}), 9, false},
		{"movie fragments", "a.mp4", slices.Concat(red2blue("10", "2"), workertest.Tone("8"), x264,
			[]string{"-movflags", "frag_keyframe+empty_moov"}), 8, false},
		{"the audio ends somewhat before a copied picture", "a.mp4", slices.Concat(red2blue("10", "8"), workertest.Tone("7.6"), plain), 8, true},
		{"a copied picture ends somewhat before the audio", "a.mp4", slices.Concat(red2blue("10", "8"), workertest.Tone("8.4"), plain), 8.4, true},
		{"a copied picture whose last frame lasts by itself", "a.mp4", []string{"-i", workertest.Clip(t, "a.mp4",
			slices.Concat(red2blue("10", "2"), workertest.Tone("7.9"), plain, []string{"-bf", "0"})...), "-c", "copy", "-bsf:v",
			"setts=pts=PTS:dts=DTS:duration='if(eq(NEXT_DTS,NOPTS),6/TB,DURATION)'"}, 7.9, true},
		{"a picture that cannot be copied so long", "a.mp4", slices.Concat(red2blue("10", "8"), workertest.Tone("18"), plain), 18, false},
	}, 4) {
		t.Run(c.name, func(t *testing.T) {
			root, results := played(t, workertest.Clip(t, c.file, c.clip...), !c.copied)
			checkLengths(t, root, c.want, 2)
			if copied := results["transcode-copy"].Facts["copied"] == true; copied != c.copied {
				t.Errorf("copied: %v %v", copied, results["transcode-copy"].Facts)
			}
			for _, file := range []string{"180p/index.m3u8", "360p/index.m3u8", "watermarked.mp4"} {
				if _, err := os.Stat(filepath.Join(root, file)); err != nil {
					continue // only the rung of the source's size exists
				}
				checkColour(t, filepath.Join(root, file), "-frames:v", "1", color.NRGBA{R: 255})
				checkColour(t, filepath.Join(root, file), "-update", "1", color.NRGBA{B: 255})
			}
		})
	}
}

// played takes a source through every worker, with a progressive MP4. If marked is set, a watermark is added,
// and nothing is copied.
func played(t *testing.T, source string, marked bool) (string, map[string]pipeline.Result) {
	t.Helper()
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	store := workertest.NewStore(t)
	in := workertest.Inspect(t, r, store, source)
	if in.Verdict != pipeline.VerdictAccept {
		t.Fatalf("finding %+v", in.Reason)
	}
	requested := map[string]map[string]any{"transcode": {"mp4": []string{"highest"}}}
	if marked {
		requested["watermark"] = map[string]any{"text": "Draft"}
	}
	results := workertest.Video(t, r, store, source, *in.Media, pipeline.Default(), requested)
	return store.Tree(t, results), results
}

// checkLengths measures all playlists and files that a viewer can play. There must be at least so many of
// each.
func checkLengths(t *testing.T, root string, want float64, least int) {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join(root, "*", "index.m3u8"))
	if err != nil || len(lists) < least {
		t.Fatalf("playlists %q, %v", lists, err)
	}
	files, err := filepath.Glob(filepath.Join(root, "*.m*4*"))
	if err != nil || len(files) < least {
		t.Fatalf("files %q, %v", files, err)
	}
	for _, file := range append(lists, files...) {
		for kind, span := range spans(t, file) {
			// A frame of AAC, or half a frame of video, may be missing or extra. Libavformat shows reordered frames
			// two frames late.
			if span[0] < -0.03 || span[0] > 0.21 || math.Abs(span[1]-span[0]-want) > 0.06 {
				t.Errorf("%s: %s from %.3f to %.3f s, want 0 to %.3f", strings.TrimPrefix(file, root), kind, span[0], span[1], want)
			}
		}
	}
	for _, list := range lists {
		if got := sum(t, list, `#EXTINF:([0-9.]+)`); math.Abs(got-want) > 0.055 {
			t.Errorf("%s: %.3f s, want %.3f", strings.TrimPrefix(list, root), got, want)
		}
	}
	if got := sum(t, filepath.Join(root, "manifest.mpd"), `mediaPresentationDuration="PT([0-9.]+)S"`); math.Abs(got-want) > 0.055 {
		t.Errorf("DASH: %.3f s, want %.3f", got, want)
	}
	var board struct {
		Duration float64
		Tiles    []struct{ Start float64 }
	}
	text, err := os.ReadFile(filepath.Join(root, "storyboard.json"))
	if err != nil || json.Unmarshal(text, &board) != nil || math.Abs(board.Duration-want) > 0.055 || len(board.Tiles) < int(want-0.1) {
		t.Errorf("storyboard %s %v, want %.3f s", text, err, want)
	}
}

// spans returns the start and end of each kind of stream, in a file or in the segments of a playlist.
func spans(t *testing.T, file string) map[string][2]float64 {
	t.Helper()
	if filepath.Ext(file) == ".m3u8" {
		file = workertest.Joined(t, filepath.Dir(file))
	}
	out := output(t, "ffprobe", "-v", "error", "-show_entries", "stream=codec_type,start_time,duration", "-of", "csv=p=0", file)
	all := map[string][2]float64{}
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		begin, err := strconv.ParseFloat(fields[1], 64)
		length, err2 := strconv.ParseFloat(fields[2], 64)
		if err := errors.Join(err, err2); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[fields[0]] = [2]float64{begin, begin + length}
	}
	return all
}

// sum adds up the numbers that the group of pattern matches in a file.
func sum(t *testing.T, file, pattern string) (total float64) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
		n, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, stderr.String())
	}
	return string(out)
}

// checkColour decodes the frame of a file that an option of ffmpeg selects, and checks the colour of its
// middle.
func checkColour(t *testing.T, file, option, value string, want color.NRGBA) {
	t.Helper()
	png := filepath.Join(t.TempDir(), "a.png")
	output(t, "ffmpeg", "-v", "error", "-i", file, "-map", "0:v", option, value, png)
	img, err := imaging.Open(png)
	if err != nil {
		t.Fatal(err)
	}
	r, _, b, _ := img.At(img.Bounds().Dx()/2, img.Bounds().Dy()/2).RGBA()
	if (r > b) != (want.R > want.B) {
		t.Errorf("%s, %s: red %d, blue %d, want %v", file, option, r>>8, b>>8, want)
	}
}
