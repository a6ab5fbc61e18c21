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

// Headers of a message that was moved to the dead letters as it was.
const (
	headerProblem = "Reelmill-Problem" // why it is no task
	headerSubject = "Reelmill-Subject" // where it stood
)

// bury moves a message that is no task to the dead letters, and removes it.
func (b *Bus) bury(ctx context.Context, m jetstream.Msg, why error) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	if err := b.buryAs(ctx, m.Subject(), meta.Sequence.Stream, m.Headers(), m.Data(), why); err != nil {
		return err
	}
	return m.DoubleAck(ctx)
}

// buryStray moves the messages of a task subject that no consumer will match to the dead letters.
func (b *Bus) buryStray(ctx context.Context, subject string) error {
	m, err := b.lastTask(ctx, subject)
	for ; m != nil && err == nil; m, err = b.lastTask(ctx, subject) {
		why := errors.New("the subject is in no lane")
		if err := b.buryAs(ctx, subject, m.Sequence, m.Header, m.Data, why); err != nil {
			return err
		}
		if _, err := b.remove(ctx, streamTasks, m.Sequence); err != nil {
			return fmt.Errorf("remove %s: %w", subject, err)
		}
	}
	return err
}

// buryAs stores a message that is no task, unchanged but for two headers, as a dead letter.
func (b *Bus) buryAs(ctx context.Context, subject string, sequence uint64, header nats.Header, data []byte,
	why error,
) error {
	dead := nats.NewMsg(buriedSubject(subject, sequence))
	dead.Data = data
	for name, values := range header {
		if !isOwn(name) { // those would act on this stream
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

// buriedSubject is dead.<type>.<project>.<video>.<job>.<sequence>, from the tokens of the message's subject;
// one that has other tokens is kept whole, encoded, in the job's place.
func buriedSubject(subject string, sequence uint64) string {
	n := strconv.FormatUint(sequence, 10)
	parts := strings.Split(subject, ".")
	if len(parts) == 7 {
		return strings.Join([]string{"dead", parts[1], parts[4], parts[5], parts[6], n}, ".")
	}
	return "dead.unknown.unknown.unknown." + base64.RawURLEncoding.EncodeToString([]byte(subject)) + "." + n
}
