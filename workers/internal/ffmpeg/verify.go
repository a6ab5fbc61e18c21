package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// Presence says whether a kind of stream must be there.
type Presence int

// Values of Presence.
const (
	Any     Presence = iota // no opinion
	Present                 // at least one
	Absent                  // none
)

// Expect is what an output was planned to be. Zero fields are not checked, but decoding always is.
type Expect struct {
	// Duration is the planned length; Tolerance how far off it may be. Default max(0.5 s, 2% of Duration).
	Duration, Tolerance time.Duration
	// FrameRate is that of the picture, in frames/s. What is not filled by that many frames is taken for the
	// time for which the last one is held.
	FrameRate              float64
	Width, Height          int      // of every video stream, before SAR
	VideoCodec, AudioCodec string   // ffprobe names, such as "h264" and "aac", of every such stream
	HasVideo, HasAudio     Presence // attached pictures are no video
	FullDecode             bool     // decode everything, not only head and tail
	// Scratch is an existing directory for joined segments (VerifyHLS): about twice the largest segment, or all
	// of them for FullDecode. They are removed again. Default: the system's temporary directory.
	Scratch string
	// Root is the directory that a playlist's files must stay in. Default: the playlist's own.
	Root string
	// Demuxer forces the container parser; default: guessed within the allow list.
	Demuxer string
}

// VerifyError says which check an output failed. The caller maps it to output_verification_failed.
type VerifyError struct {
	// Check is the rule: "missing", "empty", "probe", "streams", "dimensions", "video_codec", "audio_codec",
	// "duration", "decode", "frames", "playlist", "segment", "timing".
	Check string
	// Detail is one line for people; it holds no directory names.
	Detail string
	// Err is the failure of ffmpeg behind "probe" and "decode", else nil.
	Err error
}

// Error is "verify duration: ...".
func (e *VerifyError) Error() string { return "verify " + e.Check + ": " + e.Detail }

// Unwrap gives the failure of ffmpeg, so that errors.As finds its *Error.
func (e *VerifyError) Unwrap() error { return e.Err }

func failed(check, format string, args ...any) error {
	return &VerifyError{Check: check, Detail: clean(fmt.Sprintf(format, args...), 500)}
}

// blame turns a failure of ffmpeg into a VerifyError when the file is the reason. A canceled context, a disk
// that is full or broken, a kill from outside and a missing program say nothing about the file and stay what
// they are.
func blame(check string, err error) error {
	var e *Error
	if errors.As(err, &e) && !e.Unwritten() {
		switch e.Kind {
		case KindExit, KindOutput, KindTimeout:
			return &VerifyError{Check: check, Detail: clean(err.Error(), 500), Err: err}
		}
	}
	return err
}

// Decoding windows: how much of the head and the tail is decoded.
const (
	headWindow = 2 * time.Second
	tailWindow = 3 * time.Second
)

// VerifyFile is the gate before a single media file is published. It
//
//  1. wants a regular file that is not empty,
//  2. probes it, hardened as for uploads,
//  3. compares streams, codecs, dimensions and duration with e,
//  4. decodes head and tail (all of it when short or FullDecode), any decoder error being fatal, and wants
//     frames out of each stream kind, up to the time that the container claims.
//
// A *VerifyError says that the file is not fit; other errors that it could not be judged (see blame).
func (t Tools) VerifyFile(ctx context.Context, path string, e Expect) (ProbeResult, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ProbeResult{}, failed("missing", "no such file")
	case err != nil:
		return ProbeResult{}, fmt.Errorf("stat output: %w", err)
	case !info.Mode().IsRegular():
		return ProbeResult{}, failed("missing", "not a regular file")
	case info.Size() == 0:
		return ProbeResult{}, failed("empty", "0 bytes")
	}
	r, err := t.Probe(ctx, path, ProbeOptions{Demuxer: e.Demuxer})
	if err != nil {
		return r, blame("probe", err)
	}
	if err := e.checkStreams(r); err != nil {
		return r, err
	}
	if !r.Format.DurationKnown {
		return r, failed("duration", "unknown")
	}
	if err := e.checkDuration(r.Format.Duration); err != nil {
		return r, err
	}
	for _, s := range r.Videos() { // audio may end early, as it does in many sources
		if s.Duration > 0 {
			if err := e.checkDuration(s.Duration); err != nil {
				return r, err
			}
		}
	}
	var windows []window
	for _, s := range append(r.Videos(), r.Audios()...) {
		windows = append(windows, e.windows(path, r, s)...)
	}
	return r, t.verifyWindows(ctx, windows)
}

// checkStreams compares the facts of all streams with the plan.
func (e Expect) checkStreams(r ProbeResult) error {
	videos, audios := r.Videos(), r.Audios()
	if len(videos)+len(audios) == 0 {
		return failed("streams", "no video and no audio")
	}
	if err := checkPresence("video", e.HasVideo, len(videos)); err != nil {
		return err
	}
	if err := checkPresence("audio", e.HasAudio, len(audios)); err != nil {
		return err
	}
	for _, s := range videos {
		if e.Width != 0 && s.Width != e.Width || e.Height != 0 && s.Height != e.Height {
			return failed("dimensions", "%dx%d, want %dx%d", s.Width, s.Height, e.Width, e.Height)
		}
		if e.VideoCodec != "" && s.CodecName != e.VideoCodec {
			return failed("video_codec", "%s, want %s", s.CodecName, e.VideoCodec)
		}
	}
	for _, s := range audios {
		if e.AudioCodec != "" && s.CodecName != e.AudioCodec {
			return failed("audio_codec", "%s, want %s", s.CodecName, e.AudioCodec)
		}
	}
	return nil
}

func checkPresence(what string, want Presence, n int) error {
	switch {
	case want == Present && n == 0:
		return failed("streams", "no %s", what)
	case want == Absent && n > 0:
		return failed("streams", "%d %s streams, want none", n, what)
	}
	return nil
}

// checkDuration compares a measured length, in seconds, with the plan.
func (e Expect) checkDuration(got float64) error {
	if e.Duration <= 0 {
		return nil
	}
	tolerance := e.Tolerance
	if tolerance <= 0 {
		tolerance = max(500*time.Millisecond, e.Duration/50)
	}
	if math.Abs(got-e.Duration.Seconds()) > tolerance.Seconds() {
		return failed("duration", "%.3f s, want %.3f s within %v", got, e.Duration.Seconds(), tolerance)
	}
	return nil
}

// window is a part of a stream that is decoded, and that must have frames up to its end.
type window struct {
	in     Input
	stream Stream
	name   string
	length time.Duration
}

// windows returns the head and the tail of one stream, or all of it.
func (e Expect) windows(path string, r ProbeResult, s Stream) []window {
	end := streamEnd(r, s)
	if s.CodecType == "video" {
		end = max(time.Millisecond, end-e.held(s))
	}
	in := Input{Path: path, Demuxer: e.Demuxer}
	if e.FullDecode || end <= headWindow+tailWindow {
		return []window{{in, s, "whole", end}}
	}
	head, tail := in, in
	head.Limit = headWindow
	tail.Seek = end - tailWindow
	return []window{{head, s, "head", headWindow}, {tail, s, "tail", tailWindow}}
}

// held is for how long the last frame of s may be held, at most.
func (e Expect) held(s Stream) time.Duration {
	if e.FrameRate <= 0 || s.NbFrames <= 0 {
		return 0
	}
	return max(0, time.Duration((s.Duration-float64(s.NbFrames)/e.FrameRate)*float64(time.Second)))
}

// streamEnd is where a stream claims to end, counted from the start of the file.
func streamEnd(r ProbeResult, s Stream) time.Duration {
	end := r.Format.Duration
	if s.Duration > 0 {
		end = min(end, max(0, s.StartTime-r.Format.StartTime)+s.Duration)
	}
	return time.Duration(end * float64(time.Second))
}

// verifyWindows decodes the windows in one process, any decoder error being fatal. Each is counted by
// itself, so that none can cover for another.
func (t Tools) verifyWindows(ctx context.Context, windows []window) error {
	c := Command{Global: []Option{{"xerror", ""}}, LogLevel: "error"}
	out := Output{Format: "framecrc"}
	for i, w := range windows {
		w.in.Options = append(w.in.Options, Option{"err_detect", "explode"})
		c.Inputs = append(c.Inputs, w.in)
		out.Maps = append(out.Maps, fmt.Sprintf("%d:%d", i, w.stream.Index))
		if w.stream.CodecType == "video" && len(out.Options) == 0 {
			out.Options = []Option{{"fps_mode", "passthrough"}}
		}
	}
	c.Outputs = []Output{out}
	decoded, err := t.decode(ctx, c, RunOptions{})
	if err != nil {
		return blame("decode", err)
	}
	for i, w := range windows {
		if err := w.check(decoded[i]); err != nil {
			return err
		}
	}
	return nil
}

// check compares what came out of a window with its length.
func (w window) check(d decoded) error {
	s := w.stream
	if d.frames == 0 || d.end == 0 {
		return failed("frames", "%s of stream %d: nothing decoded", w.name, s.Index)
	}
	if !variableRate(s) && w.length-slack(s) > d.end {
		return failed("frames", "%s of stream %d: ends at %v of %v", w.name, s.Index, d.end, w.length)
	}
	short := s.NbFrames - d.frames
	if w.name == "whole" && s.CodecType == "video" && short > max(2, s.NbFrames/50) {
		return failed("frames", "%d decoded, the container claims %d", d.frames, s.NbFrames)
	}
	return nil
}

// variableRate reports a video whose last frame may stand for long, so that its time says nothing.
func variableRate(s Stream) bool {
	r, avg := s.RFrameRate.Float(), s.AvgFrameRate.Float()
	return s.CodecType == "video" && r > 0 && avg > 0 && math.Abs(r-avg) > 0.1*avg
}

// slack is how much a decoded window may fall short: half a second and two frames.
func slack(s Stream) time.Duration {
	d := 500 * time.Millisecond
	if fps := s.AvgFrameRate.Float(); fps > 0 {
		d += time.Duration(2 * float64(time.Second) / fps)
	}
	return d
}
