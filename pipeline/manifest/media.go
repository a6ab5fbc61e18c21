package manifest

import (
	"bytes"
	"fmt"
	"math"

	"github.com/Eyevinn/hls-m3u8/m3u8"

	"github.com/reelmill/reelmill/pipeline"
)

// digits of seconds in EXTINF: microseconds, so that the sum of a long video stays exact to a frame.
const digits = 6

// Options say how a media playlist is written. The zero value is that of a whole track.
type Options struct {
	// Growing marks a track that segments are still added to: the playlist says EVENT and has no end.
	Growing bool
	// Target is EXT-X-TARGETDURATION in seconds, at least: it must not change, so it is as long as the longest
	// segment that is yet to come. That of a growing playlist is SegmentSeconds at least.
	Target int
}

// start makes players begin at the first segment of a growing playlist, and not near its end as with a live
// one. Source: RFC 8216, 4.3.5.2. The library leaves the tag out where the offset is 0.
const start = "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n"

// Media returns the playlist of a track whose files lie beside it (RFC 8216, 4.3.3). The texts of a growing
// track differ in what is appended to them, until the last, which is not growing: VOD, with EXT-X-ENDLIST.
func Media(t Track, o Options) ([]byte, error) {
	segments := make([]m3u8.MediaSegment, len(t.Segments))
	for i, s := range t.Segments {
		segments[i] = m3u8.MediaSegment{URI: fmt.Sprintf(SegmentName, t.First+i), Duration: s.Duration}
	}
	p, err := mediaPlaylist(segments)
	if err != nil {
		return nil, err
	}
	p.SeqNo = uint64(t.First)
	p.SetTargetDuration(uint(max(o.Target, target(segments))))
	if o.Growing {
		p.MediaType, p.Closed = m3u8.EVENT, false
		p.SetTargetDuration(uint(max(o.Target, SegmentSeconds, target(segments))))
	}
	text := bytes.Clone(p.Encode().Bytes())
	if o.Growing {
		head := []byte("#EXT-X-PLAYLIST-TYPE:EVENT\n")
		text = bytes.Replace(text, head, append(head, start...), 1)
	}
	return text, checkMedia(text, p, segments)
}

// MediaPlaylist returns the playlist of a whole track: Media without options.
func MediaPlaylist(t Track) ([]byte, error) { return Media(t, Options{}) }

// IFramesName is the file of a track's I-frame playlist, in its folder.
const IFramesName = "iframes.m3u8"

// IFrames returns the I-frame playlist of a whole track of video, for seeking with pictures and fast
// playback: its segments are the keyframes, each with the header of its fragment, by range of bytes
// (RFC 8216, 4.3.3.6). A segment without a key is an error.
func IFrames(t Track) ([]byte, error) {
	var frames []m3u8.MediaSegment
	for i, s := range t.Segments {
		if len(s.Keys) == 0 {
			return nil, pipeline.Fail(pipeline.CodeVerification, "segment %d has no keyframe", t.First+i)
		}
		for _, k := range s.Keys {
			frames = append(frames, m3u8.MediaSegment{
				URI: fmt.Sprintf(SegmentName, t.First+i), Duration: k.Duration, Limit: k.Size, Offset: k.Offset,
			})
		}
	}
	p, err := mediaPlaylist(frames)
	if err != nil {
		return nil, err
	}
	p.SeqNo = uint64(t.First)
	p.SetIframeOnly()
	text := bytes.Clone(p.Encode().Bytes())
	return text, checkMedia(text, p, frames)
}

// mediaPlaylist is what all media playlists have in common: a whole track's.
func mediaPlaylist(segments []m3u8.MediaSegment) (*m3u8.MediaPlaylist, error) {
	p, err := m3u8.NewMediaPlaylist(0, uint(max(1, len(segments))))
	if err != nil {
		return nil, fmt.Errorf("make playlist: %w", err)
	}
	p.MediaType = m3u8.VOD
	p.SetVersion(7)
	p.SetIndependentSegments(true)
	p.SetWritePrecision(digits)
	p.SetDefaultMap(InitName, 0, 0)
	for _, s := range segments {
		if err := p.AppendSegment(&s); err != nil {
			return nil, fmt.Errorf("make playlist: %w", err)
		}
	}
	p.Close()
	p.SetTargetDuration(uint(target(segments))) // the library's own value is 0 when its ring is full
	return p, nil
}

// target is EXT-X-TARGETDURATION: the longest segment, rounded to seconds, at least 1.
func target(segments []m3u8.MediaSegment) int {
	longest := 1.0
	for _, s := range segments {
		longest = max(longest, math.Round(s.Duration))
	}
	return int(longest)
}

// checkMedia reads the playlist back: it must say what was meant.
func checkMedia(text []byte, want *m3u8.MediaPlaylist, segments []m3u8.MediaSegment) error {
	p, kind, err := m3u8.DecodeFrom(bytes.NewReader(text), true)
	got, ok := p.(*m3u8.MediaPlaylist)
	if err != nil || !ok || kind != m3u8.MEDIA {
		return pipeline.Fail(pipeline.CodeVerification, "media playlist does not read back: %v", err)
	}
	// The library recomputes the target duration as it reads, so the text is asked.
	declared := fmt.Sprintf("\n#EXT-X-TARGETDURATION:%d\n", want.TargetDuration)
	switch growing := want.MediaType == m3u8.EVENT; {
	case got.MediaType != want.MediaType, got.Closed == growing, got.StartTimePrecise != growing,
		got.Iframe != want.Iframe, got.SeqNo != want.SeqNo, got.Map == nil || got.Map.URI != InitName,
		!bytes.Contains(text, []byte(declared)):
		return pipeline.Fail(pipeline.CodeVerification, "media playlist reads back as another")
	case len(got.GetAllSegments()) != len(segments):
		return pipeline.Fail(pipeline.CodeVerification, "media playlist lists %d of %d segments",
			len(got.GetAllSegments()), len(segments))
	}
	for i, s := range got.GetAllSegments() {
		w := segments[i]
		if s.URI != w.URI || math.Abs(s.Duration-w.Duration) > 1e-5 || s.Limit != w.Limit || s.Offset != w.Offset {
			return pipeline.Fail(pipeline.CodeVerification,
				"media playlist, segment %d: %s of %g s, %d bytes at %d; want %s of %g s, %d bytes at %d",
				i, s.URI, s.Duration, s.Limit, s.Offset, w.URI, w.Duration, w.Limit, w.Offset)
		}
	}
	return nil
}
