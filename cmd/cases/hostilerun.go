package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // of posters
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// Limits of each hostile file.
const (
	hostileTime = time.Minute // from the upload to the end
	// patienceFor is how many times as long as a good video of a second a file may take on a busy machine.
	patienceFor   = 40
	hostileMemory = 2 << 30 // bytes of each ffmpeg and ffprobe, resident
	serverMemory  = 1 << 30 // bytes of the server, resident
)

// hostileRecipes are the real videos that hostile files are made of.
func hostileRecipes() []recipe {
	const sized = "160x90"
	real := pictures(sized, "25", 1)
	both := real + tone(440, 1)
	const vp8 = " -c:v libvpx -deadline realtime -cpu-used 8 -g 1"
	return []recipe{
		{file: "x_v.mp4", args: real + x264},
		{file: "x_av.mp4", args: both + x264 + " -c:a aac"},
		{file: "x_victim.mp4", args: " -f lavfi -i color=magenta:s=320x180:r=25:d=1" + x264},
		{file: "x_frag.mp4", args: " -i {x_v.mp4} -c copy -movflags frag_keyframe+empty_moov+default_base_moof"},
		{file: "x_small.ts", args: both + x264 + " -c:a aac -f mpegts"},
		{file: "x_wrap.ts", args: both + x264 + " -c:a aac -output_ts_offset 95443.2 -f mpegts"},
		{file: "x_small.nut", args: real + x264},
		{file: "x_small.mpg", args: both + " -c:v mpeg2video -c:a mp2 -f vob"},
		{file: "x_small.flv", args: both + " -c:v flv -c:a libmp3lame -ar 44100"},
		{file: "x_small.wmv", args: both + " -c:v wmv2 -c:a wmav2"},
		{file: "x_small.avi", args: both + " -c:v mpeg4 -c:a libmp3lame"},
		{file: "x_small.mxf", args: real + " -c:v mpeg2video"},
		{file: "x_small.ogv", args: both + " -c:v libtheora -c:a libvorbis"},
		{file: "x_small.flac", args: tone(440, 1)},
		{file: "x_small.mp3", args: tone(440, 1) + " -c:a libmp3lame -id3v2_version 0"},
		{file: "x_small.aac", args: tone(440, 1) + " -c:a aac -f adts"},
		{file: "x_vp8.ivf", args: pictures("320x180", "25", 1) + vp8},
		{file: "x_vp8b.ivf", args: pictures("176x144", "25", 1) + vp8},
		{file: "x_vp9.webm", args: real + " -c:v libvpx-vp9 -deadline realtime -cpu-used 8"},
		{file: "x_av1.mp4", args: real + " -c:v libaom-av1 -cpu-used 8"},
		{file: "x_hevc.ts", args: real + " -c:v libx265 -preset ultrafast -x265-params log-level=none -f mpegts"},
		{file: "x_ffv1.mkv", args: real + " -c:v ffv1"},
		{file: "x_mjpeg.jpg", args: pictures("320x180", "25", 1) + " -frames:v 1"},
	}
}

// hostileRun is a run of the hostile files on one server of their own.
type hostileRun struct {
	*runner
	server *server
	bait   *bait
	lab    lab
	token  string // is in the secrets alone
	before []string
	good   time.Duration // that a good video of a second took, before the others
}

// runHostile runs the hostile files. Then it uploads a good one, which must become ready.
func (r *runner) runHostile(ctx context.Context, all []testCase) (err error) {
	if len(all) == 0 {
		return nil
	}
	h, err := r.setTrap(ctx)
	if err != nil {
		return err
	}
	defer h.server.stop()
	defer h.bait.close()
	watch := watchMemory(ctx, h.server.cmd.Process.Pid)
	defer watch.stop()
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for _, c := range all {
		g.Go(func() error {
			j := &judge{ctx: ctx, c: c}
			if err := h.attack(j, watch); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				j.wrong("error", "%v", err)
			}
			r.tell(j)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	j := &judge{ctx: ctx, c: testCase{id: "x_after", what: "the server, after all hostile files",
		right: "the same process makes a good video ready; no connection, leak or file outside"}}
	if err := h.aftermath(j, watch); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		j.wrong("error", "%v", err)
	}
	r.tell(j)
	return nil
}

// setTrap starts the server, and puts beside it what must not be read, with another user's video in it.
func (r *runner) setTrap(ctx context.Context) (h *hostileRun, err error) {
	h = &hostileRun{runner: r, token: "ReelMillSecret0123456789"}
	dir := filepath.Join(r.dir, "hostile")
	for _, sub := range []string{"home", "files"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if h.bait, err = newBait(); err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "home")
	slots := fmt.Sprintf("inspect=%d;transcode=%[1]d;audio=%[1]d;thumbnail=%[1]d", runtime.NumCPU())
	h.server, err = r.serveIn(ctx, home, filepath.Join(dir, "data"), "--slots", slots)
	if err != nil {
		h.bait.close()
		return nil, err
	}
	h.lab = lab{web: h.bait.url, secret: filepath.Join(dir, "data", "secret.txt")}
	passwd := "secret:x:0:0:" + h.token + ":/root:/bin/sh\n"
	for _, path := range []string{h.lab.secret, filepath.Join(dir, "passwd")} {
		if err := os.WriteFile(path, []byte(passwd), 0o644); err != nil {
			return nil, err
		}
	}
	if h.lab.victim, err = h.plant(ctx); err != nil {
		return nil, err
	}
	h.before, err = filesOutside(dir)
	return h, err
}

// plant uploads another user's video, and returns where its source lies.
func (h *hostileRun) plant(ctx context.Context) (string, error) {
	path, err := h.kitchen.make(ctx, "x_victim.mp4")
	if err != nil {
		return "", err
	}
	began := time.Now()
	view, err := h.server.client().Upload(ctx, client.Upload{Path: path})
	if err != nil {
		return "", err
	}
	if view, err = h.await(ctx, h.server.client(), view.ID); err != nil {
		return "", err
	}
	if view.Status != pipeline.StateVideoReady {
		return "", fmt.Errorf("the other user's video: %s", statusOf(view))
	}
	h.good = time.Since(began)
	folder := filepath.Join(h.server.data, "objects", "videos", view.ID, "source")
	names, err := os.ReadDir(folder)
	if err != nil || len(names) == 0 {
		return "", fmt.Errorf("the other user's source is not in %s: %w", folder, err)
	}
	return filepath.Join(folder, names[0].Name()), nil
}

// attack makes and uploads a hostile file, and judges its end.
func (h *hostileRun) attack(j *judge, watch *memoryWatch) (err error) {
	if j.source, err = h.produce(j.ctx, *j.c.hostile); err != nil {
		return fmt.Errorf("make %s: %w", j.c.file, err)
	}
	defer os.Remove(j.source)
	api, began := h.server.client(), time.Now()
	view, err := api.Upload(j.ctx, client.Upload{Path: j.source})
	if err != nil {
		return fmt.Errorf("upload %s: %w", j.c.file, err)
	}
	j.base = h.server.url + "/play/" + view.ID + "/"
	if j.view, err = h.await(j.ctx, api, view.ID); err != nil {
		return err
	}
	took := time.Since(began)
	if err := j.ask(api, view.ID); err != nil {
		return err
	}
	most := max(hostileTime, patienceFor*h.good)
	j.holds("time", fmt.Sprintf("%.1f s", took.Seconds()), "at most "+most.String(), took <= most)
	j.atMost("memory", watch.of(view.ID), hostileMemory)
	j.hostileEnd(*j.c.hostile)
	return h.search(j)
}

// atMost wants at most so many bytes of memory.
func (j *judge) atMost(what string, bytes, most int64) {
	j.holds(what, fmt.Sprintf("%d MB", bytes>>20), fmt.Sprintf("at most %d MB", most>>20), bytes <= most)
}

// produce makes a hostile file.
func (h *hostileRun) produce(ctx context.Context, c hostile) (string, error) {
	var inputs [][]byte
	for _, name := range c.from {
		path, err := h.kitchen.make(ctx, name)
		if err != nil {
			return "", err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		inputs = append(inputs, raw)
	}
	raw, err := c.build(h.lab, inputs)
	if err != nil {
		return "", err
	}
	path := filepath.Join(h.dir, "hostile", "files", c.name())
	return path, os.WriteFile(path, raw, 0o644)
}

// hostileEnd judges status, code and attempts.
func (j *judge) hostileEnd(c hostile) {
	ready := len(c.ends) == 0 || c.harmless != ""
	got, ok := string(j.view.Status), false
	switch {
	case j.view.Status == pipeline.StateVideoReady:
		ok = ready
		if m := j.view.Media; m != nil && m.Damaged {
			got += " (damaged)"
		}
	case j.view.Problem != nil && (j.view.Status == pipeline.StateVideoRejected || blamed(j.view)):
		ok = slices.Contains(c.ends, j.view.Problem.Code)
	}
	if !ok || j.view.Problem != nil {
		got = statusOf(j.view)
	}
	j.holds("end", got, j.c.right, ok)
	for _, job := range j.jobs {
		if job.Attempt > 1 {
			j.wrong("attempts of "+job.Name, "%d", job.Attempt)
		}
	}
}

// blamed reports whether a video is errored for a fault of the file, which inspection could not see.
func blamed(v pipeline.VideoView) bool {
	return v.Status == pipeline.StateVideoErrored && pipeline.Describe(v.Problem.Code).Class == pipeline.Input
}

// search looks for what must not be in the answers and outputs of a video.
func (h *hostileRun) search(j *judge) error {
	raw, err := h.answers(j.ctx, j.view.ID)
	if err != nil {
		return err
	}
	for _, hidden := range []string{h.token, mark, h.server.data} {
		if bytes.Contains(raw, []byte(hidden)) {
			j.wrong("answers have", "%q", hidden)
		}
	}
	if at := strings.IndexFunc(j.said(), unprintable); at >= 0 {
		j.wrong("answers have", "a control character: %+q", j.said()[max(0, at-20):])
	}
	objects := filepath.Join(h.server.data, "objects", "videos", j.view.ID)
	found, err := filesWith(objects, "source", h.token, mark)
	if err != nil {
		return err
	}
	for _, f := range found {
		j.wrong("an output has a hidden text", "%s", f)
	}
	if j.view.Status == pipeline.StateVideoReady {
		return j.notMagenta()
	}
	return nil
}

// answers returns what the API says about a video.
func (h *hostileRun) answers(ctx context.Context, id string) (all []byte, err error) {
	for _, path := range []string{"", "/jobs", "/outputs", "/why"} {
		raw, err := fetch(ctx, h.server.url+"/v1/videos/"+id+path)
		if err != nil {
			return nil, err
		}
		all = append(all, raw...)
	}
	return all, nil
}

// said returns the texts of the server about a video.
func (j *judge) said() string {
	all := slices.Clone(j.notes)
	add := func(p *pipeline.Problem) {
		if p != nil {
			all = append(all, p.Detail, strings.ReplaceAll(p.Stderr, "\n", " "))
		}
	}
	add(j.view.Problem)
	for _, job := range j.jobs {
		add(job.Problem)
	}
	if j.view.Media != nil {
		all = append(all, j.view.Media.Warnings...)
	}
	return strings.Join(all, " ")
}

// unprintable reports control and formatting characters.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// notMagenta wants a poster that does not show the other user's video.
func (j *judge) notMagenta() error {
	raw, err := fetch(j.ctx, j.base+"thumbnail.jpg")
	if err != nil {
		return err
	}
	img, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("poster: %w", err)
	}
	b := img.Bounds()
	r, g, blue, _ := img.At((b.Min.X+b.Max.X)/2, (b.Min.Y+b.Max.Y)/2).RGBA()
	if r > 0xc000 && g < 0x4000 && blue > 0xc000 {
		j.wrong("the poster", "shows another user's video")
	}
	return nil
}

// aftermath judges what all hostile files together did.
func (h *hostileRun) aftermath(j *judge, watch *memoryWatch) error {
	j.is("connections", h.bait.touched(), 0)
	select {
	case <-h.server.done:
		return errors.New("the server ended")
	default:
	}
	path, err := h.kitchen.make(j.ctx, "x_av.mp4")
	if err != nil {
		return err
	}
	view, err := h.server.client().Upload(j.ctx, client.Upload{Path: path})
	if err != nil {
		return err
	}
	if j.view, err = h.await(j.ctx, h.server.client(), view.ID); err != nil {
		return err
	}
	j.ready()
	dir := filepath.Join(h.dir, "hostile")
	after, err := filesOutside(dir)
	if err != nil {
		return err
	}
	for _, f := range after {
		if !slices.Contains(h.before, f) {
			j.wrong("a new file outside", "%s", f)
		}
	}
	left, err := leftInScratch(j.ctx, h.server.data)
	if err != nil {
		return err
	}
	j.is("left in scratch", len(left), 0)
	found, err := filesWith(dir, "", h.token)
	if err != nil {
		return err
	}
	j.is("files with the secret", len(found), 2)
	j.atMost("memory of the server", watch.server(), serverMemory)
	j.note("connections", "0; largest ffmpeg %d MB", watch.most()>>20)
	return nil
}
