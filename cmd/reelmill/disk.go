package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/storage"
)

// freeSpace says storage.ErrFull when the data disk is nearly full, so that uploads are refused while events
// can still be written.
func (n *node) freeSpace() error {
	free, keep, err := n.roomFor(n.data, n.reserve)
	if err != nil {
		return err
	}
	if free < keep {
		return fmt.Errorf("%w: %s are free, and uploads leave %s; free space, or lower --min-free", storage.ErrFull,
			bytesize.Size(free), bytesize.Size(keep))
	}
	return nil
}

// reserve returns how many bytes of the data disk, of total, uploads leave free.
func (n *node) reserve(total int64) int64 {
	if n.minFreeSpace != 0 {
		return n.minFreeSpace
	}
	return min(max(2<<30, total/10), 20<<30)
}

// roomFor returns the free bytes of the disk that dir is on, and how many are to be kept of all that it has.
// When they are too few, what the loop keeps for later goes first.
func (n *node) roomFor(dir string, of func(total int64) int64) (free, keep int64, err error) {
	free, total, err := space(dir)
	if keep = of(total); err != nil || free >= keep || n.loop == nil {
		return free, keep, err
	}
	n.loop.DropSources()
	free, _, err = space(dir)
	return free, keep, err
}

// space returns the free and all bytes of the disk that dir is on.
func space(dir string) (free, total int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}
