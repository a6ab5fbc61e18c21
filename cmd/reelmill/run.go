package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/webhook"
)

// runCommand processes one file with a server of its own, in a temporary folder and on loopback.
type runCommand struct {
	File string `arg:"" help:"A video file." type:"existingfile"`
	Out  string `help:"Folder for the outputs: a new or an empty one." required:"" type:"path" placeholder:"DIR"`
	wishes
	output
	Timeout  time.Duration `help:"Give up after this time." default:"6h"`
	Slots    slots         `help:"${slots_help}" env:"REELMILL_SLOTS"`
	Threads  threads       `help:"${threads_help}" default:"0" env:"REELMILL_THREADS"`
	Sandbox  string        `help:"${sandbox_help}" default:"${sandbox}" enum:"required,best-effort,off" env:"REELMILL_SANDBOX"`
	Timeline bool          `help:"Print the events of the video."`
}

// Validate is called by kong.
func (c runCommand) Validate() error { return c.Slots.checkAlone() }

// Run processes the file and copies its outputs into --out.
func (c runCommand) Run(ctx context.Context, s streams, set *settings, log *slog.Logger) (err error) {
	if err := makeOut(c.Out); err != nil {
		return usageError{fmt.Errorf("--out: %w; name a new folder", err)}
	}
	data, err := os.MkdirTemp("", "reelmill-run-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	signing, err := newWebhookSecret(data)
	if err != nil {
		return err
	}
	n, err := node.OpenServer(ctx, node.ServerConfig{
		Config: node.Config{Data: data, MinFree: 1 << 28, Version: version, Logger: log},
		Jobs: node.Jobs{
			Slots: c.Slots, Threads: int(c.Threads), Sandbox: c.Sandbox, Webhook: webhook.Config{Secret: signing},
		},
		RunJobs: true, Limits: api.Limits{MaxUpload: 1 << 40}, Pipelines: set.pipelines,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	listener, url, err := node.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	var g errgroup.Group
	runCtx, stop := context.WithCancel(ctx)
	g.Go(func() error { defer stop(); return n.Run(runCtx, listener) })
	g.Go(func() error { defer stop(); return c.process(runCtx, s, n, url) })
	return g.Wait()
}

// makeOut makes the folder dir. It fails when dir has files, or takes none.
func makeOut(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	f, err := os.CreateTemp(dir, "reelmill-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (c runCommand) process(ctx context.Context, s streams, n *node.Server, url string) error {
	w := watch{api: client.New(url, http.DefaultClient), server: webURL(url), until: "ready", timeout: c.Timeout}
	screen := newScreen(s)
	defer screen.close()
	bar := screen.file(filepath.Base(c.File))
	defer bar.close()
	up := c.upload(c.File)
	up.Progress = bar.sent
	view, err := w.api.Upload(ctx, up)
	if err != nil {
		return err
	}
	if view, err = w.await(ctx, view, bar.processed); err != nil {
		return c.stopped(err)
	}
	bar.close()
	if c.Timeline {
		if err := (&timeline{out: s.out}).follow(ctx, w.api, view.ID, ""); err != nil {
			return err
		}
	}
	if !reached(view, "ready") {
		return &notReadyError{view: view}
	}
	outputs, err := n.Outputs(ctx, view.Project, view.ID)
	if err != nil {
		return err
	}
	if err := copyOutputs(ctx, n.Store(), outputs, c.Out); err != nil {
		return fmt.Errorf("copy outputs: %w", err)
	}
	return c.print(s, view, outputs)
}

// stopped says why the command stopped waiting, without the hint of a goesOnError: the server ends with the
// command.
func (c runCommand) stopped(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &lateError{filepath.Base(c.File), c.Timeout}
	}
	return errors.Unwrap(err)
}

// lateError says that a file was not processed in time.
type lateError struct {
	file    string
	timeout time.Duration
}

// Error names the flag that gives it more time.
func (e *lateError) Error() string {
	return fmt.Sprintf("%s was not ready within %s; give it more time with --timeout", e.file, e.timeout)
}

// Unwrap makes the error a deadline's, for the exit code.
func (e *lateError) Unwrap() error { return context.DeadlineExceeded }

func (c runCommand) print(s streams, view pipeline.VideoView, outputs []pipeline.OutputView) error {
	if c.structured() {
		view.PlayURL, view.DASHURL = "", "" // the server is gone
		return c.encode(s.out, struct {
			pipeline.VideoView
			Outputs []pipeline.OutputView `json:"outputs"`
		}{view, outputs})
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	printOutputs(table, pipeline.ListedOutputs(outputs), "PATH", func(o pipeline.OutputView) string {
		at := filepath.Join(c.Out, filepath.FromSlash(o.Path))
		if o.Segments != nil {
			return filepath.Dir(at) + string(filepath.Separator)
		}
		return at
	})
	if err := table.Flush(); err != nil {
		return err
	}
	for _, p := range view.Warnings {
		human.Fprintln(s.out, "warning:", warning(p))
	}
	return nil
}

// copyOutputs copies the outputs of a video into dir, at the paths that players expect.
func copyOutputs(ctx context.Context, from storage.Store, outputs []pipeline.OutputView, dir string) error {
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
			if err := copyObject(ctx, from, workers.SegmentName(o.Key, i), name); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyObject(ctx context.Context, from storage.Store, key, name string) error {
	r, _, err := from.Get(ctx, key, storage.Range{})
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
