package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// applyAccess folds an event of a project, key or signing key. The row of an unreadable key is left out, as
// its key is void.
func (b *batch) applyAccess(ctx context.Context, e pipeline.Event, doc []byte) error {
	project, thing := access.Address(e.Subject)
	err := b.exec(ctx, sqlPutAccessEvent, int64(e.Sequence), thing, project, string(e.Type), string(doc))
	if err != nil {
		return err
	}
	if thing != access.ProjectThing {
		return b.applyKey(ctx, thing, e)
	}
	var before access.Project
	if err := b.access(ctx, sqlProjectRow, project, &before); err != nil {
		return err
	}
	p, ok := access.FoldProject(before, e)
	if !ok {
		return nil
	}
	if err := b.putAccess(ctx, sqlPutProject, p, project, bit(p.Deleted)); err != nil || !p.Deleted {
		return err
	}
	return b.voidKeys(ctx, project, e)
}

func (b *batch) applyKey(ctx context.Context, id string, e pipeline.Event) error {
	if access.IsSigningKey(id) {
		return b.applySigningKey(ctx, id, e)
	}
	var before access.Key
	if err := b.access(ctx, sqlKeyRow, id, &before); err != nil {
		return err
	}
	k, ok := access.FoldKey(before, e)
	if !ok {
		return nil
	}
	return b.putAccess(ctx, sqlPutKey, k, id, k.Project, int64(e.Sequence), bit(k.RevokedAt != nil))
}

func (b *batch) applySigningKey(ctx context.Context, id string, e pipeline.Event) error {
	var before access.SigningKey
	if err := b.access(ctx, sqlSigningKeyRow, id, &before); err != nil {
		return err
	}
	k, ok := access.FoldSigningKey(before, e)
	if !ok {
		return nil
	}
	return b.putAccess(ctx, sqlPutSigningKey, k, id, k.Project, int64(e.Sequence), bit(!k.Active()))
}

// voidKeys revokes the keys and signing keys of a project that was deleted.
func (b *batch) voidKeys(ctx context.Context, project string, e pipeline.Event) error {
	rows, err := b.stmt(ctx, sqlKeysLeft).QueryContext(ctx, project)
	if err != nil {
		return err
	}
	left, err := scanKeys(rows)
	for _, k := range left {
		if err == nil {
			k = access.Void(k, e)
			err = b.putAccess(ctx, sqlPutKey, k, k.ID, project, int64(e.Sequence), bit(true))
		}
	}
	if err != nil {
		return err
	}
	if rows, err = b.stmt(ctx, sqlSigningKeysLeft).QueryContext(ctx, project); err != nil {
		return err
	}
	signing, err := scanDocs[access.SigningKey](rows)
	for _, k := range signing {
		if err == nil {
			k = access.VoidSigningKey(k, e)
			err = b.putAccess(ctx, sqlPutSigningKey, k, k.ID, project, int64(e.Sequence), bit(true))
		}
	}
	return err
}

// access reads a document into v; a missing row leaves v as it is.
func (b *batch) access(ctx context.Context, text, id string, v any) error {
	var doc string
	err := b.stmt(ctx, text).QueryRowContext(ctx, id).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return decode([]byte(doc), v)
}

// putAccess stores v as the last column of a row.
func (b *batch) putAccess(ctx context.Context, text string, v any, columns ...any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.exec(ctx, text, append(columns, string(doc))...)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Projects returns the projects that were made or changed, and not deleted, by name.
func (c *Catalog) Projects(ctx context.Context) ([]access.Project, error) {
	rows, err := c.reader.db.QueryContext(ctx, sqlProjects)
	if err != nil {
		return nil, fmt.Errorf("read projects: %w", c.explain(err))
	}
	all, err := scanDocs[access.Project](rows)
	if err != nil {
		return nil, fmt.Errorf("read projects: %w", c.explain(err))
	}
	return all, nil
}

// Keys returns the keys of a project, revoked ones included, in the order in which they were made.
func (c *Catalog) Keys(ctx context.Context, project string) ([]access.Key, error) {
	rows, err := c.reader.db.QueryContext(ctx, sqlKeys, project)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", c.explain(err))
	}
	all, err := scanKeys(rows)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", c.explain(err))
	}
	return all, nil
}

// SigningKeys returns the signing keys of a project, revoked ones included, in the order in which they were
// made. They have no Public.
func (c *Catalog) SigningKeys(ctx context.Context, project string) ([]access.SigningKey, error) {
	rows, err := c.reader.db.QueryContext(ctx, sqlSigningKeys, project)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", c.explain(err))
	}
	all, err := scanDocs[access.SigningKey](rows)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", c.explain(err))
	}
	return all, nil
}

func scanKeys(rows *sql.Rows) ([]access.Key, error) { return scanDocs[access.Key](rows) }
