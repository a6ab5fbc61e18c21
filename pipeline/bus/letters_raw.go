package bus

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of a dead letter that holds, unchanged, a message of the task queue that is no task.
const (
	headerProblem = "Reelmill-Problem" // why it is no task
	headerSubject = "Reelmill-Subject" // its subject in the queue
)

// moveToLetters stores a message that is no task as a dead letter, and removes it from the queue.
func (b *Bus) moveToLetters(ctx context.Context, m jetstream.Msg, why error) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	if err := b.storeRaw(ctx, m.Subject(), meta.Sequence.Stream, m.Headers(), m.Data(), why); err != nil {
		return err
	}
	return m.DoubleAck(ctx)
}

// moveStrays does the same with the messages of a subject that is none of a task: no consumer delivers them.
func (b *Bus) moveStrays(ctx context.Context, subject string) error {
	m, err := b.lastTask(ctx, subject)
	for ; m != nil && err == nil; m, err = b.lastTask(ctx, subject) {
		why := errors.New("the subject is none of a task")
		if err := b.storeRaw(ctx, subject, m.Sequence, m.Header, m.Data, why); err != nil {
			return err
		}
		if _, err := b.remove(ctx, streamTasks, m.Sequence); err != nil {
			return fmt.Errorf("remove %s: %w", subject, err)
		}
	}
	return err
}

// storeRaw stores a message that is no task as a dead letter, unchanged but for two headers.
func (b *Bus) storeRaw(ctx context.Context, subject string, sequence uint64, header nats.Header, data []byte,
	why error,
) error {
	dead := nats.NewMsg(rawSubject(subject, sequence))
	dead.Data = data
	for name, values := range header {
		if !isOwn(name) { // NATS's own would act on this stream
			dead.Header[name] = values
		}
	}
	dead.Header.Set(headerProblem, strconv.QuoteToASCII(why.Error()))
	dead.Header.Set(headerSubject, subject)
	if err := b.publishDead(ctx, dead); err != nil {
		return err
	}
	b.log.Error("a message of the task queue is no task; moved to the dead letters",
		"subject", subject, "dead", dead.Subject, "error", why)
	return nil
}

// rawSubject returns dead.<type>.<project>.<video>.<job>.<sequence>, made of the tokens of the message's
// subject. If the subject has another number of tokens, all of it, encoded, takes the place of the job.
func rawSubject(subject string, sequence uint64) string {
	n := strconv.FormatUint(sequence, 10)
	parts := strings.Split(subject, ".")
	if len(parts) == 7 {
		return strings.Join([]string{"dead", parts[1], parts[4], parts[5], parts[6], n}, ".")
	}
	return "dead.unknown.unknown.unknown." + base64.RawURLEncoding.EncodeToString([]byte(subject)) + "." + n
}
