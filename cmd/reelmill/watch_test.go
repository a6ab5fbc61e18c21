package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// watcherOf returns a watcher of a new folder that moves files to another one. It remembers nothing.
func watcherOf(t *testing.T) *watcher {
	t.Helper()
	return &watcher{
		watchCommand: watchCommand{Dir: t.TempDir(), Done: t.TempDir(), Settle: time.Second},
		sender:       &sender{}, screen: newScreen(streams{out: io.Discard, err: io.Discard}),
		seen: map[string]sight{}, told: map[string]bool{},
	}
}

// TestWatchMovesReplaceNothing checks that files of one name, from several folders at once, do not replace each
// other in --done: one is moved, the others stay.
func TestWatchMovesReplaceNothing(t *testing.T) {
	const files = 8
	for range 50 {
		w := watcherOf(t)
		var paths []string
		for i := range files {
			path := filepath.Join(w.Dir, strconv.Itoa(i), "film.mp4")
			check(t, os.Mkdir(filepath.Dir(path), 0o700))
			check(t, os.WriteFile(path, []byte{byte(i)}, 0o600))
			paths = append(paths, path)
		}
		begin := make(chan struct{})
		var group sync.WaitGroup
		for _, path := range paths {
			group.Go(func() {
				<-begin
				_ = w.move(parcel{path: path}) // it says that a file stays
			})
		}
		close(begin)
		group.Wait()
		left := 0
		for _, path := range paths {
			if _, err := os.Lstat(path); err == nil {
				left++
			}
		}
		if left != files-1 {
			t.Fatalf("%d files stay, want %d: some are lost", left, files-1)
		}
	}
}

// TestWatchTakesAFileThatComesBack checks that a file which left the folder is a new one when it is there
// again, also if it looks the same.
func TestWatchTakesAFileThatComesBack(t *testing.T) {
	w := watcherOf(t)
	path, away := filepath.Join(w.Dir, "film.mp4"), filepath.Join(w.Done, "film.mp4")
	check(t, os.WriteFile(path, []byte("film"), 0o600))
	now := time.Now().Add(time.Hour)
	w.look(now)
	for _, round := range []string{"at first", "when it comes back"} {
		if ready, _ := w.look(now); len(ready) != 1 || ready[0].path != path {
			t.Fatalf("%s: it takes %v", round, ready)
		}
		w.end(path, nil)
		if ready, _ := w.look(now); len(ready) != 0 {
			t.Fatalf("%s: it takes %v again", round, ready)
		}
		check(t, os.Rename(path, away))
		w.look(now)
		if len(w.seen) != 0 {
			t.Errorf("%s: it still knows %v", round, w.seen)
		}
		check(t, os.Rename(away, path))
		w.look(now)
	}
}
