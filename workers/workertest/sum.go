package workertest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

// sum returns the SHA-256 of an object, in hex.
func sum(t *testing.T, s *Store, key string) string {
	t.Helper()
	r, _, err := s.Get(t.Context(), key, storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
