// Package embedded runs a NATS server with JetStream inside the process, for an installation of one binary.
// It owns its folder: the streams are in Dir/jetstream, and the server holds Dir/lock while it runs.
//
// The server syncs every write to disk before it acknowledges it (SyncAlways). So an acknowledged message
// survives a power cut, as far as the file system and the disk keep their word. The server opens no port:
// Server.Conn connects within the process.
//
// Before the server starts, Start reads all files of the streams and checks the sum of each record. The
// server would cut a file at the first damaged record, and lose all that follow. Start refuses such a
// folder with a DamageError instead, and Mend leaves out the damaged records alone.
//
// Not supported: more than one process on a folder. The second Start fails, but on a system without flock it
// cannot notice.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/storage/claim"
)

// MaxPayload is the size of the largest message, in bytes. The plan of a long video is by far the largest
// event.
const MaxPayload = 8 << 20

// The server checks the sizes promised to streams against these at start. By default it takes the free disk
// space instead, and on a full disk it would refuse to load its own streams.
const (
	maxStore  = 1 << 50
	maxMemory = 1 << 30
)

// Config says where and how the server runs.
type Config struct {
	Dir    string       // the folder of its data; required, and created when missing
	Logger *slog.Logger // logs the server's warnings and errors; nil logs nothing
	// Remade are the names of streams whose messages are made again when they are lost. Start leaves damaged
	// records out of their files, and logs a warning.
	Remade []string
	// Slow is how long Start may read before it logs, once, how much it has read. Default 2 s.
	Slow time.Duration
}

// slowly is the default of Config.Slow.
const slowly = 2 * time.Second

// Server is a running server.
type Server struct {
	server *server.Server
	log    *slog.Logger
	lock   *claim.Claim
	stop   sync.Once
}

// Start starts a server on cfg.Dir. It returns when the server has read its streams and takes connections.
// ctx bounds the start only. When another process runs on the folder, the error is ErrLocked; when a file
// of a stream is damaged, it is a *DamageError.
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
	i := &inspection{
		dir: cfg.Dir, log: cfg.Logger, began: time.Now(), slow: cmp.Or(cfg.Slow, slowly),
		mend: func(stream string) bool { return slices.Contains(cfg.Remade, stream) },
	}
	if err := i.run(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded broker: %w", err), lock.Release())
	}
	log := &logger{log: cfg.Logger, fatal: make(chan string, 1)}
	ns, err := server.NewServer(options(cfg.Dir))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded broker: %w", err), lock.Release())
	}
	ns.SetLoggerV2(log, false, false, false)
	s := &Server{server: ns, log: cfg.Logger, lock: lock}
	if err := s.run(ctx, log); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("start embedded broker in %s: %w", cfg.Dir, err)
	}
	i.tell() // the server has read the files, too
	return s, nil
}

func options(dir string) *server.Options {
	return &server.Options{
		ServerName: "reelmill", DontListen: true, NoSigs: true, MaxPayload: MaxPayload,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		JetStreamMaxStore: maxStore, JetStreamMaxMemory: maxMemory,
	}
}

// run starts the server and waits until it is ready, logs a fatal error, or ctx ends.
func (s *Server) run(ctx context.Context, log *logger) error {
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.server.Start()
	}()
	select {
	case <-started:
	case <-ctx.Done():
		<-started // Shutdown during the start would leave parts running
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

// Conn returns a connection to the server, within the process. It reconnects as long as the server runs. The
// caller closes it before Shutdown. Options are applied after the defaults.
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

// InProcessConn implements nats.InProcessConnProvider. A provider that outlives one Server calls it, so that
// its connections survive a restart of the server.
func (s *Server) InProcessConn() (net.Conn, error) { return s.server.InProcessConn() }

// Healthy returns an error when the server cannot store and deliver. After a full disk it stays unhealthy
// until it is started again.
func (s *Server) Healthy() error {
	h := s.server.Healthz(&server.HealthzOptions{})
	if h.Status != "ok" {
		return fmt.Errorf("embedded broker: %s: %s", h.Status, h.Error)
	}
	return nil
}

// Shutdown stops the server, waits until its files are closed, and releases the folder. Calling it again does
// nothing.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		_ = s.lock.Release() // the kernel releases the lock in any case
	})
}

// LockFile returns the file that the server on dir holds locked while it runs.
func LockFile(dir string) string { return filepath.Join(dir, "lock") }

// lockDir takes the lock of dir. It returns ErrLocked when another process has it.
func lockDir(dir string) (*claim.Claim, error) {
	lock, err := claim.Take(LockFile(dir))
	if errors.Is(err, claim.ErrTaken) {
		err = fmt.Errorf("%w; stop that process, or give this one a data folder of its own. Several machines need "+
			"a NATS cluster instead", err)
	}
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	return lock, nil
}

// ErrLocked says that another process runs on the folder.
var ErrLocked = claim.ErrTaken
