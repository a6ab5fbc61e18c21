package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// The number of tries, and the first delay between them, which doubles. With timeouts of 5 s a caller
// without a deadline waits some 20 s for a broker that is away. An election or a restart takes less.
const (
	tries      = 4
	firstDelay = 50 * time.Millisecond
)

// Error codes of the server that jetstream has no name for
// (https://github.com/nats-io/nats-server/blob/v2.15.2/server/errors.json).
const (
	codeConsumerCreate     jetstream.ErrorCode = 10012
	codeStoreFailed        jetstream.ErrorCode = 10077
	codeFilterNotUnique    jetstream.ErrorCode = 10100
	codeAccountFull        jetstream.ErrorCode = 10002
	codeNoResources        jetstream.ErrorCode = 10023
	codeNoMemory           jetstream.ErrorCode = 10028
	codeNoStorage          jetstream.ErrorCode = 10047
	codeDuplicateInProcess jetstream.ErrorCode = 10158
)

// publish stores m, and tries again when no answer comes. The caller sets an expected sequence, so that m is
// not stored twice.
func (b *Bus) publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt,
) (*jetstream.PubAck, error) {
	var ack *jetstream.PubAck
	err := b.patiently(ctx, func(ctx context.Context) (err error) {
		ack, err = b.js.PublishMsg(ctx, m, opts...)
		return err
	})
	return ack, explainFull(err)
}

// swapIn stores m in a stream as the next message of its subject, if the last one has the sequence after. A
// publish whose answer was lost may find itself there.
func (b *Bus) swapIn(ctx context.Context, stream string, m *nats.Msg, after uint64) (uint64, error) {
	id := pipeline.NewID("put")
	m.Header.Set(putHeader, id)
	ack, err := b.publish(ctx, m, jetstream.WithExpectLastSequencePerSubject(after),
		jetstream.WithExpectStream(stream))
	if err == nil {
		return ack.Sequence, nil
	}
	if !isWrongSequence(err) {
		return 0, err
	}
	stored, err := b.message(ctx, stream, want{LastOf: m.Subject})
	if err != nil {
		return 0, err
	}
	if stored != nil && stored.Header.Get(putHeader) == id {
		return stored.Sequence, nil
	}
	return 0, pipeline.ErrConflict
}

// putHeader names a write, so that its writer knows it again.
const putHeader = "Reelmill-Put"

// explainFull adds ErrFull and a code to an error that says there is no room. Only the log has a limit of its
// own; every other lack of room is the disk's or the account's.
func explainFull(err error) error {
	if !isFull(err) {
		return err
	}
	code := pipeline.CodeDiskFull
	if strings.Contains(err.Error(), "maximum bytes exceeded") {
		code = pipeline.CodeLogFull
	}
	return &pipeline.Error{Code: code, Detail: err.Error(), Err: fmt.Errorf("%w: %w", ErrFull, err)}
}

// isFull reports whether the server refused a message because it has no room.
func isFull(err error) bool {
	for _, code := range []jetstream.ErrorCode{
		codeStoreFailed, codeAccountFull, codeNoResources, codeNoMemory, codeNoStorage,
	} {
		if isAPI(err, code) {
			return true
		}
	}
	return false
}

// patiently makes a request, and repeats it a few times within ctx as long as the error is a passing one.
func (b *Bus) patiently(ctx context.Context, do func(ctx context.Context) error) error {
	delay := firstDelay
	for try := 1; ; try++ {
		limited, cancel := context.WithTimeout(ctx, b.cfg.PublishTimeout)
		err := do(limited)
		cancel()
		if err == nil || try == tries || !passing(err) {
			return err
		}
		if !pause.For(ctx, delay) {
			return err
		}
		delay *= 2
	}
}

// passing reports whether err may soon go away by itself.
func passing(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 503 && api.ErrorCode != codeStoreFailed || api.ErrorCode == codeDuplicateInProcess
	}
	for _, passing := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrStaleConnection,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// isWrongSequence reports whether the compare of a compare-and-swap failed.
func isWrongSequence(err error) bool {
	return isAPI(err, jetstream.JSErrCodeStreamWrongLastSequence) ||
		isAPI(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

func isAPI(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == code
	}
	var js jetstream.JetStreamError
	return errors.As(err, &js) && js.APIError() != nil && js.APIError().ErrorCode == code
}
