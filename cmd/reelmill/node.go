package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/all"
	"github.com/reelmill/reelmill/workers/webhook"
)

// nodeConfig says what a node runs on.
type nodeConfig struct {
	data         string
	store        string // empty: a folder below data; else s3://...
	slots        map[string]int
	maxUpload    int64
	webhook      webhook.Config
	s3AccessKey  string
	s3SecretKey  string
	pipelines    func(pipeline.Planner) (map[string]pipeline.Pipeline, error)
	minFreeSpace int64 // bytes of the data disk below which uploads are refused
	log          *slog.Logger
}

// node is everything in one process: embedded broker, store, read model, coordinator, workers and the API's
// handler.
type node struct {
	nodeConfig
	server   *embedded.Server
	conn     *nats.Conn
	bus      *bus.Bus
	objects  storage.Store
	catalog  *catalog.Catalog
	registry *workers.Registry
	handler  http.Handler

	closers []func() error
}

// newNode opens everything and starts nothing that acts by itself. The caller closes it.
func newNode(ctx context.Context, c nodeConfig) (n *node, err error) {
	n = &node{nodeConfig: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return n, fmt.Errorf("make data folder: %w", err)
	}
	for _, open := range []func(context.Context) error{
		n.openBroker, n.openStore, n.openCatalog, n.openWorkers, n.openAPI,
	} {
		if err := open(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (n *node) openBroker(ctx context.Context) (err error) {
	n.server, err = embedded.Start(ctx, embedded.Config{Dir: filepath.Join(n.data, "broker"), Logger: n.log})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { n.server.Shutdown(); return nil })
	if n.conn, err = n.server.Conn(); err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { n.conn.Close(); return nil })
	n.bus, err = bus.Open(ctx, n.conn, bus.Config{Exclusive: true, Logger: n.log})
	return err
}

func (n *node) openStore(ctx context.Context) error {
	if n.store == "" {
		d, err := disk.Open(filepath.Join(n.data, "objects"))
		if err != nil {
			return err
		}
		n.objects = d
		n.closers = append(n.closers, d.Close)
		return nil
	}
	c, err := s3.ParseURL(n.store)
	if err != nil {
		return usageError{err}
	}
	if n.s3AccessKey != "" {
		c.AccessKey, c.SecretKey = n.s3AccessKey, s3.Secret(n.s3SecretKey)
	}
	n.objects, err = s3.Open(ctx, c)
	return err
}

func (n *node) openCatalog(ctx context.Context) (err error) {
	if n.catalog, err = catalog.Open(ctx, n.catalogPath()); err != nil {
		return err
	}
	n.closers = append(n.closers, n.catalog.Close)
	return nil
}

func (n *node) catalogPath() string { return filepath.Join(n.data, "catalog.db") }

func (n *node) openWorkers(ctx context.Context) (err error) {
	if n.registry, err = all.New(all.Config{Webhook: n.webhook}); err != nil {
		return err
	}
	for worker, missing := range n.registry.CheckMachine(ctx) {
		err = errors.Join(err, fmt.Errorf("worker %s: %w", worker, missing))
	}
	return err
}

func (n *node) openAPI(context.Context) error {
	pipelines, err := n.pipelines(n.registry)
	if err != nil {
		return err
	}
	n.handler, err = api.New(api.Config{
		Store: n.objects, Log: n.bus, Catalog: n.catalog, Progress: n.bus,
		Pipelines: pipelines, Planner: n.registry,
		Limits:          api.Limits{MaxUpload: n.maxUpload},
		WebhookDefault:  n.webhook.URL != "",
		CheckWebhookURL: webhook.CheckURL,
		Ready:           n.ready, FreeSpace: n.freeSpace, Logger: n.log, Version: version,
	})
	return err
}

// run runs the node until ctx ends, then stops in order: no new requests and tasks, running attempts are
// given back, the last events are acted on and projected, and the broker is shut down by close.
func (n *node) run(ctx context.Context, listener net.Listener) error {
	loop, err := workers.NewLoop(workers.Config{
		Log: n.bus, Tasks: loopTasks{n.bus}, Store: n.objects, Registry: n.registry,
		Scratch: filepath.Join(n.data, "scratch"), Slots: n.slots, Logger: n.log,
	})
	if err != nil {
		return err
	}
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	reactors, back := errgroup.WithContext(back)
	reactors.Go(func() error { return n.project(back) })
	reactors.Go(func() error { return n.coordinate(back) })

	front, frontCtx := errgroup.WithContext(ctx)
	front.Go(func() error { return loop.Run(frontCtx) })
	front.Go(func() error { return n.serve(frontCtx, listener) })
	front.Go(func() error { return n.announceWorkers(frontCtx, loop) })
	front.Go(func() error { // a reactor that dies takes the front down with it
		select {
		case <-back.Done():
			return context.Cause(back)
		case <-frontCtx.Done():
			return nil
		}
	})
	err = front.Wait()
	stopBack()
	return errors.Join(err, ignoreCanceled(reactors.Wait()))
}

// announceWorkers tells which worker types this node runs, again and again, so that silence means absence.
func (n *node) announceWorkers(ctx context.Context, loop *workers.Loop) error {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		for _, t := range n.registry.Types() {
			doc, err := json.Marshal(presence{Type: t.Name, Version: version, Process: loop.Process, Schema: t.Schema})
			if err != nil {
				return fmt.Errorf("announce worker %s: %w", t.Name, err)
			}
			if err := n.bus.Announce(ctx, t.Name, doc); err != nil && ctx.Err() == nil {
				n.log.Warn("announce worker", "worker", t.Name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// presence is what a node says of a worker type that it runs.
type presence struct {
	Type    string          `json:"type"`
	Version string          `json:"version"`
	Process string          `json:"process"`
	Schema  json.RawMessage `json:"schema"`
}

// project feeds the read model from the event log.
func (n *node) project(ctx context.Context) error {
	after, err := n.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	return ignoreCanceled(n.bus.Follow(ctx, after, n.catalog.Apply))
}

func (n *node) coordinate(ctx context.Context) error {
	c := &pipeline.Coordinator{Log: n.bus, Tasks: n.bus, Objects: prefixDeleter{n.objects}, Planner: n.registry}
	return ignoreCanceled(n.bus.Coordinate(ctx, c.Handle))
}

// serve answers requests until ctx ends; open ones get a moment to finish.
func (n *node) serve(ctx context.Context, listener net.Listener) error {
	server := api.Server(listener.Addr().String(), n.handler)
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		n.log.Debug("close open requests", "error", errors.Join(err, server.Close()))
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// close closes what newNode opened, in reverse order.
func (n *node) close() error {
	var err error
	for i := len(n.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, n.closers[i]())
	}
	n.closers = nil
	return err
}

// ready names what is not ready; empty when all is.
func (n *node) ready(ctx context.Context) map[string]error {
	checks := map[string]error{"broker": n.server.Healthy(), "bus": n.bus.Healthy(ctx), "disk": n.freeSpace()}
	_, checks["catalog"] = n.catalog.Sequence(ctx)
	if _, err := n.objects.Stat(ctx, "readyz"); err != nil && !errors.Is(err, storage.ErrNotFound) {
		checks["store"] = err
	} else {
		checks["store"] = nil
	}
	return checks
}

// freeSpace says storage.ErrFull when the data disk is nearly full, so that uploads are refused while events
// can still be written.
func (n *node) freeSpace() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(n.data, &fs); err != nil {
		return fmt.Errorf("measure %s: %w", n.data, err)
	}
	if free := int64(fs.Bavail) * int64(fs.Bsize); free < n.minFreeSpace {
		return fmt.Errorf("%d MiB are free, %d MiB are kept: %w", free>>20, n.minFreeSpace>>20, storage.ErrFull)
	}
	return nil
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// loopTasks is the bus as the worker loop sees it.
type loopTasks struct{ *bus.Bus }

// Next implements workers.Tasks.
func (t loopTasks) Next(ctx context.Context, worker string) (workers.Delivery, error) {
	d, err := t.Bus.Next(ctx, worker)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// prefixDeleter is the store as the coordinator sees it.
type prefixDeleter struct{ storage.Store }

// DeletePrefix implements pipeline.Objects.
func (p prefixDeleter) DeletePrefix(ctx context.Context, prefix string) error {
	_, err := storage.DeletePrefix(ctx, p.Store, prefix)
	return err
}

// copyOutputs writes the outputs of a video below dir, at the paths that they are played from.
func (n *node) copyOutputs(ctx context.Context, outputs []pipeline.OutputView, dir string) error {
	for _, o := range outputs {
		if o.Kind == pipeline.KindIndex {
			continue
		}
		first, count := 0, 1
		if o.Segments != nil {
			first, count = o.Segments.First, o.Segments.Count
		}
		for i := first; i < first+count; i++ {
			name := filepath.Join(dir, filepath.FromSlash(workers.SegmentName(o.Path, i)))
			if err := n.copyObject(ctx, workers.SegmentName(o.Key, i), name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *node) copyObject(ctx context.Context, key, name string) error {
	r, _, err := n.objects.Get(ctx, key, storage.Range{})
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	defer r.Close()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// listen opens the API's listener.
func listen(ctx context.Context, address string) (net.Listener, string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("listen: %w", err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	if net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return l, "http://" + net.JoinHostPort(host, port), nil
}

// loopback reports whether only this machine can reach the address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && net.ParseIP(host).IsLoopback()
}
