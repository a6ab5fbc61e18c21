package all

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// FuzzParams: whatever parameters a pipeline or an upload gives a worker, they are refused with the code for that, or
// the worker plans the same jobs each time: of distinct names, and no more than the length of the video explains.
func FuzzParams(f *testing.F) {
	registry, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	types := registry.Types()
	for i := range types {
		for _, params := range []string{
			`{}`, `null`, `[]`, `{"ladder":[16,2160,16],"mp4":["highest","0720p"],"quality":"plus","copy":"never"}`,
			`{"ladder":[1e3]}`, `{"ladder":[-9223372036854775808]}`, `{"mp4":["+720p"]}`, `{"languages":["../x"]}`,
			`{"text":"a","opacity":1e400}`, `{"text":"\u202e","image":"a"}`, `{"image":"..","padding":0.5}`,
			`{"position":"top","scale":0.01}`, `{"at":[0,1e308]}`, `{"url":"http://user:x@host/"}`, `{"a":1,"a":2}`,
			`{"Text":"a"}`,
		} {
			f.Add(byte(i), []byte(params))
		}
	}
	media := pipeline.Media{
		Container: "mov", Duration: 95, Bitrate: 1 << 20, Size: 12 << 20,
		Video: pipeline.VideoTrack{
			ID: 1, Codec: "h264", Profile: "High", PixelFormat: "yuv420p", BitDepth: 8, CodedWidth: 1280, CodedHeight: 720,
			Width: 1280, Height: 720, SampleRatio: 1, FrameRateNum: 25, FrameRateDen: 1, Level: 31, End: 95,
		},
		Audio: []pipeline.AudioTrack{{Stream: 1, ID: 2, Codec: "aac", Channels: 2, SampleRate: 48000, Duration: 95}},
	}
	f.Fuzz(func(t *testing.T, which byte, params []byte) {
		worker := types[int(which)%len(types)].Name
		var jobs []pipeline.Job
		var err error
		used := pipelinetest.Allocated(func() { jobs, err = registry.Plan(worker, params, media) })
		if used > 16<<20+uint64(200*len(params)) {
			t.Fatalf("%s: %d bytes of memory for %q", worker, used, params)
		}
		if unfit := registry.Check(worker, params); unfit != nil && err == nil {
			t.Fatalf("%s plans with %q: %v", worker, params, unfit)
		}
		if err != nil {
			if code := pipeline.ProblemOf(err).Code; code != pipeline.CodeParameters {
				t.Errorf("%s: %q is refused with %s: %v", worker, params, code, err)
			}
			return
		}
		checkPlan(t, worker, jobs)
		again, err := registry.Plan(worker, params, media)
		if first, second := encoded(t, jobs), encoded(t, again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s: %q gives %s, then %s, %v", worker, params, first, second, err)
		}
	})
}

func checkPlan(t *testing.T, worker string, jobs []pipeline.Job) {
	t.Helper()
	seen := map[string]bool{}
	for _, j := range jobs {
		if seen[j.Name] || j.Name != "" && !pipeline.ValidName(worker+"-"+j.Name) {
			t.Errorf("%s plans a job %q, taken: %v", worker, j.Name, seen[j.Name])
		}
		seen[j.Name] = true
	}
	if len(jobs) > 500 {
		t.Errorf("%s plans %d jobs for 95 s", worker, len(jobs))
	}
}

func encoded(t *testing.T, jobs []pipeline.Job) []byte {
	t.Helper()
	raw, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
