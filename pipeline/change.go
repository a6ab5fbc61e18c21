package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
)

// Label is what users may change of a video at any time. It is the whole data of video.changed.
type Label struct {
	Title       string            `json:"title"`
	Metadata    map[string]string `json:"metadata"` // never nil in an event
	Passthrough string            `json:"passthrough"`
	// PlaybackPolicy is never empty in an event. Events of earlier versions lack it: then what the upload says
	// holds, so that such a process cannot make a signed video public.
	PlaybackPolicy PlaybackPolicy `json:"playback_policy,omitempty" enum:"public,signed"`
}

// Tag returns a short text that differs for different labels: the ETag of a video.
func (l Label) Tag() string {
	if l.Metadata == nil {
		l.Metadata = map[string]string{}
	}
	l.PlaybackPolicy = l.PlaybackPolicy.stored() // the tag of a public video is that of earlier versions
	raw, err := json.Marshal(l)                  // sorts the keys
	if err != nil {
		panic(err) // strings can always be encoded
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:12])
}

// equal reports whether both labels say the same.
func (l Label) equal(other Label) bool {
	return l.Title == other.Title && l.Passthrough == other.Passthrough &&
		maps.Equal(l.Metadata, other.Metadata) &&
		l.PlaybackPolicy.OrPublic() == other.PlaybackPolicy.OrPublic()
}

// Label returns what users may change of the video.
func (v *VideoView) Label() Label {
	return Label{v.Title, v.Metadata, v.Passthrough, v.PlaybackPolicy.OrPublic()}
}

// label returns what the upload says.
func (u Upload) label() Label {
	return Label{u.Title, maps.Clone(u.Metadata), u.Passthrough, u.PlaybackPolicy.OrPublic()}
}

// Change appends video.changed with the label that edit makes of the present one, by compare-and-swap: a
// change that somebody else makes meanwhile is not lost, since edit is called again with it. edit may change
// what it gets; its error ends Change. When nothing differs, Change appends nothing and returns the event of
// the present label. ErrNotFound: there is no such video.
func Change(
	ctx context.Context, log Log, project, video string, edit func(Label) (Label, error),
) (Event, error) {
	for range maxConflicts {
		e, err := change(ctx, log, project, video, edit)
		if !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return Event{}, ErrConflict
}

func change(
	ctx context.Context, log Log, project, video string, edit func(Label) (Label, error),
) (Event, error) {
	subject := ChangedSubject(project, video)
	last, err := log.Last(ctx, UploadedSubject(project, video), subject, DeletedSubject(project, video))
	if err != nil {
		return Event{}, err
	}
	uploaded, changed := last[0], last[1]
	if uploaded.Sequence == 0 || last[2].Sequence != 0 {
		return Event{}, ErrNotFound
	}
	before, from, err := labelOf(uploaded, changed)
	if err != nil {
		return Event{}, err
	}
	draft := before
	if draft.Metadata = maps.Clone(before.Metadata); draft.Metadata == nil {
		draft.Metadata = map[string]string{}
	}
	after, err := edit(draft)
	if err != nil || after.equal(before) {
		return from, err
	}
	if after.Metadata == nil {
		after.Metadata = map[string]string{}
	}
	after.PlaybackPolicy = after.PlaybackPolicy.OrPublic()
	e, err := NewEvent("upload", VideoChanged, subject, video, from, after)
	if err != nil {
		return Event{}, err
	}
	return Append(ctx, log, e, changed.Sequence)
}

// labelOf returns the label of a video with these last events, and the one that it comes from.
func labelOf(uploaded, changed Event) (Label, Event, error) {
	var up Upload
	if err := uploaded.Decode(&up); err != nil || changed.Sequence == 0 {
		return up.label(), uploaded, err
	}
	var l Label
	err := changed.Decode(&l)
	if l.PlaybackPolicy == "" {
		l.PlaybackPolicy = up.label().PlaybackPolicy
	}
	return l, changed, err
}
