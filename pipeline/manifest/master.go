package manifest

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/Eyevinn/hls-m3u8/m3u8"

	"github.com/reelmill/reelmill/pipeline"
)

// MasterName is the file of the master playlist, at the top of a video's tree.
const MasterName = pipeline.ManifestPath

// variant is one picture rendition of a master playlist or of an MPD.
type variant struct {
	URI           string // of its media playlist, relative to the master
	Codecs        string // of the picture
	Width, Height int
	FrameRate     float64 // frames/s; 0 if unknown
	// FrameRateNum and FrameRateDen are FrameRate as a fraction; 0 if unknown.
	FrameRateNum, FrameRateDen int
	Peak, Average              int64 // bits/s, of the picture

	IFramesURI                  string // of its I-frame playlist; empty if it has none
	IFramesPeak, IFramesAverage int64  // bits/s, by iFrameRates
}

// audioRendition is one audio rendition of a master playlist or of an MPD.
type audioRendition struct {
	URI           string // of its media playlist, relative to the master
	Name          string // shown to people; unique
	Language      string // BCP 47; empty if unknown
	Channels      int
	Codecs        string
	Peak, Average int64 // bits/s
}

// audioGroup is the one group that every variant plays with.
const audioGroup = "audio"

// masterText returns the master playlist of variants, largest first, and audio renditions, of which the
// first is the default (the library sorts them by name). A variant's bit rates include those of the largest
// audio rendition, and its codecs those of all. Without audio the variants are silent.
//
// A middle variant comes before all others, which keep their order: players begin with it until they know
// the speed of the network (Apple, HLS Authoring Specification; RFC 8216, 6.3.1). Every variant is marked
// as SDR and without captions, as all that we make are (RFC 8216bis, 4.4.6.2).
func masterText(variants []variant, audio []audioRendition) ([]byte, error) {
	p := m3u8.NewMasterPlaylist()
	p.SetVersion(7)
	p.SetIndependentSegments(true)
	want := masterVariants(variants, audio)
	for _, v := range want {
		p.Append(v.URI, nil, v.VariantParams)
	}
	text := bytes.Clone(p.Encode().Bytes())
	return text, checkMaster(text, want, audio)
}

// masterVariants returns the library's variants: those that play, then those of I-frames, which have no
// captions attribute.
func masterVariants(variants []variant, audio []audioRendition) []m3u8.Variant {
	alternatives, group, peak, average := alternatives(audio)
	var all []m3u8.Variant
	for _, v := range middleFirst(variants) {
		params := m3u8.VariantParams{
			Bandwidth: bits(v.Peak + peak), AverageBandwidth: bits(v.Average + average),
			Codecs: codecs(v.Codecs, audio), Resolution: v.resolution(), VideoRange: videoRange,
			FrameRate: v.FrameRate, Audio: group, Captions: noCaptions,
		}
		if len(all) == 0 {
			params.Alternatives = alternatives
		}
		all = append(all, m3u8.Variant{URI: v.URI, VariantParams: params})
	}
	for _, v := range variants {
		if v.IFramesURI == "" {
			continue
		}
		all = append(all, m3u8.Variant{URI: v.IFramesURI, VariantParams: m3u8.VariantParams{
			Iframe: true, Bandwidth: bits(v.IFramesPeak), AverageBandwidth: bits(v.IFramesAverage),
			Codecs: v.Codecs, Resolution: v.resolution(), VideoRange: videoRange,
		}})
	}
	return all
}

// Attributes of every variant.
const (
	videoRange = "SDR"
	noCaptions = "NONE"
)

func (v variant) resolution() string { return fmt.Sprintf("%dx%d", v.Width, v.Height) }

// middleFirst moves the middle variant to the front; of two, the smaller one.
func middleFirst(variants []variant) []variant {
	if len(variants) == 0 {
		return nil
	}
	middle := len(variants) / 2
	return slices.Concat(variants[middle:middle+1], variants[:middle], variants[middle+1:])
}

// alternatives returns the library's audio renditions, the name of their group, and the bit rates of the
// largest.
func alternatives(audio []audioRendition) (all []*m3u8.Alternative, group string, peak, average int64) {
	for i, a := range audio {
		group, peak, average = audioGroup, max(peak, a.Peak), max(average, a.Average)
		all = append(all, &m3u8.Alternative{
			Type: "AUDIO", GroupId: audioGroup, URI: a.URI, Name: a.Name, Language: a.Language,
			Default: i == 0, Autoselect: true, Channels: &m3u8.Channels{Amount: a.Channels},
		})
	}
	return all, group, peak, average
}

// codecs lists the codecs of a picture and of all audio, each once.
func codecs(picture string, audio []audioRendition) string {
	all := []string{picture}
	for _, a := range audio {
		if a.Codecs != "" && !slices.Contains(all, a.Codecs) {
			all = append(all, a.Codecs)
		}
	}
	return strings.Join(all, ",")
}

func bits(n int64) uint32 { return uint32(min(n, math.MaxUint32)) }

// checkMaster parses the playlist: every rendition must be there, with its attributes.
func checkMaster(text []byte, want []m3u8.Variant, audio []audioRendition) error {
	p, kind, err := m3u8.DecodeFrom(bytes.NewReader(text), true)
	master, ok := p.(*m3u8.MasterPlaylist)
	if err != nil || !ok || kind != m3u8.MASTER {
		return pipeline.Fail(pipeline.CodeVerification, "the master playlist cannot be parsed: %v", err)
	}
	if len(master.Variants) != len(want) || len(master.GetAllAlternatives()) != len(audio) {
		return pipeline.Fail(pipeline.CodeVerification,
			"the master playlist lists %d of %d variants, %d of %d audio renditions",
			len(master.Variants), len(want), len(master.GetAllAlternatives()), len(audio))
	}
	for i, v := range master.Variants {
		w := want[i]
		if v.URI != w.URI || v.Bandwidth == 0 || v.Bandwidth != w.Bandwidth || v.Codecs == "" ||
			v.Codecs != w.Codecs || v.Resolution != w.Resolution || v.Audio != w.Audio || v.Iframe != w.Iframe ||
			v.VideoRange != w.VideoRange || v.Captions != w.Captions {
			return pipeline.Fail(pipeline.CodeVerification, "master playlist, variant %d: %s", i, v.URI)
		}
	}
	return nil
}
