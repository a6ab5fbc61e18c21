package bus

import (
	"context"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
)

// quotaSubject returns the subject of what is reserved of a project's quotas.
func quotaSubject(project string) (string, error) {
	if !pipeline.ValidName(project) {
		return "", pipeline.ErrNotFound
	}
	return "$KV." + bucketControl + ".quota." + project, nil
}

// QuotaNote implements quota.Notes.
func (b *Bus) QuotaNote(ctx context.Context, project string) (note []byte, revision uint64, err error) {
	subject, err := quotaSubject(project)
	if err != nil {
		return nil, 0, err
	}
	m, err := b.message(ctx, streamControl, want{LastOf: subject})
	if err != nil {
		return nil, 0, fmt.Errorf("read what is reserved of quotas: %w", err)
	}
	if m == nil {
		return nil, 0, nil
	}
	return m.Data, m.Sequence, nil
}

// PutQuotaNote implements quota.Notes.
func (b *Bus) PutQuotaNote(ctx context.Context, project string, note []byte, revision uint64) error {
	subject, err := quotaSubject(project)
	if err != nil {
		return err
	}
	if _, err := b.swapIn(ctx, streamControl, documentOn(subject, note), revision); err != nil {
		return fmt.Errorf("reserve a part of a quota: %w", err)
	}
	return nil
}
