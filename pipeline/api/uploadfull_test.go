package api

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
)

// smallStore is a store on a disk with room for so many bytes of an upload.
type smallStore struct {
	*disk.Store
	room atomic.Int64
}

// Append implements storage.Resumable.
func (s *smallStore) Append(ctx context.Context, key string, offset int64, r io.Reader, sum *storage.Checksum) (
	int64, error,
) {
	kept, err := s.Store.Append(ctx, key, offset, io.LimitReader(r, s.room.Load()-offset), sum)
	if n, _ := io.ReadFull(r, make([]byte, 1)); n > 0 && err == nil {
		err = fmt.Errorf("append: %w", storage.ErrFull)
	}
	return kept, err
}

// TestUploadGoesOnWhenThereIsRoom fills the disk during an upload in pieces. The client hears why, keeps its
// offset, and goes on when there is room again; also one that sends all with a PUT.
func TestUploadGoesOnWhenThereIsRoom(t *testing.T) {
	small := &smallStore{}
	e := newEnv(t, func(c *Config) {
		small.Store = c.Store.(*disk.Store)
		c.Store = small
	})
	small.room.Store(10)
	u := e.ordered(`{"size":24}`)
	resp, raw := e.patch(u.URL, 0, film)
	if p := wantProblem(t, resp, raw, codeDiskFull); p.Status != 507 || !strings.Contains(p.Remedy, "Free space") ||
		resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s", raw)
	}
	resp, raw = e.tus("HEAD", u.URL, "")
	wantAnswer(t, resp, raw, 200, 10)
	put := e.ordered(`{"size":24}`)
	resp, raw = e.do("PUT", put.ContentURL, strings.NewReader(film))
	wantProblem(t, resp, raw, codeDiskFull)
	small.room.Store(1000)
	resp, raw = e.patch(u.URL, 10, film[10:])
	wantAnswer(t, resp, raw, 204, 24)
	e.wantFilm(u.Video)
	resp, raw = e.do("PUT", put.ContentURL, strings.NewReader(film[10:]), "Content-Range", "bytes 10-23/24")
	wantAnswer(t, resp, raw, 200, -1)
	e.wantFilm(put.Video)
}
