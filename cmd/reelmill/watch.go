package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// watchCommand uploads what appears in a folder.
type watchCommand struct {
	Dir string `arg:"" help:"The folder; folders in it count, too." type:"existingdir"`
	serverFlags
	wishes
	memoryFlags
	Settle   time.Duration `help:"Upload a file once its size and time have been still for this long." default:"10s"`
	Every    time.Duration `help:"Look at the folder this often." default:"2s"`
	Done     string        `help:"Move each file here once it is uploaded. Default: it stays." type:"path" placeholder:"DIR"`
	Once     bool          `help:"End when every file is uploaded or refused."`
	Parallel int           `help:"Upload this many files at once, 1 to 16." default:"3"`
}

// Help is the long help.
func (watchCommand) Help() string {
	return "  reelmill watch /srv/inbox\n  reelmill watch /srv/inbox --done /srv/uploaded\n\n" +
		"It remembers what it has uploaded: after a restart it goes on, and uploads nothing twice. A file whose " +
		"size or time changes later is uploaded again, as another video. A file that is moved into the folder is " +
		"taken at once; one that is written there, when it has been still for --settle."
}

// Validate is called by kong.
func (c watchCommand) Validate() error {
	var mistakes []error
	if err := checkParallel(c.Parallel); err != nil {
		mistakes = append(mistakes, err)
	}
	if c.Settle < 0 || c.Every <= 0 {
		mistakes = append(mistakes, errors.New("--settle must be 0 or more, and --every more than 0"))
	}
	if c.Done != "" {
		below, err := filepath.Rel(c.Dir, c.Done)
		if err == nil && below != ".." && !strings.HasPrefix(below, ".."+string(filepath.Separator)) {
			mistakes = append(mistakes,
				fmt.Errorf("--done: %s is in the folder that is watched; name one outside", c.Done))
		}
	}
	return errors.Join(mistakes...)
}

// Run looks at the folder again and again.
func (c watchCommand) Run(ctx context.Context, s streams) error {
	memory := c.folder("watch")
	if memory == "" {
		return usageError{errors.New("there is no place to remember what is uploaded; name a folder with --state")}
	}
	if c.Done != "" {
		if err := os.MkdirAll(c.Done, 0o755); err != nil {
			return usageError{fmt.Errorf("--done: %w", err)}
		}
	}
	w := &watcher{
		watchCommand: c, out: s, screen: c.screen(s), seen: map[string]sight{}, told: map[string]bool{},
	}
	w.sender = &sender{wishes: c.wishes, api: c.client(), server: c.Server, memory: memory, line: w.screen.line}
	defer w.screen.close()
	for {
		ready, waiting := w.look(time.Now())
		w.take(ctx, ready)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if c.Once && !waiting && len(ready) == 0 {
			return errors.Join(w.failed...)
		}
		if !pause.For(ctx, c.Every) {
			return context.Cause(ctx)
		}
	}
}

// watcher is one run of the command.
type watcher struct {
	watchCommand
	sender *sender
	screen *screen
	out    streams

	mu     sync.Mutex
	seen   map[string]sight
	told   map[string]bool // what was said of files that are skipped
	failed []error         // of files that are given up
}

// sight is a file as it was seen.
type sight struct {
	size     int64
	modified time.Time
	since    time.Time // it has been like this, or it failed last
	done     bool      // like this, it is uploaded or refused
}

// look returns the files to upload, and whether others are not still yet.
func (w *watcher) look(now time.Time) (ready []parcel, waiting bool) {
	all := gather([]string{w.Dir})
	for _, path := range all.skipped {
		w.say(path, path+" is skipped: by its name it is no video")
	}
	for _, err := range all.failed {
		w.say(err.Error(), err.Error())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(all.failed) == 0 { // otherwise some may only be hidden
		w.forgetAllBut(all.files)
	}
	for _, path := range all.files {
		info, err := os.Stat(path)
		if err != nil {
			continue // it is gone again
		}
		file, known := w.seen[path]
		if !known || file.size != info.Size() || !file.modified.Equal(info.ModTime()) {
			w.seen[path] = sight{size: info.Size(), modified: info.ModTime(), since: now}
			waiting = true
			continue
		}
		if file.done {
			continue
		}
		moved := file.since.Sub(info.ModTime()) >= w.Settle // it was old when it appeared
		if waiting = waiting || !moved && now.Sub(file.since) < w.Settle; moved || now.Sub(file.since) >= w.Settle {
			ready = append(ready, parcel{path: path})
		}
	}
	return ready, waiting
}

// forgetAllBut forgets the files that are gone. One that comes back is another file, also if it looks the
// same.
func (w *watcher) forgetAllBut(there []string) {
	known := w.seen
	w.seen = make(map[string]sight, len(there))
	for _, path := range there {
		if file, ok := known[path]; ok {
			w.seen[path] = file
		}
	}
}

// say prints a line once.
func (w *watcher) say(about, text string) {
	if !w.told[about] {
		w.told[about] = true
		w.screen.line(text)
	}
}

// take uploads files, several at once.
func (w *watcher) take(ctx context.Context, files []parcel) {
	var group errgroup.Group
	group.SetLimit(w.Parallel)
	for _, file := range files {
		group.Go(func() error {
			if ctx.Err() == nil {
				w.one(ctx, file)
			}
			return nil
		})
	}
	_ = group.Wait() // each file has its own error
}

// one uploads a file, unless an earlier run has.
func (w *watcher) one(ctx context.Context, file parcel) {
	before := w.sender.before(file)
	if before == "" {
		bar := w.screen.file(filepath.Base(file.path))
		view, err := w.sender.send(ctx, file, bar.sent)
		bar.close()
		if err == nil {
			err = w.print(file.path, view)
		}
		if err != nil {
			w.fail(ctx, file, err)
			return
		}
	}
	err := w.move(file)
	if err != nil {
		w.screen.line(err.Error())
	}
	w.end(file.path, err)
}

// print says that a file is uploaded.
func (w *watcher) print(path string, view pipeline.VideoView) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.structured() {
		return w.encode(w.out.out, view)
	}
	_, err := human.Fprintf(w.out.out, "%s  %s  %s\n", view.ID, view.Status, path)
	return err
}

// end says that nothing more is done about a file as it is; err may be nil.
func (w *watcher) end(path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	file := w.seen[path]
	file.done = true
	w.seen[path] = file
	if err != nil {
		w.failed = append(w.failed, err)
	}
}

// fail says why a file is not uploaded. A refusal holds until the file changes; after anything else it is
// tried again.
func (w *watcher) fail(ctx context.Context, file parcel, err error) {
	if ctx.Err() != nil {
		return
	}
	err = fmt.Errorf("upload %s: %w", file.path, err)
	w.screen.line(err.Error())
	refused, answered := errors.AsType[*client.Error](err)
	if w.Once || answered && refused.Status < 500 && !refused.Retryable {
		w.end(file.path, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	late := w.seen[file.path]
	late.since = time.Now()
	w.seen[file.path] = late
}

// move moves a file that is uploaded to --done, where it replaces nothing.
func (w *watcher) move(file parcel) error {
	if w.Done == "" {
		return nil
	}
	if err := w.rename(file.path, filepath.Join(w.Done, filepath.Base(file.path))); err != nil {
		return err
	}
	return w.sender.forget([]parcel{file})
}

// rename moves a file to a name that is free. One file at a time: others may want the same name.
func (w *watcher) rename(from, to string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s is uploaded, but stays: %s exists", from, to)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("%s is uploaded, but stays: %w; name a folder on the same disk with --done", from, err)
	}
	return nil
}
