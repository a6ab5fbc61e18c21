package bus

import (
	"context"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
)

// Owner implements pipeline.Owners. It looks for the upload of the video, then for its deletion, in every
// project.
func (b *Bus) Owner(ctx context.Context, video string) (string, error) {
	if !pipeline.ValidName(video) {
		return "", pipeline.ErrNotFound
	}
	for _, filter := range []string{pipeline.UploadedSubject("*", video), pipeline.DeletedSubject("*", video)} {
		m, err := b.message(ctx, streamEvents, want{LastOf: filter})
		if err != nil {
			return "", fmt.Errorf("look for video %s: %w", video, err)
		}
		if m != nil {
			project, _, _, err := pipeline.Address(m.Subject)
			return project, err
		}
	}
	return "", pipeline.ErrNotFound
}
