package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/guard"
	"github.com/reelmill/reelmill/storage/s3"
)

// openStore opens the store that the configuration names, behind a guard.
func (g *ground) openStore(ctx context.Context) error {
	raw, err := g.config.openStore(ctx)
	if err != nil {
		return err
	}
	g.closers = append(g.closers, raw.close)
	g.guard, err = guard.New(g.faults.store(raw.store), guard.Config{Name: raw.name, Logger: g.config.Logger})
	if err != nil {
		return err
	}
	g.objects = g.guard.Store()
	g.metrics.add("store", g.measureStore)
	return nil
}

// rawStore is a store without a guard.
type rawStore struct {
	store storage.Store
	name  string // for people
	close func() error
}

func (c Config) openStore(ctx context.Context) (rawStore, error) {
	if dir := c.StoreFolder(); dir != "" {
		d, err := disk.Open(dir)
		if err != nil {
			return rawStore{}, err
		}
		return rawStore{d, "folder " + dir, d.Close}, nil
	}
	if !strings.HasPrefix(c.Store, "s3:") {
		return rawStore{}, SettingError{fmt.Errorf("--store %s is neither a folder nor a bucket; write a "+
			"bucket as s3://bucket/prefix?endpoint=URL&region=R", secret.Redact(c.Store))}
	}
	config, err := s3.ParseURL(c.Store)
	if err != nil {
		return rawStore{}, SettingError{fmt.Errorf("--store: %w; write s3://bucket/prefix?endpoint=URL&region=R",
			err)}
	}
	if c.S3AccessKey.Empty() || c.S3SecretKey.Empty() {
		return rawStore{}, errors.New("--store: set REELMILL_S3_ACCESS_KEY and REELMILL_S3_SECRET_KEY to the " +
			"keys of the bucket, or name files that hold them with --s3-access-key-file and --s3-secret-key-file")
	}
	config.AccessKey, config.SecretKey = c.S3AccessKey, c.S3SecretKey
	s, err := s3.Open(ctx, config)
	if err != nil {
		return rawStore{}, err
	}
	return rawStore{s, "bucket " + config.Bucket, s.Close}, nil
}

// ProbeStore puts, reads and deletes an object in the store that the configuration names.
func ProbeStore(ctx context.Context, c Config) (err error) {
	raw, err := c.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	g, err := guard.New(raw.store, guard.Config{Name: raw.name, Logger: c.withDefaults().Logger})
	if err != nil {
		return err
	}
	objects, key, body := g.Store(), "doctor/"+pipeline.NewID("obj"), []byte("reelmill")
	if _, err := objects.Put(ctx, key, bytes.NewReader(body), storage.PutOptions{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Delete(ctx, key)) }()
	r, _, err := objects.Get(ctx, key, storage.Range{})
	if err != nil {
		return err
	}
	back, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !bytes.Equal(back, body) {
		return errors.New("the store returned other bytes than it was given")
	}
	return nil
}

// prefixDeleter adapts a store to pipeline.Objects.
type prefixDeleter struct{ storage.Store }

// DeletePrefix implements pipeline.Objects.
func (p prefixDeleter) DeletePrefix(ctx context.Context, prefix string) error {
	_, err := storage.DeletePrefix(ctx, p.Store, prefix)
	return err
}
