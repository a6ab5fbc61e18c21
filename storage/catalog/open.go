package catalog

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many queries run at once; others wait.
const readers = 4

// pool is a set of connections to the file, with prepared statements.
type pool struct {
	db    *sql.DB
	stmts map[string]*sql.Stmt
}

// prepareFile makes the file at path and its folder if they are missing, readable by the owner alone, since
// metadata and webhook addresses are private. SQLite gives its side files the same mode. It returns the
// absolute path.
func prepareFile(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	return abs, f.Close()
}

// newPool returns a pool on the file at abs. It connects on first use.
func newPool(abs string, writer bool) (*pool, error) {
	q := url.Values{"_pragma": {
		"busy_timeout(10000)",         // ms to wait for the writer of another process
		"synchronous(NORMAL)",         // a power cut may lose the last commits; the log has them
		"cache_size(-512)",            // KiB of each connection
		"journal_size_limit(4194304)", // bytes to which a long WAL is truncated
	}}
	conns := readers
	if writer {
		conns = 1
		q.Add("_pragma", "journal_mode(WAL)") // stays with the file
		q.Set("_txlock", "immediate")
	} else {
		q.Add("_pragma", "query_only(1)")
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if !writer {
		db.SetConnMaxIdleTime(time.Minute)
	}
	return &pool{db: db, stmts: map[string]*sql.Stmt{}}, nil
}

func (p *pool) prepare(ctx context.Context, texts []string) error {
	for _, text := range texts {
		s, err := p.db.PrepareContext(ctx, text)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", text, err)
		}
		p.stmts[text] = s
	}
	return nil
}

// stmt returns a prepared statement by its text.
func (p *pool) stmt(text string) *sql.Stmt { return p.stmts[text] }

// transact runs do in a transaction and commits if do returns nil, else rolls back.
func (p *pool) transact(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			return errors.Join(err, undo)
		}
		return err
	}
	return tx.Commit()
}

// close closes the pool. A nil pool is not an error.
func (p *pool) close() error {
	if p == nil {
		return nil
	}
	var errs []error
	for _, s := range p.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, p.db.Close())...)
}

// migrate brings the schema up to date. Each migration is one transaction. If two processes start at once,
// one loses each migration and finds it done on its next try.
func migrate(ctx context.Context, db *sql.DB) error {
	var err error
	for range maxMigrateTries {
		var retry bool
		if retry, err = migrateOnce(ctx, db); !retry {
			return err
		}
	}
	return err
}

// migrator returns all migrations, for db.
func migrator(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(goMigrations()...))
}

// maxMigrateTries limits how often an error may be blamed on another process.
const maxMigrateTries = 4

// migrateOnce reports, with its error, whether another try makes sense.
func migrateOnce(ctx context.Context, db *sql.DB) (retry bool, err error) {
	p, err := migrator(db)
	if err != nil {
		return false, err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return isBusy(err), err
	}
	if current > target {
		return false, fmt.Errorf("%w: its schema is %d, this program knows %d; %s",
			ErrSchema, current, target, remedy)
	}
	if _, err := p.Up(ctx); err != nil {
		return ctx.Err() == nil, fmt.Errorf("migrate: %w", err)
	}
	return false, nil
}

// explain marks the errors of SQLite that mean a damaged file as ErrDamaged.
func explain(err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %w; %s", ErrDamaged, err, remedy)
	}
	return err
}

// decode decodes a stored document.
func decode(doc []byte, v any) error {
	if err := json.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("%w: a document cannot be decoded: %w; %s", ErrDamaged, err, remedy)
	}
	return nil
}

func isBusy(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_BUSY }

// sqliteCode returns the primary result code (https://sqlite.org/rescode.html) in the chain of err; 0 for
// none.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return sqlite3.SQLITE_OK
}

// removeSideFiles deletes SQLite's files beside the catalog at path. A missing file is not an error.
func removeSideFiles(path string) error {
	var errs []error
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
