package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestSources uploads videos of many codecs and containers, and decodes every rendition.
func TestSources(t *testing.T) {
	for _, end := range checkSources(t, madeSources(t)) {
		if end.Status != pipeline.StateVideoReady {
			t.Errorf("%s is %s: %+v", end.Filename, end.Status, end.Problem)
		}
	}
}

// checkSources uploads videos, and compares the renditions of ready ones with the source. It returns how they
// ended; none may be errored.
func checkSources(t *testing.T, files []string) (ends []pipeline.VideoView) {
	t.Helper()
	p := startServe(t, binary, t.TempDir())
	api := p.client()
	var ids []string
	for _, file := range files {
		view, err := api.Upload(t.Context(), client.Upload{Path: file})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		ids = append(ids, view.ID)
	}
	for i, id := range ids {
		end := awaitEnd(t, api, id)
		ends = append(ends, end)
		name := filepath.Base(files[i])
		switch end.Status {
		case pipeline.StateVideoReady:
			tracks := checkTracks(t, p.url+"/play/"+id+"/"+end.Manifest, end)
			late := checkSync(t, files[i], p.url+"/play/"+id+"/", end)
			t.Logf("%-55s ready     %7.2f s  %s; late: %s", name, end.Media.Duration, tracks, late)
		case pipeline.StateVideoRejected:
			t.Logf("%-55s rejected  %s: %s", name, end.Problem.Code, end.Problem.Detail)
		default:
			t.Errorf("%-55s %s %+v", name, end.Status, end.Problem)
		}
	}
	return ends
}

// madeSources makes a short video for each of the most different codecs, containers and shapes.
func madeSources(t *testing.T) []string {
	t.Helper()
	picture := []string{"-f", "lavfi", "-i", "testsrc2=size=426x240:rate=25:duration=3"}
	sound := []string{"-f", "lavfi", "-i", "sine=frequency=440:duration=3", "-shortest"}
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}
	var files []string
	for _, s := range pipelinetest.Sweep([]struct {
		name string
		args [][]string
	}{
		{"vp9_opus.webm", [][]string{picture, sound, {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus"}}},
		{"mpeg2_mp2.mpg", [][]string{picture, sound, {"-c:v", "mpeg2video", "-c:a", "mp2"}}},
		{"interlaced.mov", [][]string{picture, {"-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-top", "1"}}},
		{"square_not.mp4", [][]string{picture, {"-vf", "setsar=3/2"}, x264}},
		{"odd.webm", [][]string{{"-f", "lavfi", "-i", "testsrc2=size=319x241:rate=15:duration=2"}, {"-c:v", "libvpx"}}},
		{"h264_aac.mp4", [][]string{picture, sound, x264, {"-c:a", "aac"}}},
		{"silent.mkv", [][]string{picture, x264}},
		{"mpeg4_mp3.avi", [][]string{picture, sound, {"-c:v", "mpeg4", "-c:a", "libmp3lame"}}},
		{"transport.ts", [][]string{picture, sound, x264, {"-c:a", "aac"}}},
		{"tiny.mp4", [][]string{{"-f", "lavfi", "-i", "testsrc2=size=16x16:rate=10:duration=1"}, x264}},
	}, 5) {
		files = append(files, workertest.Clip(t, s.name, slices.Concat(s.args...)...))
	}
	return files
}

// track is a playlist by ffprobe.
type track struct {
	url      string
	duration float64
}

// checkTracks decodes every media playlist of a master playlist. Each must be as long as the source, and
// audio and video must begin together, as far as in the source.
func checkTracks(t *testing.T, manifest string, end pipeline.VideoView) string {
	t.Helper()
	base := manifest[:strings.LastIndex(manifest, "/")+1]
	var names []string
	for line := range strings.Lines(string(get(t, manifest))) {
		line = strings.TrimSpace(line)
		uri := line
		if _, attribute, ok := strings.Cut(line, `URI="`); ok && strings.HasPrefix(line, "#EXT-X-MEDIA:") {
			uri, _, _ = strings.Cut(attribute, `"`)
		} else if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		tr := probeTrack(t, base+uri)
		want, slack := end.Media.Duration, max(0.5, end.Media.Duration*0.02)
		if line != uri && tr.duration < want+slack {
			want = tr.duration // audio may be shorter than the video
		}
		if math.Abs(tr.duration-want) > slack {
			t.Errorf("%s: %s lasts %.3f s, the source %.3f s", end.Filename, uri, tr.duration, want)
		}
		folder := base + strings.TrimSuffix(uri, "index.m3u8")
		at := firstPresentation(t, folder+"init.mp4", folder+"seg_00000.m4s")
		if at != 0 && len(end.Media.Audio) == 0 {
			t.Errorf("%s: %s begins at %d ticks", end.Filename, uri, at)
		}
		out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", tr.url, "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: decode %s: %v\n%s", end.Filename, uri, err, out)
		}
		names = append(names, fmt.Sprintf("%s %.2fs", strings.TrimSuffix(uri, "/index.m3u8"), tr.duration))
	}
	return strings.Join(names, ", ")
}

func probeTrack(t *testing.T, url string) track {
	t.Helper()
	raw, err := exec.Command("ffprobe", "-v", "error", "-of", "json", "-show_entries",
		"format=duration", url).Output()
	if err != nil {
		t.Fatalf("probe %s: %v", url, err)
	}
	var answer struct {
		Format struct {
			Duration string `json:"duration"`
		} `json:"format"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	duration, err := strconv.ParseFloat(answer.Format.Duration, 64)
	if err != nil {
		t.Fatalf("probe %s: %s", url, raw)
	}
	return track{url, duration}
}

// TestAudioInSync sends a simultaneous flash and beep through the pipeline, once with tracks that begin
// together and once with later audio, and finds both in the master playlist.
func TestAudioInSync(t *testing.T) {
	p := startServe(t, binary, t.TempDir())
	for _, late := range []float64{0, 0.7} {
		source := workertest.Clip(t, "sync.mkv", "-f", "lavfi", "-i", "color=black:size=320x240:rate=25:duration=5,geq=lum='if(gte(T,2),235,16)':cb=128:cr=128",
			"-itsoffset", fmt.Sprint(late),
			"-f", "lavfi", "-i", fmt.Sprintf("aevalsrc='if(gte(t,%f),sin(2*PI*1000*t),0)':s=44100:d=4", 2-late),
			"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")
		view, err := p.client().Upload(t.Context(), client.Upload{Path: source, Watermark: "text:x"})
		if err != nil {
			t.Fatal(err)
		}
		end := awaitEnd(t, p.client(), view.ID)
		if end.Status != pipeline.StateVideoReady {
			t.Fatalf("end: %+v", end.Problem)
		}
		base := p.url + "/play/" + view.ID + "/"
		// Browsers go by the boxes, and libavformat shifts what has negative composition offsets: both are to
		// show the first frame at 0.
		rung := firstRung(t, base, end.Manifest)
		if at := firstPresentation(t, base+rung+"/init.mp4", base+rung+"/seg_00000.m4s"); at != 0 {
			t.Errorf("the first frame is presented at %d ticks", at)
		}
		for _, path := range []string{end.Manifest, "watermarked.mp4"} {
			first, flash := moments(t, base+path, "blackdetect=d=0.1:pix_th=0.3", `black_start:(\S+) black_end:(\S+)`, "-vf")
			beep, _ := moments(t, base+path, "silencedetect=n=-40dB:d=0.1", `silence_end: (\S+)()`, "-af")
			if first != 0 || math.Abs(flash-beep) > 0.04 {
				t.Errorf("sound %.1f s late, %s: black from %.3f s, flash at %.3f s, beep at %.3f s", late, path, first, flash, beep)
			}
		}
	}
}

// firstRung returns the folder of the first variant of a master playlist.
func firstRung(t *testing.T, base, manifest string) string {
	t.Helper()
	for line := range strings.Lines(string(get(t, base+manifest))) {
		if folder, ok := strings.CutSuffix(strings.TrimSpace(line), "/index.m3u8"); ok && !strings.HasPrefix(folder, "#") {
			return folder
		}
	}
	t.Fatal("no variant in the manifest")
	return ""
}

// firstPresentation returns the earliest presentation time in a segment, in ticks, as its boxes say it:
// decode time (tfdt, and durations so far) plus composition offset, less where the edit list begins.
func firstPresentation(t *testing.T, initURL, segmentURL string) int64 {
	t.Helper()
	file, err := mp4.DecodeFile(bytes.NewReader(append(get(t, initURL), get(t, segmentURL)...)))
	if err != nil {
		t.Fatal(err)
	}
	earliest := int64(math.MaxInt64)
	for _, fragment := range file.Segments[0].Fragments {
		samples, err := fragment.GetFullSamples(file.Init.Moov.Mvex.Trex)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			earliest = min(earliest, s.PresentationTime())
		}
	}
	return earliest - advance(file.Init)
}

// advance returns by how many ticks the edit list of an init section moves its samples forward.
func advance(init *mp4.InitSegment) int64 {
	if edits := init.Moov.Trak.Edts; edits != nil && len(edits.Elst) > 0 && len(edits.Elst[0].Entries) > 0 {
		return edits.Elst[0].Entries[0].MediaTime
	}
	return 0
}

// moments returns the first two numbers that match pattern in the output of a filter.
func moments(t *testing.T, url, filter, pattern, kind string) (first, second float64) {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "info", "-i", url, kind, filter, "-f", "null", "-")
	cmd.Env = append(os.Environ(), "AV_LOG_FORCE_NOCOLOR=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s of %s: %v\n%s", filter, url, err, out)
	}
	m := regexp.MustCompile(pattern).FindSubmatch(out)
	if m == nil {
		t.Fatalf("%s finds nothing in %s\n%s", filter, url, out)
	}
	if first, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		t.Fatal(err)
	}
	second, _ = strconv.ParseFloat(string(m[2]), 64) // empty if pattern has one number
	return first, second
}
