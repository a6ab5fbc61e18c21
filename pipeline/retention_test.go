package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// kept is a world whose only video has ended, and a janitor that follows the rules of its project, by a clock
// that the test sets.
type kept struct {
	*world
	rules   pipeline.Retention
	expirer *pipeline.Expirer
	now     time.Time     // of the clock
	ran     time.Duration // of the process
	newest  time.Time     // of the newest event in the log
	looked  bool          // the first round is over
}

const day = 24 * time.Hour

// newKept returns one with a video that is ready, or errored if job b fails.
func newKept(t *testing.T, fails bool) *kept {
	t.Helper()
	p := planner{"a": {{}}, "b": {{}}}
	w := newWorld(t, p)
	w.accept(uploadOf(p.pipeline()))
	w.run("inspect", accepted())
	w.run("a", manifest("master.m3u8"))
	if fails {
		w.fail("b", pipeline.CodeEncodeFailed)
	} else {
		w.run("b", pipeline.Result{})
	}
	k := &kept{world: w, now: time.Now(), newest: time.Now()}
	k.expirer = &pipeline.Expirer{
		Log: w.log, Videos: k,
		Rules: func(context.Context) (map[string]pipeline.Retention, error) {
			return map[string]pipeline.Retention{project: k.rules}, nil
		},
		Newest: func(context.Context) (time.Time, error) { return k.newest, nil },
		Ran:    func() time.Duration { return k.ran },
		Now:    func() time.Time { return k.now },
	}
	return k
}

// EndedVideos always names the only video: what the read model says is a hint.
func (k *kept) EndedVideos(_ context.Context, _ string, _ time.Time, _ bool, after pipeline.EndedVideo, _ int,
) ([]pipeline.EndedVideo, error) {
	if after.ID != "" {
		return nil, nil
	}
	return []pipeline.EndedVideo{{ID: video, Ended: 1}}, nil
}

// expire lets the janitor go over the rules some days after the end, and lets the coordinator act.
func (k *kept) expire(t *testing.T, days float64) (sources, videos int) {
	t.Helper()
	end := k.log.last[pipeline.FinishedSubject(project, video)]
	if !k.looked { // the first round looks at the clock
		k.looked = true
		_, _, err := k.expirer.Expire(t.Context())
		must(t, err)
	}
	k.now = end.Time.Add(time.Duration(days * float64(day)))
	sources, videos, err := k.expirer.Expire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k.settle()
	return sources, videos
}

// TestRetentionByAge: neither rule deletes anything before its day, and each its own from then on. Ages count
// from the event that ended the video.
func TestRetentionByAge(t *testing.T) {
	for _, c := range []struct {
		rules           pipeline.Retention
		days            float64
		sources, videos int
	}{
		{pipeline.Retention{}, 40000, 0, 0},
		{pipeline.Retention{SourceDays: 7}, 6.99, 0, 0},
		{pipeline.Retention{SourceDays: 7}, 7, 1, 0},
		{pipeline.Retention{VideoDays: 30}, 29.99, 0, 0},
		{pipeline.Retention{VideoDays: 30}, 30, 0, 1},
		{pipeline.Retention{SourceDays: 7, VideoDays: 30}, 8, 1, 0},
		{pipeline.Retention{SourceDays: 7, VideoDays: 30}, 31, 0, 1}, // not the source first
	} {
		k := newKept(t, false)
		k.rules = c.rules
		if sources, videos := k.expire(t, c.days); sources != c.sources || videos != c.videos {
			t.Errorf("%+v after %v days: %d sources and %d videos", c.rules, c.days, sources, videos)
		}
	}
}

// TestRetentionOfASource: the event says by which rule, then the bytes go, then another event says so. What was
// made of the source stays, and nothing reads the source again.
func TestRetentionOfASource(t *testing.T) {
	k := newKept(t, true)
	k.rules = pipeline.Retention{SourceDays: 7}
	if sources, _ := k.expire(t, 7.5); sources != 1 {
		t.Fatal("nothing was deleted")
	}
	e := k.log.of(pipeline.VideoSourceDeleted)[0]
	var d pipeline.Deletion
	must(t, e.Decode(&d))
	end := k.log.last[pipeline.FinishedSubject(project, video)]
	if d.Reason != "retention" || d.Rule != "source_days" || d.Days != 7 || d.AgeDays != 7.5 || d.SourceBytes != 7 ||
		d.OutputBytes != 0 || !d.EndedAt.Equal(end.Time) || e.Actor != pipeline.ActorSystem || e.CausationID != end.ID {
		t.Errorf("the event is by %s, because of %s: %s", e.Actor, e.CausationID, e.Data)
	}
	if n := len(k.log.of(pipeline.VideoSourcePurged)); n != 1 {
		t.Errorf("%d events say that the bytes are gone", n)
	}
	if !slices.Equal(k.objects.deleted, []string{"videos/vid_01/source/"}) {
		t.Errorf("deleted %v", k.objects.deleted)
	}
	v, err := pipeline.Fold(t.Context(), k.log, project, video)
	must(t, err)
	if err := v.CheckSource(); !errors.Is(err, pipeline.ErrSourceGone) {
		t.Errorf("the fold says %v", err)
	}
	if _, err := pipeline.Retry(t.Context(), k.log, project, video); !errors.Is(err, pipeline.ErrSourceGone) {
		t.Errorf("retry: %v", err)
	}
	if _, err := pipeline.Redrive(t.Context(), k.log, project, video, "b"); !errors.Is(err, pipeline.ErrSourceGone) {
		t.Errorf("redrive: %v", err)
	}
	if sources, videos := k.expire(t, 9); sources+videos != 0 {
		t.Error("it was deleted again")
	}
}

// TestRetentionOfAFetchedSource: the source is an object of the job that fetched it.
func TestRetentionOfAFetchedSource(t *testing.T) {
	p := planner{"a": {{}}}
	up := uploadOf(p.pipeline())
	up.Source, up.Fetch = pipeline.Object{}, &pipeline.Fetch{URL: "https://example.com/a.mp4"}
	k := newKept(t, false)
	k.world = newWorld(t, p)
	k.expirer.Log = k.log
	k.accept(up)
	k.run("fetch", pipeline.Result{Source: &pipeline.Object{Key: "videos/vid_01/fetch/2/original.mp4", Size: 9}})
	k.run("inspect", accepted())
	k.run("a", pipeline.Result{})
	k.rules = pipeline.Retention{SourceDays: 1}
	k.expire(t, 1)
	if want := []string{"videos/vid_01/source/", "videos/vid_01/fetch/"}; !slices.Equal(k.objects.deleted, want) {
		t.Errorf("deleted %v, want %v", k.objects.deleted, want)
	}
}

// TestRetentionOfAVideo: the event that remains of the video says why it was deleted.
func TestRetentionOfAVideo(t *testing.T) {
	k := newKept(t, false)
	k.rules = pipeline.Retention{SourceDays: 7, VideoDays: 30}
	k.expire(t, 8)
	if _, videos := k.expire(t, 30.25); videos != 1 {
		t.Fatal("nothing was deleted")
	}
	left := k.log.events
	if len(left) != 2 || left[0].Type != pipeline.VideoDeleted || left[1].Type != pipeline.VideoPurged {
		t.Fatalf("left %v", left)
	}
	var d pipeline.Deletion
	must(t, left[0].Decode(&d))
	if d.Rule != "video_days" || d.Days != 30 || d.AgeDays != 30.25 || d.SourceBytes != 0 || d.OutputBytes != 1 ||
		left[0].Actor != pipeline.ActorSystem {
		t.Errorf("the event is by %s: %s", left[0].Actor, left[0].Data)
	}
}

// TestHeldVideosStay: nobody deletes a held video or its source, before the hold is removed.
func TestHeldVideosStay(t *testing.T) {
	k := newKept(t, false)
	k.rules = pipeline.Retention{SourceDays: 7, VideoDays: 30}
	ctx := pipeline.WithActor(t.Context(), "key:key_1")
	for range 2 { // again: no other event
		e, err := pipeline.SetHold(ctx, k.log, project, video, "case 7")
		must(t, err)
		if e.Actor != "key:key_1" {
			t.Errorf("by %s", e.Actor)
		}
	}
	if sources, videos := k.expire(t, 8); sources+videos != 0 {
		t.Error("the source of a held video was deleted")
	}
	if sources, videos := k.expire(t, 4000); sources+videos != 0 {
		t.Error("a held video was deleted")
	}
	if _, err := pipeline.Delete(ctx, k.log, project, video); !errors.Is(err, pipeline.ErrHeld) {
		t.Errorf("delete: %v", err)
	}
	if n := len(k.log.of(pipeline.VideoHeld)); n != 1 {
		t.Errorf("%d events of the hold", n)
	}
	for range 2 {
		_, err := pipeline.Release(ctx, k.log, project, video)
		must(t, err)
	}
	if n := len(k.log.of(pipeline.VideoReleased)); n != 1 {
		t.Errorf("%d events of the release", n)
	}
	if _, videos := k.expire(t, 4000); videos != 1 {
		t.Error("a video that was released is kept")
	}
	if _, err := pipeline.SetHold(ctx, k.log, project, video, ""); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("hold a deleted video: %v", err)
	}
}

// interposed is a log in which something happens just before an event of a type is appended.
type interposed struct {
	*memLog
	before pipeline.EventType
	do     func()
}

func (l *interposed) Append(ctx context.Context, e pipeline.Event, after uint64) (uint64, error) {
	if e.Type == l.before && l.do != nil {
		do := l.do
		l.do = nil
		do()
	}
	return l.memLog.Append(ctx, e, after)
}

// TestHoldAgainstRetention: whatever happens between the decision and the event, a hold that was answered wins,
// and one that comes too late gets told.
func TestHoldAgainstRetention(t *testing.T) {
	rules := map[pipeline.EventType]pipeline.Retention{
		pipeline.VideoSourceDeleted: {SourceDays: 1}, pipeline.VideoDeleted: {VideoDays: 1},
	}
	for kind, r := range rules {
		k := newKept(t, false)
		k.rules = r
		k.expirer.Log = &interposed{memLog: k.log, before: kind, do: func() {
			_, err := pipeline.SetHold(t.Context(), k.log, project, video, "")
			must(t, err)
		}}
		if sources, videos := k.expire(t, 2); sources+videos != 0 || len(k.log.of(kind)) != 0 {
			t.Errorf("%s was appended although the hold came first", kind)
		}
		if sources, videos := k.expire(t, 3); sources+videos != 0 {
			t.Errorf("%s in the next round", kind)
		}
	}
	k := newKept(t, false)
	k.rules = pipeline.Retention{VideoDays: 1}
	log := &interposed{memLog: k.log, before: pipeline.VideoHeld, do: func() { k.expire(t, 2) }}
	if _, err := pipeline.SetHold(t.Context(), log, project, video, ""); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a hold after the deletion: %v", err)
	}
	k = newKept(t, false)
	log = &interposed{memLog: k.log, before: pipeline.VideoDeleted, do: func() {
		_, err := pipeline.SetHold(t.Context(), k.log, project, video, "")
		must(t, err)
	}}
	if _, err := pipeline.Delete(t.Context(), log, project, video); !errors.Is(err, pipeline.ErrHeld) {
		t.Errorf("a deletion by hand at the moment of a hold: %v", err)
	}
}

// TestRetryAgainstRetention: a video that is reopened at the moment of the decision keeps its source. A job that
// is requeued just before the source is deleted ends, and says why.
func TestRetryAgainstRetention(t *testing.T) {
	k := newKept(t, true)
	k.rules = pipeline.Retention{SourceDays: 1}
	k.expirer.Log = &interposed{memLog: k.log, before: pipeline.VideoSourceDeleted, do: func() {
		_, err := pipeline.Retry(t.Context(), k.log, project, video)
		must(t, err)
	}}
	if sources, _ := k.expire(t, 2); sources != 0 {
		t.Error("the source of a video that is tried again was deleted")
	}

	k = newKept(t, true)
	k.rules = pipeline.Retention{SourceDays: 1}
	k.expirer.Log = &interposed{memLog: k.log, before: pipeline.VideoSourceDeleted, do: func() {
		_, err := pipeline.Redrive(t.Context(), k.log, project, video, "b") // the coordinator has not seen it
		must(t, err)
	}}
	k.expire(t, 2)
	last := k.log.last[pipeline.JobSubject(project, video, "b")]
	var data pipeline.JobEvent
	must(t, last.Decode(&data))
	if last.Type != pipeline.JobErrored || data.Problem.Code != pipeline.CodeSourceGone {
		t.Errorf("the job ended with %s %s", last.Type, last.Data)
	}
	if n := len(k.log.of(pipeline.VideoReopened)); n != 0 {
		t.Errorf("the video was reopened %d times without a source", n)
	}
	if names := k.tasks.names(); slices.Contains(names, "b") {
		t.Errorf("the queue has %v", names)
	}

	k = newKept(t, true)
	log := &interposed{memLog: k.log, before: pipeline.VideoReopened, do: func() {
		v, err := pipeline.Fold(t.Context(), k.log, project, video)
		must(t, err)
		e, err := pipeline.NewEvent("janitor", pipeline.VideoSourceDeleted,
			pipeline.SourceDeletedSubject(project, video), video, v.Finished, pipeline.Deletion{})
		must(t, err)
		_, err = k.log.Append(t.Context(), e, 0)
		must(t, err)
	}}
	if _, err := pipeline.Retry(t.Context(), log, project, video); !errors.Is(err, pipeline.ErrSourceGone) {
		t.Errorf("retry while the source was deleted: %v", err)
	}
}

// TestRetentionLeavesOpenVideosAlone: a video that has not ended, or one of whose jobs is tried again, stays.
func TestRetentionLeavesOpenVideosAlone(t *testing.T) {
	k := newKept(t, true)
	k.rules = pipeline.Retention{SourceDays: 1, VideoDays: 2}
	_, err := pipeline.Redrive(t.Context(), k.log, project, video, "b")
	must(t, err)
	for _, when := range []string{"a job is requeued", "the video is reopened"} {
		k.now = time.Now().Add(9 * day)
		if sources, videos, err := k.expirer.Expire(t.Context()); err != nil && !errors.Is(err, pipeline.ErrClock) ||
			sources+videos != 0 {
			t.Errorf("%s: %d, %d, %v", when, sources, videos, err)
		}
		k.newest = k.now
		k.settle()
	}
}

// TestRetentionKilledBeforeTheBytesAreGone: the process dies between the event and the removal. The next
// delivery of the event removes the bytes; and without it, the janitor does.
func TestRetentionKilledBeforeTheBytesAreGone(t *testing.T) {
	k := newKept(t, false)
	k.rules = pipeline.Retention{SourceDays: 1}
	_, _, err := k.expirer.Expire(t.Context())
	must(t, err)
	k.now = k.now.Add(2 * day)
	sources, _, err := k.expirer.Expire(t.Context())
	if err != nil || sources != 1 || len(k.objects.deleted) != 0 {
		t.Fatalf("%d, %v, deleted %v", sources, err, k.objects.deleted)
	}
	if n := len(k.log.of(pipeline.VideoSourcePurged)); n != 0 {
		t.Error("an event says that the bytes are gone")
	}
	store := shelf{
		"videos/vid_01/source/original.mp4": 2 * time.Hour, "videos/vid_01/unknown/3/x": 2 * time.Hour,
	}
	j := &pipeline.Janitor{Log: k.log, Owners: owners{}, Shelf: store}
	n, err := j.Clean(t.Context())
	if _, left := store["videos/vid_01/unknown/3/x"]; err != nil || n != 1 || !left {
		t.Errorf("the janitor deleted %d, %v; left %v", n, err, store)
	}
	k.settle()
	if len(k.objects.deleted) != 1 || len(k.log.of(pipeline.VideoSourcePurged)) != 1 {
		t.Errorf("after the restart: deleted %v", k.objects.deleted)
	}
}

// TestRetentionDoubtsTheClock: a clock that is behind the log, or was far ahead of it when the process began,
// deletes nothing; what it is set forward meanwhile does not count.
func TestRetentionDoubtsTheClock(t *testing.T) {
	expired := func(k *kept) string {
		sources, videos, err := k.expirer.Expire(t.Context())
		switch {
		case errors.Is(err, pipeline.ErrClock) && sources+videos == 0:
			return "doubt: " + err.Error()
		case err != nil:
			t.Fatal(err)
		}
		return strings.Repeat("s", sources) + strings.Repeat("v", videos)
	}
	start := func() *kept {
		k := newKept(t, false)
		k.rules = pipeline.Retention{VideoDays: 1}
		return k
	}
	k := start() // the process begins two days later, by a clock that may be wrong
	k.now = k.now.Add(2 * day)
	if got := expired(k); !strings.Contains(got, "48h0m0s ahead") {
		t.Errorf("far ahead: %q", got)
	}
	k.ran = day
	if got := expired(k); got != "v" {
		t.Errorf("a day later: %q", got)
	}

	k = start()
	expired(k)
	k.now = k.now.Add(2 * day)
	k.expirer.Jumped = func() time.Duration { return 2 * day }
	if got := expired(k); got != "" {
		t.Errorf("set forward while it ran: %q", got)
	}
	k.newest = k.now // an event that was written by the new time
	if got := expired(k); !strings.Contains(got, "restart the server") {
		t.Errorf("behind the log: %q", got)
	}

	k = start() // it was set back between the upload and the end
	subject := pipeline.FinishedSubject(project, video)
	end := k.log.last[subject]
	end.Time = end.Time.Add(-300 * day)
	k.log.last[subject] = end
	if got := expired(k); got != "" {
		t.Errorf("an end before the upload: %q", got)
	}
}

// TestRetentionRules: what is not allowed, and when a video expires.
func TestRetentionRules(t *testing.T) {
	for r, want := range map[pipeline.Retention]string{
		{}: "", {SourceDays: 5}: "", {VideoDays: 5}: "", {SourceDays: 5, VideoDays: 5}: "",
		{SourceDays: 6, VideoDays: 5}: "longer than its video", {SourceDays: -1}: "source_days",
		{VideoDays: 36501}: "video_days",
	} {
		if err := r.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	at := time.Now()
	v := pipeline.VideoView{Status: pipeline.StateVideoReady, FinishedAt: &at, CreatedAt: at.Add(-time.Hour)}
	r := pipeline.Retention{SourceDays: 1, VideoDays: 3}
	if e := r.ExpiresAt(&v, pipeline.Day); e == nil || !e.Equal(at.Add(3*day)) {
		t.Errorf("expires at %v", e)
	}
	v.Hold = &pipeline.Hold{}
	if e := r.ExpiresAt(&v, pipeline.Day); e != nil {
		t.Errorf("a held video expires at %v", e)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRetentionAndAdditions: an open addition keeps the source, one that is asked for at the moment of the decision
// too; and once the source is gone, nothing can be added, nor can an addition that failed be tried again.
func TestRetentionAndAdditions(t *testing.T) {
	start := func() *kept {
		k := newKept(t, false)
		k.world = readyWorld(t)
		k.expirer.Log = k.log
		k.rules = pipeline.Retention{SourceDays: 1}
		return k
	}
	k := start()
	k.mustExtend("add_1", encode("240p"))
	if sources, _ := k.expire(t, 2); sources != 0 {
		t.Error("an addition is open, and the source was deleted")
	}
	k.fail("added-1-encode-240p", pipeline.CodeEncodeFailed)
	if sources, _ := k.expire(t, 2); sources != 1 {
		t.Fatal("the addition has failed, and the source is kept")
	}
	if _, err := k.extend("add_2", encode("144p")); !errors.Is(err, pipeline.ErrSourceGone) {
		t.Errorf("add without a source: %v", err)
	}
	_, err := pipeline.Redrive(t.Context(), k.log, project, video, "added-1-encode-240p")
	if !errors.Is(err, pipeline.ErrSourceGone) {
		t.Errorf("try the addition again: %v", err)
	}

	k = start()
	k.expirer.Log = &interposed{memLog: k.log, before: pipeline.VideoSourceDeleted, do: func() {
		k.mustExtend("add_1", encode("240p"))
	}}
	if sources, _ := k.expire(t, 2); sources != 0 {
		t.Error("the source was deleted although an addition came first")
	}

	k = start()
	k.mustExtend("add_1", encode("240p"))
	k.fail("added-1-encode-240p", pipeline.CodeEncodeFailed)
	k.expirer.Log = &interposed{memLog: k.log, before: pipeline.VideoSourceDeleted, do: func() {
		_, err := pipeline.Redrive(t.Context(), k.log, project, video, "added-1-encode-240p")
		must(t, err)
	}}
	k.expire(t, 2)
	var data pipeline.JobEvent
	last := k.log.last[pipeline.JobSubject(project, video, "added-1-encode-240p")]
	must(t, last.Decode(&data))
	if data.Problem == nil || data.Problem.Code != pipeline.CodeSourceGone {
		t.Errorf("the job of the addition ended with %s %s", last.Type, last.Data)
	}
}
