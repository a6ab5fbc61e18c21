package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/workertest"
)

// tryKept is try for a video whose downloads are kept in dir, as by a process of its own.
func tryKept(t *testing.T, ctx context.Context, dir, url string, tell func(pipeline.Progress)) (fetched, error) {
	t.Helper()
	c := quick
	c.Keep = NewKeep(dir)
	part, err := json.Marshal(pipeline.Fetch{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	store := workertest.NewStore(t)
	store.Video = "vid_kept"
	task := pipeline.Task{Video: store.Video, Job: pipeline.Job{Name: "fetch", Worker: pipeline.FetchStep, Part: part}}
	r := workertest.Registry(pipeline.FetchStep, New(c))
	result, err := r.Work(ctx, workers.NewAttempt(workers.Attempt{Task: task, Token: 7, Dir: t.TempDir()}, files{store}, tell))
	if err != nil {
		return fetched{}, err
	}
	path, _ := store.LocalPath(result.Source.Key)
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fetched{*result.Source, body, result.Facts["requests"]}, nil
}

// resumable serves a file in parts, and notes the ranges that it is asked for. While cut is positive, it sends
// as many bytes and then breaks off.
type resumable struct {
	data   []byte
	etag   string
	cut    int
	ranges []string
}

func (s *resumable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	if s.cut > 0 {
		w = &cutWriter{w, s.cut}
		defer func() { panic(http.ErrAbortHandler) }()
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
}

var errKilled = errors.New("the process ends")

// half makes an attempt that ends in the middle, and returns the folder of what is kept.
func half(t *testing.T, s *resumable, url string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "fetch")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s.cut = 2 << 20
	_, err := tryKept(t, ctx, dir, url, func(p pipeline.Progress) {
		if p.Bytes >= 1<<20 {
			cancel(errKilled)
		}
	})
	if !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	s.cut, s.ranges = 0, nil
	return dir
}

// TestNextAttemptGoesOn: an attempt goes on where the one before ended, in one request for the rest, and
// leaves nothing.
func TestNextAttemptGoesOn(t *testing.T) {
	s := &resumable{data: file(1, 4<<20), etag: `"1"`}
	url := serve(t, s.ServeHTTP)
	dir := half(t, s, url)
	got, err := tryKept(t, t.Context(), dir, url, nil)
	if err != nil || got.SHA256 != sum(s.data) {
		t.Fatalf("%+v, %v", got.Object, err)
	}
	if len(s.ranges) != 1 || s.ranges[0] == "" || s.ranges[0] == "bytes=0-" {
		t.Errorf("ranges %q", s.ranges)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestFileChangesBetweenAttempts: parts of two files are never mixed, whatever the server says of the second,
// and whatever is left of the first.
func TestFileChangesBetweenAttempts(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *resumable, dir string){
		"another ETag": func(_ *testing.T, s *resumable, _ string) { s.etag = `"2"` },
		"weak ETag":    func(_ *testing.T, s *resumable, _ string) { s.etag = `W/"1"` },
		"no ETag":      func(_ *testing.T, s *resumable, _ string) { s.etag = "" },
		"torn note": func(t *testing.T, _ *resumable, dir string) {
			name := filepath.Join(dir, "vid_kept.note")
			raw, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name, raw[:len(raw)-3], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"fewer bytes than noted": func(t *testing.T, _ *resumable, dir string) {
			if err := os.Truncate(filepath.Join(dir, "vid_kept.bytes"), 1000); err != nil {
				t.Fatal(err)
			}
		},
		"no note": func(t *testing.T, _ *resumable, dir string) {
			if err := os.Remove(filepath.Join(dir, "vid_kept.note")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		s := &resumable{data: file(1, 4<<20), etag: `"1"`}
		url := serve(t, s.ServeHTTP)
		dir := half(t, s, url)
		s.data = file(2, 4<<20)
		change(t, s, dir)
		got, err := tryKept(t, t.Context(), dir, url, nil)
		if err != nil || got.SHA256 != sum(s.data) {
			t.Errorf("%s: %+v, %v after %q", name, got.Object, err, s.ranges)
		}
	}
}

// TestBytesBehindTheNote: what was written after the last note does not count, since nobody knows whether it
// reached the disk.
func TestBytesBehindTheNote(t *testing.T) {
	s := &resumable{data: file(1, 4<<20), etag: `"1"`}
	url := serve(t, s.ServeHTTP)
	dir := half(t, s, url)
	f, err := os.OpenFile(filepath.Join(dir, "vid_kept.bytes"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(make([]byte, 1000))
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := tryKept(t, t.Context(), dir, url, nil)
	if err != nil || got.SHA256 != sum(s.data) || len(s.ranges) != 1 {
		t.Errorf("%+v, %v after %q", got.Object, err, s.ranges)
	}
}

// TestWholeFileIsKept: a file that is whole, but was not stored, costs no further request.
func TestWholeFileIsKept(t *testing.T) {
	s := &resumable{data: file(1, 2<<20), etag: `"1"`}
	url := serve(t, s.ServeHTTP)
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := tryKept(t, ctx, dir, url, func(p pipeline.Progress) {
		if p.Fraction == 1 {
			cancel(errKilled)
		}
	})
	if err == nil {
		t.Fatal("the first attempt stored the file")
	}
	asked := len(s.ranges)
	got, err := tryKept(t, t.Context(), dir, url, nil)
	if err != nil || got.SHA256 != sum(s.data) || len(s.ranges) > asked+1 {
		t.Errorf("%+v, %v after %q", got.Object, err, s.ranges)
	}
}

// TestKeepOneAttempt: two attempts of a video at once, of which one has lost its lease, never write one file.
func TestKeepOneAttempt(t *testing.T) {
	k := NewKeep(t.TempDir())
	first, err := k.take("vid_a")
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := k.take("vid_a"); second != nil || err != nil {
		t.Errorf("a second attempt got the files: %v", err)
	}
	first.release()
	if third, err := k.take("vid_a"); third == nil || err != nil {
		t.Errorf("a later attempt did not get the files: %v", err)
	}
}

// TestKeepForgets: old downloads are removed when another begins, all unused ones when room is needed, and
// those of a file that no server will send at once.
func TestKeepForgets(t *testing.T) {
	k := NewKeep(t.TempDir())
	write := func(video string, age time.Duration) {
		name := filepath.Join(k.dir, video+bytesFile)
		err := os.WriteFile(name, []byte("x"), 0o600)
		if err == nil {
			err = os.Chtimes(name, time.Time{}, time.Now().Add(-age))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	names := func() (all string) {
		entries, err := os.ReadDir(k.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all += e.Name() + " "
		}
		return all
	}
	write("vid_old", 25*time.Hour)
	write("vid_new", time.Hour)
	write("vid_used", time.Hour)
	used, err := k.take("vid_used")
	if err != nil {
		t.Fatal(err)
	}
	defer used.release()
	if got := names(); got != "vid_new.bytes vid_used.bytes " {
		t.Errorf("after a day: %s", got)
	}
	k.Drop()
	if got := names(); got != "vid_used.bytes " {
		t.Errorf("after Drop: %s", got)
	}
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	dir := t.TempDir()
	if _, err := tryKept(t, t.Context(), dir, url, nil); code(err) != pipeline.CodeFetchRefused {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("after a refusal: %v", left)
	}
}
