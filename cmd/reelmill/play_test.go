package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// The tests below play videos from another origin in a headless browser, with the players that sites use:
// hls.js and Shaka Player. testdata/player has the page and the script that drives the browser; .ci/install
// installs browser and players.

// playPipelines are the pipelines of TestPlayers. premium is slow, so that a small video has chunks, and
// plays while it is processed.
const playPipelines = `
pipelines:
  - name: encoded
    steps:
      - worker: audio
      - worker: transcode
        with: {quality: premium, ladder: [270, 180], copy: never}
  - name: copied
    steps:
      - worker: audio
      - worker: transcode
        with: {ladder: [270, 180]}
`

// TestPlayers plays a video during its processing and after it, and one with a copied rung.
func TestPlayers(t *testing.T) {
	b := startBrowser(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(playPipelines), 0o600))
	p := startServe(t, binary, t.TempDir(), "--config", config, "--threads", "1", "--slots", "transcode=1")
	api := p.client()
	upload := func(name string, args ...string) string {
		view, err := api.Upload(t.Context(), client.Upload{Path: playClip(t, args...), Pipeline: name})
		check(t, err)
		return p.url + "/play/" + view.ID + "/"
	}

	encoded := upload("encoded", "-preset", "ultrafast")
	t.Run("growing", func(t *testing.T) { playGrowing(t, b, api, encoded) })
	copied := upload("copied", "-crf", "30", "-force_key_frames", "0.5,3.1,7.7,9,12.3,17.2")
	for name, base := range map[string]string{"encoded": encoded, "copied": copied} {
		if end := awaitEnd(t, api, playID(base)); end.Status != pipeline.StateVideoReady {
			t.Fatalf("%s: %s %+v\n%s", name, end.Status, end.Problem, p.stderr)
		}
		for player, manifest := range map[string]string{"hls": "master.m3u8", "dash": "manifest.mpd"} {
			t.Run(name+" "+player, func(t *testing.T) {
				playSwitching(t, b, scene{Player: player, URL: base + manifest, Switches: playSwitches})
			})
		}
		t.Run(name+" keyframes", func(t *testing.T) { playKeyframes(t, base) })
	}
	playChunks(t, api, encoded)
	playCopied(t, api, copied)
}

// playSeconds is the length of the clips: 600 frames, in segments of 180.
const playSeconds = 600 * 1001 / 30000.0

// playClip makes a clip with pictures and audio, and a red left edge; args are for its H.264 encoder.
func playClip(t *testing.T, args ...string) string {
	t.Helper()
	return colouredClip(t, "bt709", "30000/1001", args...)
}

// colouredClip is playClip with named colours, at another rate.
func colouredClip(t *testing.T, colours, rate string, args ...string) string {
	t.Helper()
	source := []string{
		"-f", "lavfi", "-i", "testsrc2=size=480x270:rate=" + rate,
		"-f", "lavfi", "-i", "sine=frequency=440",
		"-vf", "scale=out_color_matrix=" + colours + ",format=yuv420p," +
			"setparams=colorspace=" + colours + ":color_primaries=" + colours + ":color_trc=" + colours,
		"-t", fmt.Sprint(playSeconds), "-c:a", "aac", "-c:v", "libx264",
	}
	return workertest.Clip(t, "clip.mp4", slices.Concat(source, args)...)
}

// TestPlayersOfStandardDefinition plays a copied rung of x264 at its defaults and 23.976 frames/s, with
// segments of 10.4 seconds and colours of BT.601, and encoded rungs of BT.709. No switch may shift a colour.
func TestPlayersOfStandardDefinition(t *testing.T) {
	b := startBrowser(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(playPipelines), 0o600))
	p := startServe(t, binary, t.TempDir(), "--config", config, "--threads", "1", "--slots", "transcode=1")
	clip := colouredClip(t, "smpte170m", "24000/1001", "-sc_threshold", "0", "-preset", "veryfast")
	view, err := p.client().Upload(t.Context(), client.Upload{Path: clip, Pipeline: "copied"})
	check(t, err)
	base := p.url + "/play/" + view.ID + "/"
	if end := awaitEnd(t, p.client(), view.ID); end.Status != pipeline.StateVideoReady {
		t.Fatalf("%s %+v\n%s", end.Status, end.Problem, p.stderr)
	}
	playCopied(t, p.client(), base)
	for player, manifest := range map[string]string{"hls": "master.m3u8", "dash": "manifest.mpd"} {
		t.Run(player, func(t *testing.T) {
			r := b.play(t, scene{
				Player: player, URL: base + manifest, Rate: 4,
				Switches: []change{{1, 180, false}, {6, 270, true}},
			})
			r.check(t)
			if got := r.heights(); !slices.Equal(got, []int{270, 180, 270}) {
				t.Fatalf("sizes: %+v", r.Sizes)
			}
			for i, s := range r.Sizes[1:] {
				for channel, value := range s.Colour {
					if before := r.Sizes[i].Colour[channel]; value-before > 4 || before-value > 4 {
						t.Errorf("colour %v at %.2f s, %v before", s.Colour, s.At, r.Sizes[i].Colour)
					}
				}
			}
		})
	}
}

// playID returns the id of the video that plays from base.
func playID(base string) string { return filepath.Base(base) }

// playChunks checks that the video has several chunks, so that playing it tests their seams.
func playChunks(t *testing.T, api *client.Client, base string) {
	t.Helper()
	jobs, err := api.Jobs(t.Context(), playID(base))
	check(t, err)
	var chunks []string
	for _, j := range jobs {
		name, ok := strings.CutPrefix(j.Name, "transcode-")
		if ok && (name == "first" || strings.Trim(name, "0123456789") == "") {
			chunks = append(chunks, name)
		}
	}
	if len(chunks) < 3 {
		t.Errorf("chunks %v, want the first segment and two at least", chunks)
	}
	why, err := api.Why(t.Context(), playID(base))
	check(t, err)
	want := "the top rung is not a copy of the source: the pipeline has every rung encoded"
	if !slices.Equal(why.Notes, []string{want}) || !slices.ContainsFunc(jobs, func(j pipeline.JobView) bool {
		return j.Worker == "transcode" && j.Facts["copied"] == false && j.Facts["reason"] == "the pipeline has every rung encoded"
	}) {
		t.Errorf("notes %q, want %q; %+v", why.Notes, want, jobs)
	}
}

// playCopied checks that the source is a rung of the video, in one adaptation set with the encoded rungs.
func playCopied(t *testing.T, api *client.Client, base string) {
	t.Helper()
	jobs, err := api.Jobs(t.Context(), playID(base))
	check(t, err)
	if !slices.ContainsFunc(jobs, func(j pipeline.JobView) bool {
		return j.Worker == "transcode" && j.Facts["copied"] == true
	}) {
		t.Errorf("no rung is copied: %+v", jobs)
	}
	why, err := api.Why(t.Context(), playID(base))
	if check(t, err); len(why.Notes) > 0 {
		t.Errorf("notes on a copy: %q", why.Notes)
	}
	if mpd := get(t, base+"manifest.mpd"); bytes.Count(mpd, []byte(`contentType="video"`)) != 1 {
		t.Errorf("want one set of pictures:\n%s", mpd)
	}
}

// playGrowing plays a video as soon as it is playable, from beginning to end, while its playlists grow.
func playGrowing(t *testing.T, b *browser, api *client.Client, base string) {
	_, err := api.Wait(t.Context(), playID(base), client.Playable)
	check(t, err)
	r := b.play(t, scene{Player: "hls", URL: base + "master.m3u8", Rate: 4})
	r.check(t)
	edge := 0.0
	for i, l := range r.Playlists {
		last := i == len(r.Playlists)-1
		if l.Ended != last || l.Ended != (l.Type == "VOD") || !l.Ended && l.Type != "EVENT" || l.Edge < edge {
			t.Errorf("playlist %d of %+v", i, r.Playlists)
		}
		edge = l.Edge
	}
	if len(r.Playlists) < 2 {
		t.Errorf("want playlists that grow and then one that has ended: %+v", r.Playlists)
	}
}

// playSwitches are the changes of the rung, to and fro: at once, and smooth as a player makes them by itself.
// Those need segments that begin at the same times, or the browser cuts one into the other: of the group of
// pictures that it cuts it drops B-frames before the cut, too.
var playSwitches = []change{{1, 180, false}, {4, 270, false}, {6.5, 180, true}, {12.5, 270, true}}

// playSwitching plays over all seams and switches.
func playSwitching(t *testing.T, b *browser, s scene) {
	s.Rate = 4
	r := b.play(t, s)
	r.check(t)
	if got := r.heights(); !slices.Equal(got, []int{270, 180, 270, 180, 270}) {
		t.Errorf("sizes: %+v", r.Sizes)
	}
}

var playRange = regexp.MustCompile(`#EXT-X-BYTERANGE:(\d+)@(\d+)\n#EXTINF:.*\n(.+)\n`)

// playKeyframes checks that each range of the I-frame playlists is the head of a fragment with its keyframe.
func playKeyframes(t *testing.T, base string) {
	for _, rung := range []string{"270p/", "180p/"} {
		list := get(t, base+rung+"iframes.m3u8")
		frames := playRange.FindAllSubmatch(list, -1)
		if len(frames) < 7 || len(frames) != bytes.Count(list, []byte("#EXTINF:")) {
			t.Errorf("%s: %d keyframes\n%s", rung, len(frames), list)
		}
		for _, f := range frames {
			size, err := strconv.Atoi(string(f[1]))
			check(t, err)
			offset, err := strconv.Atoi(string(f[2]))
			check(t, err)
			got := getRange(t, base+rung+string(f[3]), offset, size)
			moof := len(got) == size && size > 8 && string(got[4:8]) == "moof"
			if !moof || !bytes.Contains(got, []byte("mdat")) {
				t.Errorf("%s%s, %d bytes at %d: got %d, %.16q", rung, f[3], size, offset, len(got), got)
			}
		}
	}
}

// getRange fetches a byte range of url.
func getRange(t *testing.T, url string, offset, size int) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	check(t, err)
	request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+size-1))
	answer, err := http.DefaultClient.Do(request)
	check(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusPartialContent {
		t.Fatalf("GET %s: %s, %v", url, answer.Status, err)
	}
	return body
}

// scene tells page.js what to play.
type scene struct {
	Player   string   `json:"player"` // hls, dash (Shaka Player) or dashjs
	URL      string   `json:"url"`
	Rate     float64  `json:"rate"`
	Switches []change `json:"switches"`
	Seconds  float64  `json:"seconds"` // at most
	Shot     string   `json:"shot"`    // file for the last picture
	// Ends is when the token ends: the page pauses the video before, plays on when Resumes has come, and stops at
	// the first answer that refuses. Both in milliseconds since 1970; 0: the token lasts.
	Ends    int64 `json:"ends,omitempty"`
	Resumes int64 `json:"resumes,omitempty"`
}

// change forces a rung after At seconds of playback.
type change struct {
	At     float64 `json:"at"`
	Height int     `json:"height"`
	Smooth bool    `json:"smooth"` // buffered segments play first
}

// report is the report of page.js.
type report struct {
	Ended     bool         `json:"ended"`
	Start     float64      `json:"start"` // seconds, where playback began
	Time      float64      `json:"time"`  // seconds, where it ended
	Duration  float64      `json:"duration"`
	Buffered  [][2]float64 `json:"buffered"` // at the end
	Gap       float64      `json:"gap"`      // seconds, the largest ever in the buffer
	Leap      float64      `json:"leap"`     // seconds, the most that playback ran ahead of the clock
	Jumps     int          `json:"jumps"`    // of the player over a gap
	Waits     int          `json:"waits"`    // for data
	Faults    []string     `json:"faults"`
	Fatal     bool         `json:"fatal"`
	Refused   []int        `json:"refused"` // statuses of answers
	Began     bool         `json:"began"`   // before scene.Ends
	Frames    int          `json:"frames"`  // pictures shown or dropped
	Sound     int          `json:"sound"`   // bytes decoded
	Rungs     []int        `json:"rungs"`   // their heights
	Playlists []struct {
		Type  string  `json:"type"`
		Ended bool    `json:"ended"` // with EXT-X-ENDLIST
		Edge  float64 `json:"edge"`  // seconds, the end
	} `json:"playlists"`
	Sizes []struct { // changes of the picture's
		At     float64 `json:"at"`
		Width  int     `json:"width"`
		Height int     `json:"height"`
		Colour [3]int  `json:"colour"` // of the left edge: red, green, blue
	} `json:"sizes"`
}

// check checks that the whole video played, pictures and audio, in its colours and without a gap.
func (r report) check(t *testing.T) {
	t.Helper()
	t.Logf("%+v", r)
	const near, gap, leap = 0.1, 0.01, 0.3 // seconds; a frame is longer than a gap may be
	away := func(got, want float64) bool { return math.IsNaN(got) || math.Abs(got-want) > near }
	switch {
	case r.Fatal || !r.Ended:
		t.Errorf("playback ended %v at %.2f s: %v", r.Ended, r.Time, r.Faults)
	case away(r.Start, 0) || away(r.Duration, playSeconds) || away(r.Time, playSeconds):
		t.Errorf("played %.3f to %.3f of %.3f s, want 0 to %.3f s", r.Start, r.Time, r.Duration, playSeconds)
	}
	if len(r.Buffered) != 1 || r.Gap > gap || r.Jumps > 0 || r.Leap > leap {
		t.Errorf("gaps of %.3f s, %d jumps, leap of %.3f s, buffered %v", r.Gap, r.Jumps, r.Leap, r.Buffered)
	}
	if r.Frames < 100 || r.Sound < 10000 {
		t.Errorf("%d frames, %d bytes of sound", r.Frames, r.Sound)
	}
	for _, s := range r.Sizes {
		if c := s.Colour; s.Width*9 != s.Height*16 || c[0] < 240 || c[1] > 15 || c[2] > 15 {
			t.Errorf("%dx%d at %.2f s: the left edge is %v, want red", s.Width, s.Height, s.At, c)
		}
	}
}

// heights lists the heights of the pictures in the order of playback.
func (r report) heights() []int {
	var all []int
	for _, s := range r.Sizes {
		all = append(all, s.Height)
	}
	return all
}

// browser is a headless browser, driven by testdata/player/play.mjs.
type browser struct {
	cmd    *exec.Cmd
	to     *json.Encoder
	from   *json.Decoder
	stderr pipelinetest.Buffer
}

// startBrowser starts a browser that plays scenes. The end of the test ends it and its processes.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	pages := httptest.NewServer(http.FileServer(http.Dir(filepath.Join("testdata", "player"))))
	t.Cleanup(pages.Close)
	return startBrowserAt(t, pages.URL+"/page.html")
}

// startBrowserAt starts a browser that opens a page for each scene.
func startBrowserAt(t *testing.T, page string) *browser {
	t.Helper()
	dir := filepath.Join("testdata", "player")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		t.Fatalf("the players are not installed: run .ci/install (%v)", err)
	}
	for _, program := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: run .ci/install", err)
		}
	}
	home := t.TempDir()
	profile := filepath.Join(home, "profile")
	b := &browser{cmd: exec.Command("node", "play.mjs", page, profile)}
	b.cmd.Dir, b.cmd.Stderr, b.cmd.WaitDelay = dir, &b.stderr, 10*time.Second
	b.cmd.Env = os.Environ()
	for _, name := range []string{"HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"} {
		b.cmd.Env = append(b.cmd.Env, name+"="+home)
	}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := b.cmd.StdinPipe()
	check(t, err)
	stdout, err := b.cmd.StdoutPipe()
	check(t, err)
	check(t, b.cmd.Start())
	t.Cleanup(func() { b.end(t, stdin) })
	b.to, b.from = json.NewEncoder(stdin), json.NewDecoder(stdout)
	var ready readyLine
	if b.read(t, pipelinetest.Left(t), &ready); !ready.Ready {
		t.Fatalf("the browser does not start\n%s", b.stderr.String())
	}
	return b
}

// read reads the driver's next line, which must come within limit.
func (b *browser) read(t *testing.T, limit time.Duration, line any) {
	t.Helper()
	late := time.AfterFunc(limit, b.kill)
	defer late.Stop()
	if err := b.from.Decode(line); err != nil {
		t.Fatalf("the browser's driver said nothing for %v, or ended: %v\n%s", limit, err, b.stderr.String())
	}
}

// end asks the browser to end, and then kills the rest of its process group.
func (b *browser) end(t *testing.T, stdin io.Closer) {
	stdin.Close()
	late := time.AfterFunc(pipelinetest.Left(t), b.kill)
	defer late.Stop()
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("the driver of the browser: %v\n%s", err, b.stderr.String())
	}
	b.kill()
}

func (b *browser) kill() {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // usually it is empty
}

// run gives a scene to a new page, and reads its report.
func (b *browser) run(t *testing.T, scene, report any) {
	t.Helper()
	check(t, b.to.Encode(scene))
	b.read(t, pipelinetest.Left(t), report)
}

// play plays a scene in a new page. -artifacts keeps the last picture of the page.
func (b *browser) play(t *testing.T, s scene) (r report) {
	t.Helper()
	limit := pipelinetest.Left(t) / 2 // leaves time for the report of the page
	s.Seconds, s.Shot = limit.Seconds(), filepath.Join(t.ArtifactDir(), "page.png")
	check(t, b.to.Encode(s))
	b.read(t, 2*limit, &r)
	return r
}
