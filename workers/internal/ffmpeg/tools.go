package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

// ErrNotInstalled: ffmpeg or ffprobe is not in PATH. The message says what to do.
var ErrNotInstalled = errors.New("ffmpeg and ffprobe are not installed: apt-get install ffmpeg")

// Tools holds the paths of the two programs. The zero value looks both up in PATH at each call; Find does
// so once and reports what is missing. Tools is immutable and safe for concurrent use.
type Tools struct {
	FFmpeg  string        // absolute path, or a name to look up; default "ffmpeg"
	FFprobe string        // the same for ffprobe; default "ffprobe"
	Cage    *sandbox.Cage // in which both run; nil: they run without one
	Threads int           // of an encoder if its Command sets none; 0: the maker of the Command decides

	known *answers // of ffmpeg; nil: asked each time
}

// answers are what ffmpeg has said about itself. Copies of one Tools share them.
type answers struct {
	mu      sync.Mutex
	version string                     // empty: not asked yet
	names   map[string]map[string]bool // by the flag that lists them
}

// Find looks up in PATH the programs that are not named. Its Tools ask ffmpeg only once what it is and
// what it is built with, since that takes as long as encoding a small picture. Errors match ErrNotInstalled.
func Find(ffmpeg, ffprobe string) (t Tools, err error) {
	t = Tools{FFmpeg: ffmpeg, FFprobe: ffprobe, known: &answers{names: map[string]map[string]bool{}}}
	for name, path := range map[string]*string{"ffmpeg": &t.FFmpeg, "ffprobe": &t.FFprobe} {
		if *path != "" {
			continue
		}
		if *path, err = lookup("", name); err != nil {
			return Tools{}, err
		}
	}
	return t, nil
}

func lookup(configured, name string) (string, error) {
	if configured == "" {
		configured = name
	}
	path, err := exec.LookPath(configured)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNotInstalled, err)
	}
	return path, nil
}

// Version returns ffmpeg's version word, such as "5.1.9-0+deb12u1".
func (t Tools) Version(ctx context.Context) (string, error) {
	if t.known == nil {
		return t.askVersion(ctx)
	}
	t.known.mu.Lock()
	defer t.known.mu.Unlock()
	if t.known.version != "" {
		return t.known.version, nil
	}
	version, err := t.askVersion(ctx)
	if err == nil {
		t.known.version = version
	}
	return version, err
}

func (t Tools) askVersion(ctx context.Context) (string, error) {
	out, err := t.ask(ctx, "-version")
	if err != nil {
		return "", err
	}
	words := strings.Fields(out) // "ffmpeg version 5.1.9-0+deb12u1 Copyright ..."
	if len(words) < 3 || words[1] != "version" {
		return "", fmt.Errorf("ffmpeg -version: unknown answer %q", clean(out, 80))
	}
	return clean(words[2], 80), nil
}

// Start starts both programs, side by side, and reports whether they answer. Version then knows the answer of
// ffmpeg.
func (t Tools) Start(ctx context.Context) error {
	other := t
	var err error
	if other.FFmpeg, err = lookup(t.FFprobe, "ffprobe"); err != nil { // it answers the same question
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := other.ask(ctx, "-hide_banner", "-version")
		return err
	})
	g.Go(func() error {
		_, err := t.Version(ctx)
		return err
	})
	return g.Wait()
}

// Encoders returns the names of all encoders built into ffmpeg, such as "libx264". The map is shared: do
// not change it.
func (t Tools) Encoders(ctx context.Context) (map[string]bool, error) {
	return t.list(ctx, "-encoders")
}

// Filters returns the names of all filters built into ffmpeg, such as "zscale", as Encoders does.
func (t Tools) Filters(ctx context.Context) (map[string]bool, error) {
	return t.list(ctx, "-filters")
}

func (t Tools) list(ctx context.Context, flag string) (map[string]bool, error) {
	if t.known == nil {
		return t.askList(ctx, flag)
	}
	t.known.mu.Lock()
	defer t.known.mu.Unlock()
	if names := t.known.names[flag]; names != nil {
		return names, nil
	}
	names, err := t.askList(ctx, flag)
	if err == nil {
		t.known.names[flag] = names
	}
	return names, err
}

// askList parses "flags name description" lines. Legends ("V..... = Video") have "=" as the second field.
func (t Tools) askList(ctx context.Context, flag string) (map[string]bool, error) {
	out, err := t.ask(ctx, "-hide_banner", flag)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) >= 3 && words[1] != "=" {
			names[words[1]] = true
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("ffmpeg %s: empty answer", flag)
	}
	return names, nil
}

// ask runs ffmpeg for a question without media.
func (t Tools) ask(ctx context.Context, args ...string) (string, error) {
	path, err := lookup(t.FFmpeg, "ffmpeg")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	tail := newTail(defaultTail)
	err = t.Cage.Run(ctx, sandbox.Spec{
		Program: path, Args: args, Stdout: &capped{w: &out, left: 1 << 20}, Stderr: tail,
	})
	if e := newError(ctx, "ffmpeg", args, 0, err, tail); e != nil {
		return "", e
	}
	return out.String(), nil
}
