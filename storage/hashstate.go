package storage

import (
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"
)

// HashState returns the state of h, a SHA-256, with which ResumeHash goes on: a Resumable keeps it beside the
// bytes, so that Finish need not read them again.
func HashState(h hash.Hash) ([]byte, error) {
	return h.(encoding.BinaryMarshaler).MarshalBinary()
}

// ResumeHash returns a SHA-256 that goes on where HashState was called.
func ResumeHash(state []byte) (hash.Hash, error) {
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("state of the hash: %w", err)
	}
	return h, nil
}
