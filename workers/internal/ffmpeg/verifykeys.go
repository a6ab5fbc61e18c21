package ffmpeg

import (
	"context"
	"fmt"
	"time"
)

// EncodedFile is a file of one H.264 track for VerifyKeyframes, and what it must contain.
type EncodedFile struct {
	Path      string
	Name      string // for errors
	Keyframes int    // in all
	Head      int    // least number of frames in the first HeadSeconds
}

// HeadSeconds is how much of the start of a file VerifyKeyframes decodes fully.
const HeadSeconds = 1

// VerifyKeyframes is the gate for files that our encoder wrote and exited with 0. It decodes every keyframe
// of each file and all frames of its first HeadSeconds, and counts them; any decoder error is fatal. One
// process decodes all files, so it costs little more than the decoded frames. It does not decode the other
// frames; the caller checks the boxes that they are in.
//
// A *VerifyError means that a file is not fit; another error, that it could not be judged.
func (t Tools) VerifyKeyframes(ctx context.Context, o RunOptions, threads int, files ...EncodedFile) error {
	out := Output{Format: "framecrc", Options: []Option{{"fps_mode", "passthrough"}}}
	c := Command{Global: []Option{{"xerror", ""}}, LogLevel: "error", Threads: threads}
	for i, f := range files {
		strict := Option{"err_detect", "explode"}
		c.Inputs = append(c.Inputs,
			Input{Path: f.Path, Demuxer: "mov", Options: []Option{strict, {"skip_frame", "nokey"}}},
			Input{Path: f.Path, Demuxer: "mov", Options: []Option{strict}, Limit: HeadSeconds * time.Second})
		out.Maps = append(out.Maps, fmt.Sprintf("%d:0", 2*i), fmt.Sprintf("%d:0", 2*i+1))
	}
	c.Outputs = []Output{out}
	decoded, err := t.decode(ctx, c, o)
	if err != nil {
		return blame("decode", err)
	}
	for i, f := range files {
		if n := decoded[2*i].frames; n != int64(f.Keyframes) {
			return failed("frames", "%s: %d keyframes decoded of %d", f.Name, n, f.Keyframes)
		}
		if n := decoded[2*i+1].frames; n < int64(f.Head) {
			return failed("frames", "%s: %d frames decoded at its start, want %d", f.Name, n, f.Head)
		}
	}
	return nil
}
