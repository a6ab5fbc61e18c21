package manifest

import (
	"bytes"
	"fmt"
	"math"

	"github.com/Eyevinn/hls-m3u8/m3u8"

	"github.com/reelmill/reelmill/pipeline"
)

// digits of seconds in EXTINF: with microseconds the sum of a long video stays exact to a frame.
const digits = 6

// mediaOptions say how to write a media playlist. The zero value is for a complete track.
type mediaOptions struct {
	// Growing marks a track that will get more segments: the playlist has type EVENT and no end.
	Growing bool
	// Target is the least EXT-X-TARGETDURATION in seconds. It must not change, so it covers the longest
	// segment that is yet to come. A growing playlist has at least SegmentSeconds.
	Target int
}

// start makes players begin at the first segment of a growing playlist, not near its end as in a live one.
// Source: RFC 8216, 4.3.5.2. The library omits the tag if the offset is 0.
const start = "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n"

// mediaText returns the playlist of a track whose files are beside it (RFC 8216, 4.3.3). The playlist of a
// growing track only gets longer at its end. The last version is not growing: VOD, with EXT-X-ENDLIST.
func mediaText(t Track, o mediaOptions) ([]byte, error) {
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

// MediaPlaylist returns the playlist of a complete track.
func MediaPlaylist(t Track) ([]byte, error) { return mediaText(t, mediaOptions{}) }

// iFramesName is the file of a track's I-frame playlist, in its folder.
const iFramesName = "iframes.m3u8"

// iFramesText returns the I-frame playlist of a complete video track, for seeking with pictures and fast
// playback. Its segments are the keyframes, each with the header of its fragment, as byte ranges (RFC 8216,
// 4.3.3.6). A segment without a key is an error.
func iFramesText(t Track) ([]byte, error) {
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

// mediaPlaylist is what all media playlists have in common, for a complete track.
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
	p.SetTargetDuration(uint(target(segments))) // the library's own value is 0 if its ring is full
	return p, nil
}

// target returns EXT-X-TARGETDURATION: the longest segment, rounded to seconds, at least 1.
func target(segments []m3u8.MediaSegment) int {
	longest := 1.0
	for _, s := range segments {
		longest = max(longest, math.Round(s.Duration))
	}
	return int(longest)
}

// checkMedia parses the playlist and compares it with what was intended.
func checkMedia(text []byte, want *m3u8.MediaPlaylist, segments []m3u8.MediaSegment) error {
	p, kind, err := m3u8.DecodeFrom(bytes.NewReader(text), true)
	got, ok := p.(*m3u8.MediaPlaylist)
	if err != nil || !ok || kind != m3u8.MEDIA {
		return pipeline.Fail(pipeline.CodeVerification, "the media playlist cannot be parsed: %v", err)
	}
	// The library computes the target duration again when it reads, so check the text.
	declared := fmt.Sprintf("\n#EXT-X-TARGETDURATION:%d\n", want.TargetDuration)
	switch growing := want.MediaType == m3u8.EVENT; {
	case got.MediaType != want.MediaType, got.Closed == growing, got.StartTimePrecise != growing,
		got.Iframe != want.Iframe, got.SeqNo != want.SeqNo, got.Map == nil || got.Map.URI != InitName,
		!bytes.Contains(text, []byte(declared)):
		return pipeline.Fail(pipeline.CodeVerification, "the media playlist differs after it is parsed")
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
