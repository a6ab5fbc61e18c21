package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/reelmill/reelmill/pipeline"
)

// Place is the position of a catalog in its log.
type Place struct {
	Sequence uint64 // of the last event applied; 0 before the first
	// Known is the last event of that log whose id is known; its sequence is 0 if there is none.
	Known Mark
}

// Mark identifies an event of a log: another log has another id at that sequence.
type Mark struct {
	Sequence uint64
	ID       string
}

// Held is which of some events a catalog has for a video.
type Held struct {
	Project, Video string
	Events         pipeline.Sequences
}

// Place returns the catalog's place in the log.
func (c *Catalog) Place(ctx context.Context) (Place, error) {
	p, err := placeOf(ctx, c.reader.db)
	if err != nil {
		err = fmt.Errorf("read place of the catalog: %w", c.explain(err))
	}
	return p, err
}

// Held returns which of the events with some sequences the catalog has, by video. It reads the sequences of
// all events.
func (c *Catalog) Held(ctx context.Context, of pipeline.Sequences) ([]Held, error) {
	held, err := heldBy(ctx, c.reader.db, of)
	if err != nil {
		err = fmt.Errorf("search the catalog: %w", c.explain(err))
	}
	return held, err
}

const (
	sqlHasEventID = `SELECT COUNT(*) FROM pragma_table_info('projection') WHERE name = 'event_id'`
	sqlPlace      = `SELECT sequence, event_id FROM projection WHERE id = 1`
	sqlNewest     = `SELECT sequence, doc FROM events ORDER BY sequence DESC LIMIT 1`
	sqlSequences  = `SELECT video, sequence FROM events ORDER BY video, sequence`
	sqlProject    = `SELECT project FROM videos WHERE id = $1`
	// sqlLacking lists the events that the attached catalog made lacks or has differently.
	sqlLacking = `
		SELECT o.video, o.sequence FROM main.events o
		LEFT JOIN made.events n ON n.video = o.video AND n.sequence = o.sequence
		WHERE n.video IS NULL
			OR CASE WHEN json_valid(o.doc) THEN json_extract(n.doc, '$.id') <> json_extract(o.doc, '$.id') END
		ORDER BY o.video, o.sequence`
)

// placeOf also reads files of the schemas before event_id.
func placeOf(ctx context.Context, db *sql.DB) (p Place, err error) {
	var has int
	if err := db.QueryRowContext(ctx, sqlHasEventID).Scan(&has); err != nil {
		return p, err
	}
	if has == 0 {
		err = db.QueryRowContext(ctx, sqlSequence).Scan(&p.Sequence)
	} else if err = db.QueryRowContext(ctx, sqlPlace).Scan(&p.Sequence, &p.Known.ID); p.Known.ID != "" {
		p.Known.Sequence = p.Sequence
	}
	if err != nil || p.Known.ID != "" {
		return p, err
	}
	var doc []byte
	var e pipeline.Event
	err = db.QueryRowContext(ctx, sqlNewest).Scan(&p.Known.Sequence, &doc)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	if json.Unmarshal(doc, &e) == nil { // otherwise unknown
		p.Known.ID = e.ID
	}
	return p, err
}

func heldBy(ctx context.Context, db *sql.DB, of pipeline.Sequences) ([]Held, error) {
	held, err := byVideo(ctx, db, sqlSequences, of.Has)
	for i := range held {
		if err == nil {
			err = db.QueryRowContext(ctx, sqlProject, held[i].Video).Scan(&held[i].Project)
		}
	}
	return held, err
}

// byVideo filters the (video, sequence) pairs of a query by sequence and groups them by video. The query
// returns them in order.
func byVideo(ctx context.Context, db *sql.DB, text string, wanted func(uint64) bool) ([]Held, error) {
	rows, err := db.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var held []Held
	for rows.Next() {
		var video string
		var sequence uint64
		if err := rows.Scan(&video, &sequence); err != nil {
			return nil, err
		}
		if !wanted(sequence) {
			continue
		}
		if len(held) == 0 || held[len(held)-1].Video != video {
			held = append(held, Held{Video: video})
		}
		h := &held[len(held)-1]
		if n := len(h.Events); n > 0 && h.Events[n-1].Last+1 == sequence {
			h.Events[n-1].Last = sequence
		} else {
			h.Events = append(h.Events, pipeline.Range{First: sequence, Last: sequence})
		}
	}
	return held, rows.Err()
}

// ErrInUse: a process has the catalog open.
var ErrInUse = errors.New("the read model is in use: stop the server first")

// Claim keeps others from opening the catalog at path until release is called. It returns ErrInUse while
// somebody has it open.
func Claim(path string) (release func() error, err error) {
	f, err := lockFile(path, true)
	if err != nil {
		return nil, fmt.Errorf("claim catalog %s: %w", path, err)
	}
	return f.Close, nil
}

// Replace replaces whatever is at path by the catalog at made, which nobody has open. Both are on one disk.
// The caller has claimed path.
func Replace(path, made string) error {
	if _, err := os.Stat(made + "-wal"); err == nil {
		return fmt.Errorf("replace catalog: the changes in %s are not merged", made+"-wal")
	}
	if err := removeSideFiles(path); err != nil {
		return fmt.Errorf("replace catalog: %w", err)
	}
	if err := replaceSums(path, made); err != nil {
		return fmt.Errorf("replace catalog: %w", err)
	}
	if err := os.Rename(made, path); err != nil {
		return fmt.Errorf("replace catalog: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("replace catalog: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
