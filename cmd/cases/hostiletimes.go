package main

import (
	"bytes"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
)

// either joins codes, of which each may be the end.
func either(codes ...[]pipeline.Code) (all []pipeline.Code) {
	for _, c := range codes {
		all = append(all, c...)
	}
	return all
}

// edits writes an edit list of version 1: duration, media time and rate of each edit (ISO/IEC 14496-12,
// 8.6.6).
func edits(list ...[3]int64) []byte {
	var b []byte
	for _, e := range list {
		b = append(b, cat(be64(uint64(e[0]), uint64(e[1])), be32(uint32(e[2])))...)
	}
	return boxed("edts", fullBox("elst", 1, 0, be32(uint32(len(list))), b))
}

// normal is the rate of an edit that plays normally.
const normal = 0x10000

// counted says why a file that claims an absurd length is right to be ready.
const counted = "the times of the frames count"

// lengths are files with absurd lengths and times.
func lengths() []hostile {
	return slices.Concat(claimedLengths(), editLists(), extremeTimes(), matroskaTimes(), wrappedTimes())
}

// claimedLengths are movies that claim absurd lengths.
func claimedLengths() []hostile {
	ready := func(id, tries string, change func(l lab, m *movie)) hostile {
		return hostile{id: id, tries: tries, harmless: counted, from: []string{"x_v.mp4"}, build: edited(change)}
	}
	claim := func(length uint32) func(lab, *movie) {
		return func(_ lab, m *movie) {
			m.at("moov/mvhd").put(16, be32(length))
			m.at("moov/trak/tkhd").put(20, be32(length))
			m.at("moov/trak/mdia/mdhd").put(16, be32(length))
			m.at("moov/trak").drop("edts")
		}
	}
	return []hostile{
		ready("x_len_zero", "a length of 0", claim(0)),
		ready("x_len_minus", "a length of -1", claim(math.MaxUint32)),
		ready("x_len_2_31", "a length of 2^31", claim(1<<31)),
		ready("x_len_2_63", "a length of 2^63", func(_ lab, m *movie) {
			m.at("moov/trak/mdia/mdhd").set(be32(1<<24), be64(0, 0), be32(12800), be64(1<<63), be32(0))
			m.at("moov/trak").drop("edts")
		}),
		{id: "x_len_decade", tries: "three pictures in ten years", ends: tooLong,
			build: fromNothing(func() []byte { return filmed(tiny(), 1, 105_000_000, 3) })},
	}
}

// editLists are movies with absurd edit lists.
func editLists() []hostile {
	const ignored = "the edit is ignored"
	edit := func(id, tries, harmless string, ends []pipeline.Code, list ...[3]int64) hostile {
		return hostile{id: id, tries: tries, harmless: harmless, ends: ends, from: []string{"x_v.mp4"},
			build: edited(func(_ lab, m *movie) {
				m.at("moov/trak").drop("edts")
				m.at("moov/trak").add(edits(list...))
			})}
	}
	many := func(n int, e ...[3]int64) (list [][3]int64) {
		for i := range n {
			list = append(list, e[i%len(e)])
		}
		return list
	}
	return []hostile{
		edit("x_edit_loop", "an edit list that plays a second 10,000 times", "", malformed,
			many(10_000, [3]int64{1000, 0, normal})...),
		edit("x_edit_repeat", "an edit list that plays a second twice", "repetition is what edit lists are for",
			nil, many(2, [3]int64{1000, 0, normal})...),
		edit("x_edit_slices", "10,000 edits of a tick each", "", malformed,
			many(10_000, [3]int64{0, 512, normal}, [3]int64{1, 1024, normal})...),
		edit("x_edit_empty", "10,000 empty edits of 100 hours", "", malformed,
			many(10_000, [3]int64{360_000_000, -1, normal})...),
		edit("x_edit_negative", "an edit that begins at -5", ignored, nil, [3]int64{1000, -5, normal}),
		edit("x_edit_least", "an edit that begins at -2^63", ignored, malformed,
			[3]int64{1000, math.MinInt64, normal}),
		edit("x_edit_most", "an edit of 2^63 - 1 at 2^63 - 1", ignored, malformed,
			[3]int64{math.MaxInt64, math.MaxInt64, normal}),
		edit("x_edit_beyond", "an edit behind the end", ignored, malformed, [3]int64{1000, 1 << 40, normal}),
		edit("x_edit_still", "an edit at rate 0", "the rate is ignored", nil, [3]int64{1000, 0, 0}),
		edit("x_edit_backwards", "an edit at rate -1", "the rate is ignored", nil, [3]int64{1000, 0, -normal}),
		{id: "x_edit_count", tries: "an edit list of 2^32 - 1 entries in 20 bytes", ends: malformed,
			from: []string{"x_v.mp4"}, build: edited(func(_ lab, m *movie) {
				m.at("moov/trak").drop("edts")
				m.at("moov/trak").add(boxed("edts", fullBox("elst", 1, 0, be32(math.MaxUint32), zeroes(20))))
			})},
	}
}

// extremeTimes are movies whose pictures are shown at the least and the greatest times.
func extremeTimes() []hostile {
	return []hostile{{id: "x_ctts_extreme", tries: "pictures shown 2^31 ticks earlier and later",
		ends: either(tooLong, malformed), harmless: counted, build: fromNothing(func() []byte {
			f := film(reel{entry: tiny().entry(), timescale: 12800, delta: 512, samples: tiny().samples(24)})
			m := parseMovie(f)
			m.at("moov/trak/mdia/minf/stbl").add(fullBox("ctts", 1, 0, be32(2, 12, 0x80000000, 12, 0x7fffffff)))
			b, _ := m.bytes() // it was made just now
			return b
		})}}
}

// matroskaTimes are Matroska files with absurd times and clocks.
func matroskaTimes() []hostile {
	mkv := func(id, tries string, ends []pipeline.Code, harmless string, change func(w *webm)) hostile {
		return hostile{id: id, ext: "webm", tries: tries, ends: ends, harmless: harmless,
			from: []string{"x_vp8.ivf"}, build: ofVP8(func(_ lab, frames [][]byte) []byte {
				w := webm{frames: frames}
				change(&w)
				return w.bytes()
			})}
	}
	at := func(time func(i int) int64) func(w *webm) {
		return func(w *webm) {
			for i := range w.frames {
				w.times = append(w.times, time(i))
			}
		}
	}
	float := func(v float64) func(w *webm) {
		return func(w *webm) { w.info = ebml(0x4489, be64(math.Float64bits(v))) }
	}
	return []hostile{
		mkv("x_mkv_late", "pictures at 2^62 ms", malformed, "",
			at(func(i int) int64 { return 1<<62 + int64(i)*40 })),
		mkv("x_mkv_negative", "pictures at -2^63 ms", either(tooLong, malformed),
			"the time before the first picture is left out",
			at(func(i int) int64 { return math.MinInt64 + int64(i)*40 })),
		mkv("x_mkv_apart", "a picture now, and one in 2^50 ms", tooLong, "",
			at(func(i int) int64 { return int64(i/20) << 50 })),
		mkv("x_mkv_backwards", "pictures in the reverse order", malformed, "they are shown by their times",
			at(func(i int) int64 { return 4000 - int64(i)*40 })),
		mkv("x_mkv_equal", "all pictures at the same time", malformed, "one of them is shown",
			at(func(int) int64 { return 1000 })),
		mkv("x_mkv_len_nan", "a length that is no number", nil, counted, float(math.NaN())),
		mkv("x_mkv_len_inf", "an infinite length", nil, counted, float(math.Inf(1))),
		mkv("x_mkv_len_minus", "a negative length", nil, counted, float(-1e300)),
		mkv("x_mkv_scale_zero", "a clock without ticks", malformed, "the default clock counts", func(w *webm) {
			w.info = ebmlUint(mkScale, 0)
		}),
		mkv("x_mkv_scale_max", "a clock of 2^63 ns", either(tooLong, malformed),
			"only the first picture is in reach", func(w *webm) { w.info = ebmlUint(mkScale, 1<<63) }),
	}
}

// wrappedTimes are files whose clocks start again.
func wrappedTimes() []hostile {
	const continued = "the times are continued"
	return []hostile{
		{id: "x_ts_wrap", ext: "ts", tries: "times that start again at 2^33", harmless: continued,
			from: []string{"x_wrap.ts"}, build: asIs},
		{id: "x_flv_wrap", ext: "flv", tries: "times at the end of 32 bits", ends: tooLong, harmless: continued,
			from: []string{"x_small.flv"}, build: lateFLV},
	}
}

// lateFLV moves the last tags of an FLV file to the end of time.
func lateFLV(_ lab, in [][]byte) ([]byte, error) {
	b := bytes.Clone(in[0])
	for at, n := 13, 0; at+15 < len(b); n++ {
		size := int(b[at+1])<<16 | int(b[at+2])<<8 | int(b[at+3])
		if n > 12 {
			b[at+7] = 0x7f
		}
		at += size + 15
	}
	return b, nil
}

// tables are MP4 files whose tables contradict each other, or the file.
func tables() []hostile {
	const shown = "the samples that are there are used"
	table := func(id, tries, box string, ends []pipeline.Code, harmless string, content ...[]byte) hostile {
		return hostile{id: id, tries: tries, ends: ends, harmless: harmless, from: []string{"x_v.mp4"},
			build: edited(func(_ lab, m *movie) {
				stbl := m.at("moov/trak/mdia/minf/stbl")
				stbl.drop(box)
				if box == "co64" {
					stbl.drop("stco")
				}
				stbl.add(boxed(box, content...))
			})}
	}
	rows := func(n int, row []byte) []byte { return bytes.Repeat(row, n) }
	return []hostile{
		table("x_stts_count", "2^32 - 1 entries of times in 16 bytes", "stts", either(malformed, outside), shown,
			be32(0, math.MaxUint32, 25, 512)),
		table("x_stts_samples", "2^32 - 1 samples by the times", "stts", malformed, shown,
			be32(0, 1, math.MaxUint32, 512)),
		table("x_stts_negative", "times that go backwards", "stts", either(malformed, outside), shown,
			be32(0, 1, 25, 0xffffff00)),
		table("x_stts_zero", "pictures without duration", "stts", malformed, shown, be32(0, 1, 25, 0)),
		table("x_stsz_count", "2^31 sizes in 16 bytes", "stsz", malformed, "", be32(0, 0, 1<<31, 100)),
		table("x_stsz_uniform", "2^32 - 1 samples of a byte", "stsz", malformed, "", be32(0, 1, math.MaxUint32)),
		table("x_stsz_20m", "20,000,000 samples of a byte", "stsz", malformed, "", be32(0, 1, 20_000_000)),
		table("x_stsz_large", "samples of 2^31 - 1 bytes", "stsz", malformed, "", be32(0, 0, 25),
			rows(25, be32(math.MaxInt32))),
		table("x_stsz_zero", "samples without bytes", "stsz", malformed, "", be32(0, 0, 25), zeroes(100)),
		table("x_stco_beyond", "samples behind the end of the file", "stco", malformed, "", be32(0, 1, 0xfffffff0)),
		table("x_stco_count", "2^32 - 1 chunks in 8 bytes", "stco", either(malformed, outside), shown,
			be32(0, math.MaxUint32, 48)),
		table("x_stco_index", "samples in the index itself", "stco", malformed, "", be32(0, 1, 0)),
		table("x_co64_huge", "samples at 2^63 - 1", "co64", malformed, "", be32(0, 1), be64(math.MaxInt64)),
		table("x_co64_minus", "samples at -1", "co64", malformed, "", be32(0, 1), be64(math.MaxUint64)),
		table("x_stsc_max", "2^32 - 1 samples in a chunk", "stsc", malformed, shown,
			be32(0, 1, 1, math.MaxUint32, 1)),
		table("x_stsc_order", "chunks in disorder", "stsc", malformed, shown,
			be32(0, 3, 9, 1, 1, 3, 5, 1, 1, 25, 1)),
		table("x_stsc_entry", "a sample description that is not there", "stsc", malformed, shown,
			be32(0, 1, 1, 25, 999)),
		table("x_stss_beyond", "keyframes that are not there", "stss", nil, shown,
			be32(0, 3, 1, 1000, math.MaxUint32)),
		table("x_stsd_none", "no sample description", "stsd", either(malformed, noCodec, noPicture), "",
			be32(0, 0)),
		table("x_stsd_count", "2^31 sample descriptions", "stsd", malformed, "", be32(0, 1<<31)),
		{id: "x_overlap_5h", tries: "five hours of a picture that 450,000 samples share", ends: malformed,
			build: fromNothing(func() []byte { return shared(450_000) })},
		{id: "x_overlap_10h", tries: "ten hours of the same", ends: either(tooLong, malformed),
			build: fromNothing(func() []byte { return shared(900_000) })},
		{id: "x_trun_count", tries: "2^31 - 1 samples in a fragment of 100 bytes", ends: malformed, harmless: shown,
			from: []string{"x_frag.mp4"}, build: edited(func(_ lab, m *movie) {
				m.at("moof/traf/trun").put(4, be32(math.MaxInt32))
			})},
		{id: "x_trun_offset", tries: "a fragment whose samples lie before the file", ends: malformed,
			harmless: shown, from: []string{"x_frag.mp4"}, build: edited(func(_ lab, m *movie) {
				m.at("moof/traf/trun").put(8, be32(0x80000000))
			})},
		{id: "x_tfdt_max", tries: "a fragment at 2^64 - 1", ends: either(malformed, tooLong), harmless: shown,
			from: []string{"x_frag.mp4"}, build: edited(func(_ lab, m *movie) {
				m.at("moof/traf/tfdt").set(be32(1<<24), be64(math.MaxUint64))
			})},
	}
}

// shared is a film whose n samples are all the same bytes.
func shared(n int) []byte {
	sample := tiny().samples(1)[0]
	m := parseMovie(film(reel{entry: tiny().entry(), timescale: 25, delta: 1, samples: [][]byte{sample},
		count: uint32(n)}))
	stbl := m.at("moov/trak/mdia/minf/stbl")
	at := m.at(firstTable + "stco").data[8:]
	stbl.drop("stco")
	stbl.drop("stsz")
	stbl.drop("stsc")
	stbl.add(fullBox("stsc", 0, 0, be32(1, 1, 1, 1)))
	stbl.add(fullBox("stsz", 0, 0, be32(uint32(len(sample)), uint32(n))))
	stbl.add(fullBox("stco", 0, 0, be32(uint32(n)), bytes.Repeat(at, n)))
	b, _ := m.bytes() // it was made just now
	return b
}
