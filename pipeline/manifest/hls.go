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

// MediaPlaylist returns the VOD playlist of a track whose files lie beside it.
func MediaPlaylist(t Track) ([]byte, error) {
	p, err := m3u8.NewMediaPlaylist(0, uint(max(1, len(t.Segments))))
	if err != nil {
		return nil, fmt.Errorf("make playlist: %w", err)
	}
	p.MediaType = m3u8.VOD
	p.SeqNo = uint64(t.First)
	p.SetVersion(7)
	p.SetIndependentSegments(true)
	p.SetWritePrecision(digits)
	p.SetDefaultMap(InitName, 0, 0)
	for i, s := range t.Segments {
		if err := p.Append(fmt.Sprintf(SegmentName, t.First+i), s.Duration, ""); err != nil {
			return nil, fmt.Errorf("make playlist: %w", err)
		}
	}
	p.Close()
	p.SetTargetDuration(uint(target(t))) // the library's own value is 0 when its ring is full
	text := bytes.Clone(p.Encode().Bytes())
	return text, checkMedia(text, t)
}

// target is EXT-X-TARGETDURATION: the longest segment, rounded to seconds, at least 1.
func target(t Track) int {
	longest := 1.0
	for _, s := range t.Segments {
		longest = max(longest, math.Round(s.Duration))
	}
	return int(longest)
}

// checkMedia reads the playlist back: it must say what the track is.
func checkMedia(text []byte, t Track) error {
	p, kind, err := m3u8.DecodeFrom(bytes.NewReader(text), true)
	media, ok := p.(*m3u8.MediaPlaylist)
	if err != nil || !ok || kind != m3u8.MEDIA {
		return pipeline.Fail(pipeline.CodeVerification, "media playlist does not read back: %v", err)
	}
	segments := media.GetAllSegments()
	// The library recomputes the target duration as it reads, so the text is asked.
	declared := fmt.Sprintf("\n#EXT-X-TARGETDURATION:%d\n", target(t))
	if len(segments) != len(t.Segments) || media.Map == nil || media.Map.URI != InitName || !media.Closed ||
		!bytes.Contains(text, []byte(declared)) {
		return pipeline.Fail(pipeline.CodeVerification, "media playlist lists %d of %d segments",
			len(segments), len(t.Segments))
	}
	for i, s := range segments {
		want := t.Segments[i].Duration
		if s.URI != fmt.Sprintf(SegmentName, t.First+i) || math.Abs(s.Duration-want) > 1e-5 {
			return pipeline.Fail(pipeline.CodeVerification, "media playlist, segment %d: %s of %g s, want %g s",
				i, s.URI, s.Duration, want)
		}
	}
	return nil
}

// Variant is one picture rendition of a master playlist.
type Variant struct {
	URI           string // relative to the master
	Codecs        string // of the picture
	Width, Height int
	FrameRate     float64
	Peak, Average int64 // bits/s, of the picture
}

// Audio is one sound rendition of a master playlist.
type Audio struct {
	URI           string // relative to the master
	Name          string // shown to people; unique
	Language      string // BCP 47; empty when unknown
	Channels      int
	Codecs        string
	Peak, Average int64 // bits/s
}

// audioGroup is the one group that every variant plays with.
const audioGroup = "audio"

// Master returns the master playlist of variants, in order, with audio as renditions beside them; the first
// is the default (the library lists them by name). The bit rates of a variant contain those of the largest
// sound.
func Master(variants []Variant, audio []Audio) ([]byte, error) {
	p := m3u8.NewMasterPlaylist()
	p.SetVersion(7)
	p.SetIndependentSegments(true)
	var alternatives []*m3u8.Alternative
	var peak, average int64
	codecs := ""
	for i, a := range audio {
		alternatives = append(alternatives, &m3u8.Alternative{
			Type: "AUDIO", GroupId: audioGroup, URI: a.URI, Name: a.Name, Language: a.Language,
			Default: i == 0, Autoselect: true, Channels: &m3u8.Channels{Amount: a.Channels},
		})
		peak, average, codecs = max(peak, a.Peak), max(average, a.Average), ","+a.Codecs
	}
	for i, v := range variants {
		params := m3u8.VariantParams{
			Bandwidth: bits(v.Peak + peak), AverageBandwidth: bits(v.Average + average), Codecs: v.Codecs + codecs,
			Resolution: fmt.Sprintf("%dx%d", v.Width, v.Height), FrameRate: v.FrameRate,
		}
		if len(audio) > 0 {
			params.Audio = audioGroup
		}
		if i == 0 {
			params.Alternatives = alternatives
		}
		p.Append(v.URI, nil, params)
	}
	text := bytes.Clone(p.Encode().Bytes())
	return text, checkMaster(text, variants, audio)
}

func bits(n int64) uint32 { return uint32(min(n, math.MaxUint32)) }

// checkMaster reads the playlist back: every rendition must be there, with its attributes.
func checkMaster(text []byte, variants []Variant, audio []Audio) error {
	p, kind, err := m3u8.DecodeFrom(bytes.NewReader(text), true)
	master, ok := p.(*m3u8.MasterPlaylist)
	if err != nil || !ok || kind != m3u8.MASTER {
		return pipeline.Fail(pipeline.CodeVerification, "master playlist does not read back: %v", err)
	}
	if len(master.Variants) != len(variants) || len(master.GetAllAlternatives()) != len(audio) {
		return pipeline.Fail(pipeline.CodeVerification, "master playlist lists %d of %d variants, %d of %d sounds",
			len(master.Variants), len(variants), len(master.GetAllAlternatives()), len(audio))
	}
	for i, v := range master.Variants {
		if v.URI != variants[i].URI || v.Bandwidth == 0 || v.Codecs == "" || (v.Audio != "") != (len(audio) > 0) {
			return pipeline.Fail(pipeline.CodeVerification, "master playlist, variant %d: %s", i, v.URI)
		}
	}
	return nil
}
