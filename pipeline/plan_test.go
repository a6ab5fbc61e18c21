package pipeline_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

func TestValidate(t *testing.T) {
	p := planner{"a": {{}}, "b": {{}}}
	ok := pipeline.Step{Worker: "a"}
	for name, test := range map[string]struct {
		doc   pipeline.Pipeline
		fault string // in the error; empty: none
	}{
		"fine": {pipeline.Pipeline{Name: "p", Steps: []pipeline.Step{ok, {Worker: "b", After: []string{"a"}}}}, ""},
		"asked for only": {pipeline.Pipeline{Name: "p", Steps: []pipeline.Step{
			{Worker: "a", When: pipeline.WhenRequested, With: map[string]any{"bad": 1}}}}, ""},
		"asked for, of nobody": {steps(pipeline.Step{Worker: "zzz", When: pipeline.WhenRequested}), "zzz"},
		"numbered notify":      {steps(pipeline.Step{Name: "notify-1", Worker: "a"}), "reserved"},
		"no name":              {pipeline.Pipeline{Steps: []pipeline.Step{ok}}, "pipeline name"},
		"name of tokens":       {pipeline.Pipeline{Name: "a.b", Steps: []pipeline.Step{ok}}, "pipeline name"},
		"no steps":             {pipeline.Pipeline{Name: "p"}, "no steps"},
		"step's name":          {steps(ok, pipeline.Step{Name: "x y", Worker: "a"}), "step 2"},
		"no worker":            {steps(pipeline.Step{}), "step 1"},
		"twice":                {steps(ok, ok), `"a" is taken`},
		"inspect":              {steps(pipeline.Step{Name: "inspect", Worker: "a"}), "reserved"},
		"notify":               {steps(pipeline.Step{Name: "notify", Worker: "a"}), "reserved"},
		"source":               {steps(pipeline.Step{Name: "source", Worker: "a"}), "reserved"},
		"when":                 {steps(pipeline.Step{Worker: "a", When: "full moon"}), "full moon"},
		"after later": {steps(pipeline.Step{Worker: "a", After: []string{"b"}}, pipeline.Step{Worker: "b"}),
			`after "b"`},
		"after itself":   {steps(pipeline.Step{Worker: "a", After: []string{"a"}}), `after "a"`},
		"unknown worker": {steps(pipeline.Step{Worker: "zzz"}), "zzz"},
		"parameters": {steps(pipeline.Step{Worker: "a", With: map[string]any{"bad": 1}}),
			"bad is no parameter"},
		"not JSON": {steps(pipeline.Step{Worker: "a", With: map[string]any{"f": func() {}}}), "encode"},
	} {
		err := test.doc.Validate(requestable{p})
		if (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%s: %v, want %q", name, err, test.fault)
		}
	}
	doc := pipeline.Default()
	if err := doc.Validate(requestable{planner{"thumbnail": nil, "audio": nil, "transcode": nil,
		"watermark": nil}}); err != nil {
		t.Errorf("the default pipeline: %v", err)
	}
}

// requestable is a planner whose types an upload can request.
type requestable struct{ planner }

func (r requestable) Traits() map[string]pipeline.Traits {
	all := map[string]pipeline.Traits{}
	for worker := range r.planner {
		all[worker] = pipeline.Traits{Upload: &pipeline.UploadField{}}
	}
	return all
}

// TestValidateTraits: a pipeline is refused at start if its traits or its outputs make it fail with every
// video.
func TestValidateTraits(t *testing.T) {
	pieces, crumbs := []pipeline.OutputKind{"piece"}, []pipeline.OutputKind{"crumb"}
	p := gatherer{planner{
		"cut": {{Name: "0", Makes: pieces}, {Name: "file", Needs: crumbs}}, "grind": {{Makes: crumbs}},
		"other": {{}}, "gather": {{Needs: pieces}},
	}}
	cut, gather, grind := pipeline.Step{Worker: "cut"}, pipeline.Step{Worker: "gather"}, pipeline.Step{Worker: "grind"}
	after := func(s pipeline.Step, steps ...string) pipeline.Step { s.After = steps; return s }
	for name, c := range map[string]struct {
		doc    pipeline.Pipeline
		faults []string // in the error; none: there is no error
	}{
		"one":                                  {steps(cut, gather), nil},
		"first":                                {steps(gather, cut), nil},
		"added":                                {steps(cut), nil},
		"two":                                  {steps(cut, gather, pipeline.Step{Name: "more", Worker: "gather"}), []string{"step 3", "only one step of gather"}},
		"two of another type":                  {steps(cut, pipeline.Step{Name: "more", Worker: "cut"}), nil},
		"requested":                            {steps(cut, pipeline.Step{Worker: "gather", When: pipeline.WhenRequested}), []string{"step 2", "no upload can request", "leave out when"}},
		"requested, of a type without a field": {steps(pipeline.Step{Worker: "cut", When: pipeline.WhenRequested}), []string{"no upload can request"}},
		"before what it gathers":               {steps(gather, pipeline.Step{Worker: "other", After: []string{"gather"}}, after(cut, "gather")), []string{"steps cut, gather."}},
		"behind what it gathers":               {steps(cut, after(gather, "cut")), nil},
		"between two":                          {steps(cut, after(grind, "cut")), []string{"steps cut, grind."}},
		"a name that a job takes":              {steps(pipeline.Step{Worker: "cut"}, pipeline.Step{Name: "cut-0", Worker: "other"}), []string{"cut-0", "rename the step"}},
		"too long a name for its jobs":         {steps(pipeline.Step{Name: strings.Repeat("a", 63), Worker: "cut"}), []string{"rename the step"}},
		"in a ring":                            {steps(gather, after(grind, "gather"), after(pipeline.Step{Worker: "cut"}, "grind")), []string{"steps cut, gather, grind."}},
	} {
		err := c.doc.Validate(p)
		if (err == nil) != (c.faults == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, fault := range c.faults {
			if !strings.Contains(err.Error(), fault) {
				t.Errorf("%s: %v, want %q", name, err, fault)
			}
		}
	}
}

func steps(s ...pipeline.Step) pipeline.Pipeline {
	return pipeline.Pipeline{Name: "p", Version: 1, Steps: s}
}

// edges returns the `after` of each job by name.
func edges(plan []pipeline.Job) map[string][]string {
	m := map[string][]string{}
	for _, j := range plan {
		m[j.Name] = j.After
	}
	return m
}

func TestPlanEdges(t *testing.T) {
	p := planner{
		"transcode": {{Name: "0"}, {Name: "1"}, {Name: "file", After: []string{"0", "1", "0"},
			Needs: []pipeline.OutputKind{"sound", "subtitles"}}},
		"audio": {{Name: "0", Makes: []pipeline.OutputKind{"sound"}}, {Name: "1"}},
		"copy":  {{Name: "x"}},
		"none":  {},
	}
	plan, err := pipeline.NewPlan(steps(
		pipeline.Step{Name: "sound", Worker: "audio"}, pipeline.Step{Worker: "none"},
		pipeline.Step{Name: "video", Worker: "transcode"}, pipeline.Step{Name: "more", Worker: "audio"},
		pipeline.Step{Name: "audio", Worker: "copy"}, // its name makes no edge
		pipeline.Step{Worker: "copy", After: []string{"video", "none"}},
	), nil, pipeline.Media{}, p)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"sound-0": nil, "sound-1": nil, "more-0": nil, "more-1": nil, "audio-x": nil,
		"video-0": nil, "video-1": nil, "video-file": {"more-0", "sound-0", "video-0", "video-1"},
		"copy-x": {"video-0", "video-1", "video-file"},
	}
	if got := edges(plan); !reflect.DeepEqual(got, want) {
		t.Errorf("edges %v, want %v", got, want)
	}
}

func TestPlanFaults(t *testing.T) {
	for name, jobs := range map[string][]pipeline.Job{
		"twice":          {{Name: "0"}, {Name: "0"}},
		"invalid name":   {{Name: "a.b"}},
		"too long":       {{Name: strings.Repeat("x", 64)}},
		"itself by part": {{Name: "0", After: []string{"0"}}},
		"itself, single": {{After: []string{""}}},
		"its whole step": {{Name: "0"}, {Name: "1", After: []string{"x"}}},
		"each other":     {{Name: "0", After: []string{"1"}}, {Name: "1", After: []string{"0"}}},
		"a ring behind a job": {{Name: "a"}, {Name: "b", After: []string{"a", "d"}}, {Name: "c",
			After: []string{"b"}}, {Name: "d", After: []string{"c"}}},
	} {
		_, err := pipeline.NewPlan(steps(pipeline.Step{Worker: "x"}), nil, pipeline.Media{}, planner{"x": jobs})
		var e *pipeline.Error
		if !errors.As(err, &e) || e.Code != pipeline.CodeParameters {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := pipeline.NewPlan(steps(pipeline.Step{Worker: "gone"}), nil, pipeline.Media{}, planner{})
	if p := pipeline.ProblemOf(err); p == nil || p.Code != pipeline.CodeWorkerTypeUnknown {
		t.Errorf("unknown worker: %v", err)
	}
	// Nor can the worker make a step wait for a later one.
	_, err = pipeline.NewPlan(steps(pipeline.Step{Worker: "a"}, pipeline.Step{Worker: "b",
		After: []string{"a"}}), nil,
		pipeline.Media{}, planner{"a": {{After: []string{"b"}}}, "b": {{}}})
	if err == nil {
		t.Error("a plan in which two steps wait for each other is accepted")
	}
}

func TestPlanParameters(t *testing.T) {
	p := planner{"a": {{Name: "0", Timeout: 1, Retry: []pipeline.Seconds{9}, Optional: true}, {Name: "1"}},
		"w": {{}}}
	with := map[string]any{"height": 720, "crf": 23}
	doc := steps(
		pipeline.Step{Worker: "a", With: with},
		pipeline.Step{Name: "again", Worker: "a", Timeout: 7, Retry: []pipeline.Seconds{1, 2}, Optional: true},
		pipeline.Step{Worker: "w", When: pipeline.WhenRequested},
	)
	requested := map[string]map[string]any{"a": {"crf": 18}}
	plan, err := pipeline.NewPlan(doc, requested, pipeline.Media{}, p)
	if err != nil || len(plan) != 4 {
		t.Fatalf("%d jobs, %v: nobody asked for w", len(plan), err)
	}
	first, again := plan[0], plan[2]
	if string(first.Params) != `{"crf":18,"height":720}` || with["crf"] != 23 {
		t.Errorf("parameters %s; the document has %v", first.Params, with)
	}
	if first.Step != "a" || first.Worker != "a" || first.Timeout != 1 || len(first.Retry) != 1 ||
		!first.Optional {
		t.Errorf("the worker's own settings: %+v", first)
	}
	if again.Name != "again-0" || again.Worker != "a" || again.Timeout != 7 || len(again.Retry) != 2 ||
		!plan[3].Optional {
		t.Errorf("the step's settings do not override the worker's: %+v", again)
	}
	if string(again.Params) != "{}" || plan[1].Optional {
		t.Errorf("without parameters %s", again.Params)
	}
	requested["w"] = nil // asked for, without parameters
	asked, err := pipeline.NewPlan(doc, requested, pipeline.Media{}, p)
	if err != nil || len(asked) != 5 || asked[4].Name != "w" {
		t.Errorf("asked: %v, %v", edges(asked), err)
	}
	if p["a"][0].Name != "0" || !reflect.DeepEqual(asked[:4], plan) {
		t.Error("planning twice gives other jobs, or changes those of the planner")
	}
}

func TestStepOf(t *testing.T) {
	p := planner{"a": {}, "b": {}}
	doc := steps(
		pipeline.Step{Worker: "a"},
		pipeline.Step{Name: "first", Worker: "b", With: map[string]any{"x": 1}}, pipeline.Step{Name: "second", Worker: "b"},
	)
	if step, err := doc.StepOf("a", nil, p); step != "a" || err != nil {
		t.Errorf("a step without a name: %q, %v", step, err)
	}
	if step, err := doc.StepOf("b", map[string]any{"y": 1}, p); step != "first" || err != nil {
		t.Errorf("two steps of one worker: %q, %v", step, err)
	}
	if _, err := doc.StepOf("b", map[string]any{"bad": 1}, p); pipeline.ProblemOf(err).Code != pipeline.CodeParameters {
		t.Errorf("bad parameters: %v", err)
	}
	if _, err := doc.StepOf("c", nil, p); !errors.Is(err, pipeline.ErrNoStep) {
		t.Errorf("no step: %v", err)
	}
}

// seen is a planner that records the media that it plans for.
type seen struct {
	planner
	media *pipeline.Media
}

func (s seen) Plan(worker string, params json.RawMessage, m pipeline.Media) ([]pipeline.Job, error) {
	*s.media = m
	return s.planner.Plan(worker, params, m)
}

func (s seen) Traits() map[string]pipeline.Traits {
	return map[string]pipeline.Traits{"stamp": {HidesSource: true}}
}

// TestHiddenSourceIsNotCopied: any worker type may hide the source, and does so when its step applies.
func TestHiddenSourceIsNotCopied(t *testing.T) {
	asked := map[string]map[string]any{"postmark": {}}
	for _, c := range []struct {
		worker, when string
		requested    map[string]map[string]any
		want         bool
	}{
		{"stamp", "", nil, true},
		{"stamp", pipeline.WhenRequested, nil, false},
		{"stamp", pipeline.WhenRequested, asked, true},
		{"watermark", "", nil, false}, // the name is no special case: to this planner it hides nothing
	} {
		s := seen{planner{"transcode": {{}}, c.worker: {{}}}, &pipeline.Media{}}
		doc := steps(pipeline.Step{Worker: "transcode"}, pipeline.Step{Name: "postmark", Worker: c.worker, When: c.when})
		if _, err := pipeline.NewPlan(doc, c.requested, pipeline.Media{}, s); err != nil {
			t.Fatal(err)
		}
		if s.media.NoCopy != c.want {
			t.Errorf("%s when %q, requested %v: NoCopy is %v", c.worker, c.when, c.requested, s.media.NoCopy)
		}
	}
}

func TestFormatMatches(t *testing.T) {
	webp := pipeline.Format{Name: "WebP", Extension: ".webp", Magic: "RIFF????WEBP"}
	text := pipeline.Format{Name: "SubRip", Extension: ".srt"}
	for _, c := range []struct {
		format         pipeline.Format
		filename, head string
		want           bool
	}{
		{webp, "a.png", "RIFF\x00\xff??WEBPVP8 ", true},
		{webp, "a.webp", "RIFF????WAVE", false},
		{webp, "a.webp", "RIFF????WEB", false},
		{text, "a.SRT", "1", true},
		{text, "a.vtt", "1", false},
		{text, "", "1", false},
	} {
		if got := c.format.Matches(c.filename, []byte(c.head)); got != c.want {
			t.Errorf("%s called %q with %q: %v", c.format.Name, c.filename, c.head, got)
		}
	}
}

// TestPlanRenditions: a job that needs a kind of output has the list of the renditions that other jobs make
// of it.
func TestPlanRenditions(t *testing.T) {
	picture, sound := []pipeline.OutputKind{"picture"}, []pipeline.OutputKind{"sound"}
	p := planner{
		"film": {
			{Name: "0", Makes: picture, Renditions: []string{"720p", "360p"}},
			{Name: "1", Makes: picture, Renditions: []string{"720p"}},
			{Name: "file", Needs: sound},
		},
		"audio": {{Name: "0", Makes: sound, Renditions: []string{"audio-eng"}}, {Name: "file"}},
		"list":  {{Needs: []pipeline.OutputKind{"picture", "sound"}}},
		"hevc":  {{Makes: picture, Renditions: []string{"720p"}}},
		"old":   {{Makes: picture}}, // a worker that does not say what it makes
	}
	film, list, audio := pipeline.Step{Worker: "film"}, pipeline.Step{Worker: "list"}, pipeline.Step{Worker: "audio"}
	again := pipeline.Step{Name: "again", Worker: "audio"}
	for name, c := range map[string]struct {
		doc     pipeline.Pipeline
		expects map[string][]string // by job, where there are any
		folders map[string]string
	}{
		"one of each": {steps(film, audio, list), map[string][]string{
			"list": {"360p", "720p", "audio-eng"}, "film-file": {"audio-eng"},
		}, map[string]string{}},
		"audio last":        {steps(film, list, audio), map[string][]string{"list": {"360p", "720p", "audio-eng"}, "film-file": {"audio-eng"}}, map[string]string{}},
		"no audio":          {steps(film, list), map[string][]string{"list": {"360p", "720p"}}, map[string]string{}},
		"one does not tell": {steps(film, pipeline.Step{Worker: "old"}, list), map[string][]string{"list": {"360p", "720p"}}, map[string]string{}},
		"two of audio": {steps(audio, again, list), map[string][]string{"list": {"again/audio-eng", "audio-eng"}},
			map[string]string{"again-0": "again", "again-file": "again"}},
		"two of a type without renditions": {steps(list, pipeline.Step{Name: "again", Worker: "list"}), map[string][]string{},
			map[string]string{"again": "again"}},
		"two types with one rendition": {steps(film, pipeline.Step{Worker: "hevc"}, list), map[string][]string{"list": {"360p", "720p", "hevc/720p"}},
			map[string]string{"hevc": "hevc"}},
	} {
		plan, err := pipeline.NewPlan(c.doc, nil, pipeline.Media{}, p)
		if err != nil {
			t.Fatal(err)
		}
		expects, folders := map[string][]string{}, map[string]string{}
		for _, j := range plan {
			if len(j.Expects) > 0 {
				expects[j.Name] = j.Expects
			}
			if j.Folder != "" {
				folders[j.Name] = j.Folder
			}
		}
		if !reflect.DeepEqual(expects, c.expects) || !reflect.DeepEqual(folders, c.folders) {
			t.Errorf("%s: expects %v in folders %v, want %v in %v", name, expects, folders, c.expects, c.folders)
		}
	}
}

// gatherer is a planner with a type that is added for outputs of other types.
type gatherer struct{ planner }

func (gatherer) Traits() map[string]pipeline.Traits {
	return map[string]pipeline.Traits{"gather": {AddedFor: "piece"}}
}

// TestAddedStep: a type is added to a pipeline that makes the outputs it is added for, whatever the names of
// the pipeline's own steps.
func TestAddedStep(t *testing.T) {
	pieces := []pipeline.OutputKind{"piece"}
	p := gatherer{planner{"cut": {{Name: "0", Makes: pieces}, {Name: "1"}}, "other": {{}}, "gather": {{Needs: pieces}}}}
	cut, optional := pipeline.Step{Worker: "cut"}, pipeline.Step{Name: "more", Worker: "cut", Optional: true}
	for name, c := range map[string]struct {
		doc      pipeline.Pipeline
		job      string // the added job; empty: there is none
		optional bool
		after    []string
	}{
		"nothing to gather": {steps(pipeline.Step{Worker: "other"}), "", false, nil},
		"of one step":       {steps(cut), "gather", false, []string{"cut-0"}},
		"of two":            {steps(optional, cut), "gather", false, []string{"cut-0", "more-0"}},
		"of what may fail":  {steps(optional), "gather", true, []string{"more-0"}},
		"named": {steps(pipeline.Step{Name: "mine", Worker: "gather", Optional: true}, cut), "mine", true,
			[]string{"cut-0"}},
		"only when asked for": {steps(cut, pipeline.Step{Worker: "gather", When: pipeline.WhenRequested}), "", false, nil},
		"its name is taken":   {steps(pipeline.Step{Name: "gather", Worker: "other"}, cut), "gather-added", false, []string{"cut-0"}},
	} {
		plan, err := pipeline.NewPlan(c.doc, nil, pipeline.Media{}, p)
		if err != nil {
			t.Fatal(err)
		}
		var found pipeline.Job
		for _, j := range plan {
			if j.Worker == "gather" {
				found = j
			}
		}
		if found.Name != c.job || found.Step != c.job || found.Optional != c.optional || !reflect.DeepEqual(found.After, c.after) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
