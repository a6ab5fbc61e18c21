package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
)

// broker is the node's NATS server: embedded in the process, or one that runs elsewhere.
type broker struct {
	conn *nats.Conn
	dir  string // of the embedded one; empty for another's
	log  *slog.Logger

	recurring *pipeline.Recurring

	mu       sync.Mutex
	server   *embedded.Server
	restarts uint64
	closed   bool
}

// openBroker connects to the server at an address, or starts one in dir when that is empty.
func openBroker(ctx context.Context, address, dir string, log *slog.Logger) (*broker, error) {
	b := &broker{log: log, recurring: &pipeline.Recurring{Logger: log}}
	if address != "" {
		conn, err := connect(ctx, address, log, b.recurring)
		b.conn = conn
		return b, err
	}
	b.dir = dir
	server, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	b.server = server
	if b.conn, err = server.Conn(nats.InProcessServer(b)); err != nil {
		server.Shutdown()
		return nil, err
	}
	return b, nil
}

// connectPatience is how long a process that is started waits for its broker.
const connectPatience = time.Minute

// connect connects to the server at an address. One that is not there yet, because all are started at once,
// is waited for.
func connect(ctx context.Context, address string, log *slog.Logger, recurring *pipeline.Recurring) (
	*nats.Conn, error,
) {
	limit := time.Now().Add(connectPatience)
	for waiting := false; ; waiting = true {
		conn, err := nats.Connect(address, nats.Name("reelmill"), nats.MaxReconnects(-1),
			nats.ReconnectWait(250*time.Millisecond), nats.Timeout(5*time.Second),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil { // nil: it was closed on purpose
					log.Warn("the broker is gone", "error", err)
				}
			}),
			nats.ReconnectHandler(func(*nats.Conn) { log.Info("the broker is back") }),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				recurring.Failed("connection to the broker", "error", err)
			}))
		if err == nil {
			return conn, nil
		}
		absent := errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout)
		if !absent || time.Now().After(limit) || ctx.Err() != nil {
			return nil, fmt.Errorf("connect to broker %s: %w", withoutPassword(address), err)
		}
		if !waiting {
			log.Warn("wait for the broker", "url", withoutPassword(address), "for", connectPatience)
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// checkBrokers refuses what is no address of a broker, or no list of them. It does not repeat what it
// refuses: a password may be in it.
func checkBrokers(addresses string) error {
	for address := range strings.SplitSeq(addresses, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("this is no address of a NATS server; write nats://host:port, and a comma between two")
		}
	}
	return nil
}

// withoutPassword is the address of a broker, or several, as it may be shown.
func withoutPassword(addresses string) string {
	var shown []string
	for address := range strings.SplitSeq(addresses, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil {
			return "(unreadable)"
		}
		shown = append(shown, u.Redacted())
	}
	return strings.Join(shown, ",")
}

func (b *broker) start(ctx context.Context) (*embedded.Server, error) {
	return embedded.Start(ctx, embedded.Config{Dir: filepath.Join(b.dir, "broker"), Logger: b.log})
}

// exclusive reports whether no other process uses the broker.
func (b *broker) exclusive() bool { return b.dir != "" }

// InProcessConn implements nats.InProcessConnProvider: the connection outlives a restart of the server.
func (b *broker) InProcessConn() (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == nil {
		return nil, errors.New("the embedded broker is being restarted")
	}
	return b.server.InProcessConn()
}

// healthy says what keeps the embedded server from storing; another's is asked through the bus.
func (b *broker) healthy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.dir == "":
		return nil
	case b.server == nil:
		return errors.New("the embedded broker is being restarted")
	}
	return b.server.Healthy()
}

// watch restarts the embedded server when it is unhealthy and there is room on its disk: after a full disk it
// answers nothing until it is started anew (messaging.md). It returns when ctx ends.
func (b *broker) watch(ctx context.Context, room func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for sick := 0; b.dir != ""; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := b.healthy()
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
			continue // it would be no better off
		}
		if err := b.restart(ctx); err != nil {
			b.recurring.Failed("restart the embedded broker", "error", err)
		}
	}
	<-ctx.Done()
	return nil
}

// restart stops the embedded server and starts another on the same folder.
func (b *broker) restart(ctx context.Context) error {
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

// restartCount returns how often watch started the embedded server anew.
func (b *broker) restartCount() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.restarts
}

// close closes the connection, and stops the embedded server.
func (b *broker) close() error {
	b.conn.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.server != nil {
		b.server.Shutdown()
	}
	return nil
}
