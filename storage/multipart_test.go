package storage_test

import (
	"testing"

	"github.com/reelmill/reelmill/storage"
)

// TestMultipart checks that the parts of an object are all its bytes.
func TestMultipart(t *testing.T) {
	for _, c := range []struct {
		m     storage.Multipart
		parts int
		last  int64
	}{
		{storage.Multipart{Size: 1, PartSize: 5}, 1, 1},
		{storage.Multipart{Size: 5, PartSize: 5}, 1, 5},
		{storage.Multipart{Size: 6, PartSize: 5}, 2, 1},
		{storage.Multipart{Size: 10, PartSize: 5}, 2, 5},
	} {
		if c.m.Parts() != c.parts || c.m.SizeOf(c.parts) != c.last {
			t.Errorf("%+v: %d parts, the last has %d bytes", c.m, c.m.Parts(), c.m.SizeOf(c.parts))
		}
		sum := int64(0)
		for number := -1; number < c.parts+3; number++ {
			sum += c.m.SizeOf(number)
		}
		if sum != c.m.Size {
			t.Errorf("%+v: the parts have %d bytes", c.m, sum)
		}
	}
}
