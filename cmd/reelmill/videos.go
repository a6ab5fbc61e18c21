package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/manifest"
)

// videosCommand groups the commands about uploaded videos.
type videosCommand struct {
	List           videosList           `cmd:"" help:"List videos, newest first."`
	Get            videosGet            `cmd:"" help:"Show a video: its state, source, warnings and URLs."`
	Outputs        videosOutputs        `cmd:"" help:"List the outputs of a video."`
	AddOutput      videosAddOutput      `cmd:"" help:"Add a rung, a watermarked copy or other outputs to a ready video, without a new upload."`
	Additions      videosAdditions      `cmd:"" help:"List what was added to a video, and what is under way."`
	CancelAddition videosCancelAddition `cmd:"" help:"Stop an addition to a video; the video stays as it was."`
	Thumbnail      videosThumbnail      `cmd:"" help:"Save an image of a frame, in any size."`
	Watch          videosWatch          `cmd:"" help:"Follow a video until it is playable or ends."`
	Events         videosEvents         `cmd:"" help:"Print the events of a video so far."`
	Why            videosWhy            `cmd:"" help:"Say what a video waits for, and what happened so far."`
	Cancel         videosCancel         `cmd:"" help:"Stop a video: its running jobs end within 2 seconds."`
	Retry          videosRetry          `cmd:"" help:"Go on with an errored or canceled video; completed jobs are not repeated."`
	Set            videosSet            `cmd:"" help:"Change title, metadata or passthrough of a video."`
	Hold           videosHold           `cmd:"" help:"Set a legal hold on videos: nobody can delete them or their sources."`
	Release        videosRelease        `cmd:"" help:"Remove the legal hold of videos."`
	Delete         videosDelete         `cmd:"" help:"Delete a video and all its outputs."`
}

// videoArg names a video.
type videoArg struct {
	ID string `arg:"" help:"Id of the video, such as vid_7k2...; reelmill videos list shows them."`
}

// videoArgs name videos.
type videoArgs struct {
	IDs []string `arg:"" name:"id" help:"Ids of videos, such as vid_7k2...; reelmill videos list shows them."`
}

// Validate is called by kong.
func (a videoArg) Validate() error { return checkID(a.ID, "a video", "vid_") }

// Validate is called by kong.
func (a videoArgs) Validate() error {
	for _, id := range a.IDs {
		if err := checkID(id, "a video", "vid_"); err != nil {
			return err
		}
	}
	return nil
}

// notFoundError says that an argument cannot be the id of anything.
type notFoundError struct{ error }

// checkID refuses an argument that does not begin as the ids of its kind do.
func checkID(id, kind, prefix string) error {
	if strings.HasPrefix(id, prefix) {
		return nil
	}
	return notFoundError{fmt.Errorf("%q is not the id of %s (%s...)", id, kind, prefix)}
}

type videosList struct {
	serverFlags
	Status        []string          `help:"List only videos in one or more states: ${enum}." enum:"${video_states}" default:"any"`
	Metadata      map[string]string `help:"List only videos whose metadata has these values." placeholder:"KEY=VALUE;..."`
	Text          string            `help:"List only videos whose title, file name or passthrough contains these words." placeholder:"WORDS"`
	CreatedAfter  time.Time         `help:"List only videos of this time or later, such as 2026-11-26T18:00:00Z." placeholder:"TIME"`
	CreatedBefore time.Time         `help:"List only videos of before this time." placeholder:"TIME"`
	OldestFirst   bool              `help:"List the oldest first."`
	Counts        bool              `help:"Print only how many videos there are in each state."`
	pageFlags
}

// options returns what the flags select.
func (c videosList) options() client.ListOptions {
	o := client.ListOptions{
		Metadata: c.Metadata, Text: c.Text, CreatedAfter: c.CreatedAfter, CreatedBefore: c.CreatedBefore,
		Ascending: c.OldestFirst, Counts: c.Counts, Limit: c.Limit, Cursor: c.Cursor,
	}
	if !slices.Contains(c.Status, "any") {
		for _, s := range c.Status {
			o.Statuses = append(o.Statuses, pipeline.VideoState(s))
		}
	}
	return o
}

// Run lists videos.
func (c videosList) Run(ctx context.Context, s streams) error {
	page, err := c.client().List(ctx, c.options())
	if err != nil {
		return err
	}
	if c.Counts {
		return c.print(s, page.Counts, func(w io.Writer) {
			for _, state := range pipeline.VideoStates() {
				human.Fprintf(w, "%s\t%d\n", state, page.Counts[state])
			}
		})
	}
	defer c.more(s, page.NextCursor)
	return c.print(s, page.Data, func(w io.Writer) {
		if len(page.Data) == 0 {
			human.Fprintln(w, "There are no videos. Upload one: reelmill upload FILE --wait=ready")
			return
		}
		human.Fprintf(w, "ID\tSTATUS\tPROGRESS\tCREATED\tFILE\n")
		for _, v := range page.Data {
			created := pipeline.Clock(v.CreatedAt)
			human.Fprintf(w, "%s\t%s\t%d %%\t%s\t%s\n", v.ID, v.Status, v.Progress, created, v.Filename)
		}
	})
}

type videosGet struct {
	serverFlags
	videoArg
}

// Run shows a video.
func (c videosGet) Run(ctx context.Context, s streams) error {
	view, err := c.client().Video(ctx, c.ID)
	if err != nil {
		return err
	}
	at, err := c.places(ctx, view)
	if err != nil {
		return err
	}
	return c.print(s, view, func(w io.Writer) { describe(w, view, at) })
}

// describe prints the state, the source and the places of a video.
func describe(w io.Writer, v pipeline.VideoView, at []place) {
	if v.Title != "" {
		human.Fprintf(w, "title\t%s\n", v.Title)
	}
	human.Fprintf(w, "id\t%s\nfile\t%s, %s\nstatus\t%s, %d %%\ncreated\t%s\n",
		v.ID, v.Filename, bytesize.Size(v.Size), v.Status, v.Progress, pipeline.Clock(v.CreatedAt))
	if m := v.Media; m != nil {
		human.Fprintf(w, "source\t%s, %dx%d, %.4g frames/s, %s, %s\n", m.Video.Codec, m.Video.Width, m.Video.Height,
			m.Video.FrameRate(), human.Seconds(m.Duration), audioOf(m))
	}
	describeKeeping(w, v)
	for _, p := range v.Warnings {
		human.Fprintf(w, "warning\t%s\n", warning(p))
	}
	if p := v.Problem; p != nil {
		human.Fprintf(w, "error\t%s (%s): %s\nremedy\t%s\n", p.Title, p.Code, p.Detail, p.Remedy)
	}
	for _, p := range at {
		human.Fprintf(w, "%s\t%s\n", p.name, p.url)
	}
}

// describeKeeping prints how long a video and its source are kept.
func describeKeeping(w io.Writer, v pipeline.VideoView) {
	if h := v.Hold; h != nil {
		human.Fprintf(w, "hold\tsince %s by %s", pipeline.Clock(h.Since), h.By)
		if h.Reason != "" {
			human.Fprintf(w, ": %s", h.Reason)
		}
		human.Fprintf(w, "\n")
	}
	if at := v.SourceDeletedAt; at != nil {
		human.Fprintf(w, "source deleted\t%s\n", pipeline.Clock(*at))
	}
	if at := v.ExpiresAt; at != nil {
		human.Fprintf(w, "expires\t%s\n", pipeline.Clock(*at))
	}
}

// warning returns the text of a warning. The detail of pipeline.CodePartlyUsed needs no title.
func warning(p pipeline.Problem) string {
	if p.Code == pipeline.CodePartlyUsed {
		return p.Detail
	}
	if p.Job != "" {
		return p.Job + ": " + p.Title + ": " + p.Detail
	}
	return p.Title + ": " + p.Detail
}

// audioOf describes the audio of a source.
func audioOf(m *pipeline.Media) string {
	if len(m.Audio) == 0 {
		return "no audio"
	}
	var tracks []string
	for _, a := range m.Audio {
		tracks = append(tracks, fmt.Sprintf("%s (%s, %d %s)", a.Codec, a.Language, a.Channels,
			human.Plural(a.Channels, "channel")))
	}
	return strings.Join(tracks, ", ")
}

// place is a line about a video: its name, and usually a URL.
type place struct{ name, url string }

// places returns where the parts of a video are; none before it is playable. It asks the server for video
// files, such as a watermarked copy, once the video is ready.
func (f serverFlags) places(ctx context.Context, v pipeline.VideoView) ([]place, error) {
	if !v.Playable {
		return nil, nil
	}
	play := absolute(f.Server, v.PlayURL)
	all := []place{{"play", play}}
	if v.DASHURL != "" {
		all = append(all, place{"dash", absolute(f.Server, v.DASHURL)})
	}
	if v.PlaybackPolicy.Signed() {
		all = append(all, place{"signed", "these URLs play with a token only: ?token=... of a signing key, or " +
			"POST " + absolute(f.Server, "/v1/videos/"+v.ID+"/playback_urls")})
	}
	if v.Status != pipeline.StateVideoReady {
		return all, nil
	}
	outputs, err := f.client().Outputs(ctx, v.ID)
	if err != nil {
		return nil, fmt.Errorf("list outputs of %s: %w", v.ID, err)
	}
	for _, o := range outputs {
		if o.Kind == pipeline.KindVideo || o.Kind == pipeline.KindPoster && path.Ext(o.Path) == ".jpg" {
			all = append(all, place{o.Name, absolute(f.Server, o.URL)})
		}
	}
	return append(all, place{"outputs", absolute(f.Server, "/v1/videos/"+v.ID+"/outputs")}), nil
}

// absolute returns a URL from the server. The server's address goes before a path, without a password: a
// player asks for it.
func absolute(server webURL, path string) string {
	if !strings.HasPrefix(path, "/") {
		return path
	}
	if at, err := url.Parse(string(server)); err == nil && at.User != nil {
		at.User = nil
		server = webURL(at.String())
	}
	return strings.TrimSuffix(string(server), "/") + path
}

type videosOutputs struct {
	serverFlags
	videoArg
}

// Run lists the outputs of a video.
func (c videosOutputs) Run(ctx context.Context, s streams) error {
	outputs, err := c.client().Outputs(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, outputs, func(w io.Writer) {
		printOutputs(w, outputs, "URL", func(o pipeline.OutputView) string { return c.urlOf(o, outputs) })
	})
}

// urlOf returns the URL of an output: of a rendition that of its playlist, or only its folder without one.
func (c videosOutputs) urlOf(o pipeline.OutputView, outputs []pipeline.OutputView) string {
	if o.Segments == nil {
		return absolute(c.Server, o.URL)
	}
	folder := path.Dir(o.Path)
	for _, p := range outputs {
		if p.Kind == pipeline.KindPlaylist && p.Path == folder+"/"+manifest.PlaylistName {
			return absolute(c.Server, p.URL)
		}
	}
	return folder + "/"
}

// printOutputs prints a line for each rendition and file. place returns where an output is; heading is the
// title of that column.
func printOutputs(w io.Writer, outputs []pipeline.OutputView, heading string,
	place func(pipeline.OutputView) string,
) {
	human.Fprintf(w, "KIND\tNAME\tSIZE\tLENGTH\tPICTURE\t%s\n", heading)
	for _, o := range outputs {
		if o.Kind == pipeline.KindIndex || o.Kind == pipeline.KindInit {
			continue // part of a rendition, which has a line
		}
		length, picture := "", ""
		if o.Duration > 0 {
			length = human.Seconds(o.Duration)
		}
		if o.Width > 0 {
			picture = fmt.Sprintf("%dx%d", o.Width, o.Height)
		}
		at := place(o)
		if s := o.Segments; s != nil {
			segments := human.Plural(s.Count, "segment")
			at = fmt.Sprintf("%s (%d %s)", at, s.Count, segments)
		}
		human.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.Kind, o.Name, bytesize.Size(o.Size), length, picture, at)
	}
}

type videosWatch struct {
	serverFlags
	videoArg
	Until   string        `help:"Wait for this state: ${enum}." enum:"playable, ready" default:"ready"`
	Timeout time.Duration `help:"Stop watching after this time. The server goes on with the video." default:"6h"`
}

// Run follows a video. It fails when the video ends without reaching that state.
func (c videosWatch) Run(ctx context.Context, s streams) error {
	view, err := c.wait(ctx, c.screen(s))
	if err != nil {
		return err
	}
	if c.structured() {
		err = c.encode(s.out, view)
	} else {
		err = c.printVideo(ctx, s.out, view)
	}
	if err != nil || reached(view, c.Until) {
		return err
	}
	return endedWithout(view, c.Server)
}

// wait shows the progress of the video until it has reached the state or ended, and closes the screen.
func (c videosWatch) wait(ctx context.Context, screen *screen) (pipeline.VideoView, error) {
	defer screen.close()
	w := watch{api: c.client(), server: c.Server, until: c.Until, timeout: c.Timeout}
	view, err := w.api.Video(ctx, c.ID)
	if err != nil {
		return view, err
	}
	bar := screen.video(view.Filename)
	defer bar.close()
	return w.await(ctx, view, bar.processed)
}

type videosEvents struct {
	serverFlags
	videoArg
	Follow bool `help:"Print new events too, until the video ends."`
}

// Run prints events. With --json, each is a line of JSON.
func (c videosEvents) Run(ctx context.Context, s streams) error {
	api := c.client()
	if _, err := api.Video(ctx, c.ID); err != nil {
		return err
	}
	t := timeline{out: s.out, format: c.output}
	if c.Follow {
		return t.follow(ctx, api, c.ID, "")
	}
	for e, err := range api.EventLog(ctx, c.ID) {
		if err != nil {
			return err
		}
		if err := t.print(e); err != nil {
			return err
		}
	}
	return nil
}

type videosWhy struct {
	serverFlags
	videoArg
}

// Run prints what the video waits for, and its events.
func (c videosWhy) Run(ctx context.Context, s streams) error {
	why, err := c.client().Why(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(s, why, func(w io.Writer) {
		human.Fprintf(w, "%s is %s: %s\n", why.Video, why.Status, why.Summary)
		for _, note := range why.Notes {
			human.Fprintln(w, "  "+note)
		}
		for _, j := range why.Jobs {
			human.Fprintf(w, "  %s\t%s\t%s\n", j.Job, j.Reason, j.Detail)
		}
		human.Fprintln(w)
		if why.Earlier > 0 {
			human.Fprintf(w, "%d earlier events are not shown\n", why.Earlier)
		}
		for _, m := range why.Timeline {
			at := m.At.UTC().Format(time.DateOnly + " 15:04:05.000 UTC")
			human.Fprintf(w, "%s\t%s\t%s\t%s\n", at, m.Event, m.Job, m.Detail)
		}
	})
}

type videosCancel struct {
	serverFlags
	videoArgs
}

// Run cancels videos.
func (c videosCancel) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, "cancel", c.IDs, c.client().Cancel, isStatus)
}

type videosRetry struct {
	serverFlags
	videoArgs
}

// Run retries videos.
func (c videosRetry) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, "retry", c.IDs, c.client().Retry, isStatus)
}

// isStatus says the status of a video.
func isStatus(v pipeline.VideoView) string { return "is " + string(v.Status) }

// change calls do for each video, and prints what state says of it then.
func (f serverFlags) change(
	ctx context.Context, s streams, verb string, ids []string,
	do func(ctx context.Context, id string) (pipeline.VideoView, error), state func(pipeline.VideoView) string,
) error {
	for _, id := range ids {
		view, err := do(ctx, id)
		if err != nil {
			return fmt.Errorf("%s %s: %w", verb, id, err)
		}
		if err := f.print(s, view, func(w io.Writer) { human.Fprintln(w, id, state(view)) }); err != nil {
			return err
		}
	}
	return nil
}

type videosSet struct {
	serverFlags
	videoArg
	Title       *string  `help:"New title; empty for none." placeholder:"TEXT"`
	Metadata    labels   `help:"Set keys, as key=value;key=value or as a JSON object. The other keys stay." placeholder:"KEY=VALUE"`
	Remove      []string `help:"Remove these keys of the metadata." placeholder:"KEY"`
	Passthrough *string  `help:"New passthrough; empty for none." placeholder:"TEXT"`

	PlaybackPolicy string `help:"Who may play it: public (whoever knows its id) or signed (whoever has a token)." enum:"public,signed," default:"" placeholder:"public|signed"`
}

// Run changes a video.
func (c videosSet) Run(ctx context.Context, s streams) error {
	change := client.Change{
		Title: c.Title, Passthrough: c.Passthrough, Metadata: map[string]*string{},
		PlaybackPolicy: pipeline.PlaybackPolicy(c.PlaybackPolicy),
	}
	for key, value := range c.Metadata {
		change.Metadata[key] = &value
	}
	for _, key := range c.Remove {
		change.Metadata[key] = nil
	}
	if c.Title == nil && c.Passthrough == nil && len(change.Metadata) == 0 && c.PlaybackPolicy == "" {
		return usageError{errors.New(
			"say what to change: --title, --metadata, --remove, --passthrough or --playback-policy")}
	}
	view, err := c.client().Change(ctx, c.ID, change)
	if err != nil {
		return err
	}
	return c.print(s, view, func(w io.Writer) {
		human.Fprintf(w, "id\t%s\ntitle\t%s\npassthrough\t%s\nplayback_policy\t%s\n", view.ID, view.Title,
			view.Passthrough, view.PlaybackPolicy)
		for _, key := range slices.Sorted(maps.Keys(view.Metadata)) {
			human.Fprintf(w, "metadata\t%s=%s\n", key, view.Metadata[key])
		}
	})
}

type videosDelete struct {
	serverFlags
	videoArgs
}

// Run deletes videos.
func (c videosDelete) Run(ctx context.Context, s streams) error {
	for _, id := range c.IDs {
		if err := c.client().Delete(ctx, id); err != nil {
			return fmt.Errorf("delete %s: %w", id, err)
		}
		gone := map[string]any{"id": id, "deleted": true}
		if err := c.print(s, gone, func(w io.Writer) { human.Fprintln(w, id, "is deleted") }); err != nil {
			return err
		}
	}
	return nil
}
