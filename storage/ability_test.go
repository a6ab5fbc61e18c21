package storage_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

// oneObject is a store that has one object, whose description may differ from its bytes.
type oneObject struct {
	storage.Store
	size int64
	body io.Reader
}

// Get implements storage.Store.
func (s oneObject) Get(context.Context, string, storage.Range) (io.ReadCloser, storage.Info, error) {
	return io.NopCloser(s.body), storage.Info{Key: "v/x.bin", Size: s.size}, nil
}

// TestSum checks the hash of a whole object, and that one that breaks off has none.
func TestSum(t *testing.T) {
	info, err := storage.Sum(context.Background(), oneObject{size: 3, body: strings.NewReader("abc")}, "v/x.bin")
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1
	if err != nil || info.SHA256 != want || info.Size != 3 {
		t.Errorf("%+v, %v", info, err)
	}
	info, err = storage.Sum(context.Background(), oneObject{size: 4, body: strings.NewReader("abc")}, "v/x.bin")
	if !errors.Is(err, io.ErrUnexpectedEOF) || info.SHA256 != "" {
		t.Errorf("of a body that breaks off: %+v, %v", info, err)
	}
}
