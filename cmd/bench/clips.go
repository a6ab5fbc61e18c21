package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// form is how a clip is encoded. Both forms have the same pictures, as H.264 High of about 2.5 Mbit/s at
// 720p.
type form struct {
	name  string
	group int // seconds between keyframes
}

var (
	// encodeForm has keyframes too far apart for standard input, so every rung is encoded.
	encodeForm = form{"encode", 12}
	// standardForm is standard input, so its top rung is a copy.
	standardForm = form{"standard", 2}
)

// Properties of the generated pictures.
const (
	clipRate  = 24 // frames/s
	clipBits  = 2500e3
	clipShort = 13 // seconds; a shorter encodeForm would have one group, and be standard
)

// clip is a file to upload.
type clip struct {
	name    string
	path    string
	form    form
	seconds float64
}

// clips makes clips in a folder, each when it is first asked for:
//
//  1. Make the pictures of a minute, nearly lossless: scenes of 4 to 6 s, each a part of the Mandelbrot set
//     that grows while the camera pans over it, with blur, a tint and grain. With -clip, those of a film.
//  2. Encode the wanted number of seconds in the wanted form. A longer clip repeats the encoded minute.
//  3. Mux audio of tones over noise: AAC or MP3.
//
// Nothing is random, and the number of x264's threads is fixed, so equal versions make equal files.
type clips struct {
	dir    string
	film   string // empty: generated pictures
	scale  float64
	height int
	made   map[string]clip
	say    func(format string, args ...any)
}

// length returns the real length of a clip of this many seconds: scaled, and in whole minutes if longer than
// one.
func (c *clips) length(f form, seconds float64) float64 {
	seconds *= c.scale
	if f == encodeForm {
		seconds = max(seconds, clipShort)
	}
	seconds = math.Max(2, math.Round(seconds))
	if minute := c.minute(); seconds > minute {
		return minute * math.Ceil(seconds/minute)
	}
	return seconds
}

// minute returns the length of the pictures that all clips are made from: whole groups of both forms.
func (c *clips) minute() float64 {
	group := float64(encodeForm.group)
	return max(2*group, group*math.Ceil(60*c.scale/group))
}

// get returns a clip of a form and about this many seconds; sound is aac or mp3.
func (c *clips) get(ctx context.Context, f form, seconds float64, sound string) (clip, error) {
	length := c.length(f, seconds)
	name := fmt.Sprintf("%s-%gs-%s", f.name, length, sound)
	if made, ok := c.made[name]; ok {
		return made, nil
	}
	c.say("make clip %s", name)
	pictures, err := c.pictures(ctx, f, min(length, c.minute()))
	if err != nil {
		return clip{}, err
	}
	tone, err := c.tone(ctx, length, sound)
	if err != nil {
		return clip{}, err
	}
	list := "ffconcat version 1.0\n" + strings.Repeat("file '"+pictures+"'\n", int(math.Ceil(length/c.minute())))
	listed := filepath.Join(c.dir, name+".txt")
	if err := os.WriteFile(listed, []byte(list), 0o600); err != nil {
		return clip{}, err
	}
	made := clip{name: name, path: filepath.Join(c.dir, name+".mp4"), form: f, seconds: length}
	err = ffmpeg(ctx, "-f", "concat", "-safe", "0", "-i", listed, "-i", tone, "-map", "0:v", "-map", "1:a",
		"-c", "copy", "-movflags", "+faststart", made.path)
	if err != nil {
		return clip{}, err
	}
	c.made[name] = made
	return made, nil
}

// pictures returns a file without audio, at most a minute long.
func (c *clips) pictures(ctx context.Context, f form, seconds float64) (string, error) {
	file := filepath.Join(c.dir, fmt.Sprintf("pictures-%s-%g.mp4", f.name, seconds))
	if exists(file) {
		return file, nil
	}
	source, err := c.source(ctx)
	if err != nil {
		return "", err
	}
	bits := clipBits * math.Pow(float64(c.height)/720, 1.5)
	group := strconv.Itoa(f.group * clipRate)
	return file, ffmpeg(ctx, "-i", source, "-t", fmt.Sprint(seconds), "-an", "-c:v", "libx264", "-threads", "2",
		"-preset", "veryfast", "-profile:v", "high", "-pix_fmt", "yuv420p", "-b:v", fmt.Sprintf("%.0f", bits),
		"-maxrate", fmt.Sprintf("%.0f", 1.5*bits), "-bufsize", fmt.Sprintf("%.0f", 3*bits), "-g", group,
		"-keyint_min", group, "-sc_threshold", "0", "-flags", "+cgop", "-colorspace", "bt709",
		"-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
		"-video_track_timescale", "24000", file)
}

// source returns the file with a minute of pictures.
func (c *clips) source(ctx context.Context) (string, error) {
	file := filepath.Join(c.dir, "source.mp4")
	if exists(file) {
		return file, nil
	}
	width := c.height * 16 / 9 / 2 * 2
	encode := []string{
		"-t", fmt.Sprint(c.minute()), "-an", "-c:v", "libx264", "-threads", "2", "-preset", "ultrafast", "-crf",
		"10", "-pix_fmt", "yuv420p", "-g", strconv.Itoa(clipRate), "-r", strconv.Itoa(clipRate), file,
	}
	if c.film != "" {
		fill := fmt.Sprintf("fps=%d,scale=%d:%d:force_original_aspect_ratio=increase,crop=%[2]d:%[3]d,setsar=1",
			clipRate, width, c.height)
		args := []string{"-stream_loop", "-1", "-i", c.film, "-map", "0:v:0", "-vf", fill}
		return file, ffmpeg(ctx, append(args, encode...)...)
	}
	graph := sceneGraph(c.minute(), width, c.height)
	return file, ffmpeg(ctx, append([]string{"-filter_complex", graph, "-map", "[v]"}, encode...)...)
}

// scene is a place of the Mandelbrot set, the zoom at the start and at the end, the speed of the pan, and the
// tint.
type scene struct {
	x, y, from, to, pan float64
	hue                 int
}

var scenes = []scene{
	{-0.743, -0.1318, 0.9, 0.25, 1.0, 40}, {-1.25, 0.02, 0.5, 0.2, 0.4, 120}, {0.285, 0.01, 0.6, 0.12, 1.6, 200},
	{-0.1011, 0.9563, 0.4, 0.7, 0.7, 300}, {-0.16, 1.035, 0.25, 0.1, 1.2, 20}, {0.36, 0.1, 0.8, 0.3, 0.5, 160},
	{-1.768, 0.0, 0.3, 0.12, 0.9, 250},
}

// sceneLengths are in frames: 4 to 6 s.
var sceneLengths = []int{120, 98, 143, 110, 131}

// sceneGraph returns the filter graph of this many seconds of scenes, with the label v.
func sceneGraph(seconds float64, width, height int) string {
	var links []string
	labels, left := "", int(seconds*clipRate)
	for i := 0; left > 0; i++ {
		s, frames := scenes[i%len(scenes)], min(left, sceneLengths[i%len(sceneLengths)])
		left -= frames
		label := fmt.Sprintf("[s%d]", i)
		links = append(links, fmt.Sprintf("mandelbrot=s=%dx%d:r=%d:maxiter=96:start_x=%g:start_y=%g:"+
			"start_scale=%g:end_scale=%g:end_pts=150,trim=end_frame=%d,format=yuv420p,crop=%d:%d:"+
			"x='(in_w-out_w)/2*(1+sin(%g*t))':y='(in_h-out_h)/2*(1+cos(%g*t))',gblur=sigma=%.1f,"+
			"hue=h=%d,noise=alls=3:allf=t:all_seed=%d,setsar=1%s",
			width*9/8/2*2, height*9/8/2*2, clipRate, s.x, s.y, s.from, s.to, frames, width, height, s.pan, s.pan*1.3,
			1.6*float64(height)/720, s.hue+37*(i/len(scenes)), 7+i, label))
		labels += label
	}
	return strings.Join(links, ";") + fmt.Sprintf(";%sconcat=n=%d:v=1:a=0[v]", labels, len(links))
}

// tone returns an audio file.
func (c *clips) tone(ctx context.Context, seconds float64, sound string) (string, error) {
	codec, extension := []string{"-c:a", "aac"}, ".m4a"
	if sound == "mp3" {
		codec, extension = []string{"-c:a", "libmp3lame"}, ".mp3"
	}
	file := filepath.Join(c.dir, fmt.Sprintf("tone-%g%s", seconds, extension))
	if exists(file) {
		return file, nil
	}
	graph := fmt.Sprintf("sine=frequency=220:sample_rate=48000:duration=%[1]g,tremolo=f=0.7:d=0.8[a];"+
		"anoisesrc=color=pink:amplitude=0.2:sample_rate=48000:seed=5:duration=%[1]g[n];"+
		"[a][n]amix=inputs=2:duration=first,aformat=channel_layouts=stereo[m]", seconds)
	args := append([]string{"-filter_complex", graph, "-map", "[m]"}, codec...)
	return file, ffmpeg(ctx, append(args, "-b:a", "128k", "-ar", "48000", file)...)
}

// exists reports whether a file was made. A failed run leaves none: see ffmpeg.
func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// ffmpeg runs ffmpeg, with the output file as the last argument. It removes an unfinished file.
func ffmpeg(ctx context.Context, args ...string) error {
	args = append([]string{"-v", "error", "-nostdin", "-y"}, args...)
	out, err := exec.CommandContext(ctx, "ffmpeg", args...).CombinedOutput()
	if err == nil {
		return nil
	}
	removed := os.Remove(args[len(args)-1])
	if errors.Is(removed, os.ErrNotExist) {
		removed = nil
	}
	return errors.Join(fmt.Errorf("make %s: %w\n%s", filepath.Base(args[len(args)-1]), err, out), removed)
}
