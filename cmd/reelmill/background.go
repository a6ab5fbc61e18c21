package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/catalog"
	"github.com/reelmill/reelmill/workers"
)

// run runs the node until ctx ends, then stops in order: no new requests and tasks, running attempts are
// given back, the last events are acted on and projected, and the broker is shut down by close.
func (n *node) run(ctx context.Context, listener net.Listener) error {
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	reactors, back := errgroup.WithContext(back)
	reactors.Go(func() error { return n.broker.watch(back, n.freeSpace) })
	reactors.Go(func() error { return n.project(back) })
	reactors.Go(func() error { return n.coordinate(back) })

	front, frontCtx := errgroup.WithContext(ctx)
	front.Go(func() error { return n.serve(frontCtx, listener) })
	front.Go(func() error { return n.sweeper.Run(frontCtx) })
	front.Go(func() error { return n.clean(frontCtx) })
	front.Go(func() error { return n.watchLog(frontCtx) })
	n.runLoop(frontCtx, front)
	front.Go(func() error { // a reactor that dies takes the front down with it
		select {
		case <-back.Done():
			return context.Cause(back)
		case <-frontCtx.Done():
			return nil
		}
	})
	err := front.Wait()
	stopBack()
	return errors.Join(err, ignoreCanceled(reactors.Wait()))
}

// runLoop has the group run jobs, tell that it does, and answer scrapes.
func (n *node) runLoop(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return serveMetrics(ctx, n.metricsListen, n.metrics) })
	if n.loop == nil {
		return
	}
	g.Go(func() error { return n.loop.Run(ctx) })
	g.Go(func() error { return n.announceWorkers(ctx) })
}

// announceWorkers tells which worker types this node runs, again and again, so that silence means absence.
func (n *node) announceWorkers(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		for _, t := range n.registry.Types() {
			slots := n.loop.SlotsOf(t.Name)
			p := presence{Type: t.Name, Version: version, Process: n.loop.Process, Slots: &slots, Schema: t.Schema}
			doc, err := json.Marshal(p)
			if err != nil {
				return fmt.Errorf("announce worker %s: %w", t.Name, err)
			}
			name := presenceName(t.Name, n.loop.Process)
			if err := n.bus.Announce(ctx, name, doc); err != nil && ctx.Err() == nil {
				n.recurring.Failed("announce worker", "worker", t.Name, "error", err)
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
	Slots   *int            `json:"slots,omitempty"` // nil where a worker does not say
	Schema  json.RawMessage `json:"schema"`
}

// presenceName names what a process says of a worker type.
func presenceName(worker, process string) string {
	h := fnv.New64a()
	h.Write([]byte(process))
	return fmt.Sprintf("%s-%x", worker, h.Sum64())
}

// present counts the processes that run each worker type.
func (n *node) present(ctx context.Context) (map[string]int, error) {
	there, err := presences(ctx, n.bus)
	if err != nil {
		return nil, err
	}
	types := map[string]int{}
	for _, p := range there {
		types[p.Type]++
	}
	return types, nil
}

// presences returns what the processes that are there say of the worker types that they run.
func presences(ctx context.Context, b *bus.Bus) ([]presence, error) {
	docs, err := b.Workers(ctx)
	if err != nil {
		return nil, err
	}
	there := make([]presence, 0, len(docs))
	for _, doc := range docs {
		var p presence
		if err := json.Unmarshal(doc, &p); err != nil {
			return nil, fmt.Errorf("decode presence: %w", err)
		}
		there = append(there, p)
	}
	return there, nil
}

// project feeds the read model from the event log.
func (n *node) project(ctx context.Context) error {
	after, err := n.catalog.Sequence(ctx)
	if err != nil {
		return err
	}
	history, err := n.bus.LastSequence(ctx)
	if err != nil {
		return err
	}
	n.catalog.Observe(func(sequence uint64, s pipeline.Sample) {
		if sequence > history { // what came before is not news, also when the catalog is made anew
			n.metrics.videoSample(s)
		}
	})
	return ignoreCanceled(n.bus.Follow(ctx, after, n.faults.apply(n.catalog.Apply)))
}

func (n *node) coordinate(ctx context.Context) error {
	return ignoreCanceled(n.bus.Coordinate(ctx, n.faults.handle(n.sweeper.Coordinator.Handle)))
}

// cleanEvery is how often the store is searched for what nobody will read.
const cleanEvery = time.Hour

// clean has the janitor go over the store at times, and the store reclaim what it set aside itself.
func (n *node) clean(ctx context.Context) error {
	janitor := &pipeline.Janitor{Log: n.bus, Owners: n.bus, Shelf: shelf{n.objects}}
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		deleted, err := janitor.Clean(ctx)
		n.metrics.cleaned.Add(float64(deleted))
		if r, ok := n.objects.(storage.Reclaimer); ok {
			_, failed := r.Reclaim(ctx, 24*time.Hour)
			err = errors.Join(err, failed)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("clean the store", "deleted", deleted, "error", err)
		}
	}
}

// serveMetrics answers scrapes on an address of their own, until ctx ends.
func serveMetrics(ctx context.Context, address string, m *metrics) error {
	if address == "" {
		return nil
	}
	listener, _, err := listen(ctx, address)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// serve answers requests until ctx ends; open ones get a moment to finish.
func (n *node) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/", n.metrics.around(n.handler))
	if loopback(listener.Addr().String()) {
		mux.Handle("GET /metrics", n.metrics.handler()) // else on --metrics-listen alone
	}
	server := api.Server(listener.Addr().String(), mux)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		n.stopping.Store(true)
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
	return t.NextAtLeast(ctx, worker, pipeline.Bulk)
}

// NextAtLeast implements workers.Tasks.
func (t loopTasks) NextAtLeast(ctx context.Context, worker string, least pipeline.Priority) (workers.Delivery,
	error,
) {
	d, err := t.Bus.NextAtLeast(ctx, worker, least)
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

// shelf is the store as the janitor sees it.
type shelf struct{ storage.Store }

// Objects implements pipeline.Shelf.
func (s shelf) Objects(ctx context.Context, prefix string) iter.Seq2[pipeline.StoredObject, error] {
	return func(yield func(pipeline.StoredObject, error) bool) {
		for info, err := range s.List(ctx, prefix) {
			if !yield(pipeline.StoredObject{Key: info.Key, Modified: info.Modified}, err) {
				return
			}
		}
	}
}

// statistics are those of the read model, which does not know by itself that it has caught up with the log.
type statistics struct{ *node }

// Stats implements the API's statistics.
func (s statistics) Stats(ctx context.Context, q catalog.StatsQuery) (pipeline.Stats, error) {
	now := time.Now()
	last, err := s.bus.LastSequence(ctx)
	if err != nil {
		return pipeline.Stats{}, err
	}
	applied, err := s.catalog.Sequence(ctx)
	if err != nil {
		return pipeline.Stats{}, err
	}
	if applied >= last {
		q.CaughtUp = now
	}
	return s.catalog.Stats(ctx, q)
}
