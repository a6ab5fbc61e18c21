package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// DefaultProject is the project of every video until there are several.
const DefaultProject = "default"

// DefaultPipeline is the name of the pipeline of an upload that names none.
const DefaultPipeline = "default"

// Pipeline is a named, versioned document: what is made of a video once it is accepted. A copy is frozen into
// video.uploaded, so a change of the document affects later uploads only.
type Pipeline struct {
	Name    string `json:"name" yaml:"name"`
	Version int    `json:"version" yaml:"version"` // from 1
	Steps   []Step `json:"steps" yaml:"steps"`
}

// Step is one entry of a pipeline.
type Step struct {
	Name   string `json:"name" yaml:"name"`     // unique in the pipeline; the worker's name when empty
	Worker string `json:"worker" yaml:"worker"` // a worker type
	// With holds the worker's parameters, validated against its schema.
	With  map[string]any `json:"with,omitempty" yaml:"with"`
	After []string       `json:"after,omitempty" yaml:"after"` // steps that must be completed first
	// When is empty (always) or WhenRequested.
	When     string    `json:"when,omitempty" yaml:"when"`
	Optional bool      `json:"optional,omitempty" yaml:"optional"` // its jobs are (Job.Optional)
	Timeout  Seconds   `json:"timeout,omitempty" yaml:"timeout"`   // of one attempt, in seconds
	Retry    []Seconds `json:"retry,omitempty" yaml:"retry"`       // delays before further attempts, in seconds
}

// WhenRequested makes a step run only for uploads that give it parameters of their own.
const WhenRequested = "requested"

// Default is the pipeline `default`: an adaptive ladder, audio, thumbnails, and a watermarked copy if the
// upload asks for one.
func Default() Pipeline {
	return Pipeline{Name: DefaultPipeline, Version: 1, Steps: []Step{
		{Name: "thumbnail", Worker: "thumbnail"},
		{Name: "audio", Worker: "audio"},
		{Name: "transcode", Worker: "transcode"},
		{Name: "watermark", Worker: "watermark", When: WhenRequested},
	}}
}

// Planner knows the worker types: the registry of workers.
type Planner interface {
	// Plan returns the jobs that worker makes of media with the parameters params, named by part. An error with
	// CodeWorkerTypeUnknown or CodeParameters says that the pipeline is at fault.
	Plan(worker string, params json.RawMessage, media Media) ([]Job, error)
	// Check validates params against the worker's schema.
	Check(worker string, params json.RawMessage) error
	// Traits returns the traits of each worker type. A type that is missing has none.
	Traits() map[string]Traits
}

// Validate reports what is wrong with the document, naming the step; nil when planner knows every worker and
// every parameter fits.
func (p Pipeline) Validate(planner Planner) error {
	if !ValidName(p.Name) {
		return fmt.Errorf("pipeline name %q: use 1 to 64 of A-Z a-z 0-9 _ -", p.Name)
	}
	if len(p.Steps) == 0 {
		return fmt.Errorf("pipeline %s has no steps", p.Name)
	}
	seen := map[string]bool{}
	for i, s := range p.Steps {
		err := s.validate(seen, planner)
		if err == nil {
			err = s.fits(p.Steps[:i], planner.Traits()[s.Worker])
		}
		if err != nil {
			return fmt.Errorf("pipeline %s, step %d: %w", p.Name, i+1, err)
		}
		seen[s.name()] = true
	}
	return p.ordered(planner)
}

// validate checks one step; `after` may name earlier steps only.
func (s Step) validate(earlier map[string]bool, planner Planner) error {
	switch name := s.name(); {
	case !ValidName(name):
		return fmt.Errorf("name %q: use 1 to 64 of A-Z a-z 0-9 _ -", name)
	case earlier[name]:
		return fmt.Errorf("name %q is taken", name)
	case name == InspectStep, name == FetchStep, name == sourceFolder, name == NotifyStep,
		strings.HasPrefix(name, NotifyStep+"-"), strings.HasPrefix(name, additionPrefix):
		return fmt.Errorf("name %q is reserved", name)
	case s.When != "" && s.When != WhenRequested:
		return fmt.Errorf("when %q: leave it out or use %q", s.When, WhenRequested)
	}
	for _, a := range s.After {
		if !earlier[a] {
			return fmt.Errorf("after %q: no earlier step has that name", a)
		}
	}
	params, err := s.params(nil)
	if err != nil {
		return err
	}
	err = planner.Check(s.Worker, params)
	if s.When == WhenRequested && err != nil && ProblemOf(err).Code != CodeWorkerTypeUnknown {
		return nil // its parameters are complete only with those of an upload
	}
	return err
}

// fits checks a step against the traits of its worker type; earlier are the steps before it.
func (s Step) fits(earlier []Step, t Traits) error {
	switch {
	case s.When == WhenRequested && t.Upload == nil:
		return fmt.Errorf("when %q: no upload can request a step of %s; leave out when", s.When, s.Worker)
	case t.AddedFor != "" && slices.ContainsFunc(earlier, s.sameType):
		return fmt.Errorf("a pipeline can have only one step of %s, for what all steps make", s.Worker)
	}
	return nil
}

func (s Step) name() string {
	if s.Name == "" {
		return s.Worker
	}
	return s.Name
}

// params returns the step's parameters; those of the upload override them, field by field.
func (s Step) params(requested map[string]any) (json.RawMessage, error) {
	merged := maps.Clone(s.With)
	if merged == nil {
		merged = map[string]any{}
	}
	maps.Copy(merged, requested)
	raw, err := json.Marshal(merged)
	if err != nil {
		return nil, fmt.Errorf("encode parameters of step %s: %w", s.name(), err)
	}
	return raw, nil
}

// ErrNoStep says that a pipeline has no step of a worker type.
var ErrNoStep = errors.New("the pipeline has no step of this worker type")

// StepOf returns the name of the first step of a worker type: an upload's own parameters for the type belong
// to it. It checks them together with the step's, which then are complete. Without such a step it returns
// ErrNoStep.
func (p Pipeline) StepOf(worker string, params map[string]any, planner Planner) (string, error) {
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Worker == worker })
	if i < 0 {
		return "", ErrNoStep
	}
	raw, err := p.Steps[i].params(params)
	if err != nil {
		return "", err
	}
	err = planner.Check(worker, raw)
	if field := planner.Traits()[worker].Upload; err == nil && field != nil && field.CheckParams != nil {
		err = field.CheckParams(raw)
	}
	return p.Steps[i].name(), err
}

// NewPlan returns the jobs of the pipeline for media. Workers plan every step that applies; NewPlan completes
// the names and resolves every edge to names of jobs. requested holds the upload's own parameters, by step.
func NewPlan(p Pipeline, requested map[string]map[string]any, media Media, planner Planner) ([]Job, error) {
	var plan []Job
	traits := planner.Traits()
	media.NoCopy = media.NoCopy || p.hidesSource(requested, traits)
	for _, s := range p.Steps {
		with, asked := requested[s.name()]
		if !s.applies(asked) {
			continue
		}
		jobs, err := planStep(s, with, media, planner)
		if err != nil {
			return nil, err
		}
		plan = append(plan, jobs...)
	}
	for _, s := range p.added(plan, traits) {
		jobs, err := planStep(s, nil, media, planner)
		if err != nil {
			return nil, err
		}
		plan = append(plan, jobs...)
	}
	separate(plan, p)
	return plan, resolveEdges(plan, p)
}

// applies reports whether the step is part of the plan; asked says that the upload gives it parameters.
func (s Step) applies(asked bool) bool { return s.When != WhenRequested || asked }

// hidesSource reports whether a step that applies hides the source.
func (p Pipeline) hidesSource(requested map[string]map[string]any, traits map[string]Traits) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool {
		_, asked := requested[s.name()]
		return traits[s.Worker].HidesSource && s.applies(asked)
	})
}

// added returns the steps that the jobs need and the pipeline does not name (Traits.AddedFor). Such a step is
// optional if all jobs that need it are.
func (p Pipeline) added(plan []Job, traits map[string]Traits) []Step {
	var steps []Step
	for _, worker := range slices.Sorted(maps.Keys(traits)) {
		s, wanted := Step{Name: worker, Worker: worker, Optional: true}, false
		for _, j := range plan {
			if slices.Contains(j.Makes, traits[worker].AddedFor) {
				s.Optional, wanted = s.Optional && j.Optional, true
			}
		}
		if !wanted || slices.ContainsFunc(p.Steps, func(other Step) bool { return other.Worker == worker }) {
			continue
		}
		for slices.ContainsFunc(p.Steps, func(other Step) bool { return other.name() == s.Name }) {
			s.Name += "-added" // a step of another type has the name
		}
		steps = append(steps, s)
	}
	return steps
}

func planStep(s Step, requested map[string]any, media Media, planner Planner) ([]Job, error) {
	params, err := s.params(requested)
	if err != nil {
		return nil, err
	}
	jobs, err := planner.Plan(s.Worker, params, media)
	if err != nil {
		return nil, fmt.Errorf("plan step %s: %w", s.name(), err)
	}
	jobs = slices.Clone(jobs) // the planner may keep what it returned
	for i := range jobs {
		j := &jobs[i]
		j.Name = jobName(s.name(), j.Name)
		j.Step, j.Worker, j.Params = s.name(), s.Worker, params
		j.Optional = j.Optional || s.Optional
		if s.Timeout > 0 {
			j.Timeout = s.Timeout
		}
		if len(s.Retry) > 0 {
			j.Retry = s.Retry
		}
	}
	return jobs, nil
}

func jobName(step, part string) string {
	if part == "" {
		return step
	}
	return step + "-" + part
}

// separate gives a step a folder of its own, named after it, when a step before it in the pipeline has its
// type, or makes one of its renditions. So the outputs of both are kept, and players can choose.
func separate(plan []Job, p Pipeline) {
	later := map[string]bool{} // steps
	for i, s := range p.Steps {
		later[s.name()] = slices.ContainsFunc(p.Steps[:i], s.sameType)
	}
	maker := map[string]string{} // the first step that makes a rendition
	for _, j := range plan {
		for _, r := range j.Renditions {
			if maker[r] == "" {
				maker[r] = j.Step
			}
			later[j.Step] = later[j.Step] || maker[r] != j.Step
		}
	}
	for i := range plan {
		if later[plan[i].Step] {
			plan[i].Folder = plan[i].Step
		}
	}
}

func (s Step) sameType(other Step) bool { return other.Worker == s.Worker }

// resolveEdges turns what each job waits for into names of jobs of the plan: parts of its own step (After),
// all jobs of the steps that its own step comes after in the pipeline, and the jobs that make what it Needs.
func resolveEdges(plan []Job, p Pipeline) error {
	w := waits{
		names: map[string]bool{}, steps: map[string][]string{}, makers: map[OutputKind][]string{},
		optional: map[OutputKind][]string{}, made: map[OutputKind]map[string]bool{},
	}
	for _, j := range plan {
		if w.names[j.Name] || !ValidName(j.Name) {
			return Fail(CodeParameters, "job %q of the step %s: %w; rename the step", j.Name, j.Step, errName)
		}
		w.add(j)
	}
	before := map[string][]string{} // steps, by the step that comes after them
	for _, s := range p.Steps {
		before[s.name()] = s.After
	}
	for i := range plan {
		after, err := w.after(plan[i], before[plan[i].Step])
		if err != nil {
			return err
		}
		plan[i].Expects, plan[i].Tolerates = w.expects(plan[i]), w.tolerates(plan[i], after)
		plan[i].After = slices.Compact(slices.Sorted(slices.Values(slices.Concat(after, plan[i].Tolerates))))
	}
	return acyclic(plan)
}

// waits indexes the jobs of a plan by what others may wait for.
type waits struct {
	names    map[string]bool
	steps    map[string][]string // by step
	makers   map[OutputKind][]string
	optional map[OutputKind][]string        // makers that may fail
	made     map[OutputKind]map[string]bool // folders of the renditions of makers
}

func (w waits) add(j Job) {
	w.names[j.Name] = true
	w.steps[j.Step] = append(w.steps[j.Step], j.Name)
	for _, kind := range j.Makes {
		if j.Optional {
			w.optional[kind] = append(w.optional[kind], j.Name)
			continue
		}
		w.makers[kind] = append(w.makers[kind], j.Name)
		if w.made[kind] == nil {
			w.made[kind] = map[string]bool{}
		}
		for _, r := range j.Renditions {
			w.made[kind][path.Join(j.Folder, r)] = true
		}
	}
}

// tolerates returns the optional jobs that make what j needs, without those that must be completed.
func (w waits) tolerates(j Job, completed []string) []string {
	var jobs []string
	for _, kind := range j.Needs {
		jobs = append(jobs, w.optional[kind]...)
	}
	jobs = slices.DeleteFunc(jobs, func(name string) bool { return slices.Contains(completed, name) })
	slices.Sort(jobs)
	return slices.Compact(jobs)
}

// expects returns the folders of the renditions of all kinds that j needs, but for those of optional jobs.
func (w waits) expects(j Job) []string {
	all := map[string]bool{}
	for _, kind := range j.Needs {
		maps.Copy(all, w.made[kind])
	}
	return slices.Sorted(maps.Keys(all))
}

// after returns the names of the jobs that must be completed before j. Its step comes after the steps before.
func (w waits) after(j Job, before []string) ([]string, error) {
	var after []string
	for _, part := range j.After {
		name := jobName(j.Step, part)
		if name == j.Name || !w.names[name] {
			return nil, Fail(CodeParameters, "job %s waits for %s: itself, or no job of its step", j.Name, name)
		}
		after = append(after, name)
	}
	for _, step := range before {
		after = append(after, w.steps[step]...) // nothing when the step does not apply or planned no job
	}
	for _, kind := range j.Needs {
		after = append(after, w.makers[kind]...)
	}
	slices.Sort(after)
	return slices.Compact(after), nil
}
