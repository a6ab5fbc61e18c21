package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// closed makes a closed catalog of one video, and returns its file and what that holds.
func closed(t *testing.T) (path string, raw []byte) {
	t.Helper()
	var s story
	s.ready("p", "vid_a")
	path = made(t, s.events...)
	return path, must(os.ReadFile(path))
}

func write(t *testing.T, path string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOpenNoticesWhatSQLiteDoesNot checks that Open refuses a file that was changed after it was closed in any
// way, says where, and leaves everything as it was.
func TestOpenNoticesWhatSQLiteDoesNot(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(b []byte) []byte
		want  string
	}{
		"a byte of a document": {func(b []byte) []byte {
			b[bytes.Index(b, []byte("naïve"))] ^= 1
			return b
		}, "was changed after it was closed, between the bytes 0 and "},
		"the last byte cut": {func(b []byte) []byte { return b[:len(b)-1] }, "bytes, and had "},
		"a page of zeros":   {func(b []byte) []byte { clear(b[8*4096 : 9*4096]); return b }, "was changed"},
		"more bytes":        {func(b []byte) []byte { return append(b, 0) }, "bytes, and had "},
	} {
		t.Run(name, func(t *testing.T) {
			path, raw := closed(t)
			spoiled := test.spoil(raw)
			write(t, path, spoiled)
			for range 2 { // it does not forget
				_, err := Open(t.Context(), path)
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path+" ") ||
					!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "`reelmill rebuild`") {
					t.Fatalf("Open: %v", err)
				}
			}
			if _, err := Verify(path); !errors.Is(err, ErrDamaged) {
				t.Errorf("Verify: %v", err)
			}
			if !bytes.Equal(must(os.ReadFile(path)), spoiled) {
				t.Error("the file was changed")
			}
		})
	}
}

// TestSumsOfACatalog checks when a catalog has sums: from the last Close to the next Open.
func TestSumsOfACatalog(t *testing.T) {
	path, _ := closed(t)
	wantSummed := func(when string, want bool) {
		t.Helper()
		if summed, err := Verify(path); summed != want || err != nil {
			t.Errorf("%s: %v, %v", when, summed, err)
		}
	}
	wantSummed("closed", true)
	one, two := must(Open(t.Context(), path)), must(Open(t.Context(), path))
	wantSummed("open", false)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	wantSummed("open once more", false)
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	wantSummed("closed again", true)
	write(t, path+sumSuffix, []byte(`{"size":`)) // the writer died
	wantSummed("with half the sums", false)
	if err := must(Open(t.Context(), path)).Close(); err != nil {
		t.Fatal(err)
	}
	wantSummed("after that", true)
	write(t, path, nil)
	wantSummed("an empty file", false)
	if seq := must(open(t, path).Sequence(t.Context())); seq != 0 {
		t.Errorf("a new catalog is at %d", seq)
	}
}

// TestACrashIsNoDamage checks that a catalog whose process was killed at any time opens, with all that was
// applied, whatever sums a close left before.
func TestACrashIsNoDamage(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	path := made(t, s.events...)
	c := must(Open(t.Context(), path))
	crash := func(when string) { // its files as they are
		t.Helper()
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
			t.Fatal(err)
		}
		again, err := Open(t.Context(), filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			t.Fatalf("killed %s: %v", when, err)
		}
		if seq := must(again.Sequence(t.Context())); seq != s.events[len(s.events)-1].Sequence {
			t.Errorf("killed %s: it is at %d of %d", when, seq, s.events[len(s.events)-1].Sequence)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	crash("after Open")
	before := len(s.events)
	s.ready("p", "vid_b")
	for n := before; n < len(s.events); n++ {
		apply(t, c, s.events[n])
	}
	crash("after Apply")
	if _, err := c.writer.db.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		t.Fatal(err)
	}
	crash("after a checkpoint")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	crash("after Close")
	sums := must(os.ReadFile(path + sumSuffix))
	for n := range sums {
		write(t, path+sumSuffix, sums[:n])
		if _, err := Verify(path); err != nil {
			t.Fatalf("killed after %d of %d bytes of the sums: %v", n, len(sums), err)
		}
	}
	write(t, path+sumSuffix, make([]byte, len(sums))) // written, but not synced
	crash("with zeros for sums")
}

// TestAFileTooLargeForTheTimeIsComparedInPart checks that damage in the part that was read is found, and that
// the rest counts as not compared.
func TestAFileTooLargeForTheTimeIsComparedInPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	raw := make([]byte, 3*sumBlock)
	write(t, path, raw)
	sums := must(json.Marshal(must(sumFile(path, time.Time{}))))
	over := time.Now().Add(-time.Hour)
	if summed, err := verify(path, sums, over); summed || err != nil {
		t.Errorf("no time: %v, %v", summed, err)
	}
	raw[3*sumBlock-1] = 1 // in the part that is not read
	write(t, path, raw)
	if summed, err := verify(path, sums, over); summed || err != nil {
		t.Errorf("no time for the damage: %v, %v", summed, err)
	}
	raw[0] = 1
	write(t, path, raw)
	if _, err := verify(path, sums, over); !errors.Is(err, ErrDamaged) ||
		!strings.Contains(err.Error(), "between the bytes 0 and 1048576") {
		t.Errorf("damage at the front: %v", err)
	}
}

// TestDamageIsToldOnceAndRemembered checks that a document that cannot be decoded counts as damage, is logged
// once, and is known at the next Open.
func TestDamageIsToldOnceAndRemembered(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	path := made(t, s.events...)
	c := must(Open(t.Context(), path))
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for _, text := range []string{
		`UPDATE videos SET doc = '{"id":'`, `UPDATE jobs SET doc = '{"id":'`, `UPDATE outputs SET doc = '{"id":'`,
		`UPDATE events SET doc = '{"id":'`,
	} {
		if _, err := c.writer.db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if c.Damage() != nil {
		t.Error(c.Damage())
	}
	s.tell("video.liked", "video.liked.p.vid_a", "vid_a", `{"n":1}`)
	for name, ask := range map[string]func(context.Context) error{
		"Video":   func(ctx context.Context) error { _, err := c.Video(ctx, "p", "vid_a"); return err },
		"Videos":  func(ctx context.Context) error { _, err := c.Videos(ctx, Query{Project: "p"}); return err },
		"Jobs":    func(ctx context.Context) error { _, err := c.Jobs(ctx, "p", "vid_a"); return err },
		"Outputs": func(ctx context.Context) error { _, err := c.Outputs(ctx, "p", "vid_a"); return err },
		"Events":  func(ctx context.Context) error { _, err := c.Events(ctx, "p", "vid_a", 0, 0); return err },
		"Resolve": func(ctx context.Context) error { _, err := c.Resolve(ctx, "vid_a", "master.m3u8"); return err },
		"Played":  func(ctx context.Context) error { _, _, err := c.Played(ctx, "vid_a"); return err },
		"Apply":   func(ctx context.Context) error { return c.Apply(ctx, s.events) },
	} {
		err := ask(t.Context())
		if !errors.Is(err, ErrDamaged) || strings.Count(err.Error(), "`reelmill rebuild`") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !errors.Is(c.Damage(), ErrDamaged) || strings.Count(log.String(), "level=ERROR") != 1 {
		t.Errorf("%v, log:\n%s", c.Damage(), &log)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "decoded") {
		t.Errorf("the next Open: %v", err)
	}
	if err := Replace(path, made(t, s.events...)); err != nil {
		t.Fatal(err)
	}
	if v := must(open(t, path).Video(t.Context(), "p", "vid_a")); v.ID != "vid_a" {
		t.Errorf("%+v", v)
	}
}

// TestReplaceKeepsTheSums checks that a new catalog in the place of an old one has its own sums.
func TestReplaceKeepsTheSums(t *testing.T) {
	path, _ := closed(t)
	if err := Replace(path, made(t)); err != nil {
		t.Fatal(err)
	}
	if summed, err := Verify(path); !summed || err != nil {
		t.Errorf("%v, %v", summed, err)
	}
}
