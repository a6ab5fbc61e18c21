package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// uploadCommand uploads files to a server.
type uploadCommand struct {
	Files []uploadPlace `arg:"" name:"file" help:"Videos, folders, and http(s) addresses to fetch."`
	serverFlags
	wishes
	memoryFlags
	Fresh    bool          `help:"Upload again what an earlier run of the same command has uploaded or begun."`
	Wait     string        `help:"${wait_help}" enum:"no,playable,ready" default:"no" placeholder:"no|playable|ready"`
	Timeout  time.Duration `help:"Wait at most this long for each video. The server goes on with it." default:"6h"`
	Parallel int           `help:"Upload this many files at once, 1 to 16." default:"3"`
	Timeline bool          `help:"Print the events of each video after the wait."`
}

// Help is the long help.
func (uploadCommand) Help() string {
	return "  reelmill upload film.mp4 --wait=ready\n  reelmill upload clips/ --priority bulk\n" +
		"  reelmill upload https://example.com/film.mp4 --wait=ready\n\n" +
		"Of a folder, it takes the videos by their names, also those in folders below. When a connection breaks, " +
		"it goes on where it was. After Ctrl-C or a crash, the same command goes on, and uploads nothing twice. " +
		"An address is fetched by the server; each run makes a video of its own."
}

// wishes are the options of an upload.
type wishes struct {
	Pipeline    string    `help:"Name of the pipeline. Default: the one named default." placeholder:"NAME"`
	Priority    string    `help:"Priority of the video: ${enum}." enum:"high, normal, bulk" default:"normal"`
	Watermark   watermark `help:"${watermark_help}" placeholder:"FILE|text:WORDS"`
	Title       string    `help:"Title of the video." placeholder:"TEXT"`
	Metadata    labels    `help:"Your own data, returned with the video, as key=value;key=value or as a JSON object." placeholder:"KEY=VALUE"`
	Passthrough string    `help:"Your own text, returned with the video and in webhooks." placeholder:"TEXT"`
	WebhookURL  webURL    `help:"Webhook to call when this video is playable, and when it ends." placeholder:"URL" secret:"address"`

	PlaybackPolicy string `help:"Who may play the video: public (whoever knows its id) or signed (whoever has a token). Default: as the project says." enum:"public,signed," default:"" placeholder:"public|signed"`
	Signed         bool   `help:"The same as --playback-policy=signed."`
}

// policy returns who may play the video; empty: what the project says.
func (w wishes) policy() pipeline.PlaybackPolicy {
	if w.Signed {
		return pipeline.PlaybackSigned
	}
	return pipeline.PlaybackPolicy(w.PlaybackPolicy)
}

// upload returns the upload of a file with these wishes.
func (w wishes) upload(file string) client.Upload {
	return client.Upload{
		Path: file, Pipeline: w.Pipeline, Priority: pipeline.Priority(w.Priority), Watermark: string(w.Watermark),
		Title: w.Title, Metadata: w.Metadata, Passthrough: w.Passthrough, WebhookURL: string(w.WebhookURL),
		PlaybackPolicy: w.policy(), IdempotencyKey: pipeline.NewID("upl"),
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

func checkParallel(n int) error {
	if n < 1 || n > maxParallel {
		return fmt.Errorf("--parallel must be 1 to %d, not %d", maxParallel, n)
	}
	return nil
}

// Validate is called by kong.
func (c uploadCommand) Validate() error {
	var mistakes []error
	if err := checkParallel(c.Parallel); err != nil {
		mistakes = append(mistakes, err)
	}
	for _, file := range c.Files {
		if err := file.check(); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return errors.Join(mistakes...)
}

// notReadyError says that a video ended without the state that the command waited for.
type notReadyError struct {
	view pipeline.VideoView
	hint string // how to learn more; empty without a server
}

// Error names the file, its state and the problem with its remedy.
func (e *notReadyError) Error() string {
	name := cmp.Or(e.view.Filename, e.view.ID) // a source that could not be fetched has no name
	if p := e.view.Problem; p != nil {
		return fmt.Sprintf("%s is %s: %s (%s): %s. %s%s",
			name, e.view.Status, p.Title, p.Code, p.Detail, p.Remedy, e.hint)
	}
	return fmt.Sprintf("%s is %s", name, e.view.Status)
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

// Run uploads files, several at once. It goes on when one fails, and prints the results in the order given.
func (c uploadCommand) Run(ctx context.Context, s streams) (err error) {
	var places []string
	for _, place := range c.Files {
		places = append(places, string(place))
	}
	all := gather(places)
	if len(all.files) == 0 {
		none := errors.New("there is no video to upload: of a folder, only files with the name of a video count, " +
			"such as film.mp4")
		return usageError{errors.Join(append(all.failed, none)...)}
	}
	u := uploader{uploadCommand: c, screen: c.screen(s)}
	u.sender = &sender{
		wishes: c.wishes, api: c.client(), server: c.Server, memory: c.folder("uploads"), line: u.screen.line,
	}
	u.results = newResults(func(text []byte) error {
		return u.screen.aside(func(out io.Writer) error { _, err := out.Write(text); return err })
	})
	defer u.screen.close()
	if note := all.note(); note != "" {
		u.screen.line(note)
	}
	u.sender.sweep()
	return errors.Join(errors.Join(all.failed...), u.run(ctx, parcels(all.files)))
}

// run uploads the files. It forgets them when nothing is left to do, so that the same command uploads them
// again; otherwise it goes on with them.
func (u *uploader) run(ctx context.Context, files []parcel) error {
	if u.Fresh {
		if err := u.sender.forget(files); err != nil {
			return err
		}
	}
	failed := make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(u.Parallel)
	for i, file := range files {
		group.Go(func() error {
			if failed[i] = ctx.Err(); failed[i] == nil {
				failed[i] = u.one(ctx, i, file)
			}
			return u.results.done(i)
		})
	}
	err := errors.Join(group.Wait(), u.results.rest())
	if !slices.ContainsFunc(failed, unfinished) {
		err = errors.Join(err, u.sender.forget(files))
	}
	return errors.Join(err, errors.Join(failed...))
}

// unfinished reports whether a file whose upload ended with err needs another run.
func unfinished(err error) bool {
	_, ended := errors.AsType[*notReadyError](err)
	return err != nil && !ended
}

// uploader is one run of the command.
type uploader struct {
	uploadCommand
	sender  *sender
	screen  *screen
	results *results
}

// one uploads the file number i, and waits for its video.
func (u *uploader) one(ctx context.Context, i int, file parcel) error {
	bar := u.screen.file(file.name())
	defer bar.close()
	if id := u.sender.before(file); id != "" {
		u.screen.line(fmt.Sprintf("%s: an earlier run has uploaded it, as %s; --fresh uploads it again",
			file.path, id))
	}
	view, err := u.sender.send(ctx, file, bar.sent)
	if err != nil {
		return fmt.Errorf("upload %s: %w", file.shown(), err)
	}
	if u.Wait == "no" {
		return u.report(ctx, i, view)
	}
	u.accepted(view)
	w := watch{api: u.sender.api, server: u.Server, until: u.Wait, timeout: u.Timeout}
	seen := bar.processed
	if isAddress(file.path) {
		stop := u.followFetch(ctx, view.ID, bar)
		defer stop()
		seen = bar.fetchedOr(seen)
	}
	if view, err = w.await(ctx, view, seen); err != nil {
		return err
	}
	bar.close()
	if err := u.report(ctx, i, view); err != nil {
		return err
	}
	if reached(view, u.Wait) {
		return nil
	}
	return endedWithout(view, u.Server)
}

// results prints what becomes of files in their order, each as soon as those before it have ended.
type results struct {
	print func(text []byte) error

	mu    sync.Mutex
	texts map[int][]byte // that wait for those before them
	ended map[int]bool
	next  int
}

func newResults(print func(text []byte) error) *results {
	return &results{print: print, texts: map[int][]byte{}, ended: map[int]bool{}}
}

// set keeps the text of the file number i.
func (r *results) set(i int, text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts[i] = text
}

// done says that the file number i has ended, with or without a text, and prints what may be printed now.
func (r *results) done(i int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended[i] = true
	for ; r.ended[r.next]; r.next++ {
		text := r.texts[r.next]
		delete(r.texts, r.next)
		if len(text) == 0 {
			continue
		}
		if err := r.print(text); err != nil {
			return err
		}
	}
	return nil
}

// rest prints what is left when some files were not begun.
func (r *results) rest() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range slices.Sorted(maps.Keys(r.texts)) {
		err = errors.Join(err, r.print(r.texts[i]))
	}
	clear(r.texts)
	return err
}

// accepted prints the id of a video as soon as it is known. Without bars, the first line of progress has it.
func (u *uploader) accepted(view pipeline.VideoView) {
	if u.screen.p == nil {
		return
	}
	u.screen.line(fmt.Sprintf("%s  %s  %s", view.ID, view.Status, view.Filename))
}

// report keeps the text about a video, and about its events with --timeline, for its turn.
func (u *uploader) report(ctx context.Context, i int, view pipeline.VideoView) error {
	var out bytes.Buffer
	if err := u.describe(ctx, &out, view); err != nil {
		return err
	}
	u.results.set(i, out.Bytes())
	return nil
}

func (u *uploader) describe(ctx context.Context, out io.Writer, view pipeline.VideoView) error {
	if u.structured() {
		return u.encode(out, view)
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
	return (&timeline{out: out}).follow(ctx, u.sender.api, view.ID, last)
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

// await waits until the video has reached the state or ended, and calls seen with its progress. When it stops
// before that, the error is a *goesOnError.
func (w watch) await(ctx context.Context, view pipeline.VideoView, seen func(pipeline.VideoView)) (
	pipeline.VideoView, error,
) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	seen(view)
	if view.Status.Terminal() || reached(view, w.until) {
		return view, nil
	}
	stop := w.show(ctx, view.ID, seen)
	next, err := w.api.Wait(ctx, view.ID, client.Until(w.until))
	stop()
	if err != nil {
		return view, &goesOnError{view.ID, w.server, err}
	}
	seen(next)
	return next, nil
}

// showEvery is the least time between two looks at a video for its progress.
const showEvery = 300 * time.Millisecond

// show calls seen with the video as its events say that there is progress, until stop is called. It is only a
// show: when the events cannot be read, the command waits without them.
func (w watch) show(ctx context.Context, id string, seen func(pipeline.VideoView)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		var looked time.Time
		_ = w.api.Events(ctx, id, 0, func(e client.Event) error {
			state := e.Log != nil && strings.HasPrefix(e.Type, "video.")
			if !state && time.Since(looked) < showEvery {
				return nil
			}
			view, err := w.api.Video(ctx, id)
			if err == nil && ctx.Err() == nil {
				seen(view)
			}
			looked = time.Now()
			return nil
		})
	})
	return func() {
		cancel()
		following.Wait()
	}
}
