package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/reelmill/reelmill/pipeline"
)

func TestOpenMakesAPrivateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "catalog.db")
	c := open(t, path)
	if seq := must(c.Sequence(t.Context())); seq != 0 {
		t.Errorf("sequence %d of a new file", seq)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
}

func TestOpenSetsTheFileUp(t *testing.T) {
	c := fresh(t)
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "1", "busy_timeout": "10000", "cache_size": "-512",
	} {
		for name, p := range map[string]*pool{"writer": c.writer, "reader": c.reader} {
			var got string
			err := p.db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got)
			if err != nil || got != want {
				t.Errorf("%s of the %s is %s (%v), want %s", pragma, name, got, err, want)
			}
		}
	}
	if _, err := c.reader.db.ExecContext(t.Context(), `DELETE FROM videos`); err == nil {
		t.Error("a reader can write")
	}
}

func TestAnEmptyFileIsANewCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if seq := must(open(t, path).Sequence(t.Context())); seq != 0 {
		t.Errorf("sequence %d", seq)
	}
}

func TestOpenTellsTheRemedy(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	for name, test := range map[string]struct {
		spoil func(path string) error
		want  error
	}{
		"no database": {func(path string) error {
			letter := strings.Repeat("this is a letter, not a database. ", 200)
			return os.WriteFile(path, []byte(letter), 0o600)
		}, ErrDamaged},
		"pages overwritten": {func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i := 100; i < len(b); i++ { // the header stays, so it looks like a database
				b[i] = 0xa5
			}
			return os.WriteFile(path, b, 0o600)
		}, ErrDamaged},
		"later schema": {func(path string) error {
			return rawExec(path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)`)
		}, ErrSchema},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.db")
			c := must(Open(t.Context(), path))
			apply(t, c, s.events...)
			if err := errors.Join(c.Close(), test.spoil(path)); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), path)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), "`reelmill rebuild`") {
				t.Fatalf("got %v", err)
			}
			if err := Replace(path, made(t, s.events...)); err != nil {
				t.Fatal(err)
			}
			again := open(t, path)
			if seq := must(again.Sequence(t.Context())); seq != uint64(len(s.events)) {
				t.Errorf("it stands at %d", seq)
			}
		})
	}
}

// rawExec runs a statement on the file without the catalog.
func rawExec(path, text string) error {
	p, err := newPool(path, true)
	if err != nil {
		return err
	}
	_, err = p.db.Exec(text)
	return errors.Join(err, p.close(), os.RemoveAll(path+sumSuffix))
}

func TestDamageMetByAStatementIsTold(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, path)
	apply(t, c, s.events...)
	// A schema that is corrupt: the root of a table is not a page of the file.
	for _, text := range []string{
		`PRAGMA writable_schema = 1`, `UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'videos'`,
		`PRAGMA schema_version = 99`, // makes every connection read the schema again
	} {
		if _, err := c.writer.db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Video(t.Context(), "p", "vid_a"); !errors.Is(err, ErrDamaged) {
		t.Errorf("Video: %v", err)
	}
	if _, err := c.Videos(t.Context(), Query{Project: "p"}); !errors.Is(err, ErrDamaged) {
		t.Errorf("Videos: %v", err)
	}
	s.ready("p", "vid_b")
	if err := c.Apply(t.Context(), s.events); !errors.Is(err, ErrDamaged) {
		t.Errorf("Apply: %v", err)
	}
}

func TestOpenFailsWhereThereIsNoFile(t *testing.T) {
	if _, err := Open(t.Context(), t.TempDir()); err == nil {
		t.Error("a folder was opened")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), filepath.Join(file, "catalog.db")); err == nil {
		t.Error("a file was taken for a folder")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "c.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// made returns the closed file of a catalog with some events.
func made(t *testing.T, events ...pipeline.Event) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.db")
	c := must(Open(t.Context(), path))
	if len(events) > 0 {
		apply(t, c, events...)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// An open catalog is not replaced, and a catalog that is being replaced is not opened.
func TestACatalogIsReplacedWhenNobodyHasItOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := must(Open(t.Context(), path))
	if _, err := Claim(path); !errors.Is(err, ErrInUse) {
		t.Errorf("claimed an open catalog: %v", err)
	}
	other := must(Open(t.Context(), path)) // several may open it
	if err := errors.Join(c.Close(), c.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	release := must(Claim(path))
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrInUse) {
		t.Errorf("opened a claimed catalog: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

// TestManyOpenANewFile lets several processes open a new file at once.
func TestManyOpenANewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			c, err := Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestMigrationsGoDownAndUpAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	if err := must(Open(t.Context(), path)).Close(); err != nil {
		t.Fatal(err)
	}
	migrated(t, path, func(p *goose.Provider) error {
		_, err := p.DownTo(t.Context(), 0)
		return err
	})
	var s story
	s.ready("p", "vid_a")
	c := open(t, path)
	apply(t, c, s.events...)
	if v := must(c.Video(t.Context(), "p", "vid_a")); v.Status != pipeline.StateVideoReady {
		t.Errorf("status %s", v.Status)
	}
}

// TestACatalogOfOldIsReplayed: only the log has the data that migration 2 adds.
func TestACatalogOfOldIsReplayed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	migrated(t, path, func(p *goose.Provider) error {
		_, err := p.UpTo(t.Context(), 1)
		return err
	})
	for _, text := range []string{
		`UPDATE projection SET sequence = 10, poisoned = 3`,
		`INSERT INTO videos VALUES ('vid_a', 'p', 'ready', 1, 4, 4, '{}')`,
		`INSERT INTO jobs VALUES ('vid_a', 'inspect', 'completed', 1, 2, 0, '{}')`,
		`INSERT INTO outputs VALUES ('vid_a', 'package', 'master.m3u8', 8, 0, '{}')`,
		`INSERT INTO events VALUES ('vid_a', 10, 'p', '{}')`,
	} {
		if err := rawExec(path, text); err != nil {
			t.Fatal(err)
		}
	}
	var s story
	s.ready("p", "vid_a")
	c := open(t, path)
	if seq := must(c.Sequence(t.Context())); seq != 0 {
		t.Fatalf("sequence %d: the projector would not replay", seq)
	}
	apply(t, c, s.events...)
	want := answers(t.Context(), fresh(t, s.events...), "p")
	if diff := cmp.Diff(want, answers(t.Context(), c, "p")); diff != "" {
		t.Error(diff)
	}
}

// checkMigration checks that a catalog with events which was as a migration left it has what a new one has.
func checkMigration(t *testing.T, version int64, events ...pipeline.Event) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, path)
	apply(t, c, events...)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	migrated(t, path, func(p *goose.Provider) error {
		_, err := p.DownTo(t.Context(), version)
		return err
	})
	want := dump(t.Context(), fresh(t, events...))
	if diff := cmp.Diff(want, dump(t.Context(), open(t, path))); diff != "" {
		t.Error(diff)
	}
}

// migrated runs do with the migrations of the file.
func migrated(t *testing.T, path string, do func(*goose.Provider) error) {
	t.Helper()
	pool := must(newPool(path, true))
	p := must(migrator(pool.db))
	if err := errors.Join(do(p), pool.close(), os.RemoveAll(path+sumSuffix)); err != nil {
		t.Fatal(err)
	}
}
