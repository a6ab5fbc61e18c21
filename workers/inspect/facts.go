package inspect

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// facts converts ffprobe's findings to the facts that plans use. Lengths are those that the file claims.
func facts(r ffmpeg.ProbeResult, s ffmpeg.Stream, container string, size int64) *pipeline.Media {
	m := &pipeline.Media{
		Container: container, Size: size, Bitrate: r.Format.BitRate,
	}
	m.Video = videoTrack(s)
	if s.Rotation%90 != m.Video.Rotation%90 {
		m.Warnings = append(m.Warnings,
			fmt.Sprintf("the rotation by %d degrees is ignored: only quarter turns are supported", s.Rotation))
	}
	m.Audio, m.Warnings = sounds(r, m.Warnings)
	m.Duration = claimed(r, s, m.Origin())
	return m
}

// mostSounds is how many audio tracks are used: the default one, and the first of the others.
const mostSounds = 8

// sounds returns the audio tracks that may be used, and adds to warnings what it drops.
func sounds(r ffmpeg.ProbeResult, warnings []string) ([]pipeline.AudioTrack, []string) {
	tracks, kept := []pipeline.AudioTrack{}, 0
	all := r.Audios()
	defaulted := slices.IndexFunc(all, func(a ffmpeg.Stream) bool { return a.Disposition.Default })
	for i, a := range all {
		reserved := 0
		if i < defaulted {
			reserved = 1
		}
		switch {
		case a.Closed:
			warnings = append(warnings, fmt.Sprintf("%s is not used: its codec is not supported", named(a)))
			continue
		case a.CodecName == "" || a.Channels == 0 || a.SampleRate == 0:
			warnings = append(warnings, fmt.Sprintf("audio stream %d is not used: its format is unknown", a.Index))
			continue
		case kept+reserved == mostSounds:
			warnings = append(warnings,
				fmt.Sprintf("%s is not used: only %d audio tracks are", named(a), mostSounds))
			continue
		case a.Channels > 2:
			warnings = append(warnings,
				fmt.Sprintf("%s is mixed down to stereo: it has %d channels", named(a), a.Channels))
		}
		kept++
		tracks = append(tracks, audioTrack(a))
	}
	return tracks, warnings
}

func audioTrack(a ffmpeg.Stream) pipeline.AudioTrack {
	return pipeline.AudioTrack{
		Stream: a.Index, Codec: a.CodecName, Profile: profile(a), Channels: a.Channels, SampleRate: a.SampleRate,
		Layout:   layout(a),
		Language: language(a.Language), Default: a.Disposition.Default, Start: a.StartTime, Duration: a.Duration,
		Bitrate: max(0, a.BitRate), ID: max(0, a.ID),
	}
}

// layout returns the order of a track's channels; empty if unknown.
func layout(a ffmpeg.Stream) string {
	if a.ChannelLayout == "unknown" {
		return ""
	}
	return a.ChannelLayout
}

// claimed returns the end of the video track that the file claims, in seconds after origin; 0 without a
// claim.
func claimed(r ffmpeg.ProbeResult, s ffmpeg.Stream, origin float64) float64 {
	if s.Duration > 0 {
		return s.StartTime - origin + s.Duration
	}
	return math.Max(0, r.Format.Duration-(origin-r.Format.StartTime))
}

func videoTrack(s ffmpeg.Stream) pipeline.VideoTrack {
	rate := frameRate(s)
	v := pipeline.VideoTrack{
		Stream: s.Index, Codec: s.CodecName, Profile: s.Profile, PixelFormat: s.PixFmt, BitDepth: bitDepth(s),
		CodedWidth: s.Width, CodedHeight: s.Height, SampleRatio: sampleRatio(s), Rotation: quarter(s.Rotation),
		FrameRateNum: rate.Num, FrameRateDen: rate.Den, Interlaced: interlaced(s),
		HDR: hdr(s.ColorTransfer), Alpha: alphaFormat(s.PixFmt),
		Primaries: s.ColorPrimaries, Transfer: s.ColorTransfer, Matrix: s.ColorSpace, Range: s.ColorRange,
		Start: s.StartTime, Bitrate: max(0, s.BitRate), Level: max(0, s.Level), Mirrored: s.Mirrored,
		ID: max(0, s.ID),
	}
	v.Width, v.Height = max(1, int(math.Round(float64(s.Width)*v.SampleRatio))), s.Height
	if v.Rotation%180 != 0 {
		v.Width, v.Height = v.Height, v.Width
	}
	return v
}

// profile returns the name of an audio profile; ffprobe prints a number if it has no name.
func profile(a ffmpeg.Stream) string {
	if _, err := strconv.Atoi(a.Profile); err == nil || a.Profile == "unknown" {
		return ""
	}
	return a.Profile
}

func sampleRatio(s ffmpeg.Stream) float64 {
	if f := s.SAR.Float(); f > 0 {
		return f
	}
	return 1
}

// quarter returns the quarter turn nearest to a rotation, if it is within a degree; otherwise 0. ffmpeg does
// the same.
func quarter(degrees int) int {
	nearest := int(math.Round(float64(degrees)/90)) * 90
	if abs(degrees-nearest) > 1 {
		return 0
	}
	return nearest % 360
}

func abs(n int) int { return max(n, -n) }

// frameRate returns the rate that the container declares: the average, or else the rate of its clock if that
// can be a frame rate. Measuring the frames replaces it.
func frameRate(s ffmpeg.Stream) picture.Rate {
	if declared := hints(s); len(declared) > 0 {
		return declared[0]
	}
	return picture.NewRate(0, 1)
}

func interlaced(s ffmpeg.Stream) bool {
	switch s.FieldOrder {
	case "tt", "bb", "tb", "bt":
		return true
	}
	return false
}

func hdr(transfer string) string {
	switch transfer {
	case "smpte2084":
		return picture.HDR10
	case "arib-std-b67":
		return picture.HLG
	}
	return ""
}

var depth = regexp.MustCompile(`(9|10|12|14|16)(le|be)$`)

func bitDepth(s ffmpeg.Stream) int {
	if m := depth.FindStringSubmatch(s.PixFmt); m != nil {
		n, _ := strconv.Atoi(m[1]) // the expression only matches numbers
		return n
	}
	if s.BitsPerRawSample > 0 && s.BitsPerRawSample <= 16 {
		return s.BitsPerRawSample
	}
	return 8
}

// alphaFormat reports whether a pixel format has an alpha plane or component (libavutil/pixdesc.c).
func alphaFormat(format string) bool {
	for _, prefix := range []string{"yuva", "argb", "rgba", "abgr", "bgra", "gbrap", "ya8", "ya16", "ayuv"} {
		if strings.HasPrefix(format, prefix) {
			return true
		}
	}
	return false
}

// alphaMode reports whether a VP8 or VP9 track has alpha, which is stored beside each frame; ffprobe only
// shows the colour. Source: Matroska's AlphaMode (RFC 9559, 5.1.4.1.28.4), id 0x53C0, here with the value 1.
// The headers end at the first cluster.
func alphaMode(s ffmpeg.Stream, head []byte) bool {
	if s.CodecName != "vp8" && s.CodecName != "vp9" {
		return false
	}
	header, _, _ := bytes.Cut(head, []byte{0x1f, 0x43, 0xb6, 0x75})
	return bytes.Contains(header, []byte{0x53, 0xc0, 0x81, 0x01})
}

var languageTag = regexp.MustCompile(`^[a-z]{2,3}$`)

// language returns the track's language in ISO 639, und if unknown.
func language(tag string) string {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	if !languageTag.MatchString(primary) {
		return "und"
	}
	return primary
}
