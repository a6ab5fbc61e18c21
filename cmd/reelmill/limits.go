package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/guard"
)

// ready names what is not ready; empty when all is.
func (n *node) ready(ctx context.Context) map[string]error {
	checks := map[string]error{"broker": n.broker.healthy(), "bus": n.bus.Healthy(ctx), "disk": n.freeSpace()}
	_, checks["catalog"] = n.catalog.Sequence(ctx)
	if _, err := n.objects.Stat(ctx, "readyz"); err != nil && !errors.Is(err, storage.ErrNotFound) {
		checks["store"] = err
	} else {
		checks["store"] = nil
	}
	return checks
}

// space returns the free and all bytes of the disk that dir is on.
func space(dir string) (free, total int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}

// freeSpace says storage.ErrFull when the data disk is nearly full, so that uploads are refused while events
// can still be written.
func (n *node) freeSpace() error {
	free, total, err := space(n.data)
	if err != nil {
		return err
	}
	keep := n.minFreeSpace
	if keep == 0 {
		keep = min(max(2<<30, total/10), 20<<30)
	}
	if free < keep {
		return fmt.Errorf("%d MiB are free, %d MiB are kept: %w", free>>20, keep>>20, storage.ErrFull)
	}
	return nil
}

// minScratch is the free space of the scratch disk below which no job is begun.
const minScratch = 256 << 20

// admit says why no job is to be begun now.
func (n *node) admit(context.Context) error {
	if n.guard.State() == "open" {
		return fmt.Errorf("no job is begun: %w", guard.ErrOpen)
	}
	free, total, err := space(filepath.Join(n.data, "scratch"))
	if err != nil {
		return err
	}
	if free < min(minScratch, total/10) {
		return fmt.Errorf("no job is begun with %d MiB of scratch space: %w", free>>20, storage.ErrFull)
	}
	return nil
}
