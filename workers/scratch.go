package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// scratch is the scratch disk of a process, as its attempts share it: what they have reserved there, and the
// copies of the sources that they read. A video has many jobs that read the same source, so a copy is made
// once, for all attempts at jobs of its video:
//
//  1. An attempt is admitted (hold) with the bytes that it may need, and those of its source unless they are
//     there, or another attempt has reserved them. Until it is released, the source's copy stays.
//  2. The first attempt that opens the source fetches it; the others wait for that. One that is stopped
//     leaves nothing behind, and the next of those who wait begins anew.
//  3. A copy that nobody uses any more is kept for the next job of its video, until it is old (keepFor),
//     more is kept than Config.KeepSources, or its room is wanted. Admission counts it as free.
//
// Not given: a copy beyond the end of the process. The next one begins with an empty directory.
type scratch struct {
	store   storage.Store
	dir     string // of the copies; made when there is one
	keep    int64  // Config.KeepSources
	measure func() (free, total int64, err error)
	log     *slog.Logger

	mu     sync.Mutex
	held   int64 // by attempts, besides their sources
	copies map[string]*sourceCopy
}

// sourceCopy is the copy of a source, or what is to become one. The lock of its scratch guards it.
type sourceCopy struct {
	path  string
	size  int64 // as it was uploaded; 0 when that is unknown and it was not fetched
	users int   // attempts that may read it
	whole bool
	left  time.Time     // when its last user left
	turn  chan struct{} // held by who fetches it
}

// keepFor is how long a copy is kept that nobody uses.
const keepFor = 10 * time.Minute

// scratchReserve is the free space that a copy leaves on the scratch disk.
const scratchReserve = 256 << 20

func newScratch(c Config) *scratch {
	return &scratch{
		store: c.Store, dir: filepath.Join(c.Scratch, "sources"), keep: c.KeepSources,
		measure: c.FreeScratch, log: c.Logger, copies: map[string]*sourceCopy{},
	}
}

// hold reserves what an attempt at the task may need, if there is room for it besides what is held already;
// ok is false when there is none now, and the error storage.ErrFull when there never will be.
func (s *scratch) hold(t pipeline.Task) (release func(), ok bool, err error) {
	need, source := t.Job.Scratch, t.Source
	if _, here := inPlace(s.store, source.Key); here {
		source = pipeline.Object{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok, err := s.fits(need, source); !ok || err != nil {
		return nil, false, err
	}
	s.held += need
	s.use(source)
	return func() { s.release(need, source.Key) }, true, nil
}

// fits makes room for need bytes and a source, if it can.
func (s *scratch) fits(need int64, source pipeline.Object) (ok bool, err error) {
	all := need + source.Size
	if all == 0 {
		return true, nil // or unknown
	}
	free, total, err := s.measure()
	switch {
	case err != nil:
		return false, err
	case all > total-scratchReserve:
		return false, fmt.Errorf("scratch of %d bytes on a disk of %d: %w", all, total, storage.ErrFull)
	}
	if s.copies[source.Key] != nil { // it is there, or somebody has reserved its bytes
		all = need
	}
	return s.shrink(all-(free-scratchReserve-s.reserved()), source.Key), nil
}

// reserved is how many bytes attempts may yet write.
func (s *scratch) reserved() int64 {
	sum := s.held
	for _, c := range s.copies {
		if !c.whole {
			sum += c.size
		}
	}
	return sum
}

// use notes that an attempt may read a source; the zero one is none.
func (s *scratch) use(source pipeline.Object) {
	if source.Key == "" {
		return
	}
	c := s.copies[source.Key]
	if c == nil {
		c = &sourceCopy{path: copyName(s.dir, source.Key), size: source.Size, turn: make(chan struct{}, 1)}
		s.copies[source.Key] = c
	}
	c.users++
}

// release takes back what hold gave.
func (s *scratch) release(need int64, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= need
	c := s.copies[key]
	if c == nil {
		return
	}
	if c.users--; c.users > 0 {
		return
	}
	if !c.whole {
		delete(s.copies, key)
		return
	}
	c.left = time.Now()
	s.trim()
}

// trim removes copies that nobody uses until those that are left are few enough.
func (s *scratch) trim() {
	limit, idle := s.keep, s.idle()
	if limit == 0 {
		free, _, err := s.measure()
		if err != nil {
			s.log.Warn("measure scratch", "error", err)
		}
		limit = (free + idle) / 2
	}
	s.shrink(idle-limit, "")
}

// idle is how many bytes the copies have that nobody uses.
func (s *scratch) idle() (sum int64) {
	for _, c := range s.copies {
		if c.users == 0 {
			sum += c.size
		}
	}
	return sum
}

// shrink removes copies that nobody uses until that many bytes are free which were not, the one that was left
// first before the others, and never that of the key. ok is false when they are not enough; then all stay.
func (s *scratch) shrink(bytes int64, but string) (ok bool) {
	spare := s.idle()
	if c := s.copies[but]; c != nil && c.users == 0 {
		spare -= c.size
	}
	if bytes > spare {
		return false
	}
	for bytes > 0 {
		oldest := ""
		for key, c := range s.copies {
			if c.users == 0 && key != but && (oldest == "" || c.left.Before(s.copies[oldest].left)) {
				oldest = key
			}
		}
		bytes -= s.copies[oldest].size
		s.remove(oldest)
	}
	return true
}

func (s *scratch) remove(key string) {
	if err := os.Remove(s.copies[key].path); err != nil {
		s.log.Warn("remove the copy of a source", "key", key, "error", err)
	}
	delete(s.copies, key)
}

// drop removes the copies that nobody has used since a time.
func (s *scratch) drop(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, c := range s.copies {
		if c.users == 0 && !c.left.After(since) {
			s.remove(key)
		}
	}
}

// tend drops what is old until ctx ends.
func (s *scratch) tend(ctx context.Context) {
	tick := time.NewTicker(keepFor / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.drop(now.Add(-keepFor))
		}
	}
}

// clear removes every copy that nobody uses, and then the directory.
func (s *scratch) clear() {
	s.drop(time.Now())
	if err := os.Remove(s.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("remove the copies of sources", "error", err)
	}
}

// open returns the path of a source that the caller holds, to read only, for as long as it holds it. It is
// fetched when it is not there, and whoever else opens it meanwhile waits.
func (s *scratch) open(ctx context.Context, key string) (string, error) {
	s.mu.Lock()
	c := s.copies[key]
	s.mu.Unlock()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	s.mu.Lock()
	whole, size := c.whole, c.size
	s.mu.Unlock()
	if whole {
		return c.path, nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return "", err
	}
	size, err := copyObject(ctx, s.store, key, c.path, func(stored int64) error {
		if size > 0 && stored != size {
			return fmt.Errorf("%s has %d bytes, %d were uploaded", key, stored, size)
		}
		return s.room(stored)
	})
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.whole, c.size = true, size
	return c.path, nil
}

// room makes room for size bytes and the reserve; storage.ErrFull when it cannot.
func (s *scratch) room(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	free, _, err := s.measure()
	if err != nil {
		return err
	}
	if !s.shrink(size+scratchReserve-free, "") {
		return fmt.Errorf("copy of %d bytes with %d free: %w", size, free, storage.ErrFull)
	}
	return nil
}

// diskSpace returns the bytes of dir's disk that are free for us, and all that it has.
func diskSpace(dir string) (free, total int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}
