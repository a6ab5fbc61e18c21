package inspect

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// ends measures where each kept audio track ends. The length of the video, so far that of the video track,
// becomes that of the longest track.
func (m *measurement) ends(ctx context.Context, l length) error {
	m.media.Video.End = m.media.Duration
	for i := range m.media.Audio {
		if err := m.soundEnd(ctx, &m.media.Audio[i], l); err != nil {
			return err
		}
	}
	m.media.Duration = m.media.Length()
	known := len(m.media.Audio) == len(m.probe.Audios()) // a dropped track may be as long as the file claims
	if end := m.media.Duration; known && m.claim-end > m.tolerance(l.spacing) {
		var n notes
		n.damage("video and audio last %.1f s, but the file claims %.1f s", end, m.claim)
		m.note(n)
	}
	return nil
}

// byTimes are the containers that do not tell how long a track is. For the first two, ffprobe uses the last
// times that it finds, the starts of packets of up to half a second.
var byTimes = []string{"mpegts", "mpeg", windowsMedia}

// untimedEnd is the longest end without times that such a file may have, in seconds. DVDs have a time in
// each group of pictures.
const untimedEnd = 10.0

// windowsMedia has one length for all tracks, which ffprobe reports for each.
const windowsMedia = "asf"

// fileProperties begins the object of a Windows Media header with the lengths. Source: Advanced Systems
// Format, revision 01.20.03, 3.2.
const fileProperties = "\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"

// cut warns of a Windows Media file with fewer bytes than its header says: ffprobe reports no length for
// it. The header of a broadcast has no size.
func cut(head []byte, size int64) (n notes) {
	_, properties, found := bytes.Cut(head, []byte(fileProperties))
	if !found || len(properties) < 76 {
		return n
	}
	claim, broadcast := binary.LittleEndian.Uint64(properties[24:]), properties[72]&1 != 0
	if !broadcast && claim > uint64(size) && claim <= math.MaxInt64 {
		n.damage("the file has %d bytes, but its header says %d", size, claim)
	}
	return n
}

// soundEnd measures a track whose length is unknown or doubtful: the file is damaged, or the length is in
// movie fragments or in an AVI header, which not every program corrects at the end. If a track continues
// after the end of the video track, that part must decode: data that nobody can hear does not make a video
// longer. If nothing is found at the end, soundEnd decodes from the start, since some containers cannot be
// sought after the end of the video track.
func (m *measurement) soundEnd(ctx context.Context, a *pipeline.AudioTrack, l length) error {
	if a.Duration <= 0 || m.media.Damaged || l.index.fragmented || m.media.Container == "avi" ||
		slices.Contains(byTimes, m.media.Container) {
		if err := m.packetsEnd(ctx, a); err != nil {
			return err
		}
	}
	if m.media.Container == windowsMedia {
		if err := m.lastSound(ctx, a); err != nil {
			return err
		}
	}
	claim, pictured := m.offset(*a)+a.Duration, m.media.Video.End
	if claim <= pictured+m.tolerance(l.spacing) {
		return nil
	}
	end, err := m.decodedEnd(ctx, *a, math.Max(pictured, claim-soundTail), claim)
	if err == nil && claim-end > soundTail/2 {
		end, err = m.decodedEnd(ctx, *a, pictured, claim)
	}
	if err == nil && end <= pictured && m.media.Size <= wholeSize {
		end, err = m.decodedEnd(ctx, *a, 0, claim)
	}
	if err != nil || claim-end <= soundTail/2 {
		return err
	}
	end = math.Max(end, pictured)
	m.media.Warnings = append(m.media.Warnings,
		fmt.Sprintf("audio stream %d cannot be decoded after %.1f s, but the file claims %.1f s",
			a.Stream, end, claim))
	a.Duration = math.Max(0, end-m.offset(*a))
	return nil
}

// soundTail is how many seconds at the end of a long track are decoded.
const soundTail = 2.0

// offset returns when a begins, in seconds from the start of the video.
func (m *measurement) offset(a pipeline.AudioTrack) float64 {
	return math.Max(0, a.Start-m.media.Origin())
}

// packetsEnd sets the length of a track from its packets. In a long file it only reads the end.
func (m *measurement) packetsEnd(ctx context.Context, a *pipeline.AudioTrack) error {
	in := m.file()
	copied := null(streams(0, []pipeline.AudioTrack{*a}), ffmpeg.Option{Key: "c", Value: "copy"})
	if m.media.Size > wholeSize {
		all := math.Max(m.media.Duration, m.probe.Format.Duration)
		in.Seek = picture.Position(*m.media, max(0, seconds(all)-tailWindow))
	}
	r, err := m.read(ctx, []ffmpeg.Input{in}, copied)
	if a.Duration <= 0 {
		a.Duration = math.Max(0, m.media.Duration-m.offset(*a))
	}
	end := m.zero(a.Stream) + in.Seek.Seconds() + r.end - m.media.Origin()
	if err == nil && r.end > 0 && end > m.offset(*a) {
		a.Duration = end - m.offset(*a)
	}
	return err
}

// lastSound adds the length of the last packet, which Windows Media does not store.
func (m *measurement) lastSound(ctx context.Context, a *pipeline.AudioTrack) error {
	last := m.offset(*a) + a.Duration
	end, err := m.decodedEnd(ctx, *a, math.Max(0, last-soundTail), last)
	a.Duration += math.Max(0, end-last)
	return err
}

// decodedEnd decodes a from the second from on, and returns when its audio ends, in seconds from the start
// of the video; at least from.
func (m *measurement) decodedEnd(
	ctx context.Context, a pipeline.AudioTrack, from, to float64,
) (float64, error) {
	in := m.file()
	in.Seek, in.Limit = picture.Position(*m.media, seconds(from)), seconds(to-from+soundTail)
	end, err := m.tools.SoundEnd(ctx, in, streams(0, []pipeline.AudioTrack{a})[0],
		m.options())
	err = m.tooMuch(err)
	if in.Seek == 0 {
		from = m.zero(a.Stream) - m.media.Origin()
	}
	return from + end.Seconds(), err
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
