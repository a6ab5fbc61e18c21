package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Retention says for how many days after its end a project keeps a video. 0: for ever.
type Retention struct {
	SourceDays int `json:"source_days,omitempty" minimum:"0" maximum:"36500" doc:"Days after its end for which the source of a video is kept; 0: for ever"`
	VideoDays  int `json:"video_days,omitempty" minimum:"0" maximum:"36500" doc:"Days after its end for which a video is kept, with all that was made of it; 0: for ever"`
}

// maxDays is the longest time of a rule: a hundred years.
const maxDays = 36500

// Check returns an error for rules that are not allowed. It names the field.
func (r Retention) Check() error {
	for _, f := range []struct {
		name string
		days int
	}{{"source_days", r.SourceDays}, {"video_days", r.VideoDays}} {
		if f.days < 0 || f.days > maxDays {
			return fmt.Errorf("%s of retention is %d; it can be 0, for ever, to %d", f.name, f.days, maxDays)
		}
	}
	if r.SourceDays > 0 && r.VideoDays > 0 && r.SourceDays > r.VideoDays {
		return fmt.Errorf("source_days of retention is %d and video_days is %d; a source cannot be kept for "+
			"longer than its video", r.SourceDays, r.VideoDays)
	}
	return nil
}

// Day is the day of retention rules, unless a test shortens it.
const Day = 24 * time.Hour

// ExpiresAt returns when the rules delete a video that has ended; nil: never, or not as long as it is held or
// has not ended. day is Day.
func (r Retention) ExpiresAt(v *VideoView, day time.Duration) *time.Time {
	if r.VideoDays == 0 || v.Hold != nil || v.FinishedAt == nil || !v.Status.Terminal() {
		return nil
	}
	at := v.EndedAt().Add(time.Duration(r.VideoDays) * day)
	return &at
}

// EndedAt returns the time from which retention counts the age of a video: that of the event which ended it,
// or of its upload, if a clock that was set back says that this was later. The zero time: it has not ended.
func (v *VideoView) EndedAt() time.Time {
	if v.FinishedAt == nil || !v.Status.Terminal() {
		return time.Time{}
	}
	return later(*v.FinishedAt, v.CreatedAt)
}

// endedAt is VideoView.EndedAt of a fold.
func (v *Video) endedAt() time.Time { return later(v.Finished.Time, v.Uploaded.Time) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// ReasonRetention is the Reason of a Deletion by a rule.
const ReasonRetention = "retention"

// Deletion is the data of video.source_deleted, and of video.deleted: there it is empty if somebody asked for
// the deletion, who is the actor of the event.
type Deletion struct {
	Reason string `json:"reason,omitempty" enum:"retention"`
	// Rule is the field of Retention, and Days its value at that time.
	Rule    string     `json:"rule,omitempty" enum:"source_days,video_days"`
	Days    int        `json:"days,omitempty"`
	EndedAt *time.Time `json:"ended_at,omitempty"` // from which the days are counted
	AgeDays float64    `json:"age_days,omitempty"` // how long before the event that was
	// SourceBytes and OutputBytes are what the store gets back; SourceBytes is 0 if the source was deleted
	// before.
	SourceBytes int64 `json:"source_bytes,omitempty"`
	OutputBytes int64 `json:"output_bytes,omitempty"`
}

// ErrSourceGone says that retention has deleted the source of a video.
var ErrSourceGone = errors.New("its source was deleted by the retention of its project")

// CheckSource returns an error that is ErrSourceGone if the source of the video is deleted, or will be at
// once: then nothing may be begun that reads it. It returns nil as long as the source is there, and also
// before it is fetched. What begins something must then append an event with v.Last as its Fence, so that
// retention cannot be faster.
func (v *Video) CheckSource() error {
	if v.SourceDeleted.Sequence == 0 {
		return nil
	}
	return fmt.Errorf("the source of %s was deleted at %s: %w", v.ID, Clock(v.SourceDeleted.Time), ErrSourceGone)
}

// dropSource removes the bytes of a source after video.source_deleted, and then appends video.source_purged.
// The images that came with the upload go, too.
func (c *Coordinator) dropSource(ctx context.Context, v *Video) error {
	if v.SourceDeleted.Type != VideoSourceDeleted {
		return nil
	}
	prefixes := []string{SourceKey(v.ID, "")}
	if v.Upload.Fetch != nil {
		prefixes = append(prefixes, JobPrefix(v.ID, FetchStep))
	}
	for _, prefix := range prefixes {
		if err := c.Objects.DeletePrefix(ctx, prefix); err != nil {
			return err
		}
	}
	e, err := c.append(ctx, v, VideoSourcePurged, v.SourceDeleted.Subject, v.SourceDeleted, struct{}{},
		v.SourceDeleted.Sequence)
	if err == nil {
		v.SourceDeleted, v.Last = e, e.Sequence
	}
	return err
}

// refuseRequeued ends the jobs that were requeued while retention deleted the source.
func (c *Coordinator) refuseRequeued(ctx context.Context, v *Video, gone error) error {
	for _, f := range v.requeuedJobs() {
		problem := ProblemOf(Fail(CodeSourceGone, "%s", gone))
		problem.Job, problem.Step = f.Data.Job, f.Data.Step
		data := JobEvent{
			Job: f.Data.Job, Step: f.Data.Step, Worker: f.Data.Worker, Attempt: f.Data.Attempt,
			Generation: f.Data.Generation, Problem: problem,
		}
		_, err := c.append(ctx, v, JobErrored, f.Last.Subject, v.SourceDeleted, data, f.Last.Sequence)
		if err != nil {
			return err
		}
	}
	return nil
}

// requeuedJobs returns the folds of the jobs that were requeued after the end of the video, or of the
// addition that they belong to, and have not begun.
func (v *Video) requeuedJobs() (some []JobFold) {
	add := func(f JobFold, end Event) {
		if f.Last.Type == JobRequeued && f.Last.Sequence > end.Sequence {
			some = append(some, f)
		}
	}
	add(v.Fetch, v.Finished)
	add(v.Inspect, v.Finished)
	for _, j := range v.Plan {
		add(v.Jobs[j.Name], v.Finished)
	}
	for _, a := range v.Additions {
		for _, j := range a.Plan {
			add(v.Jobs[j.Name], a.Last)
		}
	}
	return some
}

// folds returns the folds of all jobs of the video, those of additions included, but not of those that tell
// of it, in the order of the plans.
func (v *Video) folds() []JobFold {
	all := []JobFold{v.Fetch, v.Inspect}
	for _, j := range v.Plan {
		all = append(all, v.Jobs[j.Name])
	}
	for _, a := range v.Additions {
		for _, j := range a.Plan {
			all = append(all, v.Jobs[j.Name])
		}
	}
	return all
}

// busy reports whether something is still done, or about to be done, with a video that has ended.
func (v *Video) busy() bool {
	adding := func(a AdditionFold) bool { return a.open() }
	running := func(f JobFold) bool { return f.State == StateJobProcessing || f.State == StateJobRetrying }
	return len(v.requeuedJobs()) > 0 || slices.ContainsFunc(v.Additions, adding) ||
		slices.ContainsFunc(v.folds(), running)
}

// outputBytes returns the size of all outputs of the completed jobs.
func (v *Video) outputBytes() (total int64) {
	for _, f := range v.folds() {
		if f.State != StateJobCompleted || f.Data.Result == nil {
			continue
		}
		for _, o := range f.Data.Result.Outputs {
			total += max(0, o.Size)
		}
	}
	return total
}

// sourceBytes returns the size of the source; 0 if there is none, or none any more.
func (v *Video) sourceBytes() int64 {
	if source, ok := v.source(); ok && v.SourceDeleted.Sequence == 0 {
		return source.Size
	}
	return 0
}

// due returns the deletion that rules demand of a video at a time; ok is false if they demand none, or the
// video has not ended, is held, or is being worked on. Of two that are due, all goes.
func (r Retention) due(v *Video, now time.Time, day time.Duration) (d Deletion, ok bool) {
	if v.Uploaded.Sequence == 0 || v.Deleted.Sequence != 0 || v.Finished.Sequence == 0 || v.Held() || v.busy() {
		return Deletion{}, false
	}
	ended := v.endedAt()
	age := now.Sub(ended)
	d = Deletion{
		Reason: ReasonRetention, EndedAt: &ended, AgeDays: math.Floor(1000*float64(age)/float64(day)) / 1000,
		SourceBytes: v.sourceBytes(),
	}
	switch {
	case r.VideoDays > 0 && age >= time.Duration(r.VideoDays)*day:
		d.Rule, d.Days, d.OutputBytes = "video_days", r.VideoDays, v.outputBytes()
	case r.SourceDays > 0 && age >= time.Duration(r.SourceDays)*day && d.SourceBytes > 0:
		d.Rule, d.Days = "source_days", r.SourceDays
	default:
		return Deletion{}, false
	}
	return d, true
}

// Held reports whether the video has a legal hold.
func (v *Video) Held() bool { return v.HeldBy.Type == VideoHeld }
