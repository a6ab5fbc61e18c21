package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

// secretPrefix comes before the name of a secret in its subject.
const secretPrefix = "$KV." + bucketSecrets + "."

// KeepSecret stores a value under a name that has none yet, and returns the value that the name then has. So
// many processes that start at once end up with one value. The broker keeps it as it is: whoever may read the
// bucket has it.
func (b *Bus) KeepSecret(ctx context.Context, name string, value []byte) ([]byte, error) {
	kept, err := b.keepSecret(ctx, secretPrefix+name, value)
	if err != nil {
		return nil, fmt.Errorf("keep the secret %s: %w", name, err)
	}
	return kept, nil
}

func (b *Bus) keepSecret(ctx context.Context, subject string, value []byte) ([]byte, error) {
	m, err := b.message(ctx, streamSecrets, want{LastOf: subject})
	if err != nil {
		return nil, err
	}
	if m != nil && !isRemoval(m) {
		return m.Data, nil
	}
	after := uint64(0)
	if m != nil { // somebody removed it, with the tools of NATS
		after = m.Sequence
	}
	fresh := &nats.Msg{Subject: subject, Data: value, Header: nats.Header{}}
	_, err = b.swapIn(ctx, streamSecrets, fresh, after)
	if err == nil {
		return value, nil
	}
	if !errors.Is(err, pipeline.ErrConflict) {
		return nil, err
	}
	if m, err = b.message(ctx, streamSecrets, want{LastOf: subject}); err != nil {
		return nil, err
	}
	if m == nil || isRemoval(m) {
		return nil, pipeline.ErrConflict
	}
	return m.Data, nil
}
