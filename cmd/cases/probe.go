package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// output runs a program and returns its standard output. An error ends with the program's last line.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, tail(said.String()))
	}
	return out.Bytes(), nil
}

// tail returns the last line of a text, shortened.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := lines[len(lines)-1]
	return last[:min(len(last), 200)]
}

// packet is a packet of a track by ffprobe: a frame, or some audio samples.
type packet struct {
	at, duration float64 // seconds; NaN if unknown
	size         int
	key          bool
}

// track is a track by ffprobe, with its packets in the order of the file.
type track struct {
	Codec       string `json:"codec_name"`
	Kind        string `json:"codec_type"`
	Profile     string `json:"profile"`
	Width       int    `json:"width"`
	Height      int    `json:"height"`
	PixelFormat string `json:"pix_fmt"`
	ColorRange  string `json:"color_range"`
	ColorSpace  string `json:"color_space"`
	SampleRatio string `json:"sample_aspect_ratio"`
	Channels    int    `json:"channels"`
	SampleRate  string `json:"sample_rate"`
	packets     []packet
}

// square reports whether the pixels are square, which is the default.
func (t track) square() bool {
	return t.SampleRatio == "" || t.SampleRatio == "1:1" || t.SampleRatio == "0:1"
}

// full reports whether the samples have the full range of 0 to 255.
func (t track) full() bool { return t.ColorRange == "pc" }

// matrix returns the matrix in the tags, or BT.709 without one.
func (t track) matrix() matrix {
	switch t.ColorSpace {
	case "smpte170m", "bt470bg":
		return bt601
	}
	return bt709
}

// start and end return when the first packet begins and the last one ends, in seconds.
func (t track) start() float64 {
	first := math.Inf(1)
	for _, p := range t.packets {
		first = min(first, p.at)
	}
	return first
}

func (t track) end() float64 {
	last := math.Inf(-1)
	for _, p := range t.packets {
		last = max(last, p.at+p.duration)
	}
	return last
}

// bits returns the average bit rate in bits/s.
func (t track) bits() float64 {
	sum := 0
	for _, p := range t.packets {
		sum += p.size
	}
	return float64(8*sum) / (t.end() - t.start())
}

// rate returns the frame rate: the inverse of the mean of the intervals within 30% of their median; 0 without
// any.
func (t track) rate() float64 {
	var times []float64
	for _, p := range t.packets {
		if !math.IsNaN(p.at) {
			times = append(times, p.at)
		}
	}
	slices.Sort(times)
	return rateOf(times)
}

// rateOf returns the frame rate of ascending times.
func rateOf(times []float64) float64 {
	var intervals []float64
	for i := 1; i < len(times); i++ {
		if d := times[i] - times[i-1]; d > 0 {
			intervals = append(intervals, d)
		}
	}
	if len(intervals) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(intervals))
	median := sorted[len(sorted)/2]
	sum, n := 0.0, 0
	for _, d := range intervals {
		if math.Abs(d-median) <= 0.3*median {
			sum, n = sum+d, n+1
		}
	}
	return float64(n) / sum
}

// selector names one track of a file, as ffmpeg does: v:0, a:0.
type selector string

// The first video and audio track.
const (
	picture selector = "v:0"
	audible selector = "a:0"
)

// errNoTrack means that a file lacks the wanted track.
var errNoTrack = errors.New("no such track")

// probe reads a track of the file or playlist at a path or URL, with all its packets.
func probe(ctx context.Context, at string, which selector) (track, error) {
	raw, err := output(ctx, "ffprobe", "-v", "error", "-select_streams", string(which), "-of", "json",
		"-show_entries",
		"stream=codec_name,codec_type,profile,width,height,pix_fmt,color_range,color_space,"+
			"sample_aspect_ratio,channels,sample_rate:packet=pts_time,dts_time,duration_time,size,flags", at)
	if err != nil {
		return track{}, err
	}
	var answer struct {
		Streams []track `json:"streams"`
		Packets []struct {
			PTS      string `json:"pts_time"`
			DTS      string `json:"dts_time"`
			Duration string `json:"duration_time"`
			Size     string `json:"size"`
			Flags    string `json:"flags"`
		} `json:"packets"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return track{}, err
	}
	if len(answer.Streams) == 0 {
		return track{}, fmt.Errorf("%s of %s: %w", which, at, errNoTrack)
	}
	t := answer.Streams[0]
	for _, p := range answer.Packets {
		if p.PTS == "" {
			p.PTS = p.DTS
		}
		size, err := strconv.Atoi(p.Size)
		if err != nil {
			return track{}, err
		}
		duration := seconds(p.Duration)
		if math.IsNaN(duration) {
			duration = 0
		}
		t.packets = append(t.packets, packet{
			at: seconds(p.PTS), duration: duration, size: size, key: strings.HasPrefix(p.Flags, "K"),
		})
	}
	return t, nil
}

// seconds parses a time of ffprobe; NaN for none.
func seconds(text string) float64 {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return s
}

// checksums returns a checksum for each decoded frame of a track, in order.
func checksums(ctx context.Context, at string, which selector) ([]string, error) {
	raw, err := output(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", at, "-map", "0:"+string(which),
		"-fps_mode",
		"passthrough", "-f", "framecrc", "-")
	if err != nil {
		return nil, err
	}
	var sums []string
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, "#") { // stream, dts, pts, duration, size, checksum
			sums = append(sums, strings.TrimSpace(line[strings.LastIndex(line, ",")+1:]))
		}
	}
	return sums, nil
}

// decode decodes a whole playlist or file. It returns ffmpeg's messages (none is good) and the number of
// frames.
func decode(ctx context.Context, at string) (said string, frames int, err error) {
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-progress", "pipe:1", "-i", at,
		"-fps_mode",
		"passthrough", "-f", "null", "-")
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		return "", 0, ctx.Err()
	} else if err != nil {
		return fmt.Sprintf("%v: %s", err, tail(messages.String())), 0, nil
	}
	for line := range strings.Lines(out.String()) {
		if n, ok := strings.CutPrefix(line, "frame="); ok {
			if frames, err = strconv.Atoi(strings.TrimSpace(n)); err != nil {
				return "", 0, err
			}
		}
	}
	return strings.TrimSpace(messages.String()), frames, nil
}
