package workertest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/storagetest"
	"github.com/reelmill/reelmill/workers"
)

// patience is how long Work may take to return after its context ended, on a busy machine.
const patience = 10 * time.Second

// Store is a store on disk with one video in it.
type Store struct {
	*disk.Store
	Video string
	dir   string
	token uint64
}

// NewStore returns an empty store that is removed with the test.
func NewStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	return &Store{Store: storagetest.Disk(t, dir), Video: pipeline.NewID("vid"), dir: dir}
}

// Add stores the file at path as a source object of the video.
func (s *Store) Add(t *testing.T, name, path string) pipeline.Object {
	t.Helper()
	key := pipeline.SourceKey(s.Video, name)
	if info, err := s.Stat(t.Context(), key); err == nil {
		return pipeline.Object{Key: key, Size: info.Size}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := s.Put(t.Context(), key, f, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pipeline.Object{Key: key, Size: info.Size, SHA256: info.SHA256}
}

// Keys returns the keys of all objects.
func (s *Store) Keys(t *testing.T) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// Local returns the path of an output on disk; with Segments, their template.
func (s *Store) Local(o pipeline.Output) string {
	return filepath.Join(s.dir, filepath.FromSlash(o.Key))
}

// Tree copies the outputs to a new folder, to the paths at which they are played, and returns the folder.
// If two jobs claim a path, the folder holds the output of the later attempt.
func (s *Store) Tree(t *testing.T, results map[string]pipeline.Result) string {
	t.Helper()
	root := t.TempDir()
	place := func(from, to string) {
		to = filepath.Join(root, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(from, to); err != nil {
			t.Fatal(err)
		}
	}
	var outputs []pipeline.Output
	for _, r := range results {
		outputs = append(outputs, r.Outputs...)
	}
	slices.SortFunc(outputs, func(a, b pipeline.Output) int { return cmp.Compare(token(t, b), token(t, a)) })
	placed := map[string]bool{}
	for _, o := range outputs {
		for _, n := range numbers(o) {
			if name := workers.SegmentName(o.Path, n); !placed[name] {
				place(workers.SegmentName(s.Local(o), n), name)
				placed[name] = true
			}
		}
	}
	return root
}

// token returns the token of the attempt that made o, from its key (pipeline.AttemptPrefix).
func token(t *testing.T, o pipeline.Output) int {
	t.Helper()
	folders := strings.Split(strings.TrimSuffix(o.Key, o.Path), "/")
	n, err := strconv.Atoi(folders[max(0, len(folders)-2)])
	if err != nil {
		t.Fatalf("key %s has no token: %v", o.Key, err)
	}
	return n
}

// numbers returns the numbers of an output's segments; any one number for a single object.
func numbers(o pipeline.Output) []int {
	if o.Segments == nil {
		return []int{0}
	}
	var all []int
	for n := range o.Segments.Count {
		all = append(all, o.Segments.First+n)
	}
	return all
}

// Work runs one attempt that must succeed, checks it, and returns its result.
func (s *Store) Work(t *testing.T, r *workers.Registry, task pipeline.Task,
	results map[string]pipeline.Result, progress func(pipeline.Progress),
) pipeline.Result {
	t.Helper()
	result, err := s.attempt(t, t.Context(), r, task, results, progress)
	if err != nil {
		t.Fatalf("job %s: %v", task.Job.Name, err)
	}
	s.checkOutputs(t, task, result)
	return result
}

// attempt runs one attempt under a new token, and checks that it changes nothing but its outputs.
func (s *Store) attempt(t *testing.T, ctx context.Context, r *workers.Registry, task pipeline.Task,
	results map[string]pipeline.Result, progress func(pipeline.Progress),
) (pipeline.Result, error) {
	t.Helper()
	dir, check := scratch(t)
	defer check()
	if key := task.Source.Key; key != "" {
		before := sum(t, s, key)
		defer func() {
			if sum(t, s, key) != before {
				t.Errorf("job %s changed the source", task.Job.Name)
			}
		}()
	}
	s.token++
	waited := map[string]pipeline.Result{}
	for _, name := range task.Job.After {
		if before, ok := results[name]; ok {
			waited[name] = before
		}
	}
	a := workers.Attempt{Task: task, Token: s.token, Number: 1, Results: waited, Dir: dir}
	return r.Work(ctx, workers.NewAttempt(a, files{s}, progress))
}

// checkOutputs compares the result with the store.
func (s *Store) checkOutputs(t *testing.T, task pipeline.Task, r pipeline.Result) {
	t.Helper()
	prefix := pipeline.AttemptPrefix(s.Video, task.Job.Name, s.token)
	said := map[string]bool{}
	for _, o := range r.Outputs {
		if o.Key != prefix+o.Path || o.Name == "" || o.Kind == "" || o.ContentType == "" {
			t.Errorf("output %+v: no name, kind or content type, or its key is not its path under the token", o)
		}
		if path.Clean(o.Path) != o.Path || strings.HasPrefix(o.Path, "/") {
			t.Errorf("output path %q is not clean", o.Path)
		}
		var size int64
		for _, n := range numbers(o) {
			key := workers.SegmentName(o.Key, n)
			said[key] = true
			info, err := s.Stat(t.Context(), key)
			if err != nil || info.Size == 0 || storage.ValidKey(key) != nil {
				t.Errorf("output %s: %v, %d bytes", key, err, info.Size)
			}
			size += info.Size
			if o.Segments == nil && sum(t, s, key) != o.SHA256 {
				t.Errorf("output %s: the SHA-256 is not that of the object", key)
			}
		}
		if size != o.Size {
			t.Errorf("output %s: says %d bytes, has %d", o.Path, o.Size, size)
		}
	}
	if o := r.Source; o != nil {
		said[o.Key] = true
		info, err := s.Stat(t.Context(), o.Key)
		if err != nil || info.Size != o.Size || o.Size == 0 || !strings.HasPrefix(o.Key, prefix) ||
			sum(t, s, o.Key) != o.SHA256 {
			t.Errorf("source %+v: in the store are %+v, %v", *o, info, err)
		}
	}
	for _, key := range s.Keys(t) {
		if strings.HasPrefix(key, prefix) && !said[key] {
			t.Errorf("%s was stored but is no output", key)
		}
	}
}

// files is an attempt's view of the store.
type files struct{ s *Store }

// Local returns the path in the store itself; no copy is made.
func (f files) Local(ctx context.Context, key, _ string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	p, ok := f.s.LocalPath(key)
	if !ok {
		return "", fmt.Errorf("%s: %w", key, storage.ErrNotFound)
	}
	return p, nil
}

// Upload stores the file at path, unless the key is taken, and returns the size and SHA-256 of the object.
func (f files) Upload(ctx context.Context, key, path string) (int64, string, error) {
	r, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer r.Close()
	info, err := f.s.Put(ctx, key, r, storage.PutOptions{IfAbsent: true})
	return info.Size, info.SHA256, err
}

// stopwatch measures the time since its first start.
type stopwatch struct {
	once  sync.Once
	begun time.Time
}

func newStopwatch() *stopwatch { return &stopwatch{} }

func (w *stopwatch) start() { w.once.Do(func() { w.begun = time.Now() }) }

func (w *stopwatch) passed() time.Duration {
	if w.begun.IsZero() {
		return 0
	}
	return time.Since(w.begun)
}

// Paths returns the paths of a result's outputs, sorted.
func Paths(r pipeline.Result) []string {
	var paths []string
	for _, o := range r.Outputs {
		paths = append(paths, o.Path)
	}
	slices.Sort(paths)
	return paths
}

// Try runs one attempt that may fail, and checks only its folder.
func (s *Store) Try(t *testing.T, ctx context.Context, r *workers.Registry,
	task pipeline.Task, results map[string]pipeline.Result,
) (pipeline.Result, error) {
	t.Helper()
	return s.attempt(t, ctx, r, task, results, nil)
}
