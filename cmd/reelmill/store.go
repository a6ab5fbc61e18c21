package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/disk"
	"github.com/reelmill/reelmill/storage/guard"
	"github.com/reelmill/reelmill/storage/s3"
)

// openStore opens the store that the flags name, behind a guard.
func (n *node) openStore(ctx context.Context) error {
	raw, name, err := n.rawStore(ctx)
	if err != nil {
		return err
	}
	n.guard, err = guard.New(n.faults.store(raw), guard.Config{Name: name, Logger: n.log})
	if err == nil {
		n.objects = n.guard.Store()
	}
	return err
}

func (n *node) rawStore(ctx context.Context) (s storage.Store, name string, err error) {
	if !strings.HasPrefix(n.store, "s3:") {
		if strings.Contains(n.store, "://") {
			return nil, "", usageError{fmt.Errorf("--store %s: objects are kept in a folder, or in a bucket: "+
				"s3://bucket/prefix?endpoint=URL&region=R", n.store)}
		}
		dir := n.store
		if dir == "" {
			dir = filepath.Join(n.data, "objects")
		}
		d, err := disk.Open(dir)
		if err == nil {
			n.closers = append(n.closers, d.Close)
		}
		return d, "folder " + dir, err
	}
	c, err := s3.ParseURL(n.store)
	if err != nil {
		return nil, "", usageError{err}
	}
	if n.s3AccessKey != "" {
		c.AccessKey, c.SecretKey = n.s3AccessKey, s3.Secret(n.s3SecretKey)
	}
	s, err = s3.Open(ctx, c)
	return s, "bucket " + c.Bucket, err
}

// prefixDeleter is the store as the coordinator sees it.
type prefixDeleter struct{ storage.Store }

// DeletePrefix implements pipeline.Objects.
func (p prefixDeleter) DeletePrefix(ctx context.Context, prefix string) error {
	_, err := storage.DeletePrefix(ctx, p.Store, prefix)
	return err
}
