package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/guard"
)

// ready answers the checks of /readyz by name: nil, or what is wrong. They are made side by side: one that
// hangs leaves the others their time.
func (n *node) ready(ctx context.Context) map[string]error {
	var mu sync.Mutex
	var all sync.WaitGroup
	checks := map[string]error{}
	for name, check := range map[string]func(context.Context) error{
		"broker":  func(context.Context) error { return n.broker.healthy() },
		"bus":     n.bus.Healthy,
		"disk":    func(context.Context) error { return n.freeSpace() },
		"catalog": n.caughtUp,
		"store":   n.storeAnswers,
		"log":     n.logWell,
	} {
		all.Go(func() {
			err := check(ctx)
			mu.Lock()
			defer mu.Unlock()
			checks[name] = err
		})
	}
	all.Wait()
	return checks
}

func (n *node) storeAnswers(ctx context.Context) error {
	_, err := n.objects.Stat(ctx, "readyz")
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// caughtUp says how far the read model is behind the log, if it is too far to answer with it.
func (n *node) caughtUp(ctx context.Context) error {
	applied, err := n.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	last, err := n.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	return n.pace.check(applied, last, time.Now())
}

// lateAfter is how long the read model may take to apply an event.
const lateAfter = 10 * time.Second

// pace judges whether the read model keeps up with the log: at the first check it must have all that the log
// had then, and from then on what the log had lateAfter ago.
type pace struct {
	mu   sync.Mutex
	mark uint64    // what the log had
	at   time.Time // when; zero at the first check
	made bool
}

// check says how far the read model is behind, given what it has applied and what the log has.
func (p *pace) check(applied, last uint64, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.made {
		p.mark, p.made = last, true
	}
	if applied >= p.mark {
		p.mark, p.at = last, now
		return nil
	}
	if now.Sub(p.at) < lateAfter {
		return nil
	}
	return fmt.Errorf("the read model has applied %d of %d events: it is catching up", applied, last)
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
	free, keep, err := n.roomFor(n.data, n.reserve)
	if err != nil {
		return err
	}
	if free < keep {
		return fmt.Errorf("%w: %s are free, and uploads leave %s; free space, or lower --min-free", storage.ErrFull,
			humanSize(free), humanSize(keep))
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

// logRoom says pipeline.CodeLogFull when the event log is so full that uploads are refused, while the videos
// under way can still end.
func (n *node) logRoom(ctx context.Context) error { return n.bus.Fits(ctx, pipeline.VideoUploaded) }

// logWell says what the event log has lost, or that it is nearly full.
func (n *node) logWell(ctx context.Context) error {
	return errors.Join(n.logWhole(ctx), n.logRoom(ctx))
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
func (n *node) admit(ctx context.Context) error {
	if err := n.bus.Fits(ctx, pipeline.JobStarted); err != nil {
		return fmt.Errorf("no job is begun: %w", err)
	}
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
		n.recurring.Failed("count slots", "error", err) // what was known is as good as any guess
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
