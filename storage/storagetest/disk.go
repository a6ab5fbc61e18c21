package storagetest

import (
	"testing"

	"github.com/reelmill/reelmill/storage/disk"
)

// Disk opens a store in the folder dir, and closes it when the test ends.
func Disk(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}
