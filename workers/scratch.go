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

// scratch is the scratch disk that the attempts of a process share: the bytes that they have reserved, and
// the copies of their sources. The jobs of a video read the same source, so they share one copy of it:
//
//  1. hold reserves the bytes that an attempt may need, and those of its source, unless the copy exists or
//     another attempt has reserved it. The copy stays until the attempt releases it.
//  2. The first attempt that opens the source fetches it; the others wait. If that attempt is stopped, it
//     removes what it has fetched, and the next one that waits fetches the source.
//  3. An unused copy is kept for the next job of its video, until it is old (keepFor), more than
//     Config.KeepSources is kept, or its space is needed. Its space counts as free.
//
// Not guaranteed: copies do not outlive the process. The next one begins with an empty directory.
type scratch struct {
	store   storage.Store
	dir     string // of the copies; made when there is one
	keep    int64  // Config.KeepSources
	measure func() (free, total int64, err error)
	log     *slog.Logger

	mu     sync.Mutex
	held   int64 // bytes reserved by attempts, besides their sources
	copies map[string]*sourceCopy
	intact map[string]bool // sources used in place that were as uploaded
}

// sourceCopy is the copy of a source, fetched or still to be. The lock of its scratch guards it.
type sourceCopy struct {
	path  string
	size  int64 // of the upload; 0 when that is unknown and the source is not fetched yet
	users int   // attempts that may read it
	whole bool
	left  time.Time     // when its last user left
	turn  chan struct{} // held by the attempt that fetches it
}

// keepFor is how long an unused copy is kept.
const keepFor = 10 * time.Minute

// scratchReserve is the space on the scratch disk that attempts and copies leave free.
const scratchReserve = 256 << 20

func newScratch(c Config) *scratch {
	return &scratch{
		store: c.Store, dir: filepath.Join(c.Scratch, "sources"), keep: c.KeepSources,
		measure: c.FreeScratch, log: c.Logger, copies: map[string]*sourceCopy{}, intact: map[string]bool{},
	}
}

// hold reserves the bytes that an attempt at the task may need. ok is false if there is no room for them now.
// The error is storage.ErrFull if the disk is too small for them.
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

// fits reports whether there is room for need bytes and a source. It evicts unused copies to make room.
func (s *scratch) fits(need int64, source pipeline.Object) (ok bool, err error) {
	all := need + source.Size
	if all == 0 {
		return true, nil // nothing is needed, or the need is unknown
	}
	free, total, err := s.measure()
	switch {
	case err != nil:
		return false, err
	case all > total-scratchReserve:
		return false, fmt.Errorf("the job needs %d bytes of scratch, of a disk of %d: %w",
			all, total, storage.ErrFull)
	}
	if s.copies[source.Key] != nil { // it is there, or its bytes are reserved
		all = need
	}
	return s.shrink(all-(free-scratchReserve-s.reserved()), source.Key), nil
}

// reserved returns how many bytes attempts may still write.
func (s *scratch) reserved() int64 {
	sum := s.held
	for _, c := range s.copies {
		if !c.whole {
			sum += c.size
		}
	}
	return sum
}

// use counts one more user of a source. The zero Object is no source.
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

// release ends a hold.
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

// trim evicts unused copies down to the limit of Config.KeepSources.
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

// idle returns the size of all unused copies.
func (s *scratch) idle() (sum int64) {
	for _, c := range s.copies {
		if c.users == 0 {
			sum += c.size
		}
	}
	return sum
}

// shrink evicts unused copies, oldest first, until bytes are free, except the copy with the key but. ok is
// false if all of them would not be enough; then it evicts none.
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
		s.log.Warn("evict copy of source", "key", key, "error", err)
	}
	delete(s.copies, key)
}

// drop evicts the copies that nobody has used since a time.
func (s *scratch) drop(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, c := range s.copies {
		if c.users == 0 && !c.left.After(since) {
			s.remove(key)
		}
	}
}

// tend evicts old copies until ctx ends.
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

// clear evicts all unused copies, and removes the directory.
func (s *scratch) clear() {
	s.drop(time.Now())
	if err := os.Remove(s.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("remove copies of sources", "error", err)
	}
}

// open returns the path of a source, read-only, and fetches the source if there is no copy. The caller must
// hold the source, and may read it until it releases it. Others that open it during the fetch wait.
func (s *scratch) open(ctx context.Context, source pipeline.Object) (string, error) {
	s.mu.Lock()
	c := s.copies[source.Key]
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
	size, err := copyObject(ctx, s.store, source, c.path, func(stored int64) error {
		if size > 0 && stored != size {
			return fmt.Errorf("%s has %d bytes, but %d were uploaded", source.Key, stored, size)
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

// room evicts unused copies until size bytes and the reserve are free. It returns storage.ErrFull when it
// cannot.
func (s *scratch) room(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	free, _, err := s.measure()
	if err != nil {
		return err
	}
	if !s.shrink(size+scratchReserve-free, "") {
		return fmt.Errorf("copy %d bytes to a disk with %d free: %w", size, free, storage.ErrFull)
	}
	return nil
}

// diskSpace returns how many bytes of dir's disk are free for this process, and its size.
func diskSpace(dir string) (free, total int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}
