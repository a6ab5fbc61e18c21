package disk_test

import (
	"context"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/storage/storagetest"
)

// TestBeginIsInNoWritersWay: a Begin of an object that was begun before never makes an Append busy.
func TestBeginIsInNoWritersWay(t *testing.T) {
	s := storagetest.Disk(t, t.TempDir())
	const key = "v/x.bin"
	if err := s.Begin(t.Context(), key, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 4)
	for range cap(stopped) {
		go func() {
			for ctx.Err() == nil {
				if err := s.Begin(t.Context(), key, 0); err != nil {
					stopped <- err
					return
				}
			}
			stopped <- nil
		}()
	}
	var kept int64
	for n := range 200 {
		var err error
		if kept, err = s.Append(t.Context(), key, kept, strings.NewReader("x"), nil); err != nil {
			t.Errorf("append %d: %v", n, err)
			break
		}
	}
	cancel()
	for range cap(stopped) {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
}
