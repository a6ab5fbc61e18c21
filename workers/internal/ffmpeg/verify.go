package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// Presence says whether an output must have a kind of stream.
type Presence int

// Values of Presence.
const (
	Any     Presence = iota // no opinion
	Present                 // at least one
	Absent                  // none
)

// Expect describes the planned output. Zero fields are not checked; decoding always is.
type Expect struct {
	// Duration is the planned length and Tolerance its allowed difference. Default max(0.5 s, 2% of
	// Duration).
	Duration, Tolerance time.Duration
	// FrameRate is the rate of the video, in frames/s. Time that is not filled by frames at this rate counts as
	// time for which the last frame is held.
	FrameRate              float64
	Width, Height          int      // of every video stream, before SAR
	VideoCodec, AudioCodec string   // ffprobe names, such as "h264" and "aac", of every such stream
	HasVideo, HasAudio     Presence // attached pictures are not video
	FullDecode             bool     // decode everything, not only head and tail
	// Scratch is an existing directory for joined segments (VerifyHLS): about twice the largest segment, or
	// all of them for FullDecode. VerifyHLS removes them. Default: the system's temporary directory.
	Scratch string
	// Root is the directory that a playlist's files must be in. Default: the playlist's own.
	Root string
	// Demuxer forces the container parser. Default: ffmpeg guesses within the allow list.
	Demuxer string
}

// VerifyError says which check an output failed. The caller gives it the code output_verification_failed.
type VerifyError struct {
	// Check is one of "missing", "empty", "probe", "streams", "dimensions", "video_codec", "audio_codec",
	// "duration", "decode", "frames", "playlist", "segment", "timing".
	Check string
	// Detail is one line for people, without directory names.
	Detail string
	// Err is the failure of ffmpeg in the checks "probe" and "decode", otherwise nil.
	Err error
}

// Error is "verify duration: ...".
func (e *VerifyError) Error() string { return "verify " + e.Check + ": " + e.Detail }

// Unwrap returns the failure of ffmpeg, so that errors.As finds its *Error.
func (e *VerifyError) Unwrap() error { return e.Err }

func failed(check, format string, args ...any) error {
	return &VerifyError{Check: check, Detail: clean(fmt.Sprintf(format, args...), 500)}
}

// blame turns a failure of ffmpeg into a VerifyError if the file is the reason. A canceled context, a full
// or broken disk, a kill from outside and a missing program say nothing about the file and stay unchanged.
func blame(check string, err error) error {
	var e *Error
	if errors.As(err, &e) && !e.Unwritten() && !e.NoMemory() && !e.NotLoaded() {
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
//  1. requires a regular file that is not empty,
//  2. probes it, hardened as for uploads,
//  3. compares streams, codecs, dimensions and duration with e,
//  4. decodes the head and the tail (or everything, if the file is short or FullDecode is set). It allows
//     no decoder error and requires frames of each kind of stream up to the end that the container claims.
//
// A *VerifyError means that the file is not fit; another error, that it could not be judged (see blame).
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
	for _, s := range r.Videos() { // audio ends early in many sources
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

// checkStreams compares all streams with the plan.
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

// window is a part of a stream to decode. It must have frames up to its end.
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

// held returns how long the last frame of s may be held.
func (e Expect) held(s Stream) time.Duration {
	if e.FrameRate <= 0 || s.NbFrames <= 0 {
		return 0
	}
	return max(0, time.Duration((s.Duration-float64(s.NbFrames)/e.FrameRate)*float64(time.Second)))
}

// streamEnd returns the end that a stream claims, counted from the start of the file.
func streamEnd(r ProbeResult, s Stream) time.Duration {
	end := r.Format.Duration
	if s.Duration > 0 {
		end = min(end, max(0, s.StartTime-r.Format.StartTime)+s.Duration)
	}
	return time.Duration(end * float64(time.Second))
}

// verifyWindows decodes the windows in one process; any decoder error is fatal. It counts each window by
// itself, so that none can make up for another.
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

// check compares the decoded part of a window with its length.
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

// variableRate reports whether the last frame of a video may last long, so that its time says little.
func variableRate(s Stream) bool {
	r, avg := s.RFrameRate.Float(), s.AvgFrameRate.Float()
	return s.CodecType == "video" && r > 0 && avg > 0 && math.Abs(r-avg) > 0.1*avg
}

// slack is how much shorter than its window the decoded part may be: half a second and two frames.
func slack(s Stream) time.Duration {
	d := 500 * time.Millisecond
	if fps := s.AvgFrameRate.Float(); fps > 0 {
		d += time.Duration(2 * float64(time.Second) / fps)
	}
	return d
}
