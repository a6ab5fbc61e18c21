package disk

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/storage"
)

// TestFullDevice gets ENOSPC from the kernel everywhere, root or not: it writes the object to /dev/full.
func TestFullDevice(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fill(context.Background(), f, strings.NewReader("x"), 0); !errors.Is(err, storage.ErrFull) {
		t.Errorf("write: %v, want ErrFull", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
