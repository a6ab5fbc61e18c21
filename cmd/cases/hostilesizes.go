package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// tiny is a film of 320x176 pixels.
func tiny() h264Film { return h264Film{20, 11, 1} }

// filmed makes an MP4 of a film.
func filmed(f h264Film, timescale, delta uint32, n int) []byte {
	return film(reel{entry: f.entry(), timescale: timescale, delta: delta, samples: f.samples(n)})
}

// fromNothing is a build that needs no input.
func fromNothing(build func() []byte) func(lab, [][]byte) ([]byte, error) {
	return func(lab, [][]byte) ([]byte, error) { return build(), nil }
}

// dimensions are files with absurd sizes of pictures.
func dimensions() []hostile { return slices.Concat(claimedSizes(), ratios(), changingSizes()) }

// claimedSizes are files whose headers claim absurd sizes.
func claimedSizes() []hostile {
	raw := func(id, tries string, width, height uint16, ends []pipeline.Code) hostile {
		return hostile{id: id, ext: "mov", tries: tries, ends: ends, build: fromNothing(func() []byte {
			return film(reel{entry: visual("raw ", width, height), timescale: 25, delta: 1,
				samples: repeated(zeroes(3000), 25)})
		})}
	}
	return []hostile{
		raw("x_dims_max", "raw pictures of 65535x65535", 65535, 65535, outside),
		raw("x_dims_16384", "raw pictures of 16384x16384", 16384, 16384, outside),
		raw("x_dims_thin", "raw pictures of 1x65535", 1, 65535, outside),
		raw("x_dims_flat", "raw pictures of 65535x1", 65535, 1, outside),
		raw("x_dims_zero", "raw pictures of 0x0", 0, 0, malformed),
		{id: "x_dims_h264", tries: "H.264 of 16384x16384", ends: outside, build: fromNothing(func() []byte {
			f := h264Film{1024, 1024, 16}
			return film(reel{entry: f.entry(), timescale: 25, delta: 1, samples: repeated(zeroes(100), 25)})
		})},
		{id: "x_dims_h264_max", tries: "H.264 of 2^20 x 2^20, in a header that says 320x180",
			ends: append(malformed, pipeline.CodeLimits), build: fromNothing(func() []byte {
				entry := h264Film{1 << 16, 1 << 16, 16}.entry()
				copy(entry[32:], be16(320, 180))
				return film(reel{entry: entry, timescale: 25, delta: 1, samples: repeated(zeroes(100), 25)})
			})},
		{id: "x_dims_av1", tries: "AV1 of 65536x65536", ends: append(malformed, pipeline.CodeLimits),
			build: fromNothing(hugeAV1)},
		{id: "x_dims_vp8", ext: "webm", tries: "VP8 of 16383x16383, in a header that says 320x180",
			ends: append(malformed, pipeline.CodeLimits), from: []string{"x_vp8.ivf"},
			build: ofVP8(func(_ lab, frames [][]byte) []byte {
				for _, f := range frames {
					if f[0]&1 == 0 {
						copy(f[6:], le16(16383, 16383))
					}
				}
				return webm{frames: frames}.bytes()
			})},
		{id: "x_dims_mkv", ext: "webm", tries: "a Matroska header that says 2^32 x 2^32, with real pictures",
			ends: outside, harmless: "the pictures count", from: []string{"x_vp8.ivf"},
			build: ofVP8(func(_ lab, frames [][]byte) []byte {
				return webm{frames: frames, size: [2]uint64{1<<32 - 1, 1<<32 - 1}}.bytes()
			})},
		{id: "x_dims_avi", ext: "avi", tries: "an AVI of pictures with a negative height of 2^31", ends: malformed,
			build: fromNothing(func() []byte {
				return avi{codec: "\x00\x00\x00\x00", width: 320, height: 1 << 31, scale: 1, rate: 25, bits: 24,
					frames: repeated(zeroes(3000), 10)}.bytes()
			})},
	}
}

// ratios are files whose pixels and rotations are absurd.
func ratios() []hostile {
	aspect := func(id string, h, v uint32, ends []pipeline.Code, harmless string) hostile {
		return hostile{id: id, tries: fmt.Sprintf("pixels of %d:%d", h, v), ends: ends, harmless: harmless,
			build: fromNothing(func() []byte {
				entry := append(tiny().entry(), boxed("pasp", be32(h, v))...)
				copy(entry, be32(uint32(len(entry))))
				return film(reel{entry: entry, timescale: 25, delta: 1, samples: tiny().samples(25)})
			})}
	}
	return []hostile{
		aspect("x_sar_thin", 1, 65535, nil, "so small a ratio counts as none"),
		aspect("x_sar_flat", 65535, 1, outside, ""),
		{id: "x_matrix", tries: "a rotation matrix of extremes", harmless: "it is a rotation like any other",
			from: []string{"x_av.mp4"}, build: edited(func(_ lab, m *movie) {
				m.at("moov/trak/tkhd").put(40, be32(0x7fffffff, 0x80000000, 0, 0x80000000, 0x7fffffff, 0, 0, 0, 0))
			})},
	}
}

// changingSizes are files whose pictures change their size, and layers.
func changingSizes() []hostile {
	return []hostile{
		resized("x_resize_8k", "pictures that grow to 8192x4320 midway", h264Film{512, 270, 1},
			"both sizes are within the limits"),
		resized("x_resize_16k", "pictures that grow to 16384x16384 midway", h264Film{1024, 1024, 1},
			"the large pictures are not decoded, and the video counts as damaged"),
		{id: "x_resize_each", ext: "webm", tries: "VP8 that changes its size with each picture",
			harmless: "every picture is scaled", from: []string{"x_vp8.ivf", "x_vp8b.ivf"},
			build: func(_ lab, in [][]byte) ([]byte, error) {
				a, err := ivfFrames(in[0])
				if err != nil {
					return nil, err
				}
				b, err := ivfFrames(in[1])
				if err != nil {
					return nil, err
				}
				var frames [][]byte
				for i := range a {
					frames = append(frames, a[i], b[i])
				}
				return webm{frames: frames}.bytes(), nil
			}},
		{id: "x_layers", ext: "ts", tries: "HEVC that claims 64 layers", harmless: "only the base layer is read",
			from: []string{"x_hevc.ts"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				b := bytes.Clone(in[0])
				at := bytes.Index(b, []byte{0, 0, 1, 0x40, 1})
				if at < 0 {
					return nil, errBox
				}
				b[at+5] |= 3
				b[at+6] |= 0xf0
				return b, nil
			}},
	}
}

// resized is a film whose pictures change their size midway.
func resized(id, tries string, large h264Film, harmless string) hostile {
	return hostile{id: id, tries: tries, harmless: harmless, build: fromNothing(func() []byte {
		sps, pps := large.sets()
		samples := tiny().samples(25)
		grown := cat(be32(uint32(len(sps))), sps, be32(uint32(len(pps))), pps)
		if large.width < 1024 {
			grown = append(grown, large.samples(1)[0]...)
		} else {
			grown = append(grown, tiny().samples(1)[0]...)
		}
		return film(reel{entry: tiny().entry(), timescale: 25, delta: 1, samples: append(samples, grown)})
	})}
}

// hugeAV1 is AV1 of 65536x65536 (AV1 specification, 5.5).
func hugeAV1() []byte {
	s := new(bitString).put(3, 0).put(2, 3).put(5, 31).put(8, 0xff).put(32, math.MaxUint32).put(3, 7).put(3, 7).
		put(4, 0).put(2, 0).put(1, 0).put(1, 0).put(1, 1)
	obu := cat([]byte{0x0a, byte(len(s.b))}, s.b)
	sample := cat([]byte{0x12, 0}, obu, []byte{0x32, 100}, garbage(100))
	entry := visual("av01", 65535, 65535, boxed("av1C", []byte{0x81, 0x1f, 0, 0}, obu))
	return film(reel{entry: entry, timescale: 25, delta: 1, samples: repeated(sample, 10)})
}

// counts are files with absurd rates and numbers.
func counts() []hostile {
	many := func(id string, n int) hostile {
		return hostile{id: id, tries: fmt.Sprintf("%d tracks", n), ends: outside, build: fromNothing(func() []byte {
			one := reel{entry: tiny().entry(), timescale: 25, delta: 1, samples: tiny().samples(2)}
			return film(slices.Repeat([]reel{one}, n)...)
		})}
	}
	sounding := func(id, tries string, entry []byte, ends []pipeline.Code, harmless string) hostile {
		return hostile{id: id, ext: "mov", tries: tries, ends: ends, harmless: harmless,
			build: fromNothing(func() []byte {
				return film(reel{entry: tiny().entry(), timescale: 25, delta: 1, samples: tiny().samples(25)},
					reel{handler: "soun", entry: entry, timescale: 48000, delta: 1000,
						samples: repeated(zeroes(4000), 48)})
			})}
	}
	const asOne = "pictures within 1.5 ms count as one"
	const dropped = "the audio cannot be decoded, and is not used"
	rated := func(id, tries string, rate float64) hostile {
		return hostile{id: id, ext: "mkv", tries: tries, harmless: dropped, from: []string{"x_vp8.ivf"},
			build: ofVP8(func(_ lab, frames [][]byte) []byte {
				return webm{frames: frames, track: loud(rate)}.bytes()
			})}
	}
	moving := func(id, tries string, scale, rate uint32, ends []pipeline.Code, harmless string) hostile {
		return hostile{id: id, ext: "avi", tries: tries, ends: ends, harmless: harmless,
			from: []string{"x_mjpeg.jpg"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				return avi{codec: "MJPG", width: 320, height: 180, scale: scale, rate: rate, bits: 24,
					frames: repeated(in[0], 25)}.bytes(), nil
			}}
	}
	return []hostile{
		{id: "x_fps_million", tries: "1,000,000 frames/s", harmless: asOne,
			build: fromNothing(func() []byte { return filmed(tiny(), 1_000_000, 1, 200) })},
		{id: "x_fps_slow", tries: "a frame each 1,000,000 s", ends: tooLong,
			build: fromNothing(func() []byte { return filmed(tiny(), 1, 1_000_000, 3) })},
		{id: "x_timescale_max", tries: "a clock of 2^32 - 1 Hz", harmless: asOne,
			build: fromNothing(func() []byte { return filmed(tiny(), math.MaxUint32, 1, 100) })},
		{id: "x_timescale_zero", tries: "a clock of 0 Hz", harmless: "the clock counts as 1 Hz",
			ends:  append(malformed, tooLong...),
			build: fromNothing(func() []byte { return filmed(tiny(), 0, 1, 10) })},
		moving("x_avi_rate_zero", "an AVI of 0 frames/s", 0, 0, nil, "25 frames/s count"),
		moving("x_avi_rate_max", "an AVI of 2^32 - 1 frames/s", 1, math.MaxUint32, nil, asOne),
		moving("x_avi_rate_slow", "an AVI of a frame each 2^32 - 1 s", math.MaxUint32, 1, tooLong, ""),
		{id: "x_mkv_nanosecond", ext: "webm", tries: "a frame each nanosecond, by the header",
			harmless: "the times of the frames count", from: []string{"x_vp8.ivf"},
			build: ofVP8(func(_ lab, frames [][]byte) []byte {
				return webm{frames: frames, entry: ebmlUint(0x23e383, 1)}.bytes()
			})},
		many("x_tracks_33", 33), many("x_tracks_65", 65), many("x_tracks_1001", 1001),
		sounding("x_channels_64", "64 channels of audio", audial("sowt", 64, 16, 48000<<16), outside, ""),
		sounding("x_channels_max", "65535 channels of audio", audial("sowt", 65535, 16, 48000<<16), outside, ""),
		sounding("x_channels_zero", "no channels of audio", audial("sowt", 0, 16, 48000<<16), malformed, ""),
		sounding("x_rate_zero", "a sample rate of 0", audial("sowt", 2, 16, 0), nil, dropped),
		sounding("x_bits_max", "audio of 65535 bits a sample", audial("lpcm", 2, 65535, 48000<<16), nil, dropped),
		rated("x_rate_huge", "a sample rate of 4 GHz", 4e9),
		rated("x_rate_nan", "a sample rate that is no number", math.NaN()),
	}
}

// loud is a Matroska track of PCM at a sample rate.
func loud(rate float64) []byte {
	return ebml(mkEntry, ebmlUint(mkNumber, 2), ebmlUint(mkUID, 2), ebmlUint(mkType, 2),
		ebml(mkCodec, []byte("A_PCM/INT/LIT")), ebml(mkAudio, ebml(0xb5, be64(math.Float64bits(rate))),
			ebmlUint(0x9f, 2), ebmlUint(0x6264, 16)))
}
