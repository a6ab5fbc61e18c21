package catalog

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

// usageOf returns the usage of a project, with that of the whole time.
func usageOf(ctx context.Context, c *Catalog, project string) pipeline.Usage {
	return must(c.Usage(ctx, project, time.Unix(0, 0), farFuture))
}

// TestUsageIsAFoldOfTheLog: whichever way the events come, again, in pieces, or without those of purged
// videos, the usage is that which the views and samples of the events add up to.
func TestUsageIsAFoldOfTheLog(t *testing.T) {
	ctx, c := context.Background(), fresh(t)
	rapid.Check(t, func(rt *rapid.T) {
		log := drawLog(rt)
		if err := c.reset(ctx); err != nil {
			rt.Fatal(err)
		}
		for at := 0; at < len(log); {
			to := min(len(log), at+rapid.IntRange(1, 20).Draw(rt, "batch"))
			if err := c.Apply(ctx, log[max(0, at-rapid.IntRange(0, 5).Draw(rt, "again")):to]); err != nil {
				rt.Fatal(err)
			}
			at = to
		}
		for _, p := range projects {
			if diff := cmp.Diff(usageByHand(ctx, c, log, p), usageOf(ctx, c, p)); diff != "" {
				rt.Fatalf("%s: %s", p, diff)
			}
		}
	})
}

// usageByHand adds up what the lists of the catalog and the events of the log say.
func usageByHand(ctx context.Context, c *Catalog, log []pipeline.Event, project string) pipeline.Usage {
	var u pipeline.Usage
	for _, v := range must(c.Videos(ctx, Query{Project: project, Limit: MaxLimit})).Data {
		u.Videos++
		if v.SourceDeletedAt == nil {
			u.SourceBytes += v.Size
		}
		kept := v.Playable || v.Status == pipeline.StateVideoReady || v.Status == pipeline.StateVideoProcessing
		if v.Media != nil && kept {
			u.StoredMS += 9970
		}
		for _, o := range must(c.Outputs(ctx, project, v.ID)) {
			u.OutputBytes += o.Size
		}
	}
	for id, samples := range samplesFromScratch(log) {
		if id[:len(project)] != project {
			continue
		}
		for _, s := range samples {
			switch s.Metric {
			case pipeline.MetricUploaded:
				u.Uploads++
				u.UploadedBytes += int64(s.Value)
			case pipeline.MetricEncoded:
				u.EncodedMS += int64(s.Value)
			}
		}
	}
	return u
}

// TestUsage: a video counts when it is uploaded, and again when its plan is made; what it stores ends with
// the video, and what it did stays.
func TestUsage(t *testing.T) {
	var s story
	s.ready("p", "vid_1")
	s.uploaded("p", "vid_2") // not inspected
	s.ready("q", "vid_3")
	c := fresh(t, s.events...)
	want := pipeline.Usage{Videos: 2, StoredMS: 9970, SourceBytes: 2 << 20, OutputBytes: 9999 + 321}
	want.Uploads, want.UploadedBytes, want.EncodedMS = 2, 2<<20, 9970
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(want, usageOf(t.Context(), c, "p")); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	check("at first")
	apply(t, c, s.events...)
	check("the same events again")
	s.job(pipeline.JobRequeued, "p", "vid_1", "package", nil)
	want.OutputBytes = 9999
	apply(t, c, s.events...)
	check("without the outputs of a job that is tried again")
	s.deleted("p", "vid_1")
	apply(t, c, s.events...)
	want.Videos, want.StoredMS, want.SourceBytes, want.OutputBytes = 1, 0, 1<<20, 0
	check("after a deletion")
	s.purged("p", "vid_1")
	apply(t, c, s.events...)
	check("after a purge")
	from := must(time.Parse(time.RFC3339Nano, epoch))
	if u := must(c.Usage(t.Context(), "p", from.Add(time.Hour), farFuture)); u.Uploads+int(u.EncodedMS) != 0 || u.Videos != 1 {
		t.Errorf("an hour later: %+v", u)
	}
}

// TestUsageUntil: of two videos that are inspected one after the other, the first one counts itself alone. A
// video that a quota refused counts for nothing.
func TestUsageUntil(t *testing.T) {
	var s story
	inspected := map[string]uint64{}
	for _, video := range []string{"vid_1", "vid_2", "vid_3"} {
		s.uploaded("p", video)
		s.inspected("p", video)
		inspected[video] = uint64(len(s.events))
	}
	c := fresh(t, s.events...)
	until := func(video string) [2]int64 {
		t.Helper()
		u := must(c.UsageUntil(t.Context(), "p", time.Unix(0, 0), farFuture, inspected[video]))
		return [2]int64{u.StoredMS, u.EncodedMS}
	}
	for i, video := range []string{"vid_1", "vid_2", "vid_3"} {
		if n := int64(9970 * (i + 1)); until(video) != [2]int64{n, n} {
			t.Errorf("%s: %v", video, until(video))
		}
	}
	s.finished("p", "vid_2", pipeline.Finish{
		State: pipeline.StateVideoErrored, Problem: pipeline.ProblemOf(pipeline.Fail(pipeline.CodeQuotaExceeded, "full")),
	})
	apply(t, c, s.events...)
	if got := until("vid_3"); got != [2]int64{2 * 9970, 2 * 9970} {
		t.Errorf("after the second was refused: %v", got)
	}
}

// TestUsageOfACatalogOfOld: the migration counts what is there as a rebuild does.
func TestUsageOfACatalogOfOld(t *testing.T) {
	var s story
	s.ready("p", "vid_1")
	s.uploaded("p", "vid_2")
	s.finished("p", "vid_2", pipeline.Finish{State: pipeline.StateVideoCanceled})
	s.inspected("p", "vid_2") // in a race with the cancellation: its plan never runs
	s.tell(pipeline.VideoUploaded, pipeline.UploadedSubject("q", "vid_3"), "vid_3",
		pipeline.Upload{Fetch: &pipeline.Fetch{URL: "https://x.example/a.mp4"}, Pipeline: pipeline.Default()})
	s.events[len(s.events)-1].Time = must(time.Parse(time.RFC3339, "2026-03-01T12:00:00Z"))
	s.job(pipeline.JobCompleted, "q", "vid_3", "fetch", func(e *pipeline.JobEvent) {
		e.Result = &pipeline.Result{Source: &pipeline.Object{Size: 77}}
	})
	s.events[len(s.events)-1].Time = must(time.Parse(time.RFC3339Nano, "2026-03-01T12:00:00.25Z"))
	s.inspected("q", "vid_3")
	checkMigration(t, 9, s.events...)
}
