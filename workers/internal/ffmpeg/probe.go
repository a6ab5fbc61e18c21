package ffmpeg

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// Limits of one probe.
const (
	probeJSON = 1 << 20
	probeWall = 90 * time.Second // for a machine that is six times as busy as the CPU time allows
	probeCPU  = 15 * time.Second
)

// ProbeOptions are the options of Probe. The zero value suits uploads with an unknown container.
type ProbeOptions struct {
	Demuxer      string        // forces the container parser; Sniff returns the best
	Trusted      bool          // we wrote the file: allows images too (see Input.Trusted)
	Late         bool          // search more of the file for tracks (see Input.Late)
	CountPackets bool          // read the whole file and fill Stream.Packets
	Timeout      time.Duration // wall time; half as much CPU time. Default 90 s, and 15 s
}

// ProbeResult is what ffprobe found. All text is valid UTF-8 without control characters, at most 256
// characters, and still untrusted.
type ProbeResult struct {
	Format  Format
	Streams []Stream
	// Oversized: ffprobe refused frames that have more pixels than are allowed for untrusted input. The size of
	// their stream is then unknown.
	Oversized bool
}

// Format describes the container.
type Format struct {
	Name          string  // ffmpeg's demuxer names, such as "mov,mp4,m4a,3gp,3g2,mj2"
	Duration      float64 // seconds; 0 unless DurationKnown
	DurationKnown bool    // the file declares its length, or ffmpeg found it
	StartTime     float64 // seconds
	BitRate       int64   // bit/s of the whole file, 0 when unknown
	Size          int64   // bytes
	NbStreams     int
}

// Stream describes one stream. Zero means unknown unless said otherwise.
type Stream struct {
	Index            int
	ID               int64  // the container's own number, such as an MP4's track id
	CodecType        string // "video", "audio", "subtitle", "data", "attachment"
	CodecName        string // "h264"; empty when ffmpeg does not know it
	CodecTag         string // "avc1", the container's own name
	Profile          string
	Level            int
	Width, Height    int // coded for display, before rotation and SAR
	PixFmt           string
	BitsPerRawSample int
	SAR, DAR         Rational // sample and display aspect ratio; 0/1 when unknown
	FieldOrder       string   // "progressive", "tt", "bb", "tb", "bt" or empty
	RFrameRate       Rational // lowest rate that fits all timestamps
	AvgFrameRate     Rational // frames divided by duration
	StartTime        float64  // seconds; the container's if the stream has none
	Duration         float64  // seconds, 0 when unknown
	NbFrames         int64    // as the container claims
	Packets          int64    // counted, with ProbeOptions.CountPackets only
	BitRate          int64    // bit/s
	Channels         int
	ChannelLayout    string
	SampleRate       int
	Language         string // tags.language, such as "eng" or "und"
	// Rotation is how far the picture must be turned clockwise to stand upright: 0, 90, 180, 270, or any
	// value in [0,360) from hostile files. ffprobe's "rotation" counts the other way: -90 for a phone held
	// upright, which is 90 here. ffmpeg turns the picture itself when it decodes, unless told not to
	// (noautorotate).
	Rotation int
	// RotationBad marks a display matrix without a finite rotation; Rotation is then 0. A matrix of zeros
	// means no rotation and is not bad.
	RotationBad bool
	// Mirrored marks a display matrix that also flips: Rotation then applies to the flipped picture.
	Mirrored bool

	ColorSpace, ColorTransfer, ColorPrimaries, ColorRange string
	Disposition                                           Disposition
	// Closed marks a stream whose decoder is not allowed for untrusted input. Nothing of it was decoded.
	Closed bool
}

// Disposition says what a stream is for.
type Disposition struct {
	Default, AttachedPic, StillImage, TimedThumbnails bool
}

// IsPicture reports whether a video stream is not a video: cover art, a still image, thumbnails.
func (s Stream) IsPicture() bool {
	return s.Disposition.AttachedPic || s.Disposition.StillImage || s.Disposition.TimedThumbnails
}

// Videos returns the real video streams, in order.
func (r ProbeResult) Videos() []Stream {
	return r.pick(func(s Stream) bool { return s.CodecType == "video" && !s.IsPicture() })
}

// Audios returns the audio streams, in order.
func (r ProbeResult) Audios() []Stream {
	return r.pick(func(s Stream) bool { return s.CodecType == "audio" })
}

func (r ProbeResult) pick(want func(Stream) bool) []Stream {
	var out []Stream
	for _, s := range r.Streams {
		if want(s) {
			out = append(out, s)
		}
	}
	return out
}

// probeEntries names every field that we read, so that hostile tags do not fill the answer.
const probeEntries = "format=format_name,duration,bit_rate,start_time,size,nb_streams" +
	":stream=index,id,codec_type,codec_name,codec_tag_string,profile,level,width,height,pix_fmt," +
	"bits_per_raw_sample,sample_aspect_ratio,display_aspect_ratio,field_order,r_frame_rate," +
	"avg_frame_rate,start_time,duration,nb_frames,nb_read_packets,bit_rate,channels,channel_layout," +
	"sample_rate,color_space,color_transfer,color_primaries,color_range" +
	":stream_tags=language:stream_disposition=default,attached_pic,still_image,timed_thumbnails" +
	":stream_side_data=side_data_type,rotation,displaymatrix"

// Probe runs a hardened ffprobe on one file. A failure of ffprobe is an *Error without the path: BadInput
// means that the file is not media that we accept; ErrTimeout and ErrOutput, that it exceeded a limit of
// the probe.
func (t Tools) Probe(ctx context.Context, path string, o ProbeOptions) (ProbeResult, error) {
	args := []string{"-of", "json", "-show_entries", probeEntries}
	if o.CountPackets {
		args = append(args, "-count_packets")
	}
	r, err := t.probe(ctx, path, o, args)
	if notListed(err) {
		return t.probeAround(ctx, path, o, args, err)
	}
	return r, err
}

func (t Tools) probe(ctx context.Context, path string, o ProbeOptions, args []string) (ProbeResult, error) {
	var out bytes.Buffer
	said, err := t.ffprobe(ctx, path, o, args, &out, probeJSON)
	if err != nil {
		return ProbeResult{}, err
	}
	r, err := parseProbe(out.Bytes())
	r.Oversized = strings.Contains(said, "exceeds specified max pixel count") || badSize.MatchString(said)
	return r, err
}

// badSize matches ffprobe's message about a size whose pixels it cannot count.
var badSize = regexp.MustCompile(`Picture size ([0-9]{5,}x[0-9]+|[0-9]+x[0-9]{5,}) is invalid`)

// ffprobe runs the program on one file, with every limit, and writes at most limit bytes to out. It returns
// the end of what it said on stderr.
func (t Tools) ffprobe(
	ctx context.Context, path string, o ProbeOptions, extra []string, out io.Writer, limit int64,
) (said string, err error) {
	in := Input{Path: path, Demuxer: o.Demuxer, Trusted: o.Trusted, Late: o.Late}
	if err := in.check(); err != nil {
		return "", fmt.Errorf("ffprobe command: %w", err)
	}
	program, err := lookup(t.FFprobe, "ffprobe")
	if err != nil {
		return "", err
	}
	args := []string{"-hide_banner", "-v", "error", "-max_alloc", strconv.Itoa(maxAlloc)}
	for _, opt := range hardenedInput(in) {
		args = appendOption(args, opt)
	}
	if in.Demuxer != "" {
		args = append(args, "-f", in.Demuxer)
	}
	args = append(append(args, extra...), "-i", "file:"+path)

	wall, cpu := probeWall, probeCPU
	if o.Timeout > 0 {
		wall, cpu = o.Timeout, max(o.Timeout/2, time.Second)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(wall, func() { cancel(fmt.Errorf("%w: %v", ErrTimeout, wall)) })
	defer alarm.Stop()
	over := func() { cancel(fmt.Errorf("%w: %d bytes", ErrOutput, limit)) }

	stderr := newTail(defaultTail)
	stderr.hide(path, "<in0>")
	limits := sandbox.Limits{CPU: cpu, FileSize: 1} // it writes no file
	if t.Cage != nil {
		limits.Memory = memoryOfProbe
	}
	err = t.Cage.Run(ctx, sandbox.Spec{
		Program: program, Args: args, Read: []string{at("", path)},
		Stdout: &capped{w: out, left: limit, over: over}, Stderr: stderr, Limits: limits,
	})
	return stderr.String(), newError(ctx, "ffprobe", args, cpu, err, stderr)
}

// parseProbe parses ffprobe's JSON.
func parseProbe(data []byte) (ProbeResult, error) {
	var raw probeDoc
	if err := json.Unmarshal(data, &raw); err != nil {
		return ProbeResult{}, fmt.Errorf("read ffprobe's answer: %w", err)
	}
	return raw.result(), nil
}
