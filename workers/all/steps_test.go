package all

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers/workertest"
)

// TestStepsOfAnyName: packaging depends neither on the names of a pipeline's steps nor on their number.
func TestStepsOfAnyName(t *testing.T) {
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("320x180", "10", "2"), workertest.Tone("2"),
		[]string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-metadata:s:a:0", "language=fra"})...)
	video := pipeline.Step{Name: "film", Worker: "transcode", With: map[string]any{"mp4": []string{"highest"}}}
	for _, c := range pipelinetest.Sweep([]struct {
		name   string
		steps  []pipeline.Step
		sounds int      // in the master
		others []string // playlists there, of the later of two steps
	}{
		{"audio last", []pipeline.Step{video, {Name: "zound", Worker: "audio"}}, 1, nil},
		{"two of audio", []pipeline.Step{{Name: "sound", Worker: "audio"}, {Name: "other", Worker: "audio", With: map[string]any{"copy": false}}, video}, 2, []string{`URI="other/audio-fra/index.m3u8"`}},
		{"two of transcode", []pipeline.Step{video, {Name: "again", Worker: "transcode", With: map[string]any{"mp4": []string{"180p"}}}}, 0,
			[]string{"\nagain/180p/index.m3u8"}},
		{"renamed", []pipeline.Step{{Name: "sound", Worker: "audio"}, video}, 1, nil},
		{"another worker's step called audio", []pipeline.Step{{Name: "audio", Worker: "thumbnail"}, video, {Name: "sound", Worker: "audio"}}, 1, nil},
		{"none of audio", []pipeline.Step{video}, 0, nil},
	}, 3) {
		t.Run(c.name, func(t *testing.T) {
			r, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			store := workertest.NewStore(t)
			in := workertest.Inspect(t, r, store, source)
			doc := pipeline.Pipeline{Name: "named", Version: 1, Steps: c.steps}
			if err := doc.Validate(r); err != nil {
				t.Fatal(err)
			}
			results := workertest.Video(t, r, store, source, *in.Media, doc, nil)
			root := store.Tree(t, results)
			master, err := os.ReadFile(filepath.Join(root, "master.m3u8"))
			if err != nil {
				t.Fatal(err)
			}
			lines := append(c.others, "\n180p/index.m3u8")
			if c.sounds > 0 {
				lines = append(lines, `DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio-fra/index.m3u8"`)
			}
			for _, line := range lines {
				if !strings.Contains(string(master), line) {
					t.Errorf("the master lacks %s:\n%s", line, master)
				}
			}
			files, err := filepath.Glob(filepath.Join(root, "*", "180p.mp4")) // of the later of two steps
			if err != nil || (len(files) > 0) != (c.name == "two of transcode") {
				t.Errorf("%q, %v", files, err)
			}
			for _, file := range append(files, filepath.Join(root, "180p.mp4"), filepath.Join(root, "master.m3u8"),
				filepath.Join(root, "manifest.mpd")) {
				sounds := c.sounds
				if strings.HasSuffix(file, ".mp4") {
					sounds = min(1, sounds)
				}
				played := workertest.Clip(t, "played.mkv", "-xerror", "-i", file, "-c", "copy", "-map", "0")
				kinds := output(t, "ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", played)
				if got := strings.Count(kinds, "audio"); got != sounds {
					t.Errorf("%s has %d tracks of audio, want %d", filepath.Base(file), got, sounds)
				}
			}
		})
	}
}

// TestTwoStepsOfOneType: both have their outputs, the later one in its own folder.
func TestTwoStepsOfOneType(t *testing.T) {
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("320x180", "10", "2"),
		[]string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"})...)
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	store := workertest.NewStore(t)
	in := workertest.Inspect(t, r, store, source)
	doc := pipeline.Pipeline{Name: "twice", Version: 1, Steps: []pipeline.Step{
		{Worker: "thumbnail"}, {Worker: "watermark", With: map[string]any{"text": "one"}},
		{Name: "more", Worker: "thumbnail"}, {Name: "mark", Worker: "watermark", With: map[string]any{"text": "two"}},
	}}
	if err := doc.Validate(r); err != nil {
		t.Fatal(err)
	}
	maker := map[string]string{}
	for job, result := range workertest.Video(t, r, store, source, *in.Media, doc, nil) {
		for _, path := range workertest.Paths(result) {
			if maker[path] != "" {
				t.Errorf("%s and %s both have %s", maker[path], job, path)
			}
			maker[path] = job
		}
	}
	for path, job := range map[string]string{
		"thumbnail.jpg": "thumbnail-poster", "more/thumbnail.jpg": "more-poster",
		"watermarked.mp4": "watermark", "mark/watermarked.mp4": "mark",
	} {
		if maker[path] != job {
			t.Errorf("%s has %q, want that of %s", path, maker[path], job)
		}
	}
}

// TestStepsThatNeverWork: the server refuses to start with a pipeline that would fail with every video.
func TestStepsThatNeverWork(t *testing.T) {
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	film, list := pipeline.Step{Worker: "transcode"}, pipeline.Step{Worker: "packager"}
	for _, c := range []struct {
		fault string // in the error; empty: none
		steps []pipeline.Step
	}{
		{"", []pipeline.Step{list, film}},
		{"", []pipeline.Step{film, {Worker: "packager", After: []string{"transcode"}}, {Worker: "thumbnail", After: []string{"packager"}}}},
		{"only one step of packager", []pipeline.Step{film, list, {Name: "again", Worker: "packager"}}},
		{"no upload can request a step of packager", []pipeline.Step{film, {Worker: "packager", When: pipeline.WhenRequested}}},
		{"steps packager, transcode.", []pipeline.Step{list, {Worker: "transcode", After: []string{"packager"}}}},
		{"steps audio, packager.", []pipeline.Step{list, {Worker: "audio", After: []string{"packager"}}, film}},
		{"steps audio, film.", []pipeline.Step{
			{Name: "film", Worker: "transcode", With: map[string]any{"mp4": []string{"highest"}}}, {Worker: "audio", After: []string{"film"}},
			{Worker: "watermark", When: pipeline.WhenRequested},
		}},
	} {
		err := pipeline.Pipeline{Name: "p", Version: 1, Steps: c.steps}.Validate(r)
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%v, want %q", err, c.fault)
		}
	}
}

// TestPlanOfAnEarlierVersion: a frozen plan whose transcode step packages the video still completes.
func TestPlanOfAnEarlierVersion(t *testing.T) {
	source := workertest.Clip(t, "a.mkv", slices.Concat(workertest.Pattern("320x180", "10", "2"), workertest.Tone("2"),
		[]string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-metadata:s:a:0", "language=fra"})...)
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	store := workertest.NewStore(t)
	in := workertest.Inspect(t, r, store, source)
	doc := pipeline.Pipeline{Name: "old", Version: 1, Steps: []pipeline.Step{{Worker: "audio"}, {Worker: "transcode"}}}
	results := workertest.Video(t, r, store, source, *in.Media, doc, nil)
	delete(results, "packager")
	var old pipeline.Job
	if err := json.Unmarshal([]byte(`{"name":"transcode-package","step":"transcode","worker":"transcode","priority":"high",
		"params":{"quality":"basic"},"weight":1,"part":{"kind":"package","rungs":
		[{"name":"180p","size":{"width":320,"height":180},"rate":{"num":10,"den":1},"maxrate":400}],"encoded":"why"}}`), &old); err != nil {
		t.Fatal(err)
	}
	old.After = slices.Sorted(maps.Keys(results))
	task := pipeline.Task{Project: pipeline.DefaultProject, Video: store.Video, Media: in.Media, Job: old}
	task.Job.Part = bytes.ReplaceAll(old.Part, []byte("180p"), []byte("90p")) // a rung that nobody made
	if _, err := store.Try(t, t.Context(), r, task, results); err == nil || !strings.Contains(err.Error(), "missing renditions: 90p") {
		t.Error(err)
	}
	task.Job = old
	results[old.Name] = store.Work(t, r, task, results, nil)
	workertest.Clip(t, "played.mkv", "-xerror", "-i", filepath.Join(store.Tree(t, results), "master.m3u8"), "-c", "copy")
}
