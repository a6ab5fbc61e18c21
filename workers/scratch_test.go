package workers

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/storagetest"
)

// gated is a remote store whose reads wait at a gate, one token each, or until their context ends.
type gated struct {
	remote
	gate chan struct{}
}

func (g *gated) Get(ctx context.Context, key string, rng storage.Range) (io.ReadCloser, storage.Info, error) {
	body, info, err := g.remote.Get(ctx, key, rng)
	return gatedBody{body, ctx, g.gate}, info, err
}

type gatedBody struct {
	io.ReadCloser
	ctx  context.Context
	gate chan struct{}
}

func (b gatedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:1])
	if err != nil {
		return n, err
	}
	select {
	case <-b.gate:
		return n, nil
	case <-b.ctx.Done(): // half of it is written
		return n, b.ctx.Err()
	}
}

// fakeDisk is the disk that a scratch sees.
type fakeDisk struct{ free int64 }

func (d *fakeDisk) measure() (free, total int64, err error) { return d.free, 1 << 40, nil }

// scratchWith returns a scratch on a store with films a to d, of four bytes each.
func scratchWith(t *testing.T, change func(*Config)) (*scratch, *gated) {
	t.Helper()
	store := storagetest.Disk(t, t.TempDir())
	for _, name := range []string{"a", "b", "c", "d"} {
		put(t, store, filmOf(name).Source.Key, "film")
	}
	g := &gated{remote{Store: store}, make(chan struct{}, 100)}
	c := Config{Store: g, Scratch: t.TempDir()}
	if change != nil {
		change(&c)
	}
	return newScratch(c.withDefaults()), g
}

// open lets that many bytes through the gate to readers.
func (g *gated) open(bytes int) {
	for range bytes {
		g.gate <- struct{}{}
	}
}

func filmOf(name string) pipeline.Task {
	return pipeline.Task{Source: pipeline.Object{Key: "videos/" + name + "/source/film.mp4", Size: 4}}
}

// reads holds the film of a task, opens it and checks its contents.
func reads(t *testing.T, s *scratch, task pipeline.Task) (path string, release func()) {
	t.Helper()
	release, ok, err := s.hold(task)
	if !ok || err != nil {
		t.Fatalf("hold: %v, %v", ok, err)
	}
	path, err = s.open(t.Context(), task.Source)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "film" {
		t.Errorf("%s holds %q, %v", path, raw, err)
	}
	return path, release
}

// kept returns the films that have copies.
func kept(t *testing.T, s *scratch) []string {
	t.Helper()
	files, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, name := range []string{"a", "b", "c", "d"} {
		if _, err := os.Stat(copyName(s.dir, filmOf(name).Source.Key)); err == nil {
			names = append(names, name)
		}
	}
	if len(files) != len(names) {
		t.Errorf("there are %v, of films %v", files, names)
	}
	return names
}

func wantKept(t *testing.T, s *scratch, want ...string) {
	t.Helper()
	if got := kept(t, s); !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

// TestSourceIsFetchedOnce: eight concurrent attempts, and a later one, read the store once.
func TestSourceIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := scratchWith(t, nil)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, release := reads(t, s, filmOf("a"))
				release()
			})
		}
		synctest.Wait() // one fetches, seven wait
		if n := g.gets.Load(); n != 1 {
			t.Errorf("%d reads while it is fetched", n)
		}
		if files, _ := os.ReadDir(s.dir); len(files) != 1 || filepath.Ext(files[0].Name()) != ".part" {
			t.Errorf("there are %v while it is fetched", files)
		}
		g.open(4)
		all.Wait()
		path, release := reads(t, s, filmOf("a"))
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o400 {
			t.Errorf("mode %v, %v: nobody may write what others read", info.Mode(), err)
		}
		release()
		if n := g.gets.Load(); n != 1 || len(kept(t, s)) != 1 || s.idle() != 4 || s.reserved() != 0 {
			t.Errorf("%d reads, %d bytes idle, %d reserved", n, s.idle(), s.reserved())
		}
	})
}

// TestFetchSurvivesItsAttempt: if the attempt that fetches is stopped, a waiting one fetches the source
// again, and no waiting attempt fails.
func TestFetchSurvivesItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := scratchWith(t, nil)
		release, _, err := s.hold(filmOf("a"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		ended := make(chan error, 2)
		go func() {
			_, err := s.open(ctx, filmOf("a").Source)
			ended <- err
			release()
		}()
		g.open(1)
		synctest.Wait()
		var others sync.WaitGroup
		for range 3 {
			others.Go(func() {
				_, release := reads(t, s, filmOf("a"))
				release()
			})
		}
		synctest.Wait()
		stop(errStopping)
		if err := <-ended; err == nil {
			t.Error("half a fetch is no error")
		}
		synctest.Wait()
		g.open(4)
		others.Wait()
		if n := g.gets.Load(); n != 2 {
			t.Errorf("%d reads", n)
		}
		wantKept(t, s, "a")
	})
}

// TestWaitingForAFetchEnds when the attempt ends. When all attempts have ended, nothing is left.
func TestWaitingForAFetchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := scratchWith(t, nil)
		ctx, stop := context.WithCancelCause(t.Context())
		ended := make(chan error, 2)
		for range 2 {
			release, _, err := s.hold(filmOf("a"))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, err := s.open(ctx, filmOf("a").Source)
				release()
				ended <- err
			}()
		}
		synctest.Wait()
		stop(errStopping)
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("no error")
			}
		}
		wantKept(t, s)
		if len(s.copies) != 0 || s.reserved() != 0 {
			t.Errorf("%d copies, %d bytes reserved", len(s.copies), s.reserved())
		}
	})
}

// TestSourcesGoInTheOrderOfUse: unused copies above the limit are evicted, oldest first.
func TestSourcesGoInTheOrderOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := scratchWith(t, func(c *Config) { c.KeepSources = 8 })
		g.open(20)
		_, inUse := reads(t, s, filmOf("d"))
		for _, name := range []string{"a", "b", "a", "c"} {
			_, release := reads(t, s, filmOf(name))
			<-time.After(time.Second)
			release()
		}
		wantKept(t, s, "a", "c", "d") // b has been unused longest
		inUse()
		wantKept(t, s, "c", "d")
		if n := g.gets.Load(); n != 4 {
			t.Errorf("%d reads", n)
		}
		s.clear()
		if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is there: %v", err)
		}
	})
}

// TestSourcesMakeRoom: admission counts unused copies as free space, and evicts them if necessary, but never
// copies that are in use or about to be used.
func TestSourcesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{free: scratchReserve + 100}
		s, g := scratchWith(t, func(c *Config) { c.KeepSources, c.FreeScratch = 100, d.measure })
		g.open(16)
		for _, name := range []string{"a", "b"} {
			_, release := reads(t, s, filmOf(name))
			<-time.After(time.Second)
			release()
		}
		_, inUse := reads(t, s, filmOf("c"))
		defer inUse()
		holds := func(task pipeline.Task, need int64) (release func(), ok bool) {
			t.Helper()
			task.Job.Scratch = need
			release, ok, err := s.hold(task)
			if err != nil {
				t.Fatal(err)
			}
			return release, ok
		}
		if _, ok := holds(filmOf("c"), 109); ok {
			t.Error("room was made of copies in use")
		}
		wantKept(t, s, "a", "b", "c") // evicting would not be enough
		first, ok := holds(filmOf("a"), 104)
		if !ok {
			t.Error("no room although b could be evicted")
		}
		wantKept(t, s, "a", "c")
		d.free += 4
		if _, ok := holds(filmOf("d"), 0); ok {
			t.Error("room although all is held and a will be read")
		}
		first()
		second, ok := holds(filmOf("d"), 96) // d's four bytes count once
		if !ok {
			t.Error("no room for d")
		}
		third, ok := holds(filmOf("d"), 4)
		if !ok {
			t.Error("a source that is reserved is reserved again")
		}
		if err := s.room(scratchReserve * 2); !errors.Is(err, storage.ErrFull) {
			t.Errorf("room for anything: %v", err)
		}
		third()
		second()
		if s.reserved() != 0 {
			t.Errorf("%d bytes reserved", s.reserved())
		}
	})
}

// TestSourceOnAFullDisk: if a source does not fit or has the wrong size, nothing of it is left, and it is
// fetched later.
func TestSourceOnAFullDisk(t *testing.T) {
	d := &fakeDisk{free: scratchReserve + 4}
	s, g := scratchWith(t, func(c *Config) { c.KeepSources, c.FreeScratch = 100, d.measure })
	g.open(40)
	release, ok, err := s.hold(filmOf("a"))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	fails := func(what string, want error) {
		t.Helper()
		_, err := s.open(t.Context(), filmOf("a").Source)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		wantKept(t, s)
	}
	d.free-- // another process writes
	fails("full", storage.ErrFull)
	d.free++
	g.lie = 1
	fails("not what was uploaded", nil)
	release()
	unknown := filmOf("a")
	unknown.Source.Size = 0
	if release, _, err = s.hold(unknown); err != nil {
		t.Fatal(err)
	}
	g.lie, d.free = 1, d.free+1
	fails("shorter than the store says", nil)
	g.lie = -1
	fails("longer than the store says", nil)
	g.lie = 0
	if _, err := s.open(t.Context(), unknown.Source); err != nil {
		t.Error(err)
	}
	release()
	wantKept(t, s, "a")
	if err := os.Remove(copyName(s.dir, unknown.Source.Key)); err != nil {
		t.Fatal(err)
	}
	s.drop(time.Now()) // a missing copy is not an error
	if len(s.copies) != 0 {
		t.Errorf("copies %v", s.copies)
	}
}

// TestSourcesGoWhenTheyAreOld: old copies are evicted, but not while they are used.
func TestSourcesGoWhenTheyAreOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := scratchWith(t, nil)
		g.open(8)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.tend(ctx)
		_, inUse := reads(t, s, filmOf("a"))
		_, release := reads(t, s, filmOf("b"))
		release()
		<-time.After(keepFor - time.Second)
		wantKept(t, s, "a", "b")
		<-time.After(keepFor / 5)
		wantKept(t, s, "a")
		inUse()
		(&Loop{scratch: s}).DropSources()
		wantKept(t, s)
	})
}

func TestHold(t *testing.T) {
	const gib = 1 << 30
	broken := errors.New("no disk")
	for name, test := range map[string]struct {
		held, need, free, total int64
		disk                    error
		ok                      bool
		err                     error
	}{
		"fits":                     {0, gib, 2 * gib, 9 * gib, nil, true, nil},
		"nothing is asked for":     {0, 0, 0, 0, broken, true, nil},
		"the reserve is in need":   {0, gib, gib + scratchReserve - 1, 9 * gib, nil, false, nil},
		"others hold it":           {gib, gib, 2 * gib, 9 * gib, nil, false, nil},
		"never":                    {0, 9 * gib, 2 * gib, 9 * gib, nil, false, storage.ErrFull},
		"the disk does not answer": {0, gib, 2 * gib, 9 * gib, broken, false, broken},
	} {
		s := newScratch(Config{Store: storagetest.Disk(t, t.TempDir()), FreeScratch: func() (int64, int64, error) {
			return test.free, test.total, test.disk
		}}.withDefaults())
		s.held = test.held
		release, ok, err := s.hold(pipeline.Task{Job: pipeline.Job{Scratch: test.need}})
		if ok != test.ok || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if ok {
			release()
		}
		if s.held != test.held {
			t.Errorf("%s: %d held", name, s.held)
		}
	}
	if free, total, err := diskSpace(t.TempDir()); err != nil || free <= 0 || total < free {
		t.Errorf("%d of %d, %v", free, total, err)
	}
}
