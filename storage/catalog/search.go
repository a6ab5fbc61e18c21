package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/pressly/goose/v3"

	"github.com/reelmill/reelmill/pipeline"
)

// searchable is what the tables for searches hold of a video.
type searchable struct {
	project   string
	createdAt int64 // microseconds since 1970
	text      string
	metadata  map[string]string
}

// searchableOf returns what the tables for searches hold of v.
func searchableOf(v *pipeline.VideoView) searchable {
	return searchable{
		project: v.Project, createdAt: v.CreatedAt.UnixMicro(), text: searchText(v),
		metadata: maps.Clone(v.Metadata),
	}
}

func (s searchable) equal(other searchable) bool {
	return s.project == other.project && s.createdAt == other.createdAt && s.text == other.text &&
		maps.Equal(s.metadata, other.metadata)
}

// searchText returns the text in which searches for v look. A word of a search has no line break, so it never
// matches across two of the three.
func searchText(v *pipeline.VideoView) string {
	return fold(v.Title) + "\n" + fold(v.Filename) + "\n" + fold(v.Passthrough)
}

// fold returns text without what searches ignore: upper case, and the kind and number of spaces.
func fold(text string) string {
	var b strings.Builder
	space := false
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			space = b.Len() > 0
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(unicode.ToLower(unicode.ToUpper(r))) // both, since ς and σ are one letter
	}
	return b.String()
}

// wordsOf returns the words of a search, each once.
func wordsOf(text string) []string {
	words := strings.Fields(fold(text))
	slices.Sort(words)
	return slices.Compact(words)
}

// pairOf returns what stands for a key and its value in the index: as long for all of them.
func pairOf(key, value string) string {
	sum := sha256.Sum256([]byte(key + "\x00" + value)) // a key with a NUL could only match too much
	return hex.EncodeToString(sum[:16])
}

// execer runs the statements of sql.go, by their texts.
type execer interface {
	exec(ctx context.Context, text string, args ...any) error
	stmt(ctx context.Context, text string) *sql.Stmt
}

// putSearchable replaces what the tables for searches hold of a video.
func putSearchable(ctx context.Context, b execer, video string, s searchable) error {
	if err := b.exec(ctx, sqlDropMetadata, video); err != nil {
		return err
	}
	for key, value := range s.metadata {
		err := b.exec(ctx, sqlPutMetadata, video, key, pairOf(key, value), s.project, s.createdAt)
		if err != nil {
			return err
		}
	}
	var id int64
	if err := b.stmt(ctx, sqlPutText).QueryRowContext(ctx, video, s.text).Scan(&id); err != nil {
		return err
	}
	if err := b.exec(ctx, sqlDropGrams, id); err != nil {
		return err
	}
	return b.exec(ctx, sqlPutGrams, id, s.text)
}

// fillSearch is the migration that fills the tables for searches from the videos that are there.
const fillSearch = 7

// goMigrations are the migrations that SQL alone cannot do.
func goMigrations() []*goose.Migration {
	return []*goose.Migration{goose.NewGoMigration(fillSearch, &goose.GoFunc{RunTx: fillSearches}, nil)}
}

// rawTx runs statements that nobody has prepared.
type rawTx struct {
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
	err   error // of a statement that cannot be prepared
}

func (r *rawTx) stmt(ctx context.Context, text string) *sql.Stmt {
	if s := r.stmts[text]; s != nil {
		return s
	}
	s, err := r.tx.PrepareContext(ctx, text) // the transaction closes it
	if err != nil {
		r.err = err
		return nil
	}
	r.stmts[text] = s
	return s
}

func (r *rawTx) exec(ctx context.Context, text string, args ...any) error {
	s := r.stmt(ctx, text)
	if r.err != nil {
		return r.err
	}
	_, err := s.ExecContext(ctx, args...)
	return err
}

// filledAtOnce is how many videos fillSearches holds in memory.
const filledAtOnce = 500

// fillSearches fills the tables of migration 6. A video whose document cannot be decoded is left out: reading
// it reports the damage.
func fillSearches(ctx context.Context, tx *sql.Tx) error {
	r := &rawTx{tx: tx, stmts: map[string]*sql.Stmt{}}
	for _, text := range []string{sqlDropMetadata, sqlPutMetadata, sqlPutText, sqlDropGrams, sqlPutGrams} {
		if r.stmt(ctx, text); r.err != nil { // so that putSearchable finds each of them
			return r.err
		}
	}
	for after := ""; ; {
		docs, last, err := docsAfter(ctx, tx, after)
		if err != nil || len(docs) == 0 {
			return err
		}
		for id, doc := range docs {
			var v pipeline.VideoView
			if json.Unmarshal(doc, &v) != nil {
				continue
			}
			if err := putSearchable(ctx, r, id, searchableOf(&v)); err != nil {
				return err
			}
		}
		after = last
	}
}

// docsAfter returns the documents of the next videos by id, and the last id.
func docsAfter(ctx context.Context, tx *sql.Tx, after string) (
	docs map[string][]byte, last string, err error,
) {
	rows, err := tx.QueryContext(ctx, `SELECT id, doc FROM videos WHERE id > $1 ORDER BY id LIMIT $2`,
		after, filledAtOnce)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	docs = map[string][]byte{}
	for rows.Next() {
		var doc []byte
		if err := rows.Scan(&last, &doc); err != nil {
			return nil, "", err
		}
		docs[last] = doc
	}
	return docs, last, rows.Err()
}
