package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// choose selects the video track to use. A still beside a film is never chosen; the container's flags only
// decide between films. If there are several video tracks, it reads the file without decoding to tell them
// apart, and compares some frames of the likeliest.
func (m *measurement) choose(ctx context.Context, size int64) error {
	videos := films(m.probe)
	if len(videos) == 0 {
		return pipeline.Fail(pipeline.CodeNoVideoStream, "none of the streams (%d) is a video",
			len(m.probe.Streams))
	}
	if len(videos) > 1 {
		if err := m.count(ctx, size, videos); err != nil {
			return err
		}
		if videos = m.moving(videos); len(videos) > 1 {
			var err error
			if videos, err = m.changing(ctx, videos); err != nil {
				return err
			}
		}
	}
	m.stream = videos[0]
	for _, s := range slices.Backward(videos) {
		if s.Disposition.Default {
			m.stream = s
		}
	}
	switch {
	case !known(m.stream):
		return pipeline.Fail(pipeline.CodeCodec, "the video codec %q is not known", m.stream.CodecTag)
	case m.stream.Closed:
		return pipeline.Fail(pipeline.CodeCodec, "the video codec %s is not supported", m.stream.CodecName)
	}
	return nil
}

// films returns the video tracks that may be the film. It excludes tracks marked as a cover, unless they have
// more than one frame by the index. Tracks that cannot be decoded only count if there are no others.
func films(r ffmpeg.ProbeResult) []ffmpeg.Stream {
	var all, decodable []ffmpeg.Stream
	for _, s := range r.Streams {
		d := s.Disposition
		if s.CodecType != "video" || d.StillImage || d.TimedThumbnails || d.AttachedPic && s.NbFrames <= 1 {
			continue
		}
		all = append(all, s)
		if known(s) && !s.Closed {
			decodable = append(decodable, s)
		}
	}
	if len(decodable) > 0 {
		return decodable
	}
	return all
}

func known(s ffmpeg.Stream) bool {
	return s.CodecName != "" && s.CodecName != "unknown" && s.CodecName != "none"
}

// enoughPackets is how many packets distinguish a track from a still, in a file too large to read
// completely.
const enoughPackets = 2000

// count reads the packets of the video tracks.
func (m *measurement) count(ctx context.Context, size int64, videos []ffmpeg.Stream) error {
	streams := make([]int, len(videos))
	for i, s := range videos {
		streams[i] = s.Index
	}
	most := int64(0)
	if size > wholeSize {
		most = enoughPackets
	}
	tracks, r, err := m.packets(ctx, m.file(), streams, most)
	if ffmpeg.GaveUp(err) {
		most = -1 // the file is damaged: decide by what was readable; the chosen track is read again
	} else if err != nil {
		return err
	}
	m.seen = map[int]seen{}
	for i, s := range streams {
		m.seen[s] = seen{track: tracks[i], reading: r, zero: m.zero(streams...), whole: most == 0}
	}
	return nil
}

// stillShare is the least ratio of a film's frames to those of a still beside it. A still may have more than
// one frame.
const stillShare = 25

// moving returns the tracks that are not stills beside a film. If all are stills, it returns the likeliest
// one, preferring a played still to a cover: a still that plays is a video.
func (m *measurement) moving(videos []ffmpeg.Stream) []ffmpeg.Stream {
	pictures := func(s ffmpeg.Stream) int64 { return m.seen[s.Index].unlike }
	most := int64(0)
	for _, v := range videos {
		most = max(most, pictures(v))
	}
	var moving, played []ffmpeg.Stream
	for _, s := range videos {
		if n := pictures(s); n > 1 && n*stillShare > most {
			moving = append(moving, s)
		}
		if !image(s) {
			played = append(played, s)
		}
	}
	switch {
	case len(moving) > 0:
		return moving
	case len(played) > 0:
		return played
	}
	return videos
}

// mostLooked is how many video tracks are compared together. Each takes one run of ffmpeg for each of looks.
const mostLooked = 8

// likely returns the tracks in groups of at most mostLooked, with the likeliest films first and each group
// in the order of the file. So covers cannot replace a film by coming first or being the container's
// default.
func (m *measurement) likely(videos []ffmpeg.Stream) (groups [][]ffmpeg.Stream) {
	var pictures int64
	var bitrate float64 // of the packets, since Matroska, for one, has none
	for _, s := range videos {
		c := m.seen[s.Index]
		pictures, bitrate = max(pictures, c.unlike), max(bitrate, c.bitrate())
	}
	doubts := func(s ffmpeg.Stream) (n int) {
		c := m.seen[s.Index]
		for _, doubt := range []bool{ // the strongest first
			s.Disposition.AttachedPic,
			image(s),
			4*c.bitrate() < bitrate,
			2*c.unlike < pictures,
			!s.Disposition.Default,
		} {
			if n *= 2; doubt {
				n++
			}
		}
		return n
	}
	ranked := slices.Clone(videos)
	slices.SortStableFunc(ranked, func(a, b ffmpeg.Stream) int { return cmp.Compare(doubts(a), doubts(b)) })
	for group := range slices.Chunk(ranked, mostLooked) {
		slices.SortFunc(group, func(a, b ffmpeg.Stream) int { return cmp.Compare(a.Index, b.Index) })
		groups = append(groups, group)
	}
	return groups
}

// image reports whether the codec is one that covers use.
func image(s ffmpeg.Stream) bool {
	return slices.Contains([]string{
		"mjpeg", "png", "bmp", "gif", "webp", "tiff", "apng", "jpegls", "jpeg2000",
	}, s.CodecName)
}

// unused names the unused tracks, and why they are not used.
func (m *measurement) unused() (warnings []string) {
	for _, s := range m.probe.Streams {
		switch {
		case s.Index == m.stream.Index || s.CodecType == "audio":
			continue
		case s.CodecType == "video":
			warnings = append(warnings, m.otherPicture(s))
		case s.CodecType == "subtitle":
			warnings = append(warnings, fmt.Sprintf("%s is not used: captions are not supported", named(s)))
		case s.CodecTag == "tmcd":
			warnings = append(warnings, fmt.Sprintf("%s is not used: it is a time code", named(s)))
		case s.CodecType == "attachment":
			warnings = append(warnings, fmt.Sprintf("%s is not used: it is an attached file", named(s)))
		default:
			warnings = append(warnings, fmt.Sprintf("%s is not used: it is neither video nor audio", named(s)))
		}
	}
	return warnings
}

func (m *measurement) otherPicture(s ffmpeg.Stream) string {
	d := s.Disposition
	switch c, counted := m.seen[s.Index]; {
	case d.TimedThumbnails:
		return fmt.Sprintf("%s is not used: it holds images of chapters", named(s))
	case d.AttachedPic || d.StillImage || counted && (c.unlike <= 1 || c.still):
		return fmt.Sprintf("%s is not used: it is a cover or a still image", named(s))
	case !known(s):
		return fmt.Sprintf("%s is not used: its codec is unknown", named(s))
	case s.Closed:
		return fmt.Sprintf("%s is not used: its codec is not supported", named(s))
	case c.passed:
		return fmt.Sprintf("%s is not used: other tracks are more likely to be the film", named(s))
	}
	return fmt.Sprintf("%s is not used: only one video track is, stream %d", named(s), m.stream.Index)
}

// named describes a track so that people can find it: subtitle stream 2 (subrip, eng).
func named(s ffmpeg.Stream) string {
	var of []string
	switch {
	case known(s):
		of = append(of, s.CodecName)
	case s.CodecTag != "" && !strings.HasPrefix(s.CodecTag, "[0]"): // ffprobe's form for tags without letters
		of = append(of, s.CodecTag)
	}
	if tag := language(s.Language); tag != "und" {
		of = append(of, tag)
	}
	name := fmt.Sprintf("%s stream %d", cmp.Or(s.CodecType, "unknown"), s.Index)
	if len(of) == 0 {
		return name
	}
	return name + " (" + strings.Join(of, ", ") + ")"
}
