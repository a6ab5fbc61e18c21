package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/minio/highwayhash"
)

// A file of a stream is a sequence of records (nats-server 2.15, server/filestore.go, writeMsgRecordLocked):
//
//	bytes       length of the record (uint32), whose highest bit says that there are headers
//	4 to 12     sequence (uint64); its two highest bits mark records of removed messages
//	12 to 20    time (int64, ns)
//	20 to 22    length of the subject (uint16)
//	22 ...      subject; if there are headers their length (uint32) and they; the message
//	last 8      HighwayHash-64 of bytes 4 to 20, the subject, and headers and message
//
// All numbers are little-endian. The key of the hash is the SHA-256 of "stream-number of the file".
const (
	recordHead   = 22
	recordSum    = 8
	recordMax    = 32 << 20
	recordHeader = 1 << 31 // in the length
	recordMarks  = 3 << 62 // in the sequence
)

// span is a range of bytes of a block.
type span struct{ from, to int }

// block is the content of a file of a stream.
type block struct {
	raw  []byte
	hash *highwayhash.Digest64
	good []span // the whole records
	bad  []span // what is between them, in order
	torn bool   // the last bad one is a record that broke off
}

// readBlock reads a file of a stream. Files that the server compressed are not read: none of our streams is.
func readBlock(stream string, number uint32, raw []byte) (*block, error) {
	hash, err := newHash(fmt.Sprintf("%s-%d", stream, number))
	if err != nil {
		return nil, err
	}
	b := &block{raw: raw, hash: hash}
	if bytes.HasPrefix(raw, []byte("cmp")) {
		return b, nil
	}
	for at := 0; at < len(raw); {
		if end := b.record(at, b.length(at)); end > 0 {
			b.good = append(b.good, span{at, end})
			at = end
			continue
		}
		next := at + 1
		for next < len(raw) && b.record(next, b.length(next)) == 0 {
			next++
		}
		b.bad = append(b.bad, span{at, next})
		b.torn = next == len(raw) && b.brokeOff(at)
		at = next
	}
	return b, nil
}

// newHash returns the hash with which the server sums the file of some name.
func newHash(name string) (*highwayhash.Digest64, error) {
	key := sha256.Sum256([]byte(name))
	hash, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return nil, fmt.Errorf("inspect the broker's files: %w", err)
	}
	return hash, nil
}

// length returns the length that the record at an offset gives itself; 0 when there is no room for one.
func (b *block) length(at int) int {
	if len(b.raw)-at < recordHead+recordSum {
		return 0
	}
	return int(binary.LittleEndian.Uint32(b.raw[at:]) &^ uint32(recordHeader))
}

// record returns where the record of some length at an offset ends; 0 when there is no whole one.
func (b *block) record(at, length int) (end int) {
	if length < recordHead+recordSum || length > recordMax || length > len(b.raw)-at {
		return 0
	}
	r := b.raw[at : at+length]
	subject := int(binary.LittleEndian.Uint16(r[20:]))
	message := recordHead + subject
	if binary.LittleEndian.Uint32(r)&recordHeader != 0 {
		message += 4
	}
	if message > length-recordSum {
		return 0
	}
	b.hash.Reset()
	_, _ = b.hash.Write(r[4:20]) // a hash never fails
	_, _ = b.hash.Write(r[recordHead : recordHead+subject])
	_, _ = b.hash.Write(r[message : length-recordSum])
	if !bytes.Equal(b.hash.Sum(nil), r[length-recordSum:]) {
		return 0
	}
	return at + length
}

// brokeOff reports whether the rest of the file from an offset is a record of which the end was never
// written. Otherwise its bytes are there, and they changed.
func (b *block) brokeOff(at int) bool {
	rest := b.raw[at:]
	if len(rest) < recordHead+recordSum || len(bytes.Trim(rest[len(rest)-recordSum:], "\x00")) == 0 {
		return true
	}
	return b.length(at) > len(rest) && b.record(at, len(rest)) == 0 // the sum does not cover the length
}

// seems returns what a damaged record says it is; 0 and "" when that makes no sense.
func (b *block) seems(s span) (sequence uint64, subject string) {
	if s.to-s.from < recordHead {
		return 0, ""
	}
	r := b.raw[s.from:s.to]
	sequence = binary.LittleEndian.Uint64(r[4:]) &^ uint64(recordMarks)
	text := r[recordHead:min(len(r), recordHead+int(binary.LittleEndian.Uint16(r[20:])))]
	for _, c := range text {
		if c <= ' ' || c > '~' {
			return sequence, ""
		}
	}
	return sequence, string(text)
}

// wholeAfter counts the whole records after an offset.
func (b *block) wholeAfter(at int) (n int) {
	for _, s := range b.good {
		if s.from > at {
			n++
		}
	}
	return n
}

// without returns the file without its damaged records.
func (b *block) without() []byte {
	var raw []byte
	for _, s := range b.good {
		raw = append(raw, b.raw[s.from:s.to]...)
	}
	return raw
}
