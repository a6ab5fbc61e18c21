package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// uploadCommand uploads files to a server.
type uploadCommand struct {
	Files []string `arg:"" name:"file" help:"Video files." type:"existingfile"`
	serverFlags
	wishes
	Wait     string        `help:"${wait_help}" enum:"no,playable,ready" default:"no" placeholder:"no|playable|ready"`
	Timeout  time.Duration `help:"Wait at most this long for each video. The server goes on with it." default:"6h"`
	Parallel int           `help:"Upload this many files at once, 1 to 16." default:"3"`
	Timeline bool          `help:"Print the events of each video after the wait."`
}

// wishes are the options of an upload.
type wishes struct {
	Pipeline    string            `help:"Name of the pipeline. Default: the one named default." placeholder:"NAME"`
	Priority    string            `help:"Priority of the video: ${enum}." enum:"high, normal, bulk" default:"normal"`
	Watermark   watermark         `help:"${watermark_help}" placeholder:"FILE|text:WORDS"`
	Title       string            `help:"Title of the video." placeholder:"TEXT"`
	Metadata    map[string]string `help:"Your own data, returned with the video, as key=value;key=value."`
	Passthrough string            `help:"Your own text, returned with the video and in webhooks." placeholder:"TEXT"`
	WebhookURL  webURL            `help:"Webhook to call when this video is playable, and when it ends." placeholder:"URL" secret:"address"`
}

// upload returns the upload of a file with these wishes.
func (w wishes) upload(file string) client.Upload {
	return client.Upload{
		Path: file, Pipeline: w.Pipeline, Priority: pipeline.Priority(w.Priority), Watermark: string(w.Watermark),
		Title: w.Title, Metadata: w.Metadata, Passthrough: w.Passthrough, WebhookURL: string(w.WebhookURL),
		IdempotencyKey: pipeline.NewID("upl"),
	}
}

// watermark is the path of an existing image, text:WORDS or parameters, as in client.Upload.
type watermark string

// UnmarshalText refuses an image that does not exist.
func (w *watermark) UnmarshalText(text []byte) error {
	*w = watermark(text)
	if len(text) == 0 || client.IsParameters(string(text)) {
		return nil
	}
	info, err := os.Stat(string(text))
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w; name an image, or write text:WORDS", text, failed.Err)
	}
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder; name an image", text)
	}
	return err
}

// maxParallel is how many files are uploaded at once at most.
const maxParallel = 16

// Validate is called by kong.
func (c uploadCommand) Validate() error {
	if c.Parallel < 1 || c.Parallel > maxParallel {
		return fmt.Errorf("--parallel must be 1 to %d, not %d", maxParallel, c.Parallel)
	}
	return nil
}

// notReadyError says that a video ended without the state that the command waited for.
type notReadyError struct {
	view pipeline.VideoView
	hint string // how to learn more; empty without a server
}

// Error names the file, its state and the problem with its remedy.
func (e *notReadyError) Error() string {
	if p := e.view.Problem; p != nil {
		return fmt.Sprintf("%s is %s: %s (%s): %s. %s%s",
			e.view.Filename, e.view.Status, p.Title, p.Code, p.Detail, p.Remedy, e.hint)
	}
	return fmt.Sprintf("%s is %s", e.view.Filename, e.view.Status)
}

// endedWithout returns the error of a video that ended without the state that the command waited for. The
// server can say more about it.
func endedWithout(view pipeline.VideoView, server webURL) error {
	return &notReadyError{view, fmt.Sprintf(" `reelmill videos why %s --server %s` tells more", view.ID, server)}
}

// goesOnError says that a command stopped waiting for a video, which the server goes on with.
type goesOnError struct {
	id     string
	server webURL
	err    error // why the command stopped
}

// Error names the video, why the command stopped, and how to watch the video again.
func (e *goesOnError) Error() string {
	why := ""
	switch {
	case errors.Is(e.err, context.DeadlineExceeded):
		why = ", the time is up"
	case !errors.Is(e.err, context.Canceled):
		why = fmt.Sprintf(" (%v)", e.err)
	}
	return fmt.Sprintf("stopped waiting for %s%s; the server goes on with it: see `reelmill videos watch %s "+
		"--server %s`", e.id, why, e.id, e.server)
}

// Unwrap returns why the command stopped.
func (e *goesOnError) Unwrap() error { return e.err }

// Run uploads files, several at once. It goes on when one fails.
func (c uploadCommand) Run(ctx context.Context, s streams) error {
	u := uploader{uploadCommand: c, api: c.client(), out: s.out, screen: newScreen(s)}
	defer u.screen.close()
	failed := make([]error, len(c.Files))
	var group errgroup.Group
	group.SetLimit(c.Parallel)
	for i, file := range c.Files {
		group.Go(func() error {
			if failed[i] = ctx.Err(); failed[i] == nil {
				failed[i] = u.one(ctx, file)
			}
			return nil
		})
	}
	err := group.Wait()
	return errors.Join(err, errors.Join(failed...))
}

// uploader is one run of the command.
type uploader struct {
	uploadCommand
	api    *client.Client
	screen *screen
	out    io.Writer
	mu     sync.Mutex // held while a video is printed
	absent sync.Once  // says that there is no server
}

func (u *uploader) one(ctx context.Context, file string) error {
	bar := u.screen.file(filepath.Base(file))
	defer bar.close()
	up := u.upload(file)
	up.Progress, up.Again = bar.sent, u.again(file)
	view, err := u.api.Upload(ctx, up)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("upload %s: it was cut short, and the server keeps nothing of it: %w", file, err)
		}
		return fmt.Errorf("upload %s: %w", file, err)
	}
	if u.Wait == "no" {
		return u.report(ctx, view)
	}
	u.accepted(view)
	w := watch{api: u.api, server: u.Server, until: u.Wait, timeout: u.Timeout}
	if view, err = w.await(ctx, view, bar.processed); err != nil {
		return err
	}
	bar.close()
	if err := u.report(ctx, view); err != nil {
		return err
	}
	if reached(view, u.Wait) {
		return nil
	}
	return endedWithout(view, u.Server)
}

// again returns a function that says, once for a file, that its upload is tried again. It says so once for
// all files when no server answers.
func (u *uploader) again(file string) func(error) {
	var told sync.Once
	return func(err error) {
		if none, ok := errors.AsType[*noServerError](err); ok {
			u.absent.Do(func() {
				u.screen.line(fmt.Sprintf("no server at %s: %v; trying again for %.0f s", none.server, none.err,
					client.RetryTime.Seconds()))
			})
			return
		}
		told.Do(func() { u.screen.line(fmt.Sprintf("upload %s: %v; trying again", file, err)) })
	}
}

// accepted prints the id of a video as soon as it is known. Without bars, the first line of progress has it.
func (u *uploader) accepted(view pipeline.VideoView) {
	if u.screen.p == nil {
		return
	}
	u.screen.line(fmt.Sprintf("%s  %s  %s", view.ID, view.Status, view.Filename))
}

// report prints a video, and its events with --timeline.
func (u *uploader) report(ctx context.Context, view pipeline.VideoView) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.screen.aside(func(out io.Writer) error {
		if u.JSON {
			return human.Encode(out, view)
		}
		if err := u.printVideo(ctx, out, view); err != nil {
			return err
		}
		if !u.Timeline || u.Wait == "no" {
			return nil
		}
		last := pipeline.EventType("")
		if u.Wait == "playable" && view.Playable {
			last = pipeline.VideoPlayable
		}
		human.Fprintln(out, "  timeline")
		return (&timeline{out: out}).follow(ctx, u.api, view.ID, last)
	})
}

// printVideo prints the state of a video, its URLs and its warnings.
func (f serverFlags) printVideo(ctx context.Context, w io.Writer, view pipeline.VideoView) error {
	at, err := f.places(ctx, view)
	if err != nil {
		return err
	}
	human.Fprintf(w, "%s  %s  %s\n", view.ID, view.Status, view.Filename)
	if !view.Playable && !view.Status.Terminal() {
		at = append(at, place{"follow", fmt.Sprintf("reelmill videos watch %s --server %s", view.ID, f.Server)})
	}
	for _, p := range view.Warnings {
		at = append(at, place{"warning", warning(p)})
	}
	for _, p := range at {
		human.Fprintf(w, "  %-11s  %s\n", p.name, p.url)
	}
	return nil
}

// reached reports whether the view has the state to wait for.
func reached(view pipeline.VideoView, wait string) bool {
	switch wait {
	case "playable":
		return view.Playable
	case "ready":
		return view.Status == pipeline.StateVideoReady
	}
	return true
}

// watch waits for a state of a video.
type watch struct {
	api     *client.Client
	server  webURL
	until   string // playable or ready
	timeout time.Duration
}

// await asks for the video until it has reached the state or ended, and calls seen with each answer. When it
// stops before that, the error is a *goesOnError.
func (w watch) await(ctx context.Context, view pipeline.VideoView, seen func(pipeline.VideoView)) (
	pipeline.VideoView, error,
) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		seen(view)
		if view.Status.Terminal() || reached(view, w.until) {
			return view, nil
		}
		select {
		case <-ctx.Done():
			return view, &goesOnError{view.ID, w.server, ctx.Err()}
		case <-tick.C:
		}
		next, err := w.api.Video(ctx, view.ID)
		if err != nil {
			return view, &goesOnError{view.ID, w.server, err}
		}
		view = next
	}
}
