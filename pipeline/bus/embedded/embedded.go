// Package embedded runs a NATS server with JetStream inside the process, for the installation that is one
// binary. It owns the folder it is given: the streams are in Dir/jetstream, and Dir/lock is held while the
// server runs.
//
// Every write is synced to disk before it is acknowledged (SyncAlways), so a message that was acknowledged
// survives a power cut as far as the file system and the disk keep their word. The server opens no port:
// connections are made by Server.Conn, in the process.
//
// Not given: more than one process on a folder (the second Start fails), and, on a system without flock, the
// check that there is only one.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// MaxPayload is the size of the largest message, in bytes. The plan of a long video is by far the largest
// event.
const MaxPayload = 8 << 20

// The server checks the sizes promised to streams against these at start, and by default measures free disk
// space for it: on a disk that has become full it would then refuse to load its own streams. Room is watched
// elsewhere.
const (
	maxStore  = 1 << 50
	maxMemory = 1 << 30
)

// Config says where and how the server runs.
type Config struct {
	Dir    string       // of its data; created when missing, and required
	Logger *slog.Logger // gets the server's warnings and errors; nothing is logged when nil
}

// Server is a running server.
type Server struct {
	server *server.Server
	log    *slog.Logger
	lock   *os.File
	stop   sync.Once
}

// Start starts a server on cfg.Dir and returns when it takes connections, having read what is stored there.
// ctx bounds the start only. When another process runs on the folder, the error says so.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start embedded broker: Dir is empty")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	log := &logger{log: cfg.Logger, fatal: make(chan string, 1)}
	ns, err := server.NewServer(options(cfg.Dir))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded broker: %w", err), lock.Close())
	}
	ns.SetLoggerV2(log, false, false, false)
	s := &Server{server: ns, log: cfg.Logger, lock: lock}
	if err := s.run(ctx, log); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("start embedded broker in %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func options(dir string) *server.Options {
	return &server.Options{
		ServerName: "reelmill", DontListen: true, NoSigs: true, MaxPayload: MaxPayload,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		JetStreamMaxStore: maxStore, JetStreamMaxMemory: maxMemory,
	}
}

// run starts the server and waits until it is ready, says why it never will be, or ctx ends.
func (s *Server) run(ctx context.Context, log *logger) error {
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.server.Start()
	}()
	select {
	case <-started:
	case <-ctx.Done():
		<-started // Shutdown of a server that is half started leaves parts running
		return ctx.Err()
	}
	for !s.server.ReadyForConnections(50 * time.Millisecond) {
		select {
		case why := <-log.fatal:
			return errors.New(why)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
	select {
	case why := <-log.fatal:
		return errors.New(why)
	default:
		return nil
	}
}

// Conn returns a connection to the server, in the process. While the server runs it reconnects for ever; who
// opens it closes it, before Shutdown. Options are applied after the defaults.
func (s *Server) Conn(opts ...nats.Option) (*nats.Conn, error) {
	defaults := []nats.Option{
		nats.InProcessServer(s), nats.Name("reelmill"), nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			s.log.Warn("connection to the embedded broker", "subject", subject, "error", err)
		}),
	}
	nc, err := nats.Connect("", append(defaults, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to embedded broker: %w", err)
	}
	return nc, nil
}

// InProcessConn implements nats.InProcessConnProvider, for a provider that outlives one Server: a connection
// made with such a one survives a restart of the server.
func (s *Server) InProcessConn() (net.Conn, error) { return s.server.InProcessConn() }

// Healthy reports what keeps the server from storing and delivering. After a full disk it stays unhealthy
// until it is started again.
func (s *Server) Healthy() error {
	h := s.server.Healthz(&server.HealthzOptions{})
	if h.Status != "ok" {
		return fmt.Errorf("embedded broker: %s: %s", h.Status, h.Error)
	}
	return nil
}

// Shutdown stops the server, waits until its files are closed, and lets go of the folder. Calling it again
// does nothing.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		_ = s.lock.Close() // nothing was written to it; the kernel drops the lock in any case
	})
}

// lockDir takes the lock that says that a process runs on dir.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	free, err := tryLock(f)
	if err == nil && !free {
		err = fmt.Errorf("%w: %s is locked by another process; stop that process, or give this one a data folder "+
			"of its own. Several machines need a NATS cluster instead", ErrLocked, name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded broker: %w", err), f.Close())
	}
	return f, nil
}

// ErrLocked says that another process runs on the folder.
var ErrLocked = errors.New("the folder is in use")
