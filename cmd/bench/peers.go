package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
)

// The peers are what a person would run with ffmpeg instead. They write the same renditions with the same
// options of x264 (H264 of workers/internal/picture, which TestPeersEncodeAlike compares), in segments of the
// same length; the audio, copied since it is AAC, as segments and as a file; a poster; and the cells of a
// storyboard. They verify nothing, record nothing, and write no DASH manifest.
//
// A is hand-tuned: one ffmpeg that decodes once, with the fastest number of encoder threads by calibration. B
// runs one ffmpeg for each rendition, for the audio, for the poster and for the storyboard, one after the
// other. C is A with the scale filter, as most people write it; A and B have the faster filter of ReelMill.

// peerJob is a source and its outputs.
type peerJob struct {
	source  string
	seconds float64
	rungs   []workers.Rendition // largest first
	dir     string              // of the outputs
	threads int                 // of each encoder; 0: x264 chooses
	plain   bool                // the scale filter
}

// Properties of a storyboard, as in workers/thumbnail.
const (
	maxCells   = 100
	cellHeight = 160
)

// interval returns the seconds between cells of the storyboard.
func (p peerJob) interval() float64 { return math.Max(1, p.seconds/maxCells) }

// one returns the arguments of A.
func (p peerJob) one() [][]string {
	labels, links := "", []string{}
	for i, r := range p.rungs {
		labels += fmt.Sprintf("[s%d]", i)
		links = append(links, fmt.Sprintf("[s%d]%s[v%[1]d]", i, p.scale(r)))
	}
	links = append(links, "[sp]"+p.posterFilter()+"[poster]", "[sc]"+p.cellsFilter()+"[cells]")
	graph := fmt.Sprintf("[0:v:0]split=%d%s[sp][sc];%s", len(p.rungs)+2, labels, strings.Join(links, ";"))
	args := []string{"-i", p.source, "-filter_complex", graph}
	for i, r := range p.rungs {
		args = append(args, "-map", fmt.Sprintf("[v%d]", i))
		args = append(append(args, p.encoder(r)...), p.hls(r.Name)...)
	}
	args = append(args, p.sound()...)
	args = append(args, "-map", "[poster]")
	args = append(append(args, p.poster()...), "-map", "[cells]")
	return [][]string{append(args, p.cells()...)}
}

// each returns the arguments of B's processes, in order.
func (p peerJob) each() [][]string {
	var all [][]string
	for _, r := range p.rungs {
		args := []string{"-i", p.source, "-map", "0:v:0", "-vf", p.scale(r)}
		all = append(all, append(append(args, p.encoder(r)...), p.hls(r.Name)...))
	}
	all = append(all, append([]string{"-i", p.source}, p.sound()...))
	at := strconv.FormatFloat(p.seconds/4, 'f', 3, 64)
	frame := []string{"-ss", at, "-i", p.source, "-map", "0:v:0"}
	board := []string{"-i", p.source, "-map", "0:v:0", "-vf", p.cellsFilter()}
	return append(all, append(frame, p.poster()...), append(board, p.cells()...))
}

// scale does not scale pictures that already have the size, as for the largest rung of all clips.
func (p peerJob) scale(r workers.Rendition) string {
	if p.plain || r.Width == p.rungs[0].Width && r.Height == p.rungs[0].Height {
		return fmt.Sprintf("scale=%d:%d,setsar=1", r.Width, r.Height)
	}
	return fmt.Sprintf("zscale=w=%d:h=%d:f=bicubic:param_a=0:param_b=0.6,setsar=1", r.Width, r.Height)
}

func (p peerJob) posterFilter() string {
	return fmt.Sprintf("select='gte(t,%.3f)'", p.seconds/4)
}

func (p peerJob) cellsFilter() string {
	return fmt.Sprintf("fps=1/%.6f,scale=-2:%d", p.interval(), cellHeight)
}

// encoder returns the options of ReelMill's basic quality.
func (p peerJob) encoder(r workers.Rendition) []string {
	group := strconv.Itoa(int(math.Round(2 * float64(r.FrameRateNum) / float64(r.FrameRateDen))))
	args := []string{
		"-c:v", "libx264", "-preset", "veryfast", "-crf", "23",
		"-maxrate", strconv.Itoa(r.Maxrate/1000) + "k", "-bufsize", strconv.Itoa(2*r.Maxrate/1000) + "k",
		"-profile:v", "high", "-pix_fmt", "yuv420p", "-r:v", fmt.Sprintf("%d/%d", r.FrameRateNum, r.FrameRateDen),
		"-fps_mode:v", "cfr", "-g", group, "-keyint_min", group, "-sc_threshold", "0",
		"-force_key_frames", "expr:eq(mod(n," + group + "),0)", "-forced-idr", "1", "-flags:v", "+cgop",
		"-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv",
	}
	if p.threads > 0 {
		args = append(args, "-threads", strconv.Itoa(p.threads))
	}
	return args
}

// hls writes segments of 6 s and their playlist into a folder.
func (p peerJob) hls(name string) []string {
	dir := filepath.Join(p.dir, name)
	return []string{
		"-f", "hls", "-hls_time", strconv.Itoa(manifest.SegmentSeconds), "-hls_playlist_type", "vod",
		"-hls_segment_type", "fmp4",
		"-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", filepath.Join(dir, "seg_%05d.m4s"),
		filepath.Join(dir, "index.m3u8"),
	}
}

// sound returns the options of two audio outputs: segments and a file.
func (p peerJob) sound() []string {
	args := append([]string{"-map", "0:a:0", "-c:a", "copy"}, p.hls("audio")...)
	return append(args, "-map", "0:a:0", "-c:a", "copy", filepath.Join(p.dir, "audio.m4a"))
}

func (p peerJob) poster() []string {
	return []string{"-frames:v", "1", "-update", "1", "-q:v", "3", filepath.Join(p.dir, "poster.jpg")}
}

func (p peerJob) cells() []string {
	return []string{"-frames:v", strconv.Itoa(maxCells), "-q:v", "4", filepath.Join(p.dir, "cell-%05d.jpg")}
}

// outcome is the cost of one run.
type outcome struct {
	Who     string  `json:"who"` // ours, A or B
	Clip    string  `json:"clip"`
	Seconds float64 `json:"seconds"`     // by the clock
	CPU     float64 `json:"cpu_seconds"` // of all its processes
	Bytes   int64   `json:"bytes"`       // of the video renditions
	Others  float64 `json:"others_cores"`
}

// run runs the processes one after the other, and checks that all outputs are complete.
func (p peerJob) run(ctx context.Context, commands [][]string) (o outcome, err error) {
	for _, r := range append([]string{"audio"}, names(p.rungs)...) {
		if err := os.MkdirAll(filepath.Join(p.dir, r), 0o700); err != nil {
			return o, err
		}
	}
	others, begun := watchOthers(), time.Now()
	for _, args := range commands {
		cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-nostdin", "-y"}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil {
			return o, fmt.Errorf("peer: ffmpeg %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		o.CPU += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	o.Seconds = time.Since(begun).Seconds()
	o.Others = others(o.CPU)
	o.Bytes, err = p.check()
	return o, err
}

// check checks that every output exists, and that each rendition has the segments of the whole video. It
// returns the bytes of the video renditions.
func (p peerJob) check() (bytes int64, err error) {
	want := int(math.Ceil(p.seconds/manifest.SegmentSeconds - 0.1))
	for _, name := range append([]string{"audio"}, names(p.rungs)...) {
		segments, err := filepath.Glob(filepath.Join(p.dir, name, "seg_*.m4s"))
		if err != nil {
			return 0, err
		}
		if n := len(segments); n < want || n > want+1 || !exists(filepath.Join(p.dir, name, "index.m3u8")) {
			return 0, fmt.Errorf("peer: %s has %d segments, want %d", name, n, want)
		}
		if name != "audio" {
			bytes += folderSize(filepath.Join(p.dir, name))
		}
	}
	for _, name := range []string{"audio.m4a", "poster.jpg", "cell-00001.jpg"} {
		if !exists(filepath.Join(p.dir, name)) {
			return 0, fmt.Errorf("peer: %s was not written", name)
		}
	}
	return bytes, nil
}

func names(rungs []workers.Rendition) []string {
	var all []string
	for _, r := range rungs {
		all = append(all, r.Name)
	}
	return all
}
