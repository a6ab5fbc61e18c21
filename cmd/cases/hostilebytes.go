package main

import (
	"bytes"
	"compress/zlib"
	"hash/crc32"
	"math"
	"math/bits"
)

// packed compresses with zlib.
func packed(data []byte) []byte {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes all
	}
	return b.Bytes()
}

// bitString writes bits, highest first.
type bitString struct {
	b []byte
	n int
}

func (s *bitString) put(width int, value uint64) *bitString {
	for i := width - 1; i >= 0; i-- {
		if s.n%8 == 0 {
			s.b = append(s.b, 0)
		}
		s.b[s.n/8] |= byte(value>>i&1) << (7 - s.n%8)
		s.n++
	}
	return s
}

// golomb writes numbers as H.264 does (ISO/IEC 14496-10, 9.1).
func (s *bitString) golomb(numbers ...uint64) *bitString {
	for _, n := range numbers {
		width := bits.Len64(n + 1)
		s.put(2*width-1, n+1)
	}
	return s
}

// unit ends a NAL unit, and escapes what looks like a start code.
func (s *bitString) unit(head ...byte) []byte {
	s.put(1, 1)
	out, zeros := head, 0
	for _, b := range s.b {
		if zeros >= 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		if out = append(out, b); b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// h264Film is H.264 that is made from nothing: grey pictures, then pictures that repeat them.
type h264Film struct {
	width, height, refs uint64 // in macroblocks; pictures
}

// sets returns SPS and PPS (7.3.2).
func (f h264Film) sets() (sps, pps []byte) {
	s := new(bitString).put(8, 66).put(8, 0).put(8, 62).golomb(0, 4, 2, f.refs).put(1, 0).
		golomb(f.width-1, f.height-1).put(4, 0b1100)
	p := new(bitString).golomb(0, 0).put(2, 0).golomb(0, 0, 0).put(3, 0).golomb(0, 0, 0).put(3, 0)
	return s.unit(0x67), p.unit(0x68)
}

// idr returns a picture of grey (7.3.3 to 7.3.5): every macroblock predicts the mean, and has no residual.
func (f h264Film) idr() []byte {
	s := new(bitString).golomb(0, 7, 0).put(8, 0).golomb(0).put(2, 0).golomb(0)
	for range f.width * f.height {
		s.golomb(3, 0, 0).put(1, 1)
	}
	return s.unit(0x65)
}

// repeat returns a picture that repeats the one before.
func (f h264Film) repeat(number uint64) []byte {
	s := new(bitString).golomb(0, 5, 0).put(8, number&0xff).put(3, 0).golomb(0, f.width*f.height)
	return s.unit(0x41)
}

// entry returns the sample description of the film.
func (f h264Film) entry() []byte {
	sps, pps := f.sets()
	avcC := cat([]byte{1, sps[1], sps[2], sps[3], 0xff, 0xe1}, be16(uint16(len(sps))), sps, []byte{1},
		be16(uint16(len(pps))), pps)
	return visual("avc1", uint16(min(f.width*16, 65535)), uint16(min(f.height*16, 65535)), boxed("avcC", avcC))
}

// samples returns n pictures for an MP4.
func (f h264Film) samples(n int) [][]byte {
	prefixed := func(u []byte) []byte { return cat(be32(uint32(len(u))), u) }
	all := [][]byte{prefixed(f.idr())}
	for i := 1; i < n; i++ {
		all = append(all, prefixed(f.repeat(uint64(i))))
	}
	return all
}

// pngChunk writes a chunk of a PNG.
func pngChunk(name string, data []byte) []byte {
	body := cat([]byte(name), data)
	return cat(be32(uint32(len(data))), body, be32(crc32.ChecksumIEEE(body)))
}

// blackPNG makes a PNG with 1 bit a pixel, all black.
func blackPNG(width, height uint32) []byte {
	rows := zeroes(int((width/8 + 1) * height))
	return cat([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", cat(be32(width, height), []byte{1, 0, 0, 0, 0})),
		pngChunk("IDAT", packed(rows)), pngChunk("IEND", nil))
}

// riff writes a chunk of RIFF.
func riff(name string, parts ...[]byte) []byte {
	inside := cat(parts...)
	size := len(inside)
	if size%2 == 1 {
		inside = append(inside, 0)
	}
	return cat([]byte(name), le32(uint32(size)), inside)
}

// avi makes an AVI of one video track.
type avi struct {
	codec         string
	width, height uint32
	scale, rate   uint32
	bits          uint16
	extra         []byte // after the header of the bitmap
	frames        [][]byte
	index         []byte // idx1, in place of the right one
	more          []byte // chunks before movi
}

func (a avi) bytes() []byte {
	n := uint32(len(a.frames))
	head := riff("avih", le32(40000, 0, 0, 0x10, n, 0, 1, 0, a.width, a.height, 0, 0, 0, 0))
	strh := riff("strh", []byte("vids"), []byte(a.codec), le32(0, 0, 0, a.scale, a.rate, 0, n, 0, 0, 0, 0, 0))
	strf := riff("strf", le32(uint32(40+len(a.extra)), a.width, a.height), le16(1, a.bits), []byte(a.codec),
		le32(0, 0, 0, 0, 0), a.extra)
	var movi, index []byte
	for _, f := range a.frames {
		index = append(index, cat([]byte("00dc"), le32(0x10, uint32(len(movi)+4), uint32(len(f))))...)
		movi = append(movi, riff("00dc", f)...)
	}
	if a.index != nil {
		index = a.index
	}
	return riff("RIFF", []byte("AVI "),
		riff("LIST", []byte("hdrl"), head, riff("LIST", []byte("strl"), strh, strf)), a.more,
		riff("LIST", []byte("movi"), movi), riff("idx1", index))
}

// flvTag writes a tag of FLV at the time 0 (Adobe FLV 10.1, E.4.1).
func flvTag(kind byte, data []byte) []byte {
	n := uint32(len(data))
	return cat([]byte{kind}, be32(n)[1:], zeroes(7), data, be32(n+11))
}

// flvHead begins an FLV file with video.
func flvHead() []byte { return []byte("FLV\x01\x01\x00\x00\x00\x09\x00\x00\x00\x00") }

// oggPage writes a page (RFC 3533, 6), of up to 255 bytes in one packet unless lacing says otherwise.
func oggPage(flags byte, granule uint64, serial, sequence uint32, lacing, data []byte) []byte {
	if lacing == nil {
		lacing = []byte{byte(len(data))}
	}
	page := cat([]byte("OggS\x00"), []byte{flags}, le64(granule), le32(serial, sequence, 0),
		[]byte{byte(len(lacing))}, lacing, data)
	copy(page[22:], le32(checksum(0, page)))
	return page
}

// checksum is CRC-32 without reflection, from a start value: 0 for pages of Ogg, ones for sections of MPEG.
func checksum(sum uint32, data []byte) uint32 {
	for _, b := range data {
		sum ^= uint32(b) << 24
		for range 8 {
			carry := sum >> 31
			sum = sum<<1 ^ carry*0x04c11db7
		}
	}
	return sum
}

// tsPacket writes a packet of a transport stream in which a payload starts (ISO/IEC 13818-1, 2.4.3.2).
func tsPacket(pid uint16, counter byte, payload []byte) []byte {
	p := cat([]byte{0x47}, be16(0x4000|pid), []byte{0x10 | counter&15}, payload)
	return append(p, bytes.Repeat([]byte{0xff}, 188-len(p))...)
}

// tsTable writes a section of a table with its checksum, as the payload of a packet.
func tsTable(id byte, extension uint16, body []byte) []byte {
	section := cat([]byte{id}, be16(0xb000|uint16(len(body)+9)), be16(extension), []byte{0xc1, 0, 0}, body)
	return cat([]byte{0}, section, be32(checksum(math.MaxUint32, section)))
}

// id3Frame writes a frame of ID3v2.
func id3Frame(name string, data []byte) []byte {
	return cat([]byte(name), be32(uint32(len(data))), []byte{0, 0}, data)
}

// id3 writes a tag that claims a size.
func id3(claim int, frames ...[]byte) []byte {
	return cat([]byte("ID3\x03\x00\x00"), []byte{byte(claim >> 21 & 127), byte(claim >> 14 & 127),
		byte(claim >> 7 & 127), byte(claim & 127)}, cat(frames...))
}
