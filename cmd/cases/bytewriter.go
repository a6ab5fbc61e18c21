package main

import (
	"bytes"
	"encoding/binary"
)

// cat joins bytes.
func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// zeroes returns n bytes of 0.
func zeroes(n int) []byte { return make([]byte, n) }

// times returns a text n times.
func times(text string, n int) []byte { return bytes.Repeat([]byte(text), n) }

// be16, be32 and be64 write numbers with the highest byte first; le16, le32 and le64 with the lowest.
func be16(numbers ...uint16) []byte { return written(binary.BigEndian, numbers) }
func be32(numbers ...uint32) []byte { return written(binary.BigEndian, numbers) }
func be64(numbers ...uint64) []byte { return written(binary.BigEndian, numbers) }
func le16(numbers ...uint16) []byte { return written(binary.LittleEndian, numbers) }
func le32(numbers ...uint32) []byte { return written(binary.LittleEndian, numbers) }
func le64(numbers ...uint64) []byte { return written(binary.LittleEndian, numbers) }

// written returns the bytes of numbers of a fixed size.
func written[T uint16 | uint32 | uint64](order binary.ByteOrder, numbers []T) []byte {
	b := make([]byte, binary.Size(numbers))
	if _, err := binary.Encode(b, order, numbers); err != nil {
		panic(err) // they have a fixed size
	}
	return b
}
