package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

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
	free, keep, err := n.roomFor(n.data, func(total int64) int64 {
		if n.minFreeSpace != 0 {
			return n.minFreeSpace
		}
		return min(max(2<<30, total/10), 20<<30)
	})
	if err != nil {
		return err
	}
	if free < keep {
		return fmt.Errorf("%d MiB are free, %d MiB are kept: %w", free>>20, keep>>20, storage.ErrFull)
	}
	return nil
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

// minScratch is the free space of the scratch disk below which no job is begun.
const minScratch = 256 << 20

// admit says why no job is to be begun now.
func (n *node) admit(context.Context) error {
	if n.guard.State() == "open" {
		return fmt.Errorf("no job is begun: %w", guard.ErrOpen)
	}
	free, keep, err := n.roomFor(filepath.Join(n.data, "scratch"), func(total int64) int64 {
		return min(minScratch, total/10)
	})
	if err != nil {
		return err
	}
	if free < keep {
		return fmt.Errorf("no job is begun with %d MiB of scratch space: %w", free>>20, storage.ErrFull)
	}
	return nil
}

// slotCounts remembers how many slots each worker type has in all processes that are there.
type slotCounts struct {
	mu    sync.Mutex
	known map[string]int
	read  time.Time
}

// slotsFresh is how long what was read is good enough. Processes tell every 10 s that they are there.
const slotsFresh = 5 * time.Second

// slotsOf returns how many slots a worker type has in all processes that are there, this one included; 0 when
// that is not known.
func (n *node) slotsOf(worker string) int {
	c := &n.deployed
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.read) < slotsFresh {
		return c.known[worker]
	}
	known, err := n.countSlots()
	if err != nil {
		n.log.Warn("count slots", "error", err) // what was known is as good as any guess
	} else {
		c.known = known
	}
	c.read = time.Now()
	return c.known[worker]
}

// countSlots sums the slots that processes tell of. One that tells of none, of another program perhaps, has
// one. This process need not have told yet.
func (n *node) countSlots() (map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	there, err := presences(ctx, n.bus)
	if err != nil {
		return nil, err
	}
	slots := map[string]int{}
	for _, p := range there {
		switch {
		case n.loop != nil && p.Process == n.loop.Process: // counted below
		case p.Slots == nil:
			slots[p.Type]++
		default:
			slots[p.Type] += max(0, *p.Slots)
		}
	}
	if n.loop == nil {
		return slots, nil
	}
	for _, t := range n.registry.Types() {
		slots[t.Name] += n.loop.SlotsOf(t.Name)
	}
	return slots, nil
}
