package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
)

// Upload is the data of video.uploaded: what was asked for, frozen.
type Upload struct {
	// Source is the zero Object if Fetch is set: then the result of the fetch job has the source.
	Source   Object            `json:"source"`
	Fetch    *Fetch            `json:"fetch,omitempty"`
	Assets   map[string]Object `json:"assets,omitempty"` // further objects, by the name that parameters use
	Pipeline Pipeline          `json:"pipeline"`         // the document as it was at upload
	// Requested holds the upload's own parameters, by step; they override those of the pipeline.
	Requested   map[string]map[string]any `json:"requested,omitempty"`
	Title       string                    `json:"title,omitempty"`       // the user's; video.changed may change it
	Metadata    map[string]string         `json:"metadata,omitempty"`    // likewise
	Passthrough string                    `json:"passthrough,omitempty"` // likewise; in webhooks too
	// Webhook is set when the upload asks for webhooks.
	Webhook *Webhook `json:"webhook,omitempty"`
	// Priority ranks the video among others: Normal when empty, Bulk for what can wait, High for what somebody
	// waits for. It applies to all of its jobs.
	Priority Priority `json:"priority,omitempty"`
	// PlaybackPolicy says who may play the video; video.changed may change it. Empty means public.
	PlaybackPolicy PlaybackPolicy `json:"playback_policy,omitempty"`
}

// Webhook is where a video's webhooks are sent.
type Webhook struct {
	URL string `json:"url,omitempty"` // the upload's own; the server's when empty
}

// ErrReused says that a video with this id was uploaded before with other contents or parameters.
var ErrReused = errors.New("the id belongs to another upload")

// Accept is step 1: it appends video.uploaded for an upload whose source is whole in the store or is to be
// fetched, and returns the event. From then on the video is never lost. parent is the traceparent of the
// request, or empty. Accepting the same upload again returns the first event, and replayed is true.
// ErrReused: the id belongs to another upload. ErrDeleted: it belongs to a deleted video.
func Accept(ctx context.Context, log Log, project, video string, up Upload, parent string) (
	e Event, replayed bool, err error,
) {
	if !ValidName(project) || !ValidName(video) {
		return Event{}, false, fmt.Errorf("accept video %q of project %q: invalid name", video, project)
	}
	if deleted, err := log.Last(ctx, DeletedSubject(project, video)); err != nil || deleted[0].Sequence != 0 {
		return Event{}, false, cmp.Or(err, ErrDeleted)
	}
	subject := UploadedSubject(project, video)
	e, err = NewEvent("upload", VideoUploaded, subject, video, Event{TraceParent: parent}, up)
	if err != nil {
		return Event{}, false, err
	}
	e, err = Append(ctx, log, e, 0)
	if !errors.Is(err, ErrConflict) {
		return e, false, err
	}
	first, err := log.Last(ctx, subject)
	if err != nil {
		return Event{}, false, err
	}
	var before Upload
	if err := first[0].Decode(&before); err != nil {
		return Event{}, false, err
	}
	if !sameUpload(before, e) {
		return Event{}, false, ErrReused
	}
	return first[0], true, nil
}

// ErrDeleted says that the video of this id was deleted. Its id is never used again.
var ErrDeleted = errors.New("the video was deleted")

// sameUpload compares what was asked for. Keys differ between two tries of one upload; hashes do not. The
// server's limit may differ, too.
func sameUpload(before Upload, again Event) bool {
	var after Upload
	if again.Decode(&after) != nil {
		return false
	}
	withoutKeys := func(u Upload) Upload {
		u.Source.Key = ""
		if u.Fetch != nil {
			f := *u.Fetch
			f.MaxBytes = 0
			u.Fetch = &f
		}
		assets := make(map[string]Object, len(u.Assets))
		for name, o := range u.Assets {
			o.Key = ""
			assets[name] = o
		}
		u.Assets, u.Pipeline = assets, Pipeline{Name: u.Pipeline.Name}
		return u
	}
	return reflect.DeepEqual(withoutKeys(before), withoutKeys(after))
}
