package ffmpeg

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// EncodedFile is a file of one H.264 track that VerifyKeyframes is to judge, and what must be in it.
type EncodedFile struct {
	Path      string
	Name      string // for errors
	Keyframes int    // in all
	Head      int    // frames of the first HeadSeconds, at least
}

// HeadSeconds is how much of the start of a file VerifyKeyframes decodes whole.
const HeadSeconds = 2

// VerifyKeyframes is the gate for what an encoder of ours wrote and exited with 0 over: it decodes every
// keyframe of each file and all frames of its first HeadSeconds, any decoder error being fatal, and counts
// what came out. All files go through one process, for little more than the frames decoded. The rest of the
// frames is not decoded; the boxes they stand in are the caller's to check.
//
// A *VerifyError says that a file is not fit; other errors that it could not be judged.
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
	r, w := io.Pipe()
	counts := make(chan map[int]int, 1)
	go func() { counts <- countFrames(r) }()
	o.Stdout = w
	err := t.Run(ctx, c, o)
	_ = w.Close() // of a pipe: it only tells the reader that this is all
	decoded := <-counts
	if err != nil {
		return blame("decode", err)
	}
	for i, f := range files {
		if n := decoded[2*i]; n != f.Keyframes {
			return failed("frames", "%s: %d keyframes decoded of %d", f.Name, n, f.Keyframes)
		}
		if n := decoded[2*i+1]; n < f.Head {
			return failed("frames", "%s: %d frames decoded at its start, want %d", f.Name, n, f.Head)
		}
	}
	return nil
}

// countFrames counts the lines of a framecrc output by stream: "stream, dts, pts, duration, size, crc".
func countFrames(r io.Reader) map[int]int {
	counts := map[int]int{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		stream, _, ok := strings.Cut(lines.Text(), ",")
		if n, err := strconv.Atoi(strings.TrimSpace(stream)); ok && err == nil {
			counts[n]++
		}
	}
	_, _ = io.Copy(io.Discard, r) // after a line too long, keep ffmpeg from blocking on a full pipe
	return counts
}
