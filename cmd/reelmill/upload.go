package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// uploadCommand sends files to a server.
type uploadCommand struct {
	Files     []string          `arg:"" name:"file" help:"Video files." type:"existingfile"`
	Server    string            `help:"URL of the server." default:"http://127.0.0.1:8080" env:"REELMILL_SERVER"`
	Pipeline  string            `help:"Pipeline to use." placeholder:"NAME"`
	Watermark string            `help:"${watermark_help}" placeholder:"FILE|text:WORDS"`
	Metadata  map[string]string `help:"Your own data, returned with the video: key=value;key=value."`
	Wait      string            `help:"${wait_help}" enum:"no,playable,ready" default:"no" placeholder:"playable|ready"`
	Timeout   time.Duration     `help:"How long to wait for one video." default:"6h"`
	JSON      bool              `help:"Print each video as a JSON line."`
	Timeline  bool              `help:"Print the events of each video that was waited for."`
}

// notReadyError says that a video came to another end than the one waited for.
type notReadyError struct{ view pipeline.VideoView }

func (e *notReadyError) Error() string {
	if p := e.view.Problem; p != nil {
		return fmt.Sprintf("%s is %s: %s (%s): %s. %s",
			e.view.Filename, e.view.Status, p.Title, p.Code, p.Detail, p.Remedy)
	}
	return fmt.Sprintf("%s is %s", e.view.Filename, e.view.Status)
}

// Run uploads one file after the other; a file that fails does not keep the others from being uploaded.
func (c uploadCommand) Run(ctx context.Context, s streams) error {
	var err error
	for _, file := range c.Files {
		err = errors.Join(err, c.one(ctx, s, file))
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

func (c uploadCommand) one(ctx context.Context, s streams, file string) error {
	api := client.New(c.Server, http.DefaultClient)
	bars := newBars(s.err, filepath.Base(file))
	defer bars.close()
	view, err := api.Upload(ctx, client.Upload{
		Path: file, Pipeline: c.Pipeline, Watermark: c.Watermark, Metadata: c.Metadata,
		IdempotencyKey: pipeline.NewID("upl"), Progress: bars.sent,
	})
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("upload %s: no server answers at %s: start one with `reelmill serve`, or name it with "+
			"--server: %w", file, c.Server, err)
	}
	if err != nil {
		return fmt.Errorf("upload %s: %w", file, err)
	}
	if c.Wait != "no" {
		if view, err = c.await(ctx, api, view, bars); err != nil {
			return err
		}
	}
	bars.close()
	if err := c.print(s.out, view); err != nil {
		return err
	}
	if c.Timeline && c.Wait != "no" {
		var last pipeline.EventType
		if c.Wait == "playable" && view.Playable {
			last = pipeline.VideoPlayable
		}
		if err := printTimeline(ctx, s.out, api, view.ID, last); err != nil {
			return err
		}
	}
	if reached(view, c.Wait) {
		return nil
	}
	return &notReadyError{view}
}

// reached reports whether the view is what was waited for.
func reached(view pipeline.VideoView, wait string) bool {
	switch wait {
	case "playable":
		return view.Playable
	case "ready":
		return view.Status == pipeline.VideoStateReady
	}
	return true
}

// await asks for the video until it is what is waited for, or has come to an end.
func (c uploadCommand) await(ctx context.Context, api *client.Client, view pipeline.VideoView, bars *bars) (
	pipeline.VideoView, error,
) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		bars.processed(view)
		if view.Status.Terminal() || reached(view, c.Wait) {
			return view, nil
		}
		select {
		case <-ctx.Done():
			return view, fmt.Errorf("wait for %s: %w", view.ID, ctx.Err())
		case <-tick.C:
		}
		next, err := api.Video(ctx, view.ID)
		if err != nil {
			return view, fmt.Errorf("wait for %s: %w", view.ID, err)
		}
		view = next
	}
}

func (c uploadCommand) print(w io.Writer, view pipeline.VideoView) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(view)
	}
	base := strings.TrimSuffix(c.Server, "/")
	fmt.Fprintf(w, "%s  %s  %s\n", view.ID, view.Status, view.Filename)
	switch {
	case view.Playable:
		fmt.Fprintf(w, "  play       %s/play/%s/%s\n", base, view.ID, view.Manifest)
		if view.Status == pipeline.VideoStateReady {
			fmt.Fprintf(w, "  thumbnail  %s/play/%s/thumbnail.jpg\n", base, view.ID)
			fmt.Fprintf(w, "  outputs    %s/v1/videos/%s/outputs\n", base, view.ID)
		}
	case !view.Status.Terminal():
		fmt.Fprintf(w, "  follow     curl -N %s/v1/videos/%s/events\n", base, view.ID)
	}
	return nil
}

// errPrinted ends a timeline before the video has come to an end.
var errPrinted = errors.New("all that was asked for is printed")

// printTimeline prints the events of a video up to the first of type last, or to the video's end, one line
// each, with the time since the upload.
func printTimeline(
	ctx context.Context, w io.Writer, api *client.Client, id string, last pipeline.EventType,
) error {
	var first time.Time
	fmt.Fprintln(w, "  timeline")
	err := api.Events(ctx, id, 0, func(e client.Event) error {
		if e.Log == nil {
			return nil // progress
		}
		if first.IsZero() {
			first = e.Log.Time
		}
		_, _, job, err := pipeline.Address(e.Log.Subject)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "  %8.3f s  %-16s %s\n", e.Log.Time.Sub(first).Seconds(), e.Type, job)
		if err == nil && e.Log.Type == last {
			err = errPrinted
		}
		return err
	})
	if errors.Is(err, errPrinted) {
		return nil
	}
	return err
}

// bars shows the progress of one file on a terminal, and nothing elsewhere.
type bars struct {
	p             *mpb.Progress
	upload, work  *mpb.Bar
	uploadedTotal int64
}

func newBars(w io.Writer, name string) *bars {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &bars{}
	}
	b := &bars{p: mpb.New(mpb.WithOutput(w), mpb.WithWidth(48))}
	b.upload = b.p.AddBar(0, mpb.PrependDecorators(decor.Name(name+" upload ", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
	b.work = b.p.AddBar(100, mpb.PrependDecorators(decor.Name(name+" process ", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Percentage()))
	return b
}

// sent shows how much of the file has left.
func (b *bars) sent(sent, total int64) {
	if b.p == nil {
		return
	}
	if total != b.uploadedTotal {
		b.uploadedTotal = total
		b.upload.SetTotal(total, false)
	}
	b.upload.SetCurrent(sent)
}

// processed shows how far the video is; a bar never goes back.
func (b *bars) processed(view pipeline.VideoView) {
	if b.p == nil {
		return
	}
	b.upload.SetTotal(-1, true)
	b.work.SetCurrent(max(b.work.Current(), int64(view.Progress)))
}

// close leaves the bars as they are and gives the terminal back.
func (b *bars) close() {
	if b.p == nil {
		return
	}
	b.upload.SetTotal(-1, true)
	b.work.Abort(false)
	b.p.Wait()
	b.p = nil
}
