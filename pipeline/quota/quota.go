package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// Counts adds up the log; catalog.Catalog is one.
type Counts interface {
	// Usage returns what a project has now, and what it did from from until before to.
	Usage(ctx context.Context, project string, from, to time.Time) (pipeline.Usage, error)
	// UsageUntil is Usage without what came after a sequence.
	UsageUntil(ctx context.Context, project string, from, to time.Time, sequence uint64) (pipeline.Usage, error)
	// WaitFor returns nil once the event of a sequence counts.
	WaitFor(ctx context.Context, sequence uint64) error
}

// Notes keeps a note for each project; bus.Bus is one.
type Notes interface {
	// QuotaNote returns the note of a project and its revision; 0: there is none.
	QuotaNote(ctx context.Context, project string) (note []byte, revision uint64, err error)
	// PutQuotaNote replaces the note, if it still has that revision; else it returns pipeline.ErrConflict.
	PutQuotaNote(ctx context.Context, project string, note []byte, revision uint64) error
}

// Keeper holds projects to their quotas. All fields but Known, Now and Logger are required.
type Keeper struct {
	// Limits returns the limits of a project; access.ErrStale if they cannot be known now.
	Limits func(ctx context.Context, project string) (access.Limits, error)
	// Known returns the limits of a project as far as this process has heard, at once.
	Known  func(project string) access.Limits
	Counts Counts
	Notes  Notes
	Log    pipeline.Log
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger gets what could not be told; nothing when nil.
	Logger *slog.Logger
}

// Exceeded is the error for what a quota refuses.
type Exceeded struct {
	access.Standing
	Asked int64 // bytes that were asked for; 0: of anything
}

// Error says which quota, how much is used, and when it renews.
func (e *Exceeded) Error() string {
	text := fmt.Sprintf("the project has used %.0f of %d %s of %s", e.Used, e.Limit, e.Quota.Unit(), e.Quota)
	if e.Asked > 0 {
		text += fmt.Sprintf(", and %d more are asked for", e.Asked)
	}
	if e.RenewsAt != nil {
		text += "; it renews at " + pipeline.Clock(*e.RenewsAt)
	}
	return text
}

func (k *Keeper) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

// minutes converts milliseconds, as quotas count them.
func minutes(ms int64) float64 { return float64(ms) / 60_000 }

// Standings returns how a project stands with each of its quotas.
func (k *Keeper) Standings(ctx context.Context, project string) ([]access.Standing, error) {
	limits, err := k.Limits(ctx, project)
	if err != nil {
		return nil, err
	}
	return k.standings(ctx, project, limits)
}

func (k *Keeper) standings(ctx context.Context, project string, limits access.Limits) (
	[]access.Standing, error,
) {
	all, now := []access.Standing{}, k.now()
	for _, q := range access.Quotas {
		if limits.Of(q) == 0 {
			continue
		}
		used, err := k.used(ctx, project, q, now)
		if err != nil {
			return nil, err
		}
		all = append(all, limits.Stand(q, used, now))
	}
	return all, nil
}

// used returns how much of a quota a project has used, with what is reserved.
func (k *Keeper) used(ctx context.Context, project string, q access.Quota, now time.Time) (float64, error) {
	u, err := k.Counts.Usage(ctx, project, q.Begins(now), endOfTime)
	if err != nil {
		return 0, err
	}
	switch q {
	case access.Stored:
		return minutes(u.StoredMS), nil
	case access.Encoded:
		return minutes(u.EncodedMS), nil
	}
	n, _, err := k.read(ctx, project, now)
	return float64(max(n.Bytes, u.UploadedBytes)), err
}

// endOfTime is later than every event.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Admit returns an *Exceeded if a project has used up one of its quotas.
func (k *Keeper) Admit(ctx context.Context, project string) error {
	limits, err := k.Limits(ctx, project)
	if err != nil || !limits.Any() {
		return err
	}
	all, err := k.standings(ctx, project, limits)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Used >= float64(s.Limit) {
			k.tell(ctx, project, s, true)
			return &Exceeded{Standing: s}
		}
	}
	return nil
}

// AdmitEncoding returns an *Exceeded if a project may not have so many more milliseconds encoded. Judge has
// the last word about what is asked for at the same time.
func (k *Keeper) AdmitEncoding(ctx context.Context, project string, ms int64) error {
	limits, err := k.Limits(ctx, project)
	if err != nil || limits.Of(access.Encoded) == 0 {
		return err
	}
	now := k.now()
	used, err := k.used(ctx, project, access.Encoded, now)
	if err != nil {
		return err
	}
	s := limits.Stand(access.Encoded, used, now)
	if used+minutes(ms) <= float64(s.Limit) {
		return nil
	}
	k.tell(ctx, project, s, true)
	return &Exceeded{Standing: s}
}

// Left returns how many bytes a project may still upload today; without a quota as many as a number can hold.
func (k *Keeper) Left(ctx context.Context, project string) (int64, error) {
	limits, err := k.Limits(ctx, project)
	if err != nil || limits.UploadBytesPerDay == 0 {
		return math.MaxInt64, err
	}
	used, err := k.used(ctx, project, access.UploadBytes, k.now())
	return max(0, limits.UploadBytesPerDay-int64(used)), err
}

// note is what is kept for a project: the bytes that were taken from those of a day.
type note struct {
	Day   string `json:"day"`
	Bytes int64  `json:"bytes"`
}

// read returns the note of today, and its revision.
func (k *Keeper) read(ctx context.Context, project string, now time.Time) (
	n note, revision uint64, err error,
) {
	today, _ := access.UploadBytes.Period(now)
	raw, revision, err := k.Notes.QuotaNote(ctx, project)
	if err != nil {
		return note{}, 0, err
	}
	if json.Unmarshal(raw, &n) != nil || n.Day != today {
		n = note{Day: today} // none, that of another day, or one that cannot be read: the read model counts on
	}
	return n, revision, nil
}

// Part is a part of the bytes of a day that was taken for an upload.
type Part struct {
	Day   string `json:"day"` // empty: the project has no such quota, or nothing was taken
	Bytes int64  `json:"bytes"`
}

// tries bounds how often a note is written again because another request was faster.
const tries = 50

// Reserve takes at least the bytes least for an upload from the day, and up to most while there are more.
// *Exceeded: there are fewer. Without a quota the Part has most bytes and no day.
func (k *Keeper) Reserve(ctx context.Context, project string, least, most int64) (Part, error) {
	limits, err := k.Limits(ctx, project)
	if err != nil || limits.UploadBytesPerDay == 0 {
		return Part{Bytes: most}, err
	}
	now := k.now()
	u, err := k.Counts.Usage(ctx, project, access.UploadBytes.Begins(now), endOfTime)
	if err != nil {
		return Part{}, err
	}
	for range tries {
		n, revision, err := k.read(ctx, project, now)
		if err != nil {
			return Part{}, err
		}
		used := max(n.Bytes, u.UploadedBytes)
		left := limits.UploadBytesPerDay - used
		if left < least {
			s := limits.Stand(access.UploadBytes, float64(used), now)
			k.tell(ctx, project, s, true)
			return Part{}, &Exceeded{s, least}
		}
		n.Bytes = used + min(left, most)
		err = k.write(ctx, project, n, revision)
		if err == nil {
			k.tell(ctx, project, limits.Stand(access.UploadBytes, float64(n.Bytes), now), false)
			return Part{n.Day, min(left, most)}, nil
		}
		if !errors.Is(err, pipeline.ErrConflict) {
			return Part{}, err
		}
	}
	return Part{}, fmt.Errorf("reserve %d bytes: too many uploads begin at once: %w", least,
		pipeline.ErrConflict)
}

func (k *Keeper) write(ctx context.Context, project string, n note, revision uint64) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return k.Notes.PutQuotaNote(ctx, project, raw, revision)
}

// Release gives bytes of a part back that were not uploaded. On another day it does nothing. An error is
// logged only: the bytes then stay taken until the end of the day.
func (k *Keeper) Release(ctx context.Context, project string, p Part, unused int64) {
	unused = min(unused, p.Bytes)
	if p.Day == "" || unused <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	err := pipeline.ErrConflict
	for range tries {
		if !errors.Is(err, pipeline.ErrConflict) {
			break
		}
		n, revision, failed := k.read(ctx, project, k.now())
		if failed == nil && n.Day != p.Day {
			return
		}
		if err = failed; err == nil {
			n.Bytes = max(0, n.Bytes-unused)
			err = k.write(ctx, project, n, revision)
		}
	}
	if err != nil {
		k.warn(ctx, "give back bytes of a quota that were not uploaded", project, err)
	}
}

// releaseTimeout bounds Release, which goes on when its client is gone.
const releaseTimeout = 10 * time.Second

// countTimeout bounds the wait for the read model.
const countTimeout = 10 * time.Second

// Judge implements pipeline.Quotas.
func (k *Keeper) Judge(ctx context.Context, project string, e pipeline.Event) (*pipeline.Problem, error) {
	limits, err := k.Limits(ctx, project)
	if err != nil || !limits.Any() {
		return nil, err
	}
	counted, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	if err := k.Counts.WaitFor(counted, e.Sequence); err != nil {
		return nil, fmt.Errorf("judge quotas: %w", err)
	}
	quotas := []access.Quota{access.UploadBytes}
	switch e.Type {
	case pipeline.VideoInspected:
		quotas = []access.Quota{access.Stored, access.Encoded}
	case pipeline.VideoOutputsRequested: // the video is stored already
		quotas = []access.Quota{access.Encoded}
	}
	for _, q := range quotas {
		if limits.Of(q) == 0 {
			continue
		}
		u, err := k.Counts.UsageUntil(ctx, project, q.Begins(e.Time), endOfTime, e.Sequence)
		if err != nil {
			return nil, err
		}
		used := map[access.Quota]float64{
			access.UploadBytes: float64(u.UploadedBytes), access.Stored: minutes(u.StoredMS),
			access.Encoded: minutes(u.EncodedMS),
		}[q]
		s := limits.Stand(q, used, e.Time)
		k.tell(ctx, project, s, used > float64(s.Limit))
		if used > float64(s.Limit) {
			return pipeline.ProblemOf(pipeline.Fail(pipeline.CodeQuotaExceeded, "%s", refusal(s))), nil
		}
	}
	return nil, nil
}

// refusal says why a video is refused, with which the project would have used so much.
func refusal(s access.Standing) string {
	used := math.Ceil(10*s.Used) / 10
	text := fmt.Sprintf("with this video the project would have used %v of %d %s of %s", used, s.Limit,
		s.Quota.Unit(), s.Quota)
	if s.RenewsAt != nil {
		text += "; it renews at " + pipeline.Clock(*s.RenewsAt)
	}
	return text
}

// tell writes an event if s is worth one. An error is logged only: the next use of the quota tells it.
func (k *Keeper) tell(ctx context.Context, project string, s access.Standing, exceeded bool) {
	ctx = pipeline.WithActor(ctx, pipeline.ActorSystem)
	if _, _, err := access.TellQuota(ctx, k.Log, project, s, exceeded); err != nil {
		k.warn(ctx, "write that a quota is nearly or wholly used", project, err)
	}
}

func (k *Keeper) warn(ctx context.Context, what, project string, err error) {
	if k.Logger != nil {
		k.Logger.WarnContext(ctx, what, "project", project, "error", err)
	}
}
