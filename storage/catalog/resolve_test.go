package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

func TestResolve(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	long := segments("vid_a", "12345/00007", 1000000)
	s.completed("p", "vid_a", "long", long)
	c := fresh(t, s.events...)
	segment := func(rung, number string) pipeline.Object {
		return pipeline.Object{
			Key:         "videos/vid_a/transcode-0000/5/" + rung + "/seg_" + number + ".m4s",
			ContentType: "video/iso.segment",
		}
	}
	m := manifest("vid_a")
	for path, want := range map[string]pipeline.Object{
		"master.m3u8": {
			Key: m.Key, Size: m.Size, SHA256: m.SHA256, ContentType: m.ContentType,
		},
		"720p/seg_00003.m4s":         segment("720p", "00003"), // the first
		"720p/seg_00014.m4s":         segment("720p", "00014"), // the last
		"12345/00007/seg_00099.m4s":  segment("12345/00007", "00099"),
		"12345/00007/seg_123456.m4s": segment("12345/00007", "123456"),
	} {
		got, err := c.Resolve(t.Context(), "vid_a", path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func TestResolveNamesNothingElse(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	s.job(pipeline.JobStarted, "p", "vid_a", "poster", nil)
	c := fresh(t, s.events...)
	for _, path := range []string{
		"", "/", ".", "..", "master.m3u8/", "/master.m3u8", "./master.m3u8", "x/../master.m3u8",
		"MASTER.M3U8", "../vid_a/master.m3u8", "master.m3u8\x00", "master.m3u8\n", "master%", "%",
		"_aster.m3u8", "' OR 1=1 --", "720p/seg_%05d.m4s", "720p/seg_00002.m4s", "720p/seg_00015.m4s",
		"720p/seg_3.m4s", "720p/seg_000003.m4s", "720p/seg_0003.m4s", "720p/seg_00003.ts",
		"720p/seg_-0003.m4s", "720p/seg_+0003.m4s", "1080p/seg_00003.m4s", "720p/seg_٠٠٠٠٣.m4s",
		"720p/seg_99999999999999999999.m4s", "\xff\xfe", strings.Repeat("00003/", 1<<12),
		"videos/vid_a/package/7/master.m3u8",
	} {
		if o, err := c.Resolve(t.Context(), "vid_a", path); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("%.60q: %+v, %v", path, o, err)
		}
	}
	for _, video := range []string{"", "vid_b", "vid_a'", "*"} {
		if _, err := c.Resolve(t.Context(), video, "master.m3u8"); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("video %q: %v", video, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Resolve(ctx, "vid_a", "master.m3u8"); !errors.Is(err, context.Canceled) {
		t.Errorf("an error was taken for absence: %v", err)
	}
}

func TestTheLaterOfTwoOutputsHasThePath(t *testing.T) {
	var s story
	s.ready("p", "vid_a")
	later := manifest("vid_a")
	later.Key = "videos/vid_a/repackage/12/master.m3u8"
	s.completed("p", "vid_a", "repackage", later)
	c := fresh(t, s.events...)
	if o := must(c.Resolve(t.Context(), "vid_a", "master.m3u8")); o.Key != later.Key {
		t.Errorf("got %s", o.Key)
	}
}

// part returns a run of segments of 720p that one job made.
func part(video, job string, first, count int) pipeline.Output {
	o := segments(video, "720p", count)
	o.Key = "videos/" + video + "/" + job + "/5/720p/seg_%05d.m4s"
	o.Segments.First = first
	return o
}

// TestResolveAmongRuns: each number leads to the job that made it, in whatever order the jobs completed.
func TestResolveAmongRuns(t *testing.T) {
	var s story
	s.uploaded("p", "vid_a")
	s.completed("p", "vid_a", "transcode-0002", part("vid_a", "transcode-0002", 5, 2))
	s.completed("p", "vid_a", "transcode-0000", part("vid_a", "transcode-0000", 0, 3))
	s.completed("p", "vid_a", "transcode-0003", part("vid_a", "transcode-0003", 9, 1))
	s.completed("p", "vid_a", "again", part("vid_a", "again", 2, 1)) // the first chunk has this segment, too
	c := fresh(t, s.events...)
	for number, job := range map[int]string{
		0: "transcode-0000", 1: "transcode-0000", 2: "again", 3: "", 4: "", 5: "transcode-0002",
		6: "transcode-0002", 7: "", 8: "", 9: "transcode-0003", 10: "",
	} {
		name := fmt.Sprintf("seg_%05d.m4s", number)
		o, err := c.Resolve(t.Context(), "vid_a", "720p/"+name)
		if want := "videos/vid_a/" + job + "/5/720p/" + name; job != "" && (err != nil || o.Key != want) {
			t.Errorf("%d: %q, %v; want %q", number, o.Key, err, want)
		}
		if job == "" && !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("%d, which is in no run: %+v, %v", number, o, err)
		}
	}
}

func TestPlayed(t *testing.T) {
	var s story
	s.uploaded("p", "vid_a")
	s.job(pipeline.JobStarted, "p", "vid_a", "transcode-0001", nil)
	second := part("vid_a", "transcode-0001", 3, 2)
	second.Segments.Durations, second.Segments.Header = []float64{6, 1.25}, "h"
	s.completed("p", "vid_a", "transcode-0001", second)
	first := part("vid_a", "transcode-0000", 0, 3)
	s.completed("p", "vid_a", "transcode-0000", first)
	c := fresh(t, s.events...)
	if v, outputs, err := c.Played(t.Context(), "vid_a"); v.Playable || outputs != nil || err != nil {
		t.Errorf("before it is playable: %+v, %v, %v", v, outputs, err)
	}
	s.tell(pipeline.VideoPlayable, pipeline.PlayableSubject("p", "vid_a"), "vid_a",
		pipeline.Playable{Path: "master.m3u8", Job: "transcode-0000"})
	apply(t, c, s.events...)
	v, outputs, err := c.Played(t.Context(), "vid_a")
	if !v.Playable || v.ID != "vid_a" || err != nil {
		t.Fatalf("%+v, %v", v, err)
	}
	if diff := cmp.Diff([]pipeline.Output{first, second}, outputs); diff != "" {
		t.Error(diff)
	}
	if _, _, err := c.Played(t.Context(), "vid_b"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("an unknown video: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Played(ctx, "vid_a"); !errors.Is(err, context.Canceled) {
		t.Errorf("an error was taken for absence: %v", err)
	}
}

func FuzzSegmentRuns(f *testing.F) {
	for _, path := range []string{
		"720p/seg_00012.m4s", "00000", "123456", "000001", "12345/00012/99999", "ä00001",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		runs := segmentRuns(path)
		if len(runs) > maxRuns {
			t.Fatalf("%d runs", len(runs))
		}
		for _, r := range runs {
			if fmt.Sprintf("%05d", r.number) != path[r.from:r.to] {
				t.Errorf("%q: %+v", path, r)
			}
			if r.from > 0 && isDigit(path[r.from-1]) || r.to < len(path) && isDigit(path[r.to]) {
				t.Errorf("%q: %+v is part of a longer run", path, r)
			}
		}
	})
}

// TestPlayback: the catalog knows whose a video is and who may play it, before and after changes.
func TestPlayback(t *testing.T) {
	c, err := Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"))
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	s := &story{}
	s.uploaded("shop", "vid_1")
	s.tell(pipeline.VideoUploaded, pipeline.UploadedSubject("default", "vid_2"), "vid_2",
		pipeline.Upload{PlaybackPolicy: pipeline.PlaybackSigned})
	must(t, c.Apply(t.Context(), s.events))
	want := func(video, project string, policy pipeline.PlaybackPolicy) {
		t.Helper()
		gotProject, got, err := c.Playback(t.Context(), video)
		if err != nil || gotProject != project || got != policy {
			t.Errorf("%s: %s, %s, %v; want %s, %s", video, gotProject, got, err, project, policy)
		}
	}
	want("vid_1", "shop", pipeline.PlaybackPublic)
	want("vid_2", "default", pipeline.PlaybackSigned)
	n := len(s.events)
	s.tell(pipeline.VideoChanged, pipeline.ChangedSubject("shop", "vid_1"), "vid_1", pipeline.Label{PlaybackPolicy: pipeline.PlaybackSigned})
	s.tell(pipeline.VideoChanged, pipeline.ChangedSubject("default", "vid_2"), "vid_2", pipeline.Label{Title: "of an earlier version"})
	must(t, c.Apply(t.Context(), s.events[n:]))
	want("vid_1", "shop", pipeline.PlaybackSigned)
	want("vid_2", "default", pipeline.PlaybackSigned)
	n = len(s.events)
	s.tell(pipeline.VideoChanged, pipeline.ChangedSubject("shop", "vid_1"), "vid_1", pipeline.Label{PlaybackPolicy: pipeline.PlaybackPublic})
	must(t, c.Apply(t.Context(), s.events[n:]))
	want("vid_1", "shop", pipeline.PlaybackPublic)
	if _, _, err := c.Playback(t.Context(), "vid_3"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("an unknown video: %v", err)
	}
}
