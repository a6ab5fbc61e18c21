package quota_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/quota"
	"github.com/reelmill/reelmill/storage/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = "shop"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a real broker with two processes, each with a read model of its own.
type rig struct {
	t       *testing.T
	limits  access.Limits
	now     time.Time
	log     *bus.Bus
	models  []*catalog.Catalog
	keepers []*quota.Keeper
}

func newRig(t *testing.T, limits access.Limits) *rig {
	s := bustest.Start(t, &server.Options{JetStream: true})
	r := &rig{t: t, limits: limits, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	for i := range 2 {
		conn, err := nats.Connect(s.ClientURL())
		must(t, err)
		t.Cleanup(conn.Close)
		b, err := bus.Open(pipelinetest.Context(t), conn, bus.Config{})
		must(t, err)
		model, err := catalog.Open(t.Context(), filepath.Join(t.TempDir(), fmt.Sprint(i, ".db")))
		must(t, err)
		t.Cleanup(func() { must(t, model.Close()) })
		r.log, r.models = b, append(r.models, model)
		r.keepers = append(r.keepers, &quota.Keeper{
			Limits: func(context.Context, string) (access.Limits, error) { return r.limits, nil },
			Counts: model, Notes: b, Log: b, Now: func() time.Time { return r.now },
		})
	}
	return r
}

// tell appends an event of a video at the time of the rig, and lets both read models have it.
func (r *rig) tell(kind pipeline.EventType, subject, video string, data any) pipeline.Event {
	r.t.Helper()
	e, err := pipeline.NewEvent("test", kind, subject, video, pipeline.Event{}, data)
	must(r.t, err)
	e.Time = r.now
	e, err = pipeline.Append(r.t.Context(), r.log, e, 0)
	must(r.t, err)
	for _, m := range r.models {
		must(r.t, m.Apply(r.t.Context(), []pipeline.Event{e}))
	}
	return e
}

func (r *rig) uploaded(video string, size int64) pipeline.Event {
	r.t.Helper()
	return r.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, video), video,
		pipeline.Upload{Source: pipeline.Object{Size: size}})
}

func (r *rig) inspected(video string, minutes float64) pipeline.Event {
	r.t.Helper()
	return r.tell(pipeline.VideoInspected, pipeline.InspectedSubject(project, video), video, pipeline.Inspected{
		Inspection: pipeline.Inspection{
			Verdict: pipeline.VerdictAccept, Media: &pipeline.Media{Duration: 60 * minutes},
		},
	})
}

// told returns the last event of a quota, and how many there are.
func (r *rig) told(q access.Quota) (last pipeline.EventType, count int) {
	r.t.Helper()
	subject := pipeline.AccessSubject(project, "quota-"+string(q))
	ctx, cancel := context.WithCancel(pipelinetest.Context(r.t))
	defer cancel()
	must(r.t, r.log.Tail(ctx, pipeline.AccessSubjects, func(e pipeline.Event) error {
		if e.Subject == subject {
			last, count = e.Type, count+1
		}
		return nil
	}, func(time.Time) { cancel() }))
	return last, count
}

// TestTwoUploadsDoNotPassAQuotaThatFitsOne: of many uploads at once, in two processes, as many begin as the
// bytes of the day suffice for. Each threshold is told once.
func TestTwoUploadsDoNotPassAQuotaThatFitsOne(t *testing.T) {
	r := newRig(t, access.Limits{UploadBytesPerDay: 1000})
	r.uploaded("vid_0", 150) // before the project had a quota, so nothing of it is reserved
	var group sync.WaitGroup
	results := make(chan error, 24)
	for i := range cap(results) {
		group.Go(func() {
			_, err := r.keepers[i%2].Reserve(t.Context(), project, 100, 100)
			results <- err
		})
	}
	group.Wait()
	close(results)
	passed := 0
	for err := range results {
		refused, ok := errors.AsType[*quota.Exceeded](err)
		switch {
		case err == nil:
			passed++
		case !ok || refused.Asked != 100 || refused.Limit != 1000 ||
			!strings.Contains(err.Error(), "it renews at 2026-11-29 00:00:00 UTC"):
			t.Errorf("refused with %v", err)
		}
	}
	if passed != 8 {
		t.Errorf("%d uploads of 100 bytes began; 850 bytes were left", passed)
	}
	if last, n := r.told(access.UploadBytes); last != pipeline.QuotaExceeded || n > 2 { // there may be no warning before
		t.Errorf("%d events, the last one %s; want quota.exceeded once, after one warning at most", n, last)
	}
	r.now = r.now.AddDate(0, 0, 1)
	if _, err := r.keepers[0].Reserve(t.Context(), project, 1000, 1000); err != nil {
		t.Errorf("on the next day: %v", err)
	}
}

// TestRelease: what did not arrive can be uploaded by others on the same day.
func TestRelease(t *testing.T) {
	r := newRig(t, access.Limits{UploadBytesPerDay: 1000})
	k := r.keepers[0]
	p, err := k.Reserve(t.Context(), project, 1, 4000)
	must(t, err)
	if p.Bytes != 1000 || p.Day != "2026-11-28" {
		t.Fatalf("%+v", p)
	}
	k.Release(t.Context(), project, p, 600)
	if _, err := r.keepers[1].Reserve(t.Context(), project, 601, 601); err == nil {
		t.Error("more than what was given back can be uploaded")
	}
	_, err = r.keepers[1].Reserve(t.Context(), project, 600, 600)
	must(t, err)
	r.now = r.now.AddDate(0, 0, 1)
	again, err := k.Reserve(t.Context(), project, 1000, 1000)
	must(t, err)
	k.Release(t.Context(), project, p, 400) // of yesterday
	if _, err := k.Reserve(t.Context(), project, 1, 1); err == nil {
		t.Errorf("a part of yesterday was given back today: %+v", again)
	}
	r.limits = access.Limits{}
	if p, err := k.Reserve(t.Context(), project, 5, 7); err != nil || p.Bytes != 7 || p.Day != "" {
		t.Errorf("without a quota: %+v, %v", p, err)
	}
}

// TestLengthsAreJudgedInTheOrderOfTheLog: of two videos that would pass a quota together, the one that was
// inspected later is refused, by every process and at any time.
func TestLengthsAreJudgedInTheOrderOfTheLog(t *testing.T) {
	for q, limits := range map[access.Quota]access.Limits{
		access.Stored: {MinutesStored: 10}, access.Encoded: {MinutesEncodedPerMonth: 10},
	} {
		r := newRig(t, limits)
		for _, video := range []string{"vid_1", "vid_2", "vid_3"} {
			r.uploaded(video, 1)
		}
		first, second, third := r.inspected("vid_1", 6), r.inspected("vid_2", 6), r.inspected("vid_3", 4)
		judge := func(who int, e pipeline.Event) *pipeline.Problem {
			t.Helper()
			p, err := r.keepers[who].Judge(t.Context(), project, e)
			must(t, err)
			return p
		}
		for who := range r.keepers {
			if p := judge(who, first); p != nil {
				t.Errorf("%s: the first one: %+v", q, p)
			}
			p := judge(who, second)
			if p == nil || p.Code != pipeline.CodeQuotaExceeded || !strings.Contains(p.Detail, "12 of 10 minutes of "+string(q)) {
				t.Errorf("%s: the second one: %+v", q, p)
			}
		}
		r.tell(pipeline.VideoErrored, pipeline.FinishedSubject(project, "vid_2"), "vid_2", pipeline.Finish{
			State: pipeline.StateVideoErrored, Problem: judge(0, second),
		})
		if p := judge(1, third); p != nil {
			t.Errorf("%s: the third one, which fits once the second is refused: %+v", q, p)
		}
		if err := r.keepers[0].Admit(t.Context(), project); err == nil {
			t.Errorf("%s: another upload is admitted, and nothing is left", q)
		}
		if last, n := r.told(q); last != pipeline.QuotaExceeded || n > 2 {
			t.Errorf("%s: %d events, the last one %s", q, n, last)
		}
		r.tell(pipeline.VideoDeleted, pipeline.DeletedSubject(project, "vid_1"), "vid_1", struct{}{})
		if err := r.keepers[0].Admit(t.Context(), project); (err == nil) != (q == access.Stored) {
			t.Errorf("%s: after a deletion: %v", q, err)
		}
	}
}

// TestAFetchedSourceIsJudged: its size is known once it is there.
func TestAFetchedSourceIsJudged(t *testing.T) {
	r := newRig(t, access.Limits{UploadBytesPerDay: 100})
	r.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, "vid_1"), "vid_1",
		pipeline.Upload{Fetch: &pipeline.Fetch{URL: "https://media.example/a.mp4"}})
	e := r.tell(pipeline.JobCompleted, pipeline.JobSubject(project, "vid_1", "fetch"), "vid_1", pipeline.JobEvent{
		Job: "fetch", Step: "fetch", Worker: "fetch", Result: &pipeline.Result{Source: &pipeline.Object{Size: 101}},
	})
	p, err := r.keepers[0].Judge(t.Context(), project, e)
	must(t, err)
	if p == nil || p.Code != pipeline.CodeQuotaExceeded {
		t.Errorf("%+v", p)
	}
	r.limits.UploadBytesPerDay = 101
	if p, err := r.keepers[0].Judge(t.Context(), project, e); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	all, err := r.keepers[1].Standings(t.Context(), project)
	must(t, err)
	if len(all) != 1 || all[0].Used != 101 || all[0].Percent != 100 || all[0].Period != "2026-11-28" {
		t.Errorf("%+v", all)
	}
}
