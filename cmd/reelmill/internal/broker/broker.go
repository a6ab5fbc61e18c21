// Package broker connects a process to its NATS server, which runs elsewhere or is embedded in the process.
//
// Watch restarts an embedded server that stops storing, on the same folder, once its disk has room. The
// connection survives the restart. An operator runs a server elsewhere: Open waits a minute for it, and the
// connection reconnects for ever.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// Broker is the NATS server of a process, and the connection to it. Open makes one.
type Broker struct {
	Conn *nats.Conn
	data string // the data folder of an embedded server; empty for one elsewhere
	log  *slog.Logger

	recurring *pipeline.Recurring

	mu       sync.Mutex
	server   *embedded.Server
	restarts uint64
	closed   bool
}

// Open connects to the server at an address or, when that is embedded, embeds one that keeps its data in the
// folder data. The caller closes the Broker.
func Open(ctx context.Context, address Address, data string, log *slog.Logger) (*Broker, error) {
	b := &Broker{log: log, recurring: &pipeline.Recurring{Logger: log}}
	if !address.Embedded() {
		conn, err := connect(ctx, address, log, b.recurring)
		b.Conn = conn
		return b, err
	}
	b.data = data
	server, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	b.server = server
	if b.Conn, err = server.Conn(nats.InProcessServer(b)); err != nil {
		server.Shutdown()
		return nil, err
	}
	return b, nil
}

// Patience is how long a process that starts waits for its broker.
const Patience = time.Minute

// connect connects to the server at an address. It waits for an absent server, since all processes may start
// at once.
func connect(ctx context.Context, address Address, log *slog.Logger, recurring *pipeline.Recurring) (
	*nats.Conn, error,
) {
	options := []nats.Option{
		nats.Name("reelmill"), nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond), nats.Timeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: it was closed on purpose
				log.Warn("lost the broker", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("reconnected to the broker") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			recurring.Failed("connection to the broker", "error", err)
		}),
	}
	if address.Credentials != "" {
		options = append(options, nats.UserCredentials(address.Credentials)) // read again at each connection
	}
	limit := time.Now().Add(Patience)
	for waiting := false; ; waiting = true {
		conn, err := nats.Connect(address.URLs.Reveal(), options...)
		if err == nil {
			return conn, nil
		}
		absent := errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout)
		if !absent || time.Now().After(limit) || ctx.Err() != nil {
			return nil, fmt.Errorf("connect to broker %s: %w", address, err)
		}
		if !waiting {
			log.Warn("waiting for the broker", "url", address.String(), "for", Patience)
		}
		pause.For(ctx, 250*time.Millisecond)
	}
}

// Dir returns the folder of the embedded server of a data folder.
func Dir(data string) string { return filepath.Join(data, "broker") }

// LogPlace says, for people, where the event log is: at the address of a server or, when that is embedded, in
// a data folder.
func LogPlace(address Address, data string) string {
	if !address.Embedded() {
		return "the stream EVENTS at " + address.String()
	}
	return Dir(data)
}

// start starts the embedded server. The sweeper enqueues lost tasks again.
func (b *Broker) start(ctx context.Context) (*embedded.Server, error) {
	s, err := embedded.Start(ctx, embedded.Config{Dir: Dir(b.data), Logger: b.log, Remade: []string{"TASKS"}})
	if _, ok := errors.AsType[*embedded.DamageError](err); ok {
		err = fmt.Errorf("%w; nothing was changed. To do: %s", err, Remedy(b.data))
	}
	return s, err
}

// Remedy says what the operator can do about a damaged file of an embedded server (*embedded.DamageError).
func Remedy(data string) string {
	return "restore the folder " + Dir(data) + " from a backup; or accept the loss with " +
		"`reelmill rebuild --force` and the same --data, which leaves out only what cannot be read, and " +
		"keeps a copy of the file"
}

// Mend leaves what cannot be read out of the files of the embedded server of a data folder, and returns in
// words what that was. It changes nothing when all can be read.
func Mend(data string, log *slog.Logger) ([]string, error) { return embedded.Mend(Dir(data), log) }

// Exclusive reports whether the broker is embedded, so that no other process uses it.
func (b *Broker) Exclusive() bool { return b.data != "" }

// InProcessConn implements nats.InProcessConnProvider, so that the connection survives a restart of the
// server.
func (b *Broker) InProcessConn() (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == nil {
		return nil, errors.New("the embedded broker restarts")
	}
	return b.server.InProcessConn()
}

// Healthy returns why an embedded server cannot store, or nil. It is nil for a server elsewhere, which the
// bus asks.
func (b *Broker) Healthy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.data == "":
		return nil
	case b.server == nil:
		return errors.New("the embedded broker restarts")
	}
	return b.server.Healthy()
}

// Watch restarts an unhealthy embedded server once room returns nil: after a full disk, the server answers
// nothing until it is restarted. It returns when ctx ends.
func (b *Broker) Watch(ctx context.Context, room func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for sick := 0; b.data != ""; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := b.Healthy()
		if err == nil {
			sick = 0
			continue
		}
		if sick++; sick == 1 {
			b.log.Error("the embedded broker is not healthy", "error", err)
		}
		if sick < 2 {
			continue
		}
		if full := room(); full != nil {
			continue // a restart would not help
		}
		if err := b.restart(ctx); err != nil {
			b.recurring.Failed("restart the embedded broker", "error", err)
		}
	}
	<-ctx.Done()
	return nil
}

// restart stops the embedded server and starts another on the same folder.
func (b *Broker) restart(ctx context.Context) error {
	b.mu.Lock()
	old := b.server
	b.server = nil
	b.mu.Unlock()
	if old != nil {
		old.Shutdown()
	}
	server, err := b.start(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		server.Shutdown()
		return nil
	}
	b.server = server
	b.restarts++
	b.log.Info("the embedded broker was restarted")
	return nil
}

// Restarts returns how often Watch restarted the embedded server.
func (b *Broker) Restarts() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.restarts
}

// Close closes the connection and stops the embedded server.
func (b *Broker) Close() error {
	b.Conn.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.server != nil {
		b.server.Shutdown()
	}
	return nil
}
