package packager

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made returns the result of a job that made a rendition of one segment, with an index in the store. The
// segment itself does not exist, since nobody reads it.
func made(t *testing.T, store *workertest.Store, dir string, o pipeline.Output) pipeline.Result {
	t.Helper()
	track := manifest.Track{
		Codecs: o.Codecs, Header: "h", Timescale: 48000, InitSize: 1,
		Segments: []manifest.Segment{{Duration: 1, Size: 5, Keys: []manifest.Key{{Size: 4, Duration: 1}}}},
	}
	data, err := manifest.EncodeIndex(manifest.Run{Rendition: dir, Track: track})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "index.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	index := manifest.IndexOutput(dir)
	index.Key = store.Add(t, "index-"+dir, file).Key
	o.Path, o.Key, o.Size = dir+"/"+manifest.SegmentName, dir, 5
	o.Segments = &pipeline.Segments{Count: 1, Durations: []float64{1}, Last: true, Header: "h"}
	head := pipeline.Output{Kind: pipeline.KindInit, Path: dir + "/" + manifest.InitName}
	return pipeline.Result{Outputs: []pipeline.Output{head, o, index}}
}

// TestWork packages renditions of any worker type: only the kinds of outputs matter.
func TestWork(t *testing.T) {
	store, r := workertest.NewStore(t), workertest.Registry("packager", Worker{})
	jobs, err := r.Plan("packager", nil, pipeline.Media{})
	if err != nil || len(jobs) != 1 || jobs[0].Priority != pipeline.High || len(jobs[0].Needs) != 2 {
		t.Fatalf("plan %+v, %v", jobs, err)
	}
	results := map[string]pipeline.Result{
		"film-0": made(t, store, "720p", pipeline.Output{
			Kind: pipeline.KindRendition, Width: 1280, Height: 720, FrameRate: 25, Codecs: "avc1.64001F",
		}),
		"hevc-0": made(t, store, "1080p-hevc", pipeline.Output{
			Kind: pipeline.KindRendition, Width: 1920, Height: 1080, FrameRate: 25, Codecs: "hvc1.1.6.L120.90",
		}),
		"sound": made(t, store, "audio-eng", pipeline.Output{
			Kind: pipeline.KindAudioRendition, Language: "eng", Channels: 2, Codecs: "mp4a.40.2",
		}),
	}
	job := jobs[0]
	job.Name, job.Worker, job.After = "packager", "packager", []string{"film-0", "hevc-0", "sound"}
	result := store.Work(t, r, pipeline.Task{Video: store.Video, Job: job}, results, nil)
	if n := len(result.Outputs); n != 7 || result.Outputs[n-1].Path != manifest.MasterName {
		t.Errorf("outputs %v", workertest.Paths(result))
	}
	text, err := os.ReadFile(store.Local(result.Outputs[len(result.Outputs)-1]))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`NAME="English"`, `URI="audio-eng/index.m3u8"`, "720p/index.m3u8", "1080p-hevc/index.m3u8", "hvc1.1.6"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the master lacks %s:\n%s", want, text)
		}
	}
}

// TestSeveralIndexes: a job may publish an index of each rendition that it makes.
func TestSeveralIndexes(t *testing.T) {
	store, r := workertest.NewStore(t), workertest.Registry("packager", Worker{})
	var all pipeline.Result
	job := pipeline.Job{Name: "packager", Worker: "packager", After: []string{"film-0"}}
	for _, dir := range []string{"360p", "480p", "720p", "1080p"} {
		all.Outputs = append(all.Outputs, made(t, store, dir, pipeline.Output{
			Kind: pipeline.KindRendition, Width: 1280, Height: 720, FrameRate: 25, Codecs: "avc1.64001F",
		}).Outputs...)
		job.Expects = append(job.Expects, dir)
	}
	results := map[string]pipeline.Result{"film-0": all}
	result := store.Work(t, r, pipeline.Task{Video: store.Video, Job: job}, results, nil)
	if n := len(result.Outputs); n != 2*len(job.Expects)+2 {
		t.Errorf("outputs %v", workertest.Paths(result))
	}
}

// TestMissingRenditions: what a job was to make and did not publish is no part of a video that is ready.
func TestMissingRenditions(t *testing.T) {
	store, r := workertest.NewStore(t), workertest.Registry("packager", Worker{})
	results := map[string]pipeline.Result{"film-0": made(t, store, "720p", pipeline.Output{
		Kind: pipeline.KindRendition, Width: 1280, Height: 720, FrameRate: 25, Codecs: "avc1.64001F",
	})}
	for _, c := range []struct{ expects, missing []string }{
		{nil, nil}, // plans of earlier versions
		{[]string{"720p"}, nil},
		{[]string{"360p", "720p", "audio-eng"}, []string{"360p", "audio-eng"}},
	} {
		job := pipeline.Job{Name: "packager", Worker: "packager", After: []string{"film-0"}, Expects: c.expects}
		_, err := store.Try(t, t.Context(), r, pipeline.Task{Video: store.Video, Job: job}, results)
		p := pipeline.ProblemOf(err)
		if (p == nil) != (c.missing == nil) || p != nil && p.Code != pipeline.CodeVerification {
			t.Errorf("expects %v: %v", c.expects, err)
		}
		for _, dir := range c.missing {
			if p != nil && (!strings.Contains(p.Detail, dir) || strings.Contains(p.Detail, "720p")) {
				t.Errorf("expects %v: %s", c.expects, p.Detail)
			}
		}
	}
}

// TestOptionalJobFailed: what a failed optional job left of its rendition is not listed; what is required must
// be complete all the same.
func TestOptionalJobFailed(t *testing.T) {
	store, r := workertest.NewStore(t), workertest.Registry("packager", Worker{})
	film := func(dir string, last bool) pipeline.Result {
		result := made(t, store, dir, pipeline.Output{
			Kind: pipeline.KindRendition, Width: 1280, Height: 720, FrameRate: 25, Codecs: "avc1.64001F",
		})
		result.Outputs[1].Segments.Last = last
		return result
	}
	for _, c := range []struct {
		name           string
		results        map[string]pipeline.Result
		lists, missing string
	}{
		{"all completed", map[string]pipeline.Result{"film-0": film("720p", true), "hi-0": film("1080p", false), "hi-1": {}}, "", "1080p"},
		{"one failed", map[string]pipeline.Result{"film-0": film("720p", true), "hi-0": film("1080p", false)}, "720p", ""},
		{"the other failed", map[string]pipeline.Result{"film-0": film("720p", true), "hi-1": film("1080p", true)}, "720p", ""},
		{"nothing is left", map[string]pipeline.Result{"hi-0": film("1080p", false)}, "", "optional jobs failed: hi-1"},
		{"a required one is cut", map[string]pipeline.Result{"film-0": film("720p", false), "hi-1": {}}, "", "720p"},
	} {
		job := pipeline.Job{
			Name: "packager", Worker: "packager", After: []string{"film-0", "hi-0", "hi-1"},
			Tolerates: []string{"hi-0", "hi-1"}, Expects: []string{"720p"},
		}
		result, err := store.Try(t, t.Context(), r, pipeline.Task{Video: store.Video, Job: job}, c.results)
		if (err != nil) != (c.missing != "") || err != nil && !strings.Contains(err.Error(), c.missing) {
			t.Errorf("%s: %v", c.name, err)
		}
		if paths := strings.Join(workertest.Paths(result), " "); !strings.Contains(paths, c.lists) {
			t.Errorf("%s: %s", c.name, paths)
		}
	}
}

// TestNothingToPackage: the pipeline is at fault, and another attempt would not help.
func TestNothingToPackage(t *testing.T) {
	store, r := workertest.NewStore(t), workertest.Registry("packager", Worker{})
	task := pipeline.Task{Video: store.Video, Job: pipeline.Job{Name: "packager", Worker: "packager"}}
	_, err := store.Try(t, t.Context(), r, task, nil)
	if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeParameters || p.Retryable {
		t.Errorf("%v", err)
	}
	if kinds := (Worker{}).Traits().AddedFor; !slices.Contains([]pipeline.OutputKind{pipeline.KindRendition}, kinds) {
		t.Errorf("added for %s", kinds)
	}
}
