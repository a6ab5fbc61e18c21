package workers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
)

func newStore(t *testing.T) *disk.Store {
	t.Helper()
	s, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s storage.Store, key, contents string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(contents), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, contents string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// remote is a store whose objects are no files here; its sizes are off by lie.
type remote struct {
	storage.Store
	lie  int64
	gets atomic.Int32
}

// scratchOn is the scratch of a process on a disk without end.
func scratchOn(t *testing.T, s storage.Store) *scratch {
	t.Helper()
	return newScratch(Config{Store: s, Scratch: t.TempDir()}.withDefaults())
}

func (r *remote) Get(ctx context.Context, key string, rng storage.Range) (io.ReadCloser, storage.Info,
	error) {
	r.gets.Add(1)
	body, info, err := r.Store.Get(ctx, key, rng)
	info.Size += r.lie
	return body, info, err
}

func TestLocalInPlace(t *testing.T) {
	s := newStore(t)
	put(t, s, "videos/v/source/original.mp4", "film")
	dir := t.TempDir()
	p, err := storeFiles{store: s}.Local(t.Context(), "videos/v/source/original.mp4", dir)
	if err != nil || filepath.Dir(p) == dir {
		t.Fatalf("%s, %v: a local store needs no copy", p, err)
	}
	if raw, err := os.ReadFile(p); err != nil || string(raw) != "film" {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestLocalCopies(t *testing.T) {
	s := newStore(t)
	put(t, s, "videos/v/source/original.mp4", "film")
	r := &remote{Store: s}
	dir := t.TempDir()
	files := storeFiles{store: r, scratch: scratchOn(t, r)}
	for range 2 {
		p, err := files.Local(t.Context(), "videos/v/source/original.mp4", dir)
		if err != nil || filepath.Dir(p) != dir || filepath.Ext(p) != ".mp4" {
			t.Fatalf("%s, %v", p, err)
		}
		if raw, err := os.ReadFile(p); err != nil || string(raw) != "film" {
			t.Errorf("%q, %v", raw, err)
		}
	}
	if n := r.gets.Load(); n != 1 {
		t.Errorf("read %d times: a copy is made once per attempt", n)
	}
}

func TestLocalFails(t *testing.T) {
	s := newStore(t)
	put(t, s, "videos/v/source/a.mp4", "film")
	for name, test := range map[string]struct {
		lie  int64
		key  string
		want error
	}{
		"missing":        {0, "videos/v/source/b.mp4", storage.ErrNotFound},
		"shorter":        {5, "videos/v/source/a.mp4", nil},
		"longer":         {-1, "videos/v/source/a.mp4", nil},
		"no room for it": {math.MaxInt64 / 2, "videos/v/source/a.mp4", storage.ErrFull},
	} {
		dir := t.TempDir()
		r := &remote{Store: s, lie: test.lie}
		p, err := storeFiles{store: r, scratch: scratchOn(t, r)}.Local(t.Context(), test.key, dir)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %s, %v", name, p, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	gone := newScratch(Config{Scratch: filepath.Join(t.TempDir(), "gone")}.withDefaults())
	if err := gone.room(1); err == nil || errors.Is(err, storage.ErrFull) {
		t.Errorf("the room of no directory: %v", err)
	}
}

func attemptOn(t *testing.T, s storage.Store) Attempt {
	return NewAttempt(Attempt{
		Task: pipeline.Task{
			Video: "v", Job: pipeline.Job{Name: "j"}, Source: pipeline.Object{Key: "videos/v/source/original.mp4"},
			Assets: map[string]pipeline.Object{"logo": {Key: "videos/v/source/logo.png"}},
		},
		Token: 9, Number: 1, Dir: t.TempDir(),
	}, storeFiles{store: s, scratch: scratchOn(t, s)}, nil)
}

func TestAttemptReads(t *testing.T) {
	s := newStore(t)
	a := attemptOn(t, s)
	put(t, s, "videos/v/source/logo.png", "logo")
	put(t, s, "videos/v/other/3/index", "index")
	for name, read := range map[string]func() (string, error){
		"logo": func() (string, error) { return a.Asset(t.Context(), "logo") },
		"index": func() (string, error) {
			return a.Fetch(t.Context(),
				pipeline.Output{Key: "videos/v/other/3/index"})
		},
	} {
		p, err := read()
		if raw, _ := os.ReadFile(p); err != nil || string(raw) != name {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
	_, gone := a.Input(t.Context())
	_, unknown := a.Asset(t.Context(), "music")
	_, lost := a.Fetch(t.Context(), pipeline.Output{Key: "videos/v/other/4/index"})
	for i, test := range []struct {
		err  error
		code pipeline.Code
	}{{gone, pipeline.CodeFetchFailed}, {unknown, pipeline.CodeParameters}, {lost, pipeline.CodeFetchFailed}} {
		if p := pipeline.ProblemOf(test.err); p == nil || p.Code != test.code {
			t.Errorf("%d: %v, want %s", i, test.err, test.code)
		}
	}
	if a.Media().Container != "" || a.Log == nil {
		t.Error("an inspect job knows nothing of its media")
	}
	a.Task.Media = &pipeline.Media{Container: "mov"}
	if a.Media().Container != "mov" {
		t.Error("media")
	}
}

func TestPublish(t *testing.T) {
	s := newStore(t)
	a := attemptOn(t, s)
	o, err := a.Publish(t.Context(), write(t, a.Dir, "x.m3u8", "#EXTM3U"), pipeline.Output{Path: "720p/x.m3u8"})
	sum := sha256.Sum256([]byte("#EXTM3U"))
	if err != nil || o.Key != "videos/v/j/9/720p/x.m3u8" || o.Size != 7 ||
		o.SHA256 != hex.EncodeToString(sum[:]) ||
		o.ContentType != storage.ContentType("x.m3u8") {
		t.Errorf("%+v, %v", o, err)
	}
	for n, contents := range []string{"", "", "", "three", "four"} {
		if contents != "" {
			write(t, a.Dir, SegmentName("s_%05d.m4s", n), contents)
		}
	}
	run := pipeline.Output{Path: "720p/seg_%05d.m4s", Segments: &pipeline.Segments{First: 3, Count: 2}}
	template := filepath.Join(a.Dir, "s_%05d.m4s")
	o, err = a.Publish(t.Context(), template, run)
	if err != nil || o.Size != 9 || o.SHA256 != "" || o.Key != "videos/v/j/9/720p/seg_%05d.m4s" {
		t.Errorf("%+v, %v", o, err)
	}
	if info, err := s.Stat(t.Context(), "videos/v/j/9/720p/seg_00004.m4s"); err != nil || info.Size != 4 {
		t.Errorf("%+v, %v", info, err)
	}
	loop := &Loop{Config: Config{Store: s}}
	task := pipeline.Task{Video: "v", Job: pipeline.Job{Name: "j"}}
	if err := loop.gate(t.Context(), task, 9, pipeline.Result{Outputs: []pipeline.Output{o}}); err != nil {
		t.Errorf("what was published passes the gate: %v", err)
	}

	faults := map[string]struct {
		file string
		o    pipeline.Output
		code pipeline.Code
	}{
		"no file": {filepath.Join(a.Dir, "gone"), pipeline.Output{Path: "x"},
			pipeline.CodeStorageFailed},
		"empty file": {write(t, a.Dir, "empty", ""), pipeline.Output{Path: "x"},
			pipeline.CodeVerification},
		"path out of the job": {write(t, a.Dir, "f", "f"), pipeline.Output{Path: "../x"},
			pipeline.CodeStorageFailed},
		"a segment is missing": {template, with(run,
			func(o *pipeline.Output) { o.Segments = &pipeline.Segments{First: 3, Count: 3} }),
			pipeline.CodeStorageFailed},
		"path without number": {template, with(run, func(o *pipeline.Output) { o.Path = "x" }),
			pipeline.CodeInternal},
		"file without number": {filepath.Join(a.Dir, "f"), run, pipeline.CodeInternal},
	}
	for name, test := range faults {
		_, err := a.Publish(t.Context(), test.file, test.o)
		if p := pipeline.ProblemOf(err); p == nil || p.Code != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

func with(o pipeline.Output, change func(*pipeline.Output)) pipeline.Output {
	change(&o)
	return o
}

func TestGate(t *testing.T) {
	s := newStore(t)
	put(t, s, "videos/v/j/9/a.mp4", "film")
	put(t, s, "videos/v/j/9/empty", "")
	put(t, s, "videos/v/j/8/b.mp4", "film")
	put(t, s, "videos/v/j/9/s_00000.m4s", "0")
	put(t, s, "videos/v/j/9/s_00001.m4s", "1")
	loop := &Loop{Config: Config{Store: s}}
	task := pipeline.Task{Video: "v", Job: pipeline.Job{Name: "j"}}
	good := pipeline.Output{Path: "a.mp4", Key: "videos/v/j/9/a.mp4", Size: 4}
	run := pipeline.Output{
		Path: "s_%05d.m4s", Key: "videos/v/j/9/s_%05d.m4s", Size: 2, Segments: &pipeline.Segments{Count: 2},
	}
	for name, test := range map[string]struct {
		r  pipeline.Result
		ok bool
	}{
		"nothing":      {pipeline.Result{}, true},
		"all is there": {result(good, run), true},
		"never stored": {result(good, pipeline.Output{Path: "c", Key: "videos/v/j/9/c", Size: 1}), false},
		"other size":   {result(with(good, func(o *pipeline.Output) { o.Size = 5 })), false},
		"other path":   {result(with(good, func(o *pipeline.Output) { o.Path = "b.mp4" })), false},
		"empty":        {result(pipeline.Output{Path: "empty", Key: "videos/v/j/9/empty"}), false},
		"other token":  {result(pipeline.Output{Path: "b.mp4", Key: "videos/v/j/8/b.mp4", Size: 4}), false},
		"segment lacks": {result(with(run, func(o *pipeline.Output) { o.Segments = &pipeline.Segments{Count: 3} })),
			false},
		"no segments": {result(with(run, func(o *pipeline.Output) {
			o.Segments, o.Size = &pipeline.Segments{},
				0
		})), false},
		"not a number": {pipeline.Result{Facts: map[string]any{"vmaf": math.NaN()}}, false},
	} {
		err := loop.gate(t.Context(), task, 9, test.r)
		if p := pipeline.ProblemOf(err); (p == nil) != test.ok || p != nil && p.Code != pipeline.CodeVerification {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p := pipeline.ProblemOf(loop.gate(ended, task, 9, result(good))); p == nil ||
		p.Code != pipeline.CodeStorageFailed {
		t.Errorf("a store that does not answer: %v", p)
	}
}

func result(o ...pipeline.Output) pipeline.Result { return pipeline.Result{Outputs: o} }

// ears are Tasks that hear progress only.
type ears struct {
	Tasks
	heard []pipeline.Progress
}

func (e *ears) Progress(_ context.Context, _ string, p pipeline.Progress) error {
	e.heard = append(e.heard, p)
	return errors.New("nobody listens")
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ears{}
		loop := &Loop{Config: Config{Tasks: e, Logger: slog.New(slog.DiscardHandler)}}
		a := NewAttempt(Attempt{Task: pipeline.Task{Video: "v", Job: pipeline.Job{Name: "j"}}, Number: 2}, nil,
			loop.teller(t.Context(), "p"))
		for _, fraction := range []float64{0.1, 0.3, 0.2, math.NaN(), -1, 0.9, 0.5, 7, 0.4} {
			a.Progress(fraction, 1.5)
			<-time.After(200 * time.Millisecond)
		}
		want := []float64{0.1, 0.3, 0.9} // every third: at most twice a second
		if len(e.heard) != len(want) {
			t.Fatalf("heard %+v", e.heard)
		}
		for i, p := range e.heard {
			if p.Fraction != want[i] || p.Job != "j" || p.Attempt != 2 || p.Speed != 1.5 {
				t.Errorf("%d: %+v, want %v", i, p, want[i])
			}
		}
		<-time.After(time.Second)
		a.Progress(0.2, 0)
		if last := e.heard[len(e.heard)-1]; last.Fraction != 1 {
			t.Errorf("told %v after 7: it never falls, and 1 is all", last.Fraction)
		}
	})
	NewAttempt(Attempt{}, nil, nil).Progress(0.5, 1) // nobody to tell
}

func TestNewLoop(t *testing.T) {
	full := Config{
		Log: struct{ pipeline.Log }{}, Tasks: &ears{}, Store: newStore(t), Registry: NewRegistry(),
		Scratch: filepath.Join(t.TempDir(), "scratch"),
	}
	if err := os.MkdirAll(filepath.Join(full.Scratch, "left"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := NewLoop(full)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(full.Scratch); err != nil || len(left) != 0 {
		t.Errorf("scratch holds %v, %v", left, err)
	}
	if l.Heartbeat != 20*time.Second || l.Timeout != 4*time.Hour || l.MaxLost != 10 || l.Process == "" ||
		l.SlotsOf("any") < 1 {
		t.Errorf("defaults %+v", l.Config)
	}
	for name, change := range map[string]func(*Config){
		"Log is":     func(c *Config) { c.Log = nil },
		"Scratch is": func(c *Config) { c.Scratch = "" },
		"unheard":    func(c *Config) { c.Slots = map[string]int{"unheard": 1} },
		"urgent":     func(c *Config) { c.Interactive = map[string]int{"unheard": 1} },
		"fewer":      func(c *Config) { c.KeepSources = -1 },
	} {
		c := full
		change(&c)
		if _, err := NewLoop(c); err == nil {
			t.Errorf("%s missing: no error", name)
		}
	}
}

// waiter is a worker that says how many slots it wants.
type waiter struct{ Worker[struct{}] }

func (waiter) Slots(cores int) int { return 10 * cores }

// TestSlots: what the configuration says comes first, then what the worker says.
func TestSlots(t *testing.T) {
	r := NewRegistry()
	Add(r, "plain", struct{ Worker[struct{}] }{})
	Add(r, "waiter", waiter{})
	Add(r, "told", waiter{})
	l := &Loop{Config: Config{Registry: r, Slots: map[string]int{"told": 3}}}
	for name, want := range map[string]int{
		"plain": max(1, runtime.NumCPU()/2), "waiter": 10 * runtime.NumCPU(), "told": 3,
	} {
		if got := l.SlotsOf(name); got != want {
			t.Errorf("%s has %d slots, want %d", name, got, want)
		}
	}
	l.Slots["none"], l.Slots["asked"], l.Interactive = 0, 20, map[string]int{"asked": 2}
	for name, want := range map[string]int{"plain": 1, "waiter": 0, "told": 1, "none": 0, "asked": 2} {
		if got := l.interactive(name); got != want {
			t.Errorf("%s has %d interactive slots, want %d", name, got, want)
		}
	}
	if s := l.Stats(); len(s) != 3 || s["plain"] != (Counts{}) {
		t.Errorf("stats %+v", s)
	}
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
		s := newScratch(Config{Store: newStore(t), FreeScratch: func() (int64, int64, error) {
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

func TestProblemPlaced(t *testing.T) {
	l := &Loop{}
	task := pipeline.Task{Job: pipeline.Job{Name: "j", Step: "s"}}
	for name, test := range map[string]struct {
		err  error
		code pipeline.Code
	}{
		"plain": {errors.New("x"), pipeline.CodeInternal},
		"store is full": {pipeline.Fail(pipeline.CodeStorageFailed, "put: %w", storage.ErrFull),
			pipeline.CodeDiskFull},
		"scratch is": {&os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}, pipeline.CodeDiskFull},
	} {
		if p := l.problem(task, 3, test.err); p.Code != test.code || p.Job != "j" || p.Step != "s" ||
			p.Attempt != 3 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
