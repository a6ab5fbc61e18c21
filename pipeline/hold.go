package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrHeld says that a video has a legal hold, so that nobody may delete it or its source.
var ErrHeld = errors.New("the video has a legal hold")

// MaxHoldReason is how many characters the reason of a hold may have.
const MaxHoldReason = 512

// Held is the data of video.held.
type Held struct {
	Reason string `json:"reason,omitempty"` // for people; may be empty
}

// Hold is the legal hold of a video. Until somebody releases it, nobody deletes the video or its source.
type Hold struct {
	Reason string    `json:"reason" doc:"As given; may be empty"`
	By     string    `json:"by,omitempty" doc:"The actor of the event that set it"`
	Since  time.Time `json:"since"`
}

// SetHold appends video.held, from which on nobody can delete the video or its source. Of a hold and a
// deletion at the same moment one wins: if it is the deletion, the video is ErrNotFound. With the reason that
// it already has, it appends nothing and returns the event of the hold; with another one, it appends that.
// The hold does not bring back a source that is gone. ErrNotFound: there is no such video. The caller has
// checked the reason with CheckHoldReason.
func SetHold(ctx context.Context, log Log, project, video, reason string) (Event, error) {
	return writeOwn(ctx, log, project, video, func(o ownEvents) (Event, error) {
		var before Held
		if o.held.Type == VideoHeld {
			if err := o.held.Decode(&before); err != nil {
				return Event{}, err
			}
			if before.Reason == reason {
				return o.held, nil
			}
		}
		return NewEvent("upload", VideoHeld, HeldSubject(project, video), video, o.cause(), Held{Reason: reason})
	})
}

// Release appends video.released, which ends the hold of a video. A video without a hold gets no event. It
// returns the last event of the video's holds; of a video that never had one, its upload. ErrNotFound: there
// is no such video.
func Release(ctx context.Context, log Log, project, video string) (Event, error) {
	return writeOwn(ctx, log, project, video, func(o ownEvents) (Event, error) {
		if o.held.Type != VideoHeld {
			return o.cause(), nil
		}
		return NewEvent("upload", VideoReleased, HeldSubject(project, video), video, o.held, struct{}{})
	})
}

// CheckHoldReason returns an error for a reason that a hold cannot have.
func CheckHoldReason(reason string) error {
	if !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > MaxHoldReason {
		return fmt.Errorf("the reason of a hold has more than %d characters, or is not UTF-8", MaxHoldReason)
	}
	return nil
}

// ownEvents are the last events of a video itself that holds and deletions look at, and the sequence of the
// last event of all of its own, which fences what is written next.
type ownEvents struct {
	uploaded, held, deleted Event
	last                    uint64
}

// cause returns the event that a change of the hold follows from.
func (o ownEvents) cause() Event {
	if o.held.Sequence != 0 {
		return o.held
	}
	return o.uploaded
}

// readOwn reads the events of a video itself. It decodes none of them: also a video that cannot be read can
// be held, and deleted.
func readOwn(ctx context.Context, from Log, project, video string) (o ownEvents, err error) {
	log, last, err := fenced(ctx, from, project, video)
	if err != nil {
		return o, fmt.Errorf("read video %s: %w", video, err)
	}
	events, err := log.Last(ctx, UploadedSubject(project, video), HeldSubject(project, video),
		DeletedSubject(project, video))
	if err != nil {
		return o, fmt.Errorf("read video %s: %w", video, err)
	}
	return ownEvents{events[0], events[1], events[2], last}, nil
}

// fenced is a video's log as it is read for a decision, and its fence: the sequence of the last event of the
// video itself that the reader cannot have missed. It is read before all else, unless log is a snapshot.
func fenced(ctx context.Context, from Log, project, video string) (log lastReader, fence uint64, err error) {
	if log, err = snapshot(ctx, from, project, video); err != nil {
		return nil, 0, err
	}
	if all, ok := log.(stateOf); ok {
		for _, e := range all {
			if strings.HasPrefix(e.Subject, "video.") {
				fence = max(fence, e.Sequence)
			}
		}
		return log, fence, nil
	}
	if r, ok := from.(FenceReader); ok {
		fence, err = r.LastOwn(ctx, project, video)
	}
	return log, fence, err
}

// writeOwn appends the event that next makes of the events of a video itself, if none of them is newer by
// then: otherwise it reads them again. It appends nothing if next returns an event that is in the log.
func writeOwn(ctx context.Context, log Log, project, video string, next func(ownEvents) (Event, error)) (
	Event, error,
) {
	for range maxConflicts {
		o, err := readOwn(ctx, log, project, video)
		if err != nil {
			return Event{}, err
		}
		if o.uploaded.Sequence == 0 || o.deleted.Sequence != 0 {
			return Event{}, ErrNotFound
		}
		e, err := next(o)
		if err != nil || e.Sequence != 0 {
			return e, err
		}
		e, err = appendFenced(ctx, log, e, o.last, o.held.Sequence)
		if !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return Event{}, ErrConflict
}

// appendFenced appends e if no event of the video itself is newer than fence, which includes that the last
// event of e's subject is after. A log that is no FenceReader, as those of some tests, gives no fence: then
// only the subject is compared.
func appendFenced(ctx context.Context, log Log, e Event, fence, after uint64) (Event, error) {
	e.Fence = fence
	return Append(ctx, log, e, after)
}
