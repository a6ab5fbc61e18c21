package main

import (
	"bytes"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// nested puts a box into itself, so that depth boxes contain each other.
func nested(name string, depth int) []byte {
	b := make([]byte, 0, 8*depth)
	for i := range depth {
		b = append(b, sizedBox(name, uint32(8*(depth-i)))...)
	}
	return b
}

// skipped says why a file with an absurd box or element is right to be ready.
const skipped = "the box is skipped"

// nesting are files whose boxes and elements have absurd sizes and depths.
func nesting() []hostile { return slices.Concat(deepBoxes(), sizedBoxes(), ebmlElements()) }

// bare is a file that has boxes and no video.
func bare(id, tries string, build func() []byte) hostile {
	return hostile{id: id, tries: tries, ends: either(malformed, noPicture), build: fromNothing(func() []byte {
		return cat(boxed("ftyp", []byte("isom"), be32(0)), build())
	})}
}

// deepBoxes are files with many boxes, or boxes within boxes.
func deepBoxes() []hostile {
	within := func(id, tries, parent string, ends []pipeline.Code, box func() []byte) hostile {
		return hostile{id: id, tries: tries, ends: ends, harmless: skipped, from: []string{"x_v.mp4"},
			build: edited(func(_ lab, m *movie) { m.at(parent).add(box()) })}
	}
	moovs := func(n int) func() []byte { return func() []byte { return nested("moov", n) } }
	return []hostile{
		bare("x_nest_moov", "10,000 nested moov boxes", moovs(10_000)),
		bare("x_nest_4m", "4,000,000 nested moov boxes in 32 MB", moovs(4_000_000)),
		bare("x_nest_trak", "10,000 nested trak boxes", func() []byte {
			return boxed("moov", nested("trak", 10_000))
		}),
		bare("x_nest_moof", "10,000 nested moof boxes", func() []byte { return nested("moof", 10_000) }),
		within("x_nest_udta", "10,000 nested udta boxes behind the tracks", "moov", malformed, func() []byte {
			return nested("udta", 10_000)
		}),
		within("x_nest_stsd", "10,000 nested sample descriptions", "moov/trak/mdia/minf/stbl", malformed,
			func() []byte { return fullBox("stsd", 0, 0, be32(1), nested("avc1", 10_000)) }),
		within("x_traks", "200,000 empty tracks", "moov", outside, func() []byte {
			return boxed("moov", bytes.Repeat(boxed("trak"), 200_000))
		}),
		within("x_boxes", "1,000,000 empty boxes", "moov", nil, func() []byte {
			return boxed("udta", bytes.Repeat(boxed("skip"), 1_000_000))
		}),
	}
}

// sizedBoxes are files with a box that claims an absurd size.
func sizedBoxes() []hostile {
	// last puts a box with a header that lies behind everything else in a file.
	last := func(id, tries string, ends []pipeline.Code, box []byte) hostile {
		return hostile{id: id, tries: tries, ends: ends, harmless: skipped, from: []string{"x_v.mp4"},
			build: func(_ lab, in [][]byte) ([]byte, error) { return cat(in[0], box), nil }}
	}
	sized := func(id, tries string, ends []pipeline.Code, harmless string, head []byte) hostile {
		return hostile{id: id, tries: tries, ends: ends, harmless: harmless, from: []string{"x_v.mp4"},
			build: func(_ lab, in [][]byte) ([]byte, error) {
				at := bytes.LastIndex(in[0], []byte("moov"))
				if at < 4 {
					return nil, errBox
				}
				return cat(in[0][:at-4], head, in[0][at+4:]), nil
			}}
	}
	return []hostile{
		last("x_size_7", "a box of 7 bytes", nil, sizedBox("abcd", 7)),
		last("x_size_1", "a box of 2^63 bytes", nil, cat(sizedBox("free", 1), be64(1<<63))),
		last("x_size_minus", "a box of -1 bytes", nil, cat(sizedBox("moof", 1), be64(math.MaxUint64))),
		last("x_size_8", "a second index without contents", either(malformed, noPicture), sizedBox("moov", 8)),
		last("x_size_beyond", "a box behind the end of the file", nil, sizedBox("mdat", math.MaxUint32)),
		last("x_uuid", "a box of Smooth Streaming that claims 4 GB", nil, sizedBox("uuid", math.MaxUint32,
			[]byte("\x6d\x1d\x9b\x05\x42\xd5\x44\xe6\x80\xe2\x14\x1d\xaf\xf7\x57\xb2"))),
		sized("x_moov_0", "an index that reaches to the end of the file", nil, "that is what 0 means",
			sizedBox("moov", 0)),
		sized("x_moov_1", "an index of 2^63 bytes", malformed, "it is read to the end of the file",
			cat(sizedBox("moov", 1), be64(1<<63))),
		sized("x_moov_7", "an index of 7 bytes", malformed, "", sizedBox("moov", 7)),
		sized("x_moov_beyond", "an index of 4 GB", malformed, "it is read to the end of the file",
			sizedBox("moov", math.MaxUint32)),
		bare("x_mdat_first", "a box of 2^62 bytes before everything", func() []byte {
			return cat(sizedBox("mdat", 1), be64(1<<62), zeroes(1000))
		}),
	}
}

// ebmlElements are Matroska files with absurd elements.
func ebmlElements() []hostile {
	mkv := func(id, tries string, ends []pipeline.Code, harmless string, build func(w webm) []byte) hostile {
		return hostile{id: id, ext: "mkv", tries: tries, ends: ends, harmless: harmless,
			from: []string{"x_vp8.ivf"}, build: ofVP8(func(_ lab, frames [][]byte) []byte {
				return build(webm{frames: frames, kind: "matroska"})
			})}
	}
	return []hostile{
		mkv("x_ebml_unknown", "a segment and clusters of unknown size", nil, "live recordings are like that",
			func(w webm) []byte {
				parts := bytes.ReplaceAll(w.parts(), be32(mkCluster), be32(mkCluster))
				return cat(w.head(), ebmlHead(mkSegment, ebmlUnknown), parts)
			}),
		mkv("x_ebml_nest", "10,000 nested chapters of unknown size", malformed, skipped, func(w webm) []byte {
			atoms := bytes.Repeat(ebmlHead(0xb6, ebmlUnknown), 10_000)
			w.middle = ebml(mkChapters, ebml(0x45b9, atoms))
			return w.bytes()
		}),
		mkv("x_ebml_segments", "10,000 nested segments", either(malformed, noPicture), skipped,
			func(w webm) []byte {
				return cat(w.head(), bytes.Repeat(ebmlHead(mkSegment, ebmlUnknown), 10_000), w.parts())
			}),
		mkv("x_ebml_void", "a void of 2^56 bytes before the tracks", malformed, skipped, func(w webm) []byte {
			return cat(w.head(), ebmlHead(mkSegment, ebmlUnknown), ebmlHead(mkVoid, 1<<56-2), w.parts())
		}),
		mkv("x_ebml_large", "a codec's data of 2^55 bytes", malformed, skipped, func(w webm) []byte {
			w.entry = ebmlHead(mkPrivate, 1<<55)
			return w.bytes()
		}),
		mkv("x_ebml_zero", "elements with the id 0", malformed, skipped, func(w webm) []byte {
			w.middle = zeroes(10_000)
			return w.bytes()
		}),
		mkv("x_ebml_voids", "200,000 empty voids", nil, skipped, func(w webm) []byte {
			w.middle = bytes.Repeat([]byte{mkVoid, 0x80}, 200_000)
			return w.bytes()
		}),
		mkv("x_ebml_seek", "10,000 seek entries that point to each other", nil, skipped, func(w webm) []byte {
			entry := ebml(0x4dbb, ebml(0x53ab, be32(0x114d9b74)), ebmlUint(0x53ac, 0))
			w.middle = ebml(0x114d9b74, bytes.Repeat(entry, 10_000))
			return w.bytes()
		}),
		mkv("x_ebml_cues", "100,000 cues to nowhere", nil, skipped, func(w webm) []byte {
			where := ebml(0xb7, ebmlUint(0xf7, 1), ebmlUint(0xf1, 1<<50))
			w.middle = ebml(0x1c53bb6b, bytes.Repeat(ebml(0xbb, ebmlUint(0xb3, 0), where), 100_000))
			return w.bytes()
		}),
		mkv("x_ebml_lacing", "a block with more laced frames than bytes", malformed, skipped, func(w webm) []byte {
			laced := cat([]byte{0x81, 0, 0, 0x86, 0xff}, times("\xff", 20))
			w.frames = nil
			return cat(w.bytes(), ebml(mkCluster, ebmlUint(mkTime, 0), ebml(mkSimpleBlock, laced)))
		}),
	}
}

// strange are texts that harm whoever prints them: escape sequences, a NUL, broken UTF-8, a change of
// direction, and a page.
const strange = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00\xff\xfe\xe2\x80\xae" + mark

// gone says why a file with hostile texts is right to be ready.
const gone = "it goes into no output"

// tagged are videos with hostile tags, chapters, covers and attachments.
func tagged() []hostile { return slices.Concat(taggedMP4(), taggedCodecs(), taggedMatroska()) }

// taggedMP4 are movies with hostile tags and covers.
func taggedMP4() []hostile {
	meta := func(entries ...[]byte) []byte {
		handler := fullBox("hdlr", 0, 0, be32(0), []byte("mdirappl"), zeroes(9))
		return boxed("udta", fullBox("meta", 0, 0, handler, boxed("ilst", entries...)))
	}
	tag := func(name string, value []byte) []byte { return boxed(name, fullBox("data", 0, 1, be32(0), value)) }
	mp4 := func(id, tries string, box func(l lab) []byte) hostile {
		return hostile{id: id, tries: tries, harmless: gone, from: []string{"x_av.mp4"},
			build: edited(func(l lab, m *movie) {
				m.at("moov").drop("udta")
				m.at("moov").add(box(l))
			})}
	}
	return []hostile{
		mp4("x_tag_escape", "a title with escape sequences, NUL, broken UTF-8 and a page", func(lab) []byte {
			return meta(tag("\xa9nam", []byte(strange)), tag("\xa9cmt", []byte(strange)))
		}),
		mp4("x_tag_urls", "tags with file:, data: and http: URLs", func(l lab) []byte {
			return meta(tag("\xa9nam", l.fill("WEB/x")), tag("\xa9lyr", l.fill("file://SECRET")),
				tag("purl", l.fill("WEB/feed")), tag("\xa9cmt", []byte("data:text/html,"+mark)))
		}),
		mp4("x_tag_1mb", "a title of a megabyte", func(lab) []byte {
			return meta(tag("\xa9nam", times("A", 1<<20)))
		}),
		mp4("x_tags_100k", "100,000 tags", func(lab) []byte {
			return meta(bytes.Repeat(tag("\xa9nam", []byte("x")), 100_000))
		}),
		mp4("x_tag_size", "a tag that claims 4 GB", func(lab) []byte {
			return meta(sizedBox("\xa9nam", math.MaxUint32, zeroes(20)))
		}),
		mp4("x_cover_bomb", "a cover of 400 MP", func(lab) []byte {
			return meta(boxed("covr", fullBox("data", 0, 14, be32(0), blackPNG(20000, 20000))))
		}),
		mp4("x_cover_svg", "a cover that is an SVG with links", func(l lab) []byte {
			return meta(boxed("covr", fullBox("data", 0, 13, be32(0), l.fill(svg))))
		}),
		mp4("x_place", "a place, and a device's name", func(lab) []byte {
			return boxed("udta", boxed("\xa9xyz", be16(20, 0x15c7), []byte("+48.8577+002.295/"+mark)))
		}),
	}
}

// taggedCodecs are files whose tracks and codecs have hostile names.
func taggedCodecs() []hostile {
	return []hostile{
		{id: "x_handler", tries: "a handler's name with a page", harmless: gone, from: []string{"x_av.mp4"},
			build: edited(func(_ lab, m *movie) {
				hdlr := m.at("moov/trak/mdia/hdlr")
				hdlr.set(hdlr.data[:24], []byte(strange), []byte{0})
			})},
		{id: "x_fourcc", tries: "a codec named ESC [2J", ends: noCodec, from: []string{"x_v.mp4"},
			build: edited(func(_ lab, m *movie) { m.at(firstTable+"stsd").put(12, []byte("\x1b[2J")) })},
		{id: "x_codec_id", ext: "mkv", tries: "a codec named like a page", ends: noCodec,
			from: []string{"x_vp8.ivf"}, build: ofVP8(func(_ lab, frames [][]byte) []byte {
				b := webm{frames: frames, kind: "matroska"}.bytes()
				return bytes.Replace(b, ebml(mkCodec, []byte("V_VP8")), ebml(mkCodec, []byte("V_<b>")), 1)
			})},
	}
}

// taggedMatroska are Matroska files with hostile languages, tags, chapters and attachments.
func taggedMatroska() []hostile {
	mkv := func(id, tries string, ends []pipeline.Code, change func(w *webm)) hostile {
		return hostile{id: id, ext: "mkv", tries: tries, ends: ends, harmless: gone, from: []string{"x_vp8.ivf"},
			build: ofVP8(func(_ lab, frames [][]byte) []byte {
				w := webm{frames: frames, kind: "matroska"}
				change(&w)
				return w.bytes()
			})}
	}
	attached := func(name, kind string, data []byte) []byte {
		return ebml(mkAttached, ebml(0x466e, []byte(name)), ebml(0x4660, []byte(kind)), ebml(0x465c, data),
			ebmlUint(0x46ae, 1))
	}
	simple := func(name string, value []byte) []byte {
		return ebml(0x67c8, ebml(0x45a3, []byte(name)), ebml(0x4487, value))
	}
	return []hostile{
		mkv("x_lang", "a track's language that climbs", nil, func(w *webm) {
			w.entry = cat(ebml(0x22b59c, []byte("../../x"+strange)), ebml(0x536e, []byte(strange)))
		}),
		mkv("x_mkv_tags", "tags with a page, 1,000 deep", nil, func(w *webm) {
			inside := simple("TITLE", []byte(strange))
			for range 1000 {
				inside = ebml(0x67c8, ebml(0x45a3, []byte("A")), inside)
			}
			w.middle = ebml(mkTags, ebml(0x7373, simple("TITLE", []byte(strange)), inside))
		}),
		mkv("x_mkv_tags_100k", "100,000 tags", nil, func(w *webm) {
			w.middle = ebml(mkTags, ebml(0x7373, bytes.Repeat(simple("T", []byte("x")), 100_000)))
		}),
		mkv("x_chapters_100k", "100,000 chapters", nil, func(w *webm) {
			chapter := ebml(0xb6, ebmlUint(0x73c4, 1), ebmlUint(0x91, 0), ebml(0x80, ebml(0x85, []byte(mark))))
			w.middle = ebml(mkChapters, ebml(0x45b9, bytes.Repeat(chapter, 100_000)))
		}),
		mkv("x_attach_climb", "attachments named ../../x, with a program and a font", nil, func(w *webm) {
			w.middle = ebml(mkAttachments, attached("../../../../x", "application/x-sh", []byte("#!/bin/sh\n"+mark)),
				attached("/tmp/x.exe", "application/octet-stream", []byte("MZ"+mark)),
				attached("x.ttf", "application/x-truetype-font", garbage(10_000)))
		}),
		mkv("x_attach_100", "100 attachments", outside, func(w *webm) {
			w.middle = ebml(mkAttachments, bytes.Repeat(attached("x", "text/plain", []byte("x")), 100))
		}),
		mkv("x_attach_claim", "an attachment that claims 2^50 bytes", either(malformed), func(w *webm) {
			w.middle = ebml(mkAttachments, ebml(mkAttached, ebml(0x466e, []byte("x")), ebmlHead(0x465c, 1<<50)))
		}),
		mkv("x_styles", "subtitles with 5 MB of styles", nil, func(w *webm) {
			style := "Style: A,../../x,9999,&H0,&H0,&H0,&H0,0,0,0,0,1e9,1e9,0,0,1,99,99,2,9,9,9,1\n"
			w.track = ebml(mkEntry, ebmlUint(mkNumber, 2), ebmlUint(mkUID, 2), ebmlUint(mkType, 17),
				ebml(mkCodec, []byte("S_TEXT/ASS")), ebml(mkPrivate, []byte("[V4+ Styles]\n"), times(style, 64_000)))
		}),
	}
}
