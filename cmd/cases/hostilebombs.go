package main

import (
	"bytes"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// bombs are small files that become large.
func bombs() []hostile { return slices.Concat(earlyBombs(), lateBombs()) }

// earlyBombs are bombs whose first pictures, or whose index, show what they are.
func earlyBombs() []hostile {
	pictures := func(id, tries string, frame func() []byte, n int, ends []pipeline.Code, why string) hostile {
		return hostile{id: id, ext: "mov", tries: tries, ends: ends, harmless: why,
			build: fromNothing(func() []byte {
				return film(reel{entry: visual("png ", 320, 180), timescale: 25, delta: 1,
					samples: repeated(frame(), n)})
			})}
	}
	compressed := func(id, tries string, claim uint32, data func() []byte) hostile {
		ends := either(malformed, noPicture, outside)
		return hostile{id: id, ext: "mov", tries: tries, ends: ends, build: fromNothing(func() []byte {
			cmvd := boxed("cmvd", be32(claim), packed(data()))
			cmov := boxed("cmov", boxed("dcom", []byte("zlib")), cmvd)
			return cat(boxed("ftyp", []byte("qt  "), be32(0)), boxed("moov", cmov))
		})}
	}
	coded := func(algorithm uint64, settings []byte) []byte {
		return ebml(mkEncodings, ebml(mkEncoding, ebmlUint(mkScope, 1), ebmlUint(mkKind, 0),
			ebml(mkCompression, ebmlUint(mkAlgorithm, algorithm), ebml(mkSettings, settings))))
	}
	mkv := func(id, tries string, ends []pipeline.Code, make func(frames [][]byte) webm) hostile {
		return hostile{id: id, ext: "mkv", tries: tries, ends: ends, from: []string{"x_vp8.ivf"},
			build: ofVP8(func(_ lab, frames [][]byte) []byte { return make(frames).bytes() })}
	}
	return []hostile{
		compressed("x_cmov_zeros", "a compressed index of 256 MB", 256<<20, func() []byte {
			return zeroes(256 << 20)
		}),
		compressed("x_cmov_claim", "a compressed index that claims 4 GB", math.MaxUint32, func() []byte {
			return zeroes(1000)
		}),
		compressed("x_cmov_nested", "a compressed index in itself, 500 times", 0, func() []byte {
			inside := boxed("moov")
			for range 500 {
				inside = boxed("moov", boxed("cmov", boxed("dcom", []byte("zlib")),
					boxed("cmvd", be32(uint32(len(inside))), packed(inside))))
			}
			return inside
		}),
		mkv("x_mkv_strip", "50,000 blocks that repeat a megabyte of stripped header", malformed,
			func([][]byte) webm {
				return webm{frames: repeated([]byte{0}, 50_000), entry: coded(3, garbage(1<<20)), kind: "matroska"}
			}),
		mkv("x_mkv_zlib", "3,000 blocks that grow from 10 KB to 9 MB", malformed, func([][]byte) webm {
			return webm{frames: repeated(packed(zeroes(9<<20)), 3000), entry: coded(0, nil), kind: "matroska"}
		}),
		mkv("x_mkv_lzo", "blocks in a broken LZO", malformed, func(frames [][]byte) webm {
			return webm{frames: frames, entry: coded(2, nil), kind: "matroska"}
		}),
		pictures("x_png_400mp", "PNG pictures of 400 MP", func() []byte { return blackPNG(20000, 20000) }, 3,
			either(malformed, outside), ""),
		pictures("x_png_thin", "a PNG picture of 8x40,000,000", func() []byte { return blackPNG(8, 40_000_000) }, 1,
			either(malformed, outside), ""),
		pictures("x_png_8k", "PNG pictures of 8192x4320 in 5 KB each", func() []byte {
			return blackPNG(8192, 4320)
		}, 3, nil, "they are within the limits"),
		{id: "x_refs_8k", tries: "H.264 of 8192x4320 with 16 reference pictures in 140 KB",
			harmless: "it is within the limits", build: fromNothing(func() []byte {
				return filmed(h264Film{512, 270, 16}, 25, 1, 3)
			})},
		{id: "x_jpeg_scans", ext: "avi", tries: "a progressive JPEG of 100,000 scans in 5 MB", ends: malformed,
			build: fromNothing(func() []byte {
				return avi{codec: "MJPG", width: 8192, height: 4320, scale: 1, rate: 25, bits: 24,
					frames: [][]byte{scannedJPEG(8192, 4320, 100_000)}}.bytes()
			})},
		{id: "x_sei", tries: "100,000 SEI messages in each picture", harmless: "they are skipped",
			build: fromNothing(func() []byte {
				sei := bytes.Repeat([]byte{0, 0, 0, 5, 6, 200, 1, 0, 0x80}, 100_000)
				samples := tiny().samples(5)
				for i := range samples {
					samples[i] = cat(sei, samples[i])
				}
				return film(reel{entry: tiny().entry(), timescale: 25, delta: 1, samples: samples})
			})},
	}
}

// lateBombs are bombs behind good pictures: inspection decodes 12.
func lateBombs() []hostile {
	const left = "the large pictures are not decoded, and the video counts as damaged"
	pngs := func(id, tries string, good int, bomb []byte, n int, harmless string) hostile {
		return hostile{id: id, ext: "mov", tries: tries, ends: malformed, harmless: harmless,
			build: fromNothing(func() []byte {
				samples := slices.Concat(repeated(blackPNG(64, 64), good), repeated(bomb, n))
				return film(reel{entry: visual("png ", 64, 64), timescale: 25, delta: 1, samples: samples})
			})}
	}
	jpegs := func(id, tries string, good int) hostile {
		return hostile{id: id, ext: "avi", tries: tries, ends: malformed, from: []string{"x_mjpeg.jpg"},
			build: func(_ lab, in [][]byte) ([]byte, error) {
				frames := append(repeated(in[0], good), scannedJPEG(8192, 4320, 100_000))
				film := avi{codec: "MJPG", width: 320, height: 180, scale: 1, rate: 25, bits: 24, frames: frames}
				return film.bytes(), nil
			}}
	}
	huge, large := blackPNG(16384, 16384), blackPNG(8192, 4320)
	return []hostile{
		pngs("x_late12_png", "12 PNG pictures of 64x64, then 30 of 16384x16384", 12, huge, 30, left),
		pngs("x_late300_png", "300 PNG pictures of 64x64, then 30 of 16384x16384", 300, huge, 30, left),
		pngs("x_late12_8k", "12 PNG pictures of 64x64, then 1,500 of 8192x4320", 12, large, 1500, ""),
		pngs("x_late300_8k", "300 PNG pictures of 64x64, then 1,500 of 8192x4320", 300, large, 1500, ""),
		jpegs("x_late12_jpeg", "12 good JPEG pictures, then one of 100,000 scans", 12),
		jpegs("x_late300_jpeg", "300 good JPEG pictures, then one of 100,000 scans", 300),
		{id: "x_late300_h264", tries: "300 pictures of 64x64, then 30 of 16384x16384",
			ends: malformed, harmless: left, build: fromNothing(func() []byte {
				small, big := h264Film{4, 4, 1}, h264Film{1024, 1024, 1}
				sps, pps := big.sets()
				grown := big.samples(30)
				grown[0] = cat(be32(uint32(len(sps))), sps, be32(uint32(len(pps))), pps, grown[0])
				return film(reel{entry: small.entry(), timescale: 25, delta: 1,
					samples: slices.Concat(small.samples(300), grown)})
			})},
	}
}

// scannedJPEG is a grey progressive JPEG with scans that add nothing (ITU-T T.81, B.2.3 and G.1.2.2). Each
// scan skips all blocks, in runs of 32,767.
func scannedJPEG(width, height uint16, scans int) []byte {
	segment := func(marker byte, data ...[]byte) []byte {
		inside := cat(data...)
		return cat([]byte{0xff, marker}, be16(uint16(len(inside)+2)), inside)
	}
	// One code of 1 bit each: a DC difference of 0, and the longest run of ends of blocks.
	table := func(class, symbol byte) []byte {
		return segment(0xc4, []byte{class, 1}, zeroes(15), []byte{symbol})
	}
	blocks := (int(width) + 7) / 8 * ((int(height) + 7) / 8)
	first := bytes.Repeat([]byte{0}, blocks/8) // a bit for each block
	run := new(bitString)
	for left := blocks; left > 0; left -= 32767 {
		run.put(1, 0).put(14, 0x3fff)
	}
	data := bytes.ReplaceAll(run.b, []byte{0xff}, []byte{0xff, 0})
	scan := cat(segment(0xda, []byte{1, 1, 0, 1, 63, 0}), data)
	return cat([]byte{0xff, 0xd8}, segment(0xdb, []byte{0}, times("\x01", 64)),
		segment(0xc2, []byte{8}, be16(height, width), []byte{1, 1, 0x11, 0}), table(0, 0), table(0x10, 0xe0),
		segment(0xda, []byte{1, 1, 0, 0, 0, 0}), first, bytes.Repeat(scan, scans), []byte{0xff, 0xd9})
}
