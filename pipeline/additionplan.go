package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Errors of Extend.
var (
	// ErrNotReady says that outputs are added to ready videos only.
	ErrNotReady = errors.New("the video is not ready")
	// ErrTooManyAdditions says that the video has MaxAdditions.
	ErrTooManyAdditions = errors.New("the video has as many additions as it may have")
	// ErrNothingToAdd says that the steps make nothing of this video, such as audio of a silent one.
	ErrNothingToAdd = errors.New("the steps make nothing of this video")
)

// RenditionsExist says that an addition would make renditions that the video has, or that another addition
// makes.
type RenditionsExist struct {
	Step  int      // the index of the step
	Names []string // such as 240p
}

// Error implements error.
func (e *RenditionsExist) Error() string {
	return "the video has " + strings.Join(e.Names, ", ") + ", or an addition makes it"
}

// Extension is what somebody asks to add to a video.
type Extension struct {
	Project, Video string
	// ID identifies the request: add_ and 26 letters and digits. The same request again adds nothing.
	ID    string
	Steps []Step // which CheckAddition accepts
	// Check may refuse to go on with the source of the video, which has so many milliseconds. Its error is that
	// of Extend.
	Check func(ctx context.Context, source Object, milliseconds int64) error
}

// Extend appends video.outputs_requested: the video gets the outputs of further steps, and stays ready and as
// it is until all of them are there. It returns the addition and its event; replayed says that the request
// had been accepted before. ErrNotFound: there is no such video. ErrDeleted, ErrNotReady, ErrReused (the id
// belongs to a request for other steps), *RenditionsExist, ErrTooManyAdditions and ErrNothingToAdd say why it
// refuses; an *Error with CodeParameters, that a step does not fit the video.
func Extend(ctx context.Context, log Log, planner Planner, x Extension) (
	a Addition, e Event, replayed bool, err error,
) {
	for range maxConflicts {
		v, err := Fold(ctx, log, x.Project, x.Video)
		if err != nil {
			return a, e, false, err
		}
		if before, ok, err := v.additionBefore(x); ok || err != nil {
			return before.Addition, before.Requested, ok, err
		}
		if a, err = v.extended(ctx, planner, x); err != nil {
			return Addition{}, e, false, err
		}
		subject := ExtendedSubject(x.Project, x.Video, a.Number)
		e, err = NewEvent("upload", VideoOutputsRequested, subject, x.Video, v.Finished, a)
		if err != nil {
			return Addition{}, e, false, err
		}
		e, err = appendFenced(ctx, log, e, v.Last, 0) // so that retention does not delete the source meanwhile
		if !errors.Is(err, ErrConflict) {
			return a, e, false, err
		}
	}
	return Addition{}, Event{}, false, ErrConflict // the numbers of all tries were taken
}

// additionBefore returns the addition that the same request made before.
func (v *Video) additionBefore(x Extension) (AdditionFold, bool, error) {
	switch {
	case v.Uploaded.Sequence == 0 && v.Deleted.Sequence == 0:
		return AdditionFold{}, false, ErrNotFound
	case v.Deleted.Sequence != 0:
		return AdditionFold{}, false, ErrDeleted
	}
	i := slices.IndexFunc(v.Additions, func(a AdditionFold) bool { return a.ID == x.ID })
	if i < 0 {
		return AdditionFold{}, false, nil
	}
	if !sameSteps(v.Additions[i].Steps, x.Steps) {
		return AdditionFold{}, false, ErrReused
	}
	return v.Additions[i], true, nil
}

// sameSteps compares steps by their JSON: numbers in parameters have other types once they were stored.
func sameSteps(a, b []Step) bool {
	var values [2]any
	for i, steps := range [][]Step{a, b} {
		raw, err := json.Marshal(steps)
		if err != nil || json.Unmarshal(raw, &values[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// extended returns the next addition to the video.
func (v *Video) extended(ctx context.Context, planner Planner, x Extension) (Addition, error) {
	source, ok := v.source()
	switch {
	case v.Finished.Type != VideoReady || !ok || v.Verdict.Media == nil:
		state := v.End.State
		if state == "" {
			state = StateVideoProcessing
		}
		return Addition{}, fmt.Errorf("the video is %s: %w", state, ErrNotReady)
	case len(v.Additions) >= MaxAdditions:
		return Addition{}, ErrTooManyAdditions
	}
	if err := v.CheckSource(); err != nil {
		return Addition{}, err
	}
	a, err := v.planAddition(x, planner)
	if err != nil {
		return Addition{}, err
	}
	return a, x.Check(ctx, source, v.Verdict.Media.Milliseconds())
}

// StepError is a mistake in one step of a request.
type StepError struct {
	Index int    // of the step
	Field string // of the step; empty: the step as a whole
	Err   error
}

// CheckAddition returns the mistakes in steps that are to be added to a video, as Pipeline.Validate finds
// them in those of a pipeline: one for each step at most. What depends on the video, Extend checks.
func CheckAddition(steps []Step, planner Planner) []StepError {
	var wrong []StepError
	seen := map[string]bool{}
	for i, s := range steps {
		if field, err := s.checkAdded(seen, steps[:i], planner); err != nil {
			wrong = append(wrong, StepError{i, field, err})
		}
		seen[s.name()] = true
	}
	if len(wrong) > 0 {
		return wrong
	}
	if err := (Pipeline{Name: "addition", Version: 1, Steps: steps}).ordered(planner); err != nil {
		wrong = append(wrong, StepError{0, "after", err})
	}
	return wrong
}

// checkAdded checks one step of an addition; field names the part of the step that is wrong.
func (s Step) checkAdded(seen map[string]bool, earlier []Step, planner Planner) (field string, err error) {
	traits := planner.Traits()[s.Worker]
	if err := s.validate(seen, planner); err != nil {
		e, ok := errors.AsType[*Error](err)
		switch {
		case ok && e.Code == CodeWorkerTypeUnknown:
			field = "worker"
		case ok:
			field = "with"
		}
		return field, err
	}
	if traits.AddedFor != "" {
		return "worker", Fail(CodeParameters, "leave out the step of %s: the server adds it where it is needed",
			s.Worker)
	}
	if err := s.fits(earlier, traits); err != nil {
		return "", err
	}
	if traits.Upload != nil && traits.Upload.CheckParams != nil {
		params, err := s.params(nil)
		if err == nil {
			err = traits.Upload.CheckParams(params)
		}
		return "with", err
	}
	return "", nil
}

// planAddition returns the addition with the plan for this video.
func (v *Video) planAddition(x Extension, planner Planner) (Addition, error) {
	a := Addition{Number: len(v.Additions) + 1, ID: x.ID, Steps: x.Steps}
	p := a.pipeline()
	media := v.mediaFor(p, planner.Traits())
	var plan []Job
	for i, s := range p.Steps {
		if err := v.checkAssets(s, planner.Traits()[s.Worker]); err != nil {
			return a, err
		}
		jobs, err := planStep(s, nil, media, planner)
		if err != nil {
			return a, err
		}
		if err := a.place(i, jobs, v); err != nil {
			return a, err
		}
		plan = append(plan, jobs...)
	}
	if len(plan) == 0 {
		return a, ErrNothingToAdd
	}
	packaging, err := a.addPackaging(plan, media, planner)
	if err != nil {
		return a, err
	}
	plan = append(plan, packaging...)
	p.Steps = append(p.Steps, stepsOf(packaging)...)
	if err := resolveEdges(plan, p); err != nil {
		return a, err
	}
	a.Plan = v.afterExisting(plan, a.Packaging)
	for _, j := range a.Plan {
		if _, taken := v.Jobs[j.Name]; taken {
			return a, Fail(CodeParameters, "a job of the video has the name %s; give the step another name", j.Name)
		}
	}
	return a, nil
}

// pipeline returns the steps as those of a pipeline, with names that no other step of the video has.
func (a Addition) pipeline() Pipeline {
	p := Pipeline{Name: "addition", Version: 1}
	prefix := additionPrefix + strconv.Itoa(a.Number) + "-"
	for _, s := range a.Steps {
		s.Name = prefix + s.name()
		s.After = slices.Clone(s.After)
		for i := range s.After {
			s.After[i] = prefix + s.After[i]
		}
		p.Steps = append(p.Steps, s)
	}
	return p
}

// mediaFor returns the facts of the source for the plan of an addition with the steps of p. What a step of
// the video or of an addition hides, no other shows.
func (v *Video) mediaFor(p Pipeline, traits map[string]Traits) Media {
	media := *v.Verdict.Media
	hidden := v.Upload.Pipeline.hidesSource(v.Upload.Requested, traits) || p.hidesSource(nil, traits)
	for _, a := range v.Additions {
		hidden = hidden || a.pipeline().hidesSource(nil, traits)
	}
	media.NoCopy = media.NoCopy || hidden
	return media
}

// checkAssets refuses a step that names a file which the upload did not send.
func (v *Video) checkAssets(s Step, traits Traits) error {
	if traits.Upload == nil || traits.Upload.Asset == "" {
		return nil
	}
	name, ok := s.With[traits.Upload.Asset].(string)
	if _, there := v.Upload.Assets[name]; !ok || name == "" || there {
		return nil
	}
	sent := "none"
	if len(v.Upload.Assets) > 0 {
		sent = strings.Join(slices.Sorted(maps.Keys(v.Upload.Assets)), ", ")
	}
	return Fail(CodeParameters, "%s: the upload of the video sent no file %q; its files are: %s",
		traits.Upload.Asset, name, sent)
}

// place adds the renditions of the jobs of a step to the addition, and refuses those that exist. A step of a
// type that the video has already gets a folder of its own, as in a pipeline, unless it makes video
// renditions.
func (a *Addition) place(step int, jobs []Job, v *Video) error {
	pictures := slices.ContainsFunc(jobs, func(j Job) bool { return slices.Contains(j.Makes, KindRendition) })
	var made []string
	for i := range jobs {
		j := &jobs[i]
		j.Optional, j.Opener = false, false
		if !pictures && v.hasType(j.Worker, a.Steps[:step]) {
			j.Folder = j.Step
		}
		for _, r := range j.Renditions {
			made = append(made, path.Join(j.Folder, r))
		}
	}
	made = sorted(made)
	if taken := v.renditionsAmong(made, a.Renditions); len(taken) > 0 {
		return &RenditionsExist{step, taken}
	}
	a.Renditions = sorted(append(a.Renditions, made...))
	return nil
}

// hasType reports whether the video, one of its additions, or one of some steps has jobs of a worker type.
func (v *Video) hasType(worker string, steps []Step) bool {
	of := func(j Job) bool { return j.Worker == worker }
	return slices.ContainsFunc(v.Plan, of) ||
		slices.ContainsFunc(steps, func(s Step) bool { return s.Worker == worker }) ||
		slices.ContainsFunc(v.Additions, func(a AdditionFold) bool { return slices.ContainsFunc(a.Plan, of) })
}

// renditionsAmong returns those of names that are among others, that the video has, or that an addition
// makes which has not failed.
func (v *Video) renditionsAmong(names, others []string) []string {
	exist := map[string]bool{}
	for _, name := range slices.Concat(others, v.packaged()) {
		exist[name] = true
	}
	for _, j := range v.Plan {
		f := v.Jobs[j.Name]
		if f.State != StateJobCompleted || f.Data.Result == nil {
			continue
		}
		for _, o := range f.Data.Result.Outputs {
			if o.Segments != nil {
				exist[path.Dir(o.Path)] = true
			}
		}
	}
	for i := range v.Additions {
		if a := &v.Additions[i]; !a.failed() {
			for _, name := range a.Renditions {
				exist[name] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !exist[name] })
}

// addPackaging returns the job that makes the manifests anew, if the jobs of plan make what it lists.
func (a *Addition) addPackaging(plan []Job, media Media, planner Planner) ([]Job, error) {
	traits := planner.Traits()
	for _, worker := range slices.Sorted(maps.Keys(traits)) {
		if traits[worker].AddedFor == "" {
			continue
		}
		name := additionPrefix + strconv.Itoa(a.Number) + "-" + worker
		for slices.ContainsFunc(plan, func(j Job) bool { return j.Step == name }) {
			name += "-added"
		}
		jobs, err := planStep(Step{Name: name, Worker: worker}, nil, media, planner)
		if err != nil || len(jobs) != 1 {
			return nil, err
		}
		listed := func(j Job) bool {
			return slices.ContainsFunc(j.Makes, func(kind OutputKind) bool {
				return slices.Contains(jobs[0].Needs, kind)
			})
		}
		if slices.ContainsFunc(plan, listed) {
			a.Packaging = &Packaging{jobs[0].Name, jobs[0].Needs}
			return jobs, nil
		}
	}
	return nil, nil
}

// stepsOf returns the steps that jobs are of.
func stepsOf(jobs []Job) []Step {
	var steps []Step
	for _, j := range jobs {
		steps = append(steps, Step{Name: j.Step, Worker: j.Worker})
	}
	return steps
}

// afterExisting lets jobs come after those of the video that made what they need. The packaging comes after
// all others of the plan: what it comes after besides is known when it runs (widenPackaging).
func (v *Video) afterExisting(plan []Job, packaging *Packaging) []Job {
	for i := range plan {
		j := &plan[i]
		if packaging != nil && j.Name == packaging.Job {
			j.After = nil
			for _, other := range plan {
				if other.Name != j.Name {
					j.After = append(j.After, other.Name)
				}
			}
			j.After = sorted(j.After)
			continue
		}
		if len(j.Needs) == 0 {
			continue
		}
		j.After = append(j.After, v.makers(v.Plan, j.Needs)...)
		for n := range v.Additions {
			if b := &v.Additions[n]; b.End.State == StateAdditionReady {
				j.After = append(j.After, v.makers(b.Plan, j.Needs)...)
			}
		}
		j.After = sorted(j.After)
	}
	return plan
}
