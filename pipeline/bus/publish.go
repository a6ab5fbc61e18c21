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

// tries and the first delay between them, which doubles: with timeouts of 5 s a caller that has no deadline
// waits some 20 s for a broker that is away, and an election or a restart takes less.
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

// publish stores m, trying again when no answer comes. The caller makes that harmless by an expected
// sequence.
func (b *Bus) publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt,
) (*jetstream.PubAck, error) {
	var ack *jetstream.PubAck
	err := b.patiently(ctx, func(ctx context.Context) (err error) {
		ack, err = b.js.PublishMsg(ctx, m, opts...)
		return err
	})
	return ack, explainFull(err)
}

// explainFull gives a refusal for want of room its code. A stream with a limit of its own is the log; what
// else there is no room for is the disk's or the account's matter.
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

// isFull reports whether the server refused a message for want of room.
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

// patiently does a request, and again, a few times within ctx, when it met nothing worse than silence.
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

// passing reports whether err may go away by itself, soon.
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
