package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// Delivery is a task that this process has taken. It holds the task until Config.AckWait after it was taken
// or last extended.
type Delivery struct {
	nc       *nats.Conn
	msg      jetstream.Msg
	task     pipeline.Task
	sequence uint64
	limited  bool // its project has a limit, so others may wait for the end of this task
}

func (b *Bus) decodeDelivery(m jetstream.Msg) (*Delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	d := &Delivery{nc: b.nc, msg: m, sequence: meta.Sequence.Stream}
	if err := json.Unmarshal(m.Data(), &d.task); err != nil {
		return nil, fmt.Errorf("decode task: %w", err)
	}
	if err := checkTask(d.task); err != nil {
		return nil, err
	}
	if s := d.task.Subject(); s != m.Subject() {
		return nil, fmt.Errorf("a task of %s has the subject %s", s, m.Subject())
	}
	return d, nil
}

// Task returns the task.
func (d *Delivery) Task() pipeline.Task { return d.task }

// Sequence returns the message's sequence in the stream. It stays the same when the message is delivered
// again, and no other message has it.
func (d *Delivery) Sequence() uint64 { return d.sequence }

// Extend renews the lease. It does not wait for the server, so nil does not mean that the lease was still
// held.
func (d *Delivery) Extend(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.msg.InProgress()
}

// Ack removes the task, and returns when the server has confirmed it. The server also takes an ack after the
// lease ran out: a caller that must still be in charge does a compare-and-swap first. Acking again does
// nothing.
func (d *Delivery) Ack(ctx context.Context) error {
	err := d.msg.DoubleAck(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("ack task %d: %w", d.sequence, err)
	}
	if d.limited {
		// A bell that is lost costs two seconds, until the next look.
		_ = d.nc.Publish(endedBell(d.task), nil)
	}
	return nil
}

// Return gives the task back, to be delivered again after the delay to whoever asks first. Without a delay it
// rings a bell, so that an idle process asks at once; with one, an idle process asks within two seconds after
// it. Return does not wait for the server. It does nothing when the task was withdrawn, or acknowledged by
// another holder.
func (d *Delivery) Return(ctx context.Context, delay time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := d.giveBack(delay)
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("return task %d: %w", d.sequence, err)
	}
	return nil
}

func (d *Delivery) giveBack(delay time.Duration) error {
	if delay > 0 {
		return d.msg.NakWithDelay(delay)
	}
	if err := d.msg.Nak(); err != nil {
		return err
	}
	return d.nc.Publish(bellPrefix+d.msg.Subject(), nil)
}
