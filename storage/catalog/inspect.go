package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/reelmill/reelmill/pipeline"
)

// Inspection reads a catalog's file without changing it, even while a server has it open.
type Inspection struct {
	db   *sql.DB
	path string
}

// Inspect reads all of the file path once and opens it for reading. It returns ErrSchema or ErrDamaged as
// Open does, and fs.ErrNotExist when there is no file. The caller closes the inspection.
func Inspect(ctx context.Context, path string) (*Inspection, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // checks that Open could; writes nothing
	if err != nil {
		return nil, fmt.Errorf("inspect catalog: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("inspect catalog: %w", err)
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("inspect catalog %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // Lacking attaches to one connection
	i := &Inspection{db, path}
	if err := i.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("inspect catalog %s: %w", path, explain(err)), db.Close())
	}
	return i, nil
}

// check returns the error with which Open would fail.
func (i *Inspection) check(ctx context.Context) error {
	var verdict string
	if err := i.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s; %s", ErrDamaged, verdict, remedy)
	}
	p, err := migrator(i.db)
	if err != nil {
		return err
	}
	var current int64
	const version = "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version"
	if err := i.db.QueryRowContext(ctx, version).Scan(&current); err != nil {
		return err
	}
	if known := p.ListSources(); current > known[len(known)-1].Version {
		return fmt.Errorf("%w; %s", ErrSchema, remedy)
	}
	return nil
}

// Place returns the catalog's place in the log.
func (i *Inspection) Place(ctx context.Context) (Place, error) {
	p, err := placeOf(ctx, i.db)
	return p, i.explain(err)
}

// Held returns which of the events with some sequences the catalog has, by video.
func (i *Inspection) Held(ctx context.Context, of pipeline.Sequences) ([]Held, error) {
	held, err := heldBy(ctx, i.db, of)
	return held, i.explain(err)
}

// Lacking returns which events this catalog has and the one in the file made has not, by video.
func (i *Inspection) Lacking(ctx context.Context, made string) (lacking []Held, err error) {
	if _, err := i.db.ExecContext(ctx, "ATTACH $1 AS made", made); err != nil {
		return nil, i.explain(err)
	}
	lacking, err = byVideo(ctx, i.db, sqlLacking, func(uint64) bool { return true })
	for n := range lacking {
		if err == nil {
			err = i.db.QueryRowContext(ctx, "SELECT project FROM main.videos WHERE id = $1", lacking[n].Video).
				Scan(&lacking[n].Project)
		}
	}
	_, detached := i.db.ExecContext(context.WithoutCancel(ctx), "DETACH made")
	return lacking, i.explain(errors.Join(err, detached))
}

func (i *Inspection) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("inspect catalog %s: %w", i.path, explain(err))
}

// Close closes the file.
func (i *Inspection) Close() error { return i.db.Close() }
