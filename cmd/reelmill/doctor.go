package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers/all"
)

// doctorCommand checks the machine without touching the data folder's contents.
type doctorCommand struct {
	dataFlags
}

// Run prints one line a check, and fails when a check does.
func (c doctorCommand) Run(ctx context.Context, s streams, log *slog.Logger) error {
	failures := 0
	report := func(name string, detail string, err error) {
		mark := "ok  "
		if err != nil {
			mark, detail = "FAIL", err.Error()
			failures++
		}
		fmt.Fprintf(s.out, "%s  %-18s %s\n", mark, name, detail)
	}
	c.checkWorkers(ctx, report)
	temp, err := os.MkdirTemp("", "reelmill-doctor-")
	if err != nil {
		return err
	}
	n := &node{nodeConfig: nodeConfig{
		data: temp, store: c.Store, s3AccessKey: c.S3AccessKey, s3SecretKey: c.S3SecretKey, log: log,
		minFreeSpace: 2 << 30,
	}}
	defer func() { _ = os.RemoveAll(temp) }() // a leftover in the system's temporary folder is no failed check
	report("broker", "an event was written and read", n.checkBroker(ctx))
	report("store", "an object was put, read and deleted", n.checkStore(ctx))
	report("catalog", "the read model opens", n.openCatalog(ctx))
	n.data = existing(c.Data)
	report("disk", "2 GiB or more are free at "+n.data, n.freeSpace())
	report("clock", time.Now().UTC().Format(time.RFC3339), checkClock())
	if err := n.close(); err != nil {
		return err
	}
	if failures > 0 {
		return fmt.Errorf("%d checks failed", failures)
	}
	return nil
}

func (c doctorCommand) checkWorkers(ctx context.Context, report func(name, detail string, err error)) {
	registry, err := all.New(all.Config{})
	if err != nil {
		report("workers", "", err)
		return
	}
	missing := registry.CheckMachine(ctx)
	for _, t := range registry.Types() {
		report("worker "+t.Name, "has what it needs", missing[t.Name])
	}
	for _, name := range slices.Sorted(maps.Keys(all.Versions(ctx))) {
		report(name, all.Versions(ctx)[name], nil)
	}
}

func (n *node) checkBroker(ctx context.Context) error {
	if err := n.openBroker(ctx); err != nil {
		return err
	}
	video := pipeline.NewID("vid")
	subject := pipeline.UploadedSubject("doctor", video)
	e, err := pipeline.NewEvent("doctor", pipeline.VideoUploaded, subject, video, pipeline.Event{}, struct{}{})
	if err != nil {
		return err
	}
	if _, err := n.bus.Append(ctx, e, 0); err != nil {
		return err
	}
	last, err := n.bus.Last(ctx, subject)
	if err == nil && last[0].ID != e.ID {
		err = errors.New("what was written did not come back")
	}
	return err
}

func (n *node) checkStore(ctx context.Context) error {
	if err := n.openStore(ctx); err != nil {
		return err
	}
	key, body := "doctor/"+pipeline.NewID("obj"), []byte("reelmill")
	if _, err := n.objects.Put(ctx, key, bytes.NewReader(body), storage.PutOptions{}); err != nil {
		return err
	}
	r, _, err := n.objects.Get(ctx, key, storage.Range{})
	if err != nil {
		return err
	}
	back, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close(), n.objects.Delete(ctx, key)); err != nil {
		return err
	}
	if !bytes.Equal(back, body) {
		return errors.New("what was put did not come back")
	}
	return nil
}

// checkClock refuses a clock that is plainly wrong: ids, retries and signatures depend on it.
func checkClock() error {
	if now := time.Now(); now.Year() < 2025 {
		return fmt.Errorf("the clock says %s: set it", now.Format(time.RFC3339))
	}
	return nil
}

// existing returns dir, or the nearest folder above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" || dir == "." {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
