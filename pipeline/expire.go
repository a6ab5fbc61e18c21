package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// EndedVideo is a video that may be due for a rule, and its place among those of its project.
type EndedVideo struct {
	ID    string
	Ended int64 // VideoView.EndedAt, in microseconds since 1970
}

// EndedVideos knows which videos have ended.
type EndedVideos interface {
	// EndedVideos returns at most limit videos of a project that ended at until or before, oldest first, after
	// the place of after. It leaves out those that are held and, with sources, those without a source.
	EndedVideos(ctx context.Context, project string, until time.Time, sources bool, after EndedVideo, limit int,
	) ([]EndedVideo, error)
}

// Expirer is the part of the janitor that does what the rules of projects demand.
//
//  1. For each rule it asks the read model for the videos that ended long enough ago. That is a hint.
//  2. It folds each of them from the log, and judges the fold: the video has ended, has no hold, nothing is
//     done with it, and the event that ended it is old enough.
//  3. It appends the deletion, with the sequence of the last event of the video itself as its fence: if a
//     hold, a retry or anything else came meanwhile, the log refuses the deletion. A hold that comes later
//     finds the video, or its source, gone.
//  4. Bytes are removed because of the event, by the coordinator: of the source it appends
//     video.source_purged when that is done, of the whole video video.purged. If the process is killed
//     between the event and the removal, the event is delivered again, and the janitor finds what is left.
//
// So video.source_deleted and video.deleted say that nobody can use the thing any more, and the event after
// it that its bytes are gone; none says what is not so. What is due and was not deleted, since a process was
// killed before the event, is due at the next round.
//
// It deletes too late rather than too early: see check. Not guaranteed: that a clock which is wrong when the
// process starts, and by less than a day, or over a second start, is noticed; and that a process of an
// earlier version heeds a hold.
type Expirer struct {
	Log    Log
	Videos EndedVideos
	// Rules returns the rules of the projects that have some.
	Rules func(ctx context.Context) (map[string]Retention, error)
	// Newest returns the time of the newest event of the log; the zero time when it has none.
	Newest func(ctx context.Context) (time.Time, error)
	// Ran returns how long the process has run, by a clock that nobody sets.
	Ran func() time.Duration
	// Now is the clock; time.Now when nil. Jumped is that of Janitor.
	Now    func() time.Time
	Jumped func() time.Duration
	Day    time.Duration // Day when 0; tests shorten it
	Logger *slog.Logger  // nil: nothing is logged

	ahead   time.Duration // how far the clock was ahead of the newest event in the first round
	started bool
}

// ErrClock says that the clock may be wrong, so that nothing is deleted.
var ErrClock = errors.New("the clock may be wrong, so retention deletes nothing")

// How far the clock may be ahead of the newest event at the start, and behind it at any time. A clock that
// was ahead by more is believed once the process has run for trusted: a day in which people can notice the
// warning.
const (
	maxAhead  = 24 * time.Hour
	trusted   = 24 * time.Hour
	maxBehind = time.Minute
)

// expirePage is how many videos the read model is asked for at once, and maxFailures how many of them may
// fail before a round is given up: one video that cannot be read does not hold up the others.
const (
	expirePage  = 100
	maxFailures = 5
)

// Expire goes over all rules once and returns how many sources and videos it deleted. ErrClock: the clock may
// be wrong. It is for one goroutine.
func (x *Expirer) Expire(ctx context.Context) (sources, videos int, err error) {
	rules, err := x.Rules(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read the rules of retention: %w", err)
	}
	now, err := x.check(ctx)
	if err != nil || len(rules) == 0 {
		return 0, 0, err
	}
	for _, project := range slices.Sorted(maps.Keys(rules)) {
		r := rules[project]
		for _, rule := range []struct {
			days    int
			sources bool
		}{{r.VideoDays, false}, {r.SourceDays, true}} {
			if rule.days == 0 {
				continue
			}
			until := now.Add(-time.Duration(rule.days) * x.day())
			s, v, err := x.rule(ctx, project, r, now, until, rule.sources)
			sources, videos = sources+s, videos+v
			if err != nil {
				return sources, videos, err
			}
		}
	}
	return sources, videos, nil
}

// rule deletes what is due in a project of the videos that ended at until or before, and counts it.
// ofSources: only of those that have a source.
func (x *Expirer) rule(
	ctx context.Context, project string, r Retention, now, until time.Time, ofSources bool,
) (sources, videos int, err error) {
	var after EndedVideo
	var failed []error
	for {
		page, err := x.Videos.EndedVideos(ctx, project, until, ofSources, after, expirePage)
		if err != nil {
			return sources, videos, fmt.Errorf("list the ended videos of %s: %w", project, err)
		}
		for _, v := range page {
			deleted, err := x.expire(ctx, project, v.ID, r, now)
			if err != nil {
				failed = append(failed, fmt.Errorf("expire video %s: %w", v.ID, err))
			}
			if len(failed) >= maxFailures || ctx.Err() != nil {
				return sources, videos, errors.Join(failed...)
			}
			switch deleted {
			case VideoSourceDeleted:
				sources++
			case VideoDeleted:
				videos++
			}
			after = v
		}
		if len(page) < expirePage {
			return sources, videos, errors.Join(failed...)
		}
	}
}

// expire deletes a video or its source, if that is due, and returns the type of the event; empty: it was not.
func (x *Expirer) expire(ctx context.Context, project, video string, r Retention, now time.Time) (
	EventType, error,
) {
	v, err := Fold(ctx, x.Log, project, video)
	if err != nil {
		return "", err
	}
	d, due := r.due(v, now, x.day())
	if !due {
		return "", nil
	}
	kind, subject := VideoDeleted, DeletedSubject(project, video)
	if d.Rule == "source_days" {
		kind, subject = VideoSourceDeleted, SourceDeletedSubject(project, video)
	}
	e, err := NewEvent("janitor", kind, subject, video, v.Finished, d)
	if err != nil {
		return "", err
	}
	e, err = appendFenced(WithActor(ctx, ActorSystem), x.Log, e, v.Last, 0)
	if errors.Is(err, ErrConflict) {
		return "", nil // something has happened to the video; the next round looks at it again
	}
	if err != nil {
		return "", err
	}
	x.log().InfoContext(ctx, "retention", "event", string(kind), "project", project, "video", video,
		"rule", d.Rule, "days", d.Days, "age_days", d.AgeDays, "source_bytes", d.SourceBytes,
		"output_bytes", d.OutputBytes, "sequence", e.Sequence)
	return kind, nil
}

// check returns the time that ages are judged by: that of the clock, without what it was set forward since
// the process began. It returns ErrClock if the clock is behind the newest event; and for a day, if it was
// far ahead of that event when the process began. Then either nothing happened for that long, or the clock is
// wrong.
func (x *Expirer) check(ctx context.Context) (time.Time, error) {
	newest, err := x.Newest(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the time of the newest event: %w", err)
	}
	now := x.now()
	if x.Jumped != nil {
		now = now.Add(-x.Jumped())
	}
	if !x.started {
		x.started = true
		if !newest.IsZero() {
			x.ahead = now.Sub(newest)
		}
	}
	switch {
	case now.Before(newest.Add(-maxBehind)):
		return now, fmt.Errorf("%w: by the clock it is %s, and the newest event is of %s; set the clock, or, if "+
			"it is right, restart the server", ErrClock, Clock(now), Clock(newest))
	case x.ahead > maxAhead && x.Ran() < trusted:
		return now, fmt.Errorf("%w: it was %s ahead of the newest event when the server started; set the clock, "+
			"or wait until the server has run for a day", ErrClock, x.ahead.Round(time.Hour))
	}
	return now, nil
}

func (x *Expirer) now() time.Time {
	if x.Now == nil {
		return time.Now()
	}
	return x.Now()
}

func (x *Expirer) day() time.Duration {
	if x.Day == 0 {
		return Day
	}
	return x.Day
}

func (x *Expirer) log() *slog.Logger {
	if x.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return x.Logger
}
