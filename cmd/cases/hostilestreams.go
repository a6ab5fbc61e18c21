package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// codecs are pictures that only look like their codec.
func codecs() []hostile {
	concealed := "the decoder makes pictures of it"
	coded := func(id, codec string, width, height uint32, extra []byte, frame func() []byte) hostile {
		return hostile{id: id, ext: "avi", tries: "noise as " + codec, ends: either(malformed, noCodec),
			harmless: concealed, build: fromNothing(func() []byte {
				return avi{codec: codec, width: width, height: height, scale: 1, rate: 25, bits: 24, extra: extra,
					frames: repeated(frame(), 10)}.bytes()
			})}
	}
	noise := func() []byte { return garbage(3000) }
	wrecked := func(id, from, ext string) hostile {
		return hostile{id: id, ext: ext, tries: "a real " + from[2:] + " with noise in every picture",
			ends: either(malformed, noPicture), harmless: concealed, from: []string{from}, build: wreck}
	}
	all := []hostile{
		coded("x_mjpg_noise", "MJPG", 320, 180, nil, func() []byte {
			return cat([]byte{0xff, 0xd8}, garbage(3000))
		}),
		coded("x_ffv1_noise", "FFV1", 320, 180, garbage(200), noise),
		coded("x_hfyu_noise", "HFYU", 320, 180, cat([]byte{2, 24, 0, 0}, garbage(500)), noise),
		coded("x_hfyu_claim", "FFVH", 8192, 4320, cat([]byte{2, 24, 0, 0}, times("\xff", 500)), noise),
		coded("x_ulrg_noise", "ULRG", 320, 180, cat(zeroes(4), le32(0, 4, 1<<24)), noise),
		coded("x_cvid_size", "cvid", 7, 1, nil, func() []byte {
			return cat([]byte{0, 0xff, 0xff, 0xff}, be16(65535, 65535, 65535), garbage(3000))
		}),
		coded("x_svq1_odd", "SVQ1", 3, 5, nil, noise),
		coded("x_mp43_noise", "MP43", 1, 1, nil, noise),
		coded("x_wmv3_noise", "WMV3", 319, 3, garbage(8), noise),
		coded("x_wvc1_noise", "WVC1", 320, 180, garbage(40), noise),
		coded("x_vp60_noise", "VP62", 320, 180, nil, noise),
		coded("x_xvid_noise", "XVID", 8192, 4320, nil, noise),
		coded("x_h264_noise", "H264", 320, 180, nil, func() []byte {
			return cat([]byte{0, 0, 0, 1, 0x67}, garbage(100), []byte{0, 0, 0, 1, 0x65}, garbage(3000))
		}),
		coded("x_hevc_noise", "HEVC", 320, 180, nil, func() []byte {
			return cat([]byte{0, 0, 0, 1, 0x40, 1}, garbage(100), []byte{0, 0, 0, 1, 0x26, 1}, garbage(3000))
		}),
		coded("x_dvsd_noise", "dvsd", 720, 576, nil, noise),
		coded("x_avdn_noise", "AVdn", 320, 180, nil, noise),
		coded("x_cfhd_noise", "CFHD", 320, 180, nil, noise),
		coded("x_prores_noise", "apch", 320, 180, nil, func() []byte {
			return cat(be32(3000), []byte("icpf"), garbage(3000))
		}),
		coded("x_theora_noise", "theo", 320, 180, nil, noise),
		coded("x_zmbv", "ZMBV", 320, 180, nil, noise),
		{id: "x_qtrle_lines", ext: "mov", tries: "a run of lines behind the picture",
			ends: either(malformed, outside), harmless: concealed, build: fromNothing(func() []byte {
				frame := cat(be32(0x0000_00ff), be16(8, 65535, 0, 65535, 0), garbage(240))
				return film(reel{entry: visual("rle ", 1, 65), timescale: 25, delta: 1,
					samples: repeated(frame, 10)})
			})},
	}
	for _, w := range [][3]string{
		{"x_wreck_h264", "x_v.mp4", "mp4"}, {"x_wreck_hevc", "x_hevc.ts", "ts"},
		{"x_wreck_av1", "x_av1.mp4", "mp4"},
		{"x_wreck_vp9", "x_vp9.webm", "webm"}, {"x_wreck_ogv", "x_small.ogv", "ogv"},
		{"x_wreck_ffv1", "x_ffv1.mkv", "mkv"}, {"x_wreck_wmv", "x_small.wmv", "wmv"},
		{"x_wreck_mxf", "x_small.mxf", "mxf"}, {"x_wreck_flv", "x_small.flv", "flv"},
		{"x_wreck_mpg", "x_small.mpg", "mpg"}, {"x_wreck_avi", "x_small.avi", "avi"},
	} {
		all = append(all, wrecked(w[0], w[1], w[2]))
	}
	return all
}

// wreck overwrites a byte in each 61, behind the first kilobyte.
func wreck(_ lab, in [][]byte) ([]byte, error) {
	b := bytes.Clone(in[0])
	noise := garbage(len(b))
	for at := 1024; at < len(b)-200; at += 61 {
		b[at] = noise[at]
	}
	return b, nil
}

// other says why a stream with absurd parts is right to be ready.
const other = "what is not of the video is skipped"

// streams are hostile MPEG streams.
func streams() []hostile { return slices.Concat(transportStreams(), programStreams()) }

// transportStreams are hostile MPEG transport streams.
func transportStreams() []hostile {
	ts := func(id, tries string, ends []pipeline.Code, harmless string, build func(real []byte) []byte) hostile {
		return hostile{id: id, ext: "ts", tries: tries, ends: ends, harmless: harmless,
			from:  []string{"x_small.ts"},
			build: func(_ lab, in [][]byte) ([]byte, error) { return build(in[0]), nil }}
	}
	return []hostile{
		ts("x_ts_pids", "packets of 8,000 tracks that no table names", outside, other, func(real []byte) []byte {
			var b []byte
			payload := cat([]byte{0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0}, zeroes(100))
			for pid := range uint16(8000) {
				b = append(b, tsPacket(pid+0x180, 0, payload)...)
			}
			return cat(real, b)
		}),
		ts("x_ts_streams", "40 programs with 30 tracks each", outside, other, func([]byte) []byte {
			return tablesOf(40, 30)
		}),
		ts("x_ts_pmt_self", "a program whose table is its own track", either(malformed, noPicture), other,
			func([]byte) []byte {
				pat := tsTable(0, 1, be16(1, 0xe000|0x100))
				pmt := tsTable(2, 1, cat(be16(0xe100, 0xf000), []byte{0x1b}, be16(0xe100, 0xf000)))
				return bytes.Repeat(cat(tsPacket(0, 0, pat), tsPacket(0x100, 0, pmt)), 500)
			}),
		ts("x_ts_pat_self", "a program whose table is the list of programs", either(malformed, noPicture), other,
			func([]byte) []byte {
				return bytes.Repeat(tsPacket(0, 0, tsTable(0, 1, be16(1, 0xe000))), 500)
			}),
		ts("x_ts_section", "a table that claims 4,095 bytes", nil, other, func(real []byte) []byte {
			return cat(tsPacket(0, 0, cat([]byte{0, 0}, be16(0xbfff), zeroes(100))), real)
		}),
		ts("x_ts_adaptation", "packets that are all adaptation", either(malformed, noPicture), "",
			func([]byte) []byte {
				return bytes.Repeat(cat([]byte{0x47, 0x41, 0, 0x30, 183}, zeroes(183)), 1000)
			}),
		ts("x_ts_sync", "sync bytes and nothing else", either(malformed, noPicture), "", func([]byte) []byte {
			return times("\x47", 188*1000)
		}),
		ts("x_ts_versions", "tables that change 1,000 times", nil, other, func(real []byte) []byte {
			var b []byte
			for at := 0; at+188 <= len(real); at += 188 {
				if at/188%5 == 4 {
					table := tsTable(0, 1, be16(uint16(at), 0xe000|uint16(at/188&0xfff)))
					b = append(b, tsPacket(0, byte(at/188), table)...)
				}
				b = append(b, real[at:at+188]...)
			}
			return b
		}),
		ts("x_ts_descriptors", "descriptors that end behind their table", either(malformed, noPicture), other,
			func([]byte) []byte {
				pat := tsTable(0, 1, be16(1, 0xe000|0x100))
				body := cat(be16(0xe101, 0xf3ff), times("\x05\xff", 30))
				return bytes.Repeat(cat(tsPacket(0, 0, pat), tsPacket(0x100, 0, tsTable(2, 1, body))), 500)
			}),
	}
}

// programStreams are hostile MPEG program streams.
func programStreams() []hostile {
	return []hostile{
		{id: "x_mpg_lengths", ext: "mpg", tries: "packets whose headers are longer than they", harmless: other,
			ends: malformed, from: []string{"x_small.mpg"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				b := bytes.Clone(in[0])
				for at := 0; at+9 < len(b); at++ {
					if bytes.HasPrefix(b[at:], []byte{0, 0, 1, 0xe0}) {
						b[at+8] = 0xff
					}
				}
				return b, nil
			}},
		{id: "x_mpg_map", ext: "mpg", tries: "a stream map that is longer than its packet", harmless: other,
			from: []string{"x_small.mpg"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				long := cat([]byte{0, 0, 1, 0xbc, 0, 20, 0xff, 0xff, 0xff, 0xff}, garbage(16))
				return cat(in[0][:14], long, in[0][14:]), nil
			}},
		{id: "x_mpg_packs", ext: "mpg", tries: "200,000 pack headers", ends: either(malformed, noPicture),
			build: fromNothing(func() []byte {
				return times("\x00\x00\x01\xba\x44\x00\x04\x00\x04\x01\x00\x00\x03\xf8", 200_000)
			})},
	}
}

// tablesOf is a transport stream of programs with tracks.
func tablesOf(programs, tracks int) []byte {
	var list, b []byte
	for p := range uint16(programs) {
		list = append(list, be16(p+1, 0xe000|0x100+p)...)
	}
	b = append(b, tsPacket(0, 0, tsTable(0, 1, list))...)
	for p := range uint16(programs) {
		body := be16(0xe200, 0xf000)
		for i := range uint16(tracks) {
			body = append(body, cat([]byte{0x1b}, be16(0xe200+p*uint16(tracks)+i, 0xf000))...)
		}
		b = append(b, tsPacket(0x100+p, 0, tsTable(2, p+1, body))...)
	}
	return bytes.Repeat(b, 10)
}

// riffs are hostile files of RIFF and of Microsoft and Adobe.
func riffs() []hostile { return slices.Concat(aviFiles(), wavFiles(), flvFiles(), asfFiles()) }

// aviFiles are hostile AVI files.
func aviFiles() []hostile {
	movie := func(id, tries string, ends []pipeline.Code, harmless string, change func(a *avi)) hostile {
		return hostile{id: id, ext: "avi", tries: tries, ends: ends, harmless: harmless,
			from: []string{"x_mjpeg.jpg"}, build: func(_ lab, in [][]byte) ([]byte, error) {
				a := avi{codec: "MJPG", width: 320, height: 180, scale: 1, rate: 25, bits: 24,
					frames: repeated(in[0], 25)}
				change(&a)
				return a.bytes(), nil
			}}
	}
	entry := func(flags, offset, size uint32) []byte { return cat([]byte("00dc"), le32(flags, offset, size)) }
	return []hostile{
		movie("x_avi_index_one", "an index that names a picture 200,000 times", nil, "the pictures count",
			func(a *avi) { a.index = bytes.Repeat(entry(0x10, 4, uint32(len(a.frames[0]))), 200_000) }),
		movie("x_avi_index_beyond", "an index behind the end of the file", malformed, "the pictures count",
			func(a *avi) { a.index = bytes.Repeat(entry(0x10, 0xfffffff0, 1000), 25) }),
		movie("x_avi_index_large", "pictures of 2^32 - 1 bytes", malformed, "the pictures count", func(a *avi) {
			a.index = bytes.Repeat(entry(0x10, 4, math.MaxUint32), 25)
		}),
		movie("x_avi_odml", "an OpenDML index that points to itself", nil, "the pictures count", func(a *avi) {
			a.more = riff("indx", le16(4, 0), le32(1), []byte("00dc"), le32(0, 0, 0), le64(220), le32(32, 25))
		}),
		movie("x_avi_lists", "10,000 nested lists", nil, other, func(a *avi) {
			var b []byte
			for i := range 10_000 {
				b = append(b, cat([]byte("LIST"), le32(uint32(12*(10_000-i)-8)), []byte("INFO"))...)
			}
			a.more = b
		}),
		movie("x_avi_streams", "1,000 empty tracks", either(outside, malformed), other, func(a *avi) {
			track := riff("LIST", []byte("strl"), riff("strh", []byte("vids"), []byte("MJPG"), zeroes(48)))
			a.more = riff("LIST", []byte("hdrl"), bytes.Repeat(track, 1000))
		}),
		movie("x_avi_title", "a title with a page", nil, "it goes into no output", func(a *avi) {
			a.more = riff("LIST", []byte("INFO"), riff("INAM", []byte(strange)))
		}),
	}
}

// wavFiles are hostile WAV files.
func wavFiles() []hostile {
	wav := func(id, tries string, build func() []byte) hostile {
		return hostile{id: id, ext: "wav", tries: tries, ends: either(noPicture, malformed),
			build: fromNothing(build)}
	}
	pcm := riff("fmt ", le16(1, 2), le32(48000, 192000), le16(4, 16))
	return []hostile{
		wav("x_wav_4gb", "samples that claim 4 GB", func() []byte {
			return cat([]byte("RIFF"), le32(math.MaxUint32), []byte("WAVE"), pcm, []byte("data"), le32(math.MaxUint32),
				zeroes(10_000))
		}),
		wav("x_wav_rf64", "samples that claim -1 bytes", func() []byte {
			ds64 := riff("ds64", le64(math.MaxUint64), le64(math.MaxUint64), le64(math.MaxUint64), le32(0))
			return cat([]byte("RF64"), le32(math.MaxUint32), []byte("WAVE"), ds64, pcm, []byte("data"),
				le32(math.MaxUint32), zeroes(10_000))
		}),
		wav("x_wav_format", "65535 channels at 4 GHz", func() []byte {
			return riff("RIFF", []byte("WAVE"), riff("fmt ", le16(1, 65535), le32(math.MaxUint32, math.MaxUint32),
				le16(65535, 65535)), riff("data", zeroes(1000)))
		}),
		wav("x_wav_chunks", "300,000 empty chunks", func() []byte {
			return riff("RIFF", []byte("WAVE"), pcm, bytes.Repeat(riff("LIST", []byte("INFO")), 300_000))
		}),
	}
}

// flvFiles are hostile FLV files.
func flvFiles() []hostile {
	flv := func(id, tries string, build func(real []byte) []byte) hostile {
		return hostile{id: id, ext: "flv", tries: tries, harmless: other, from: []string{"x_small.flv"},
			build: func(_ lab, in [][]byte) ([]byte, error) { return build(in[0]), nil }}
	}
	deep := func(kind byte, n int) []byte {
		return cat([]byte{2}, be16(10), []byte("onMetaData"),
			bytes.Repeat(cat([]byte{kind}, map[byte][]byte{8: be32(1), 3: nil}[kind], be16(1), []byte("a")), n))
	}
	return []hostile{
		flv("x_flv_script", "script data nested 10,000 deep", func(real []byte) []byte {
			return cat(real[:13], flvTag(18, deep(3, 10_000)), real[13:])
		}),
		flv("x_flv_array", "arrays of script data nested 10,000 deep", func(real []byte) []byte {
			return cat(real[:13], flvTag(18, deep(8, 10_000)), real[13:])
		}),
		flv("x_flv_keyframes", "script data with 2^32 - 1 keyframes", func(real []byte) []byte {
			data := cat([]byte{2}, be16(10), []byte("onMetaData"), []byte{8}, be32(1), be16(9), []byte("keyframes"),
				[]byte{3}, be16(5), []byte("times"), []byte{10}, be32(math.MaxUint32), zeroes(50))
			return cat(real[:13], flvTag(18, data), real[13:])
		}),
		flv("x_flv_sizes", "a tag of 16 MB that is not there", func(real []byte) []byte {
			return cat(real, []byte{9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0}, zeroes(100))
		}),
		{id: "x_flv_empty", ext: "flv", tries: "500,000 empty tags", ends: either(malformed, noPicture),
			build: fromNothing(func() []byte { return cat(flvHead(), bytes.Repeat(flvTag(9, nil), 500_000)) })},
	}
}

// asfFiles are hostile ASF files.
func asfFiles() []hostile {
	asf := func(id, tries string, ends []pipeline.Code, change func(b []byte)) hostile {
		return hostile{id: id, ext: "wmv", tries: tries, ends: ends, harmless: other, from: []string{"x_small.wmv"},
			build: func(_ lab, in [][]byte) ([]byte, error) {
				b := bytes.Clone(in[0])
				change(b)
				return b, nil
			}}
	}
	return []hostile{
		asf("x_asf_packet_zero", "packets of 0 bytes", malformed, func(b []byte) { asfPacketSize(b, 0) }),
		asf("x_asf_packet_max", "packets of 2^32 - 1 bytes", malformed, func(b []byte) {
			asfPacketSize(b, math.MaxUint32)
		}),
		asf("x_asf_object", "an object of 2^63 bytes in the header", malformed, func(b []byte) {
			binary.LittleEndian.PutUint64(b[46:], 1<<63)
		}),
		asf("x_asf_object_zero", "an object of 0 bytes in the header", malformed, func(b []byte) {
			binary.LittleEndian.PutUint64(b[46:], 0)
		}),
	}
}

// asfPacketSize writes the sizes of packets into the file properties (ASF Specification, 3.2).
func asfPacketSize(b []byte, size uint32) {
	guid := []byte("\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65")
	if at := bytes.Index(b, guid); at >= 0 {
		copy(b[at+92:], le32(size, size))
	}
}

// others are hostile files of other containers.
func others() []hostile { return slices.Concat(oggFiles(), soundFiles(), mxfFiles()) }

// oggFiles are hostile Ogg files.
func oggFiles() []hostile {
	ogv := func(id, tries string, ends []pipeline.Code, harmless string, build func([]byte) []byte) hostile {
		return hostile{id: id, ext: "ogv", tries: tries, ends: ends, harmless: harmless,
			from:  []string{"x_small.ogv"},
			build: func(_ lab, in [][]byte) ([]byte, error) { return build(in[0]), nil }}
	}
	const one = "the first one is used"
	return []hostile{
		ogv("x_ogg_chain", "10,000 chained streams of a page", either(outside, malformed), one,
			func(real []byte) []byte {
				b := bytes.Clone(real)
				for i := range uint32(10_000) {
					b = append(b, oggPage(2, 0, i+1000, 0, nil, []byte("\x80theora\x03\x02\x01"))...)
				}
				return b
			}),
		ogv("x_ogg_lacing", "500 pages without end", nil, "what is no picture is skipped",
			func(real []byte) []byte {
				serial := binary.LittleEndian.Uint32(real[14:])
				page := oggPage(1, math.MaxUint64, serial, 9, times("\xff", 255), zeroes(255*255))
				return cat(real, bytes.Repeat(page, 500))
			}),
		ogv("x_ogg_granule", "a last page at 2^63 - 1", tooLong, "the times of the pictures count",
			func(real []byte) []byte {
				serial := binary.LittleEndian.Uint32(real[14:])
				return cat(real, oggPage(4, math.MaxInt64, serial, 999, nil, []byte{0x40}))
			}),
		ogv("x_ogg_restart", "the file 200 times", either(outside, malformed), one,
			func(real []byte) []byte { return bytes.Repeat(real, 200) }),
	}
}

// soundFiles are hostile files of audio alone.
func soundFiles() []hostile {
	sound := func(id, ext, tries, from string, build func(real []byte) []byte) hostile {
		return hostile{id: id, ext: ext, tries: tries, ends: either(noPicture, malformed, outside),
			from:  []string{from},
			build: func(_ lab, in [][]byte) ([]byte, error) { return build(in[0]), nil }}
	}
	picture := func(width, height, length uint32) []byte {
		return cat(be32(3, 9), []byte("image/png"), be32(0, width, height, 24, 0, length))
	}
	return []hostile{
		sound("x_flac_cover", "flac", "a cover of 65536x65536 that claims 2^24 bytes", "x_small.flac",
			func(real []byte) []byte {
				return flacBlock(real, 6, 1<<24-1, picture(65536, 65536, 1<<24))
			}),
		sound("x_flac_covers", "flac", "100 covers of 400 MP", "x_small.flac", func(real []byte) []byte {
			png := blackPNG(20000, 20000)
			data := cat(picture(20000, 20000, uint32(len(png))), png)
			for range 100 {
				real = flacBlock(real, 6, uint32(len(data)), data)
			}
			return real
		}),
		sound("x_flac_tags", "flac", "2^32 - 1 tags", "x_small.flac", func(real []byte) []byte {
			data := cat(le32(0, math.MaxUint32), times("\xff", 100))
			return flacBlock(real, 4, uint32(len(data)), data)
		}),
		sound("x_id3_256mb", "mp3", "an ID3 tag that claims 256 MB", "x_small.mp3", func(real []byte) []byte {
			return cat(id3(1<<28-1, id3Frame("TIT2", []byte("x"))), real)
		}),
		sound("x_id3_frames", "mp3", "an ID3 tag of 200,000 frames with a page", "x_small.mp3",
			func(real []byte) []byte {
				frames := bytes.Repeat(id3Frame("TXXX", cat([]byte{0}, []byte(mark))), 200_000)
				return cat(id3(len(frames), frames), real)
			}),
		sound("x_id3_chain", "mp3", "50,000 ID3 tags", "x_small.mp3", func(real []byte) []byte {
			return cat(bytes.Repeat(id3(0), 50_000), real)
		}),
		sound("x_id3_cover", "mp3", "a cover of 400 MP", "x_small.mp3", func(real []byte) []byte {
			frame := id3Frame("APIC", cat([]byte("\x00image/png\x00\x03\x00"), blackPNG(20000, 20000)))
			return cat(id3(len(frame), frame), real)
		}),
		sound("x_ape", "mp3", "an APE tag that claims 2^32 - 1 entries", "x_small.mp3", func(real []byte) []byte {
			return cat(real, []byte("APETAGEX"), le32(2000, math.MaxUint32, math.MaxUint32, 0), zeroes(8))
		}),
		sound("x_xing", "mp3", "a Xing header of 2^32 - 1 frames", "x_small.mp3", func(real []byte) []byte {
			if at := bytes.Index(real, []byte("Info")); at > 0 {
				real = bytes.Clone(real)
				copy(real[at+8:], be32(math.MaxUint32, math.MaxUint32))
			}
			return real
		}),
		sound("x_adts", "aac", "frames that claim 8,191 bytes", "x_small.aac", func(real []byte) []byte {
			b := bytes.Clone(real)
			for at := len(b) / 2; at+7 < len(b); at += 500 {
				copy(b[at:], "\xff\xf1\x50\x83\xff\xff\xfc")
			}
			return b
		}),
	}
}

// mxfFiles are hostile MXF files.
func mxfFiles() []hostile {
	return []hostile{
		mxf("x_mxf_length", "a key with a length of 2^63", func(real []byte) []byte {
			return cat(real[:1024], []byte("\x06\x0e\x2b\x34\x02\x53\x01\x01\x0d\x01\x01\x01\x01\x01\x2f\x00\x88"),
				be64(1<<63), real[1024:])
		}),
		mxf("x_mxf_partition", "partitions that point to each other", func(real []byte) []byte {
			b := bytes.Clone(real)
			key := []byte("\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01")
			for at := 0; ; {
				next := bytes.Index(b[at:], key)
				if next < 0 || at+next+60 > len(b) {
					return b
				}
				at += next + 20
				copy(b[at+16:], be64(0, 0)) // the previous partition and the footer are this file's start
			}
		}),
		mxf("x_mxf_count", "a batch of 2^32 - 1 entries", func(real []byte) []byte {
			return bytes.ReplaceAll(real, be32(1, 16), be32(math.MaxUint32, 16))
		}),
		mxf("x_mxf_run_in", "an index of 64 KB before the file", func(real []byte) []byte {
			return cat(real[:len(real)-100], bytes.Repeat(real[:200], 300))
		}),
	}
}

// mxf changes an MXF file.
func mxf(id, tries string, build func(real []byte) []byte) hostile {
	return hostile{id: id, ext: "mxf", tries: tries, ends: malformed,
		harmless: "broken parts are ignored where the pictures are found without",
		from:     []string{"x_small.mxf"},
		build:    func(_ lab, in [][]byte) ([]byte, error) { return build(in[0]), nil }}
}
