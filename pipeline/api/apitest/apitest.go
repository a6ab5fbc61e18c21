// Package apitest has the parts that a server of the API needs, for the tests of the API and of its client.
// It does not import package api, so that the tests inside that package can use it. Only tests import it.
package apitest

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/storage/catalog"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/storagetest"
)

// Parts are a real log, read model and store in a temporary folder.
type Parts struct {
	Bus     *bus.Bus
	Catalog *catalog.Catalog
	Store   *disk.Store
}

// Open opens the parts, and lets the read model follow the log until the test ends.
func Open(t testing.TB) Parts {
	t.Helper()
	dir := t.TempDir()
	var p Parts
	var err error
	p.Bus, err = bus.Open(t.Context(), bustest.Connect(t, filepath.Join(dir, "broker")), bus.Config{})
	check(t, err)
	p.Store = storagetest.Disk(t, filepath.Join(dir, "objects"))
	p.Catalog, err = catalog.Open(t.Context(), filepath.Join(dir, "catalog.db"))
	check(t, err)
	t.Cleanup(func() { check(t, p.Catalog.Close()) })
	p.follow(t)
	return p
}

// follow applies the log to the read model until the test ends.
func (p Parts) follow(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Bus.Follow(ctx, 0, p.Catalog.Apply) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) { // it may end before it has begun
			check(t, err)
		}
	})
}

// Tell appends an event after the last one of its subject, and returns it when the read model has it.
func (p Parts) Tell(t testing.TB, kind pipeline.EventType, subject string, data any) pipeline.Event {
	t.Helper()
	_, video, _, err := pipeline.Address(subject)
	check(t, err)
	last, err := p.Bus.Last(t.Context(), subject)
	check(t, err)
	e, err := pipeline.NewEvent("test", kind, subject, video, pipeline.Event{}, data)
	check(t, err)
	e.Sequence, err = p.Bus.Append(t.Context(), e, last[0].Sequence)
	check(t, err)
	check(t, p.Catalog.WaitFor(t.Context(), e.Sequence))
	return e
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
