package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// livePrefix comes before the subject of an event that the server republishes.
const livePrefix = "live."

// Watch returns a channel, a bell, that rings when an event is stored on one of the subjects. It also rings
// when a lost connection is back, because events may have been missed. Several rings that nobody waited for
// become one. The channel is never closed, and falls silent when ctx ends. Subjects have no wildcards.
//
// A caller reads the log after Watch has returned, and again at every ring.
func (b *Bus) Watch(ctx context.Context, subjects ...string) (<-chan struct{}, error) {
	live := make([]string, len(subjects))
	for i, subject := range subjects {
		if err := checkSubject(subject); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		live[i] = livePrefix + subject
	}
	bell := make(chan struct{}, 1)
	err := b.listen(ctx, listener{
		on: func(*nats.Msg) { ring(bell) }, back: func() { ring(bell) }, end: func() {},
	}, live...)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	return bell, nil
}

// listener has the functions that listen calls, never two at once.
type listener struct {
	on   func(*nats.Msg) // a message came
	back func()          // the connection is back; messages may have been lost meanwhile
	end  func()          // no more calls follow
}

// listen subscribes to the subjects until ctx ends or the connection is closed. When it returns, the server
// knows the subscription. It never blocks the connection: it drops messages when the listener is too slow.
func (b *Bus) listen(ctx context.Context, l listener, subjects ...string) error {
	status := b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	messages := make(chan *nats.Msg, 256)
	var subs []*nats.Subscription
	unsubscribe := func() {
		for _, s := range subs {
			if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				b.log.Debug("unsubscribe", "subject", s.Subject, "error", err)
			}
		}
	}
	for _, subject := range subjects {
		s, err := b.nc.ChanSubscribe(subject, messages)
		if err != nil {
			unsubscribe()
			b.nc.RemoveStatusListener(status)
			return err
		}
		subs = append(subs, s)
	}
	limited, cancel := context.WithTimeout(ctx, b.cfg.PublishTimeout)
	defer cancel()
	if err := b.nc.FlushWithContext(limited); err != nil {
		unsubscribe()
		b.nc.RemoveStatusListener(status)
		return err
	}
	go func() {
		defer l.end()
		defer b.nc.RemoveStatusListener(status)
		defer unsubscribe()
		for {
			select {
			case m := <-messages:
				if m == nil {
					return
				}
				l.on(m)
			case s := <-status:
				if s != nats.CONNECTED {
					return
				}
				l.back()
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}
