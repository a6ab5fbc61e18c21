package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// uploadPlace is where a video is that upload is to take: a file, a folder, or an address.
type uploadPlace string

// UnmarshalText makes a path absolute, and leaves an address as it is. It refuses an empty one, which would
// be the working directory.
func (p *uploadPlace) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("it is empty; name a file, a folder or an address")
	}
	*p = uploadPlace(text)
	if !isAddress(string(text)) {
		*p = uploadPlace(kong.ExpandPath(string(text)))
	}
	return nil
}

// check refuses what is neither there nor an address.
func (p uploadPlace) check() error {
	if isAddress(string(p)) {
		return new(webURL).UnmarshalText([]byte(p))
	}
	_, err := os.Stat(string(p))
	return err
}

// isAddress reports whether a place is an http(s) address.
func isAddress(place string) bool {
	lower := strings.ToLower(place)
	return strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")
}

// shown is a parcel for people. An address may be signed, so it is shown only up to its host.
func (p parcel) shown() string {
	if isAddress(p.path) {
		return secret.Place(p.path)
	}
	return p.path
}

// name is what a parcel is called beside its progress.
func (p parcel) name() string {
	if isAddress(p.path) {
		return p.shown()
	}
	return filepath.Base(p.path)
}

// fetch asks the server to fetch an address.
func (s *sender) fetch(ctx context.Context, p parcel) (pipeline.VideoView, error) {
	up := s.upload("")
	up.URL, up.Again = p.path, s.tell(p.shown())
	return s.api.Upload(ctx, up)
}

// followFetch shows how much of a source the server has fetched, until stop is called. It is only a show:
// when the events cannot be read, the command goes on without them.
func (u *uploader) followFetch(ctx context.Context, video string, b *bar) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		_ = u.sender.api.Events(ctx, video, 0, func(e client.Event) error {
			if p := e.Progress; p != nil && p.Job == pipeline.FetchStep {
				b.fetched(p.Bytes, p.Total)
			}
			if e.Log != nil && e.Log.Type == pipeline.VideoInspected {
				cancel()
			}
			return nil
		})
	})
	return func() {
		cancel()
		following.Wait()
	}
}

// fetchedOr returns a function that shows the progress of a video with seen, once its source is fetched.
func (b *bar) fetchedOr(seen func(pipeline.VideoView)) func(pipeline.VideoView) {
	return func(view pipeline.VideoView) {
		if view.Size > 0 || view.Status.Terminal() {
			seen(view)
		}
	}
}

// sourceProgress is a line of progress for programs; a size of 0 is not known.
type sourceProgress struct {
	From    string `json:"from"`
	Fetched int64  `json:"fetched"`
	Size    int64  `json:"size"`
}

// fetched shows how much of a source the server has; total is 0 if nobody knows it. Without bars, it prints a
// line for the first bytes, and for each tenth.
func (b *bar) fetched(bytes, total int64) {
	if bytes == 0 {
		return
	}
	if b.upload != nil {
		b.sent(bytes, total)
		return
	}
	part := 1 + 10*bytes/max(total, bytes) // 1 for the first bytes; 11 for the end
	if total == 0 {
		part = 1
	}
	if part <= b.parts {
		return
	}
	b.parts = part
	text := fmt.Sprintf("%s  %s fetched", b.name, bytesize.Size(bytes))
	if total > 0 {
		text += ", of " + bytesize.Size(total).String()
	}
	b.screen.progress(sourceProgress{b.name, bytes, total}, text)
}
