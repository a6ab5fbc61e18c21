package userimage

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// This file makes pictures that no encoder makes.

// chunk returns a chunk of a PNG.
func chunk(name string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, name...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// ihdr returns the header of a PNG.
func ihdr(w, h int, depth, colour, interlace byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(w))
	b = binary.BigEndian.AppendUint32(b, uint32(h))
	return chunk("IHDR", append(b, depth, colour, 0, 0, interlace))
}

const pngMagic = "\x89PNG\r\n\x1a\n"

// pngOf joins chunks to a PNG.
func pngOf(chunks ...[]byte) []byte { return append([]byte(pngMagic), slices.Concat(chunks...)...) }

// segment returns a segment of a JPEG.
func segment(marker byte, data ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(data)+2))
	return append(b, data...)
}

// sof returns the frame header of a JPEG; factors are the sampling factors of its colours.
func sof(marker byte, w, h int, factors ...byte) []byte {
	b := []byte{8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), byte(len(factors))}
	for i, f := range factors {
		b = append(b, byte(i+1), f, 0)
	}
	return segment(marker, b...)
}

// bitString packs the digits 0 and 1, and ends with ones, as a scan of a JPEG does.
type bitString struct {
	bytes []byte
	free  int
}

func (b *bitString) add(digits string) {
	for _, d := range digits {
		if b.free == 0 {
			b.bytes, b.free = append(b.bytes, 0xff), 8
		}
		b.free--
		if d == '0' {
			b.bytes[len(b.bytes)-1] &^= 1 << b.free
		}
	}
}

// data returns the bytes, with a zero after each 0xff.
func (b *bitString) data() []byte { return bytes.ReplaceAll(b.bytes, []byte{0xff}, []byte{0xff, 0}) }

// progressive returns a grey progressive JPEG with so many scans: one that sets the brightness of the whole
// picture to 228, and others that find nothing to refine, and still visit each block.
func progressive(w, h, scans int) []byte {
	blocks := (w + 7) / 8 * ((h + 7) / 8)
	var dc, ac bitString
	dc.add("10" + "1100100") // a difference of 7 bits: 100
	for range blocks - 1 {
		dc.add("0") // no difference
	}
	for left := blocks; left > 0; left -= 32767 {
		ac.add("0" + "11111111111111") // the next 32767 blocks end here
	}
	quant := append([]byte{0}, bytes.Repeat([]byte{8}, 64)...)
	b := slices.Concat([]byte{0xff, 0xd8}, segment(0xdb, quant...), sof(0xc2, w, h, 0x11),
		segment(0xc4, append([]byte{0x00, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 7)...),
		segment(0xc4, append([]byte{0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0xe0)...),
		segment(0xda, 1, 1, 0x00, 0, 0, 0), dc.data())
	one := append(segment(0xda, 1, 1, 0x00, 1, 63, 0), ac.data()...)
	b = append(b, bytes.Repeat(one, scans-1)...)
	return append(b, 0xff, 0xd9)
}

// riff returns a WebP of chunks.
func riff(chunks ...[]byte) []byte {
	b := slices.Concat(chunks...)
	return slices.Concat([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(len(b)+4)), []byte("WEBP"), b)
}

// webpChunk returns a chunk of a WebP.
func webpChunk(name string, data []byte) []byte {
	b := append(binary.LittleEndian.AppendUint32([]byte(name), uint32(len(data))), data...)
	return append(b, make([]byte, len(data)%2)...)
}

// lossless returns the chunk of a lossless picture; it has only a header.
func lossless(w, h int) []byte {
	return webpChunk("VP8L", binary.LittleEndian.AppendUint32([]byte{0x2f}, uint32(w-1)|uint32(h-1)<<14))
}

// lossy returns the chunk of a lossy picture; it has only a header.
func lossy(w, h int) []byte {
	return webpChunk("VP8 ", []byte{0, 0, 0, 0x9d, 1, 0x2a, byte(w), byte(w >> 8), byte(h), byte(h >> 8)})
}

// canvas returns the header of an extended WebP.
func canvas(flags byte, w, h int) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{flags, 0, 0, 0}, uint32(w-1)|uint32(h-1)<<24)
	return webpChunk("VP8X", append(b, byte((h-1)>>8), byte((h-1)>>16)))
}

// drawn returns a picture that ffmpeg encodes from the given source and options.
func drawn(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	args = slices.Concat([]string{"-v", "error", "-f", "lavfi"}, args, []string{"-frames:v", "1", "-y", path})
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// deflated returns a chunk IDAT of so many equal bytes, compressed.
func deflated(t testing.TB, value byte, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	row := bytes.Repeat([]byte{value}, 1<<16)
	for ; n > 0; n -= len(row) {
		if _, err := z.Write(row[:min(n, len(row))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return chunk("IDAT", b.Bytes())
}

// fourColours returns a JPEG of four colours, as Adobe's programs write it; transform 0 is CMYK, 2 is YCCK.
func fourColours(transform byte) []byte {
	var dc bitString
	for _, difference := range []string{"1100100", "0010011", "1000000", "0111111"} {
		dc.add("10" + difference)
	}
	dc.add("0000" + "0000" + "0000") // the other three blocks
	quant := append([]byte{0}, bytes.Repeat([]byte{5}, 64)...)
	return slices.Concat([]byte{0xff, 0xd8}, segment(0xee, append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), transform)...),
		segment(0xdb, quant...), sof(0xc2, 16, 16, 0x11, 0x11, 0x11, 0x11),
		segment(0xc4, append([]byte{0x00, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 7)...),
		segment(0xda, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 0, 0), dc.data(), []byte{0xff, 0xd9})
}
