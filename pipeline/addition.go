package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Addition is the data of video.outputs_requested: steps that somebody adds to a ready video, and their plan,
// which never changes. The plan of video.inspected never changes either, so an addition is an event of its
// own, on a subject of its own: the first addition of a video has number 1, and compare-and-swap gives the
// next number to one of several at once. The log so has them in the order of their numbers.
type Addition struct {
	Number int `json:"number"` // from 1
	// ID is add_ and 26 letters and digits, derived from the idempotency key of the request if it had one.
	ID    string `json:"id"`
	Steps []Step `json:"steps"` // as they were asked for
	// Plan has jobs whose names begin with added-<number>-, so that they are not those of other jobs.
	Plan []Job `json:"plan"`
	// Renditions are the folders, sorted, of the renditions that the jobs make.
	Renditions []string `json:"renditions,omitempty"`
	// Packaging says which job of the plan makes the manifests of the video anew; nil: none.
	Packaging *Packaging `json:"packaging,omitempty"`
}

// Packaging is the job of an addition that makes the manifests of the video anew, with all renditions that
// the video has then. It runs when the other jobs of the addition are completed.
type Packaging struct {
	Job   string       `json:"job"`
	Needs []OutputKind `json:"needs"` // the kinds of output that it lists
}

// AdditionState is the state of an addition:
//
//	processing -> ready | errored | canceled
//
// An addition that is errored or canceled is processing again when a job of it is tried again.
type AdditionState string

// The states of an addition. All but the first are terminal.
const (
	StateAdditionProcessing AdditionState = "processing"
	StateAdditionReady      AdditionState = "ready"
	StateAdditionErrored    AdditionState = "errored"
	StateAdditionCanceled   AdditionState = "canceled"
)

// Terminal reports whether an addition in this state changes no more by itself.
func (s AdditionState) Terminal() bool { return s != StateAdditionProcessing }

// AdditionEnd is the data of video.outputs_added, video.outputs_failed and video.outputs_reopened.
type AdditionEnd struct {
	Number     int           `json:"number"` // of the addition
	State      AdditionState `json:"state" enum:"processing,ready,errored,canceled"`
	Problem    *Problem      `json:"problem,omitempty"`    // why it is errored
	Renditions []string      `json:"renditions,omitempty"` // as in the addition
	// Generation counts how often the addition was reopened.
	Generation int `json:"generation,omitempty"`
}

// additionPrefix begins the names of the jobs and steps of all additions. No step of a pipeline has it.
const additionPrefix = "added-"

// MaxAdditions is how many additions a video may have: every decision about the video reads all of them.
const MaxAdditions = 50

// extended begins the second token of the subjects of additions.
const extended = "extended-"

// ExtendedSubject returns the subject of video.outputs_requested of an addition, which has one event at most.
func ExtendedSubject(project, video string, number int) string {
	return "video." + extended + strconv.Itoa(number) + "." + project + "." + video
}

// ExtendedEndSubject returns the subject of the ends of an addition: added or failed, with reopened in
// between. Compare-and-swap admits one next event.
func ExtendedEndSubject(project, video string, number int) string {
	return "video." + extended + strconv.Itoa(number) + "-end." + project + "." + video
}

// AdditionOf returns the number of the addition that a subject of the log belongs to: that of the addition
// itself, or of one of its jobs. 0: none.
func AdditionOf(subject string) int {
	parts := strings.Split(subject, ".")
	if len(parts) != 4 {
		return 0
	}
	if parts[0] == "job" {
		return additionOfJob(parts[3])
	}
	text, ok := strings.CutPrefix(parts[1], extended)
	if !ok || parts[0] != "video" {
		return 0
	}
	return positive(strings.TrimSuffix(text, "-end"))
}

// additionOfJob returns the number of the addition that a job belongs to by its name; 0: none.
func additionOfJob(name string) int {
	text, ok := strings.CutPrefix(name, additionPrefix)
	number, _, more := strings.Cut(text, "-")
	if !ok || !more {
		return 0
	}
	return positive(number)
}

// positive reads a number as ExtendedSubject writes it; 0: it is none.
func positive(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || strconv.Itoa(n) != text {
		return 0
	}
	return n
}

// AdditionFold is the fold of an addition's events. Its jobs are among those of the video.
type AdditionFold struct {
	Addition
	Requested Event
	Last      Event       // of the subject of its ends; zero before the first
	End       AdditionEnd // the data of Last
}

// open reports whether the addition has not ended, or was reopened since.
func (a *AdditionFold) open() bool {
	return a.Last.Sequence == 0 || a.Last.Type == VideoOutputsReopened
}

// failed reports whether the addition has ended without success.
func (a *AdditionFold) failed() bool { return a.Last.Type == VideoOutputsFailed }

// begun returns the event with which the addition began, the last time.
func (a *AdditionFold) begun() Event {
	if a.Last.Type == VideoOutputsReopened {
		return a.Last
	}
	return a.Requested
}

// additionsAtOnce is how many additions are read by one request to a log that cannot read a whole video.
const additionsAtOnce = 8

// foldAdditions reads the additions and the last events of their jobs.
func (v *Video) foldAdditions(ctx context.Context, log lastReader) error {
	before, err := v.lastOfAdditions(ctx, log)
	if err != nil || len(before) == 0 {
		return err
	}
	for { // until no event came in between: which addition packages first is decided by what is read here
		again, err := v.lastOfAdditions(ctx, log)
		if err != nil {
			return err
		}
		same := slices.EqualFunc(before, again, func(a, b Event) bool { return a.Sequence == b.Sequence })
		if before = again; same {
			break
		}
	}
	var subjects []string
	for i := 0; i < len(before); i += 2 {
		a := AdditionFold{Requested: before[i], Last: before[i+1]}
		if err := a.decode(); err != nil {
			return err
		}
		for _, j := range a.Plan {
			subjects = append(subjects, JobSubject(v.Project, v.ID, j.Name))
		}
		v.Additions = append(v.Additions, a)
	}
	events, err := log.Last(ctx, subjects...)
	if err != nil {
		return fmt.Errorf("fold additions to %s: %w", v.ID, err)
	}
	for i := range v.Additions {
		a := &v.Additions[i]
		if err := v.foldJobs(a.Plan, events[:len(a.Plan)]); err != nil {
			return err
		}
		events = events[len(a.Plan):]
	}
	v.widenPackaging()
	return nil
}

func (a *AdditionFold) decode() error {
	if err := a.Requested.Decode(&a.Addition); err != nil || a.Last.Sequence == 0 {
		return err
	}
	return a.Last.Decode(&a.End)
}

// lastOfAdditions returns two events of each addition, in order: its request, and its last end.
func (v *Video) lastOfAdditions(ctx context.Context, log lastReader) ([]Event, error) {
	var all []Event
	for n := 1; ; n += additionsAtOnce {
		var subjects []string
		for i := n; i < n+additionsAtOnce; i++ {
			subjects = append(subjects, ExtendedSubject(v.Project, v.ID, i), ExtendedEndSubject(v.Project, v.ID, i))
		}
		events, err := log.Last(ctx, subjects...)
		if err != nil {
			return nil, fmt.Errorf("fold additions to %s: %w", v.ID, err)
		}
		for i := 0; i < len(events); i += 2 {
			if events[i].Sequence == 0 {
				return all, nil
			}
			all = append(all, events[i], events[i+1])
		}
	}
}

// part returns the video as if an addition were all of it: with its plan, with its beginning in place of the
// verdict, and with its end. While the addition waits to package, the job that does so is not in the plan.
func (v *Video) part(a *AdditionFold) *Video {
	w := *v
	w.Plan, w.Inspected, w.Finished, w.Additions = a.Plan, a.begun(), Event{}, nil
	switch {
	case !a.open():
		w.Finished = a.Last
	case v.waitsToPackage(a):
		w.Plan = slices.DeleteFunc(slices.Clone(a.Plan), func(j Job) bool { return j.Name == a.Packaging.Job })
	}
	return &w
}

// waitsToPackage reports whether the manifests cannot be made anew for an open addition yet. The one that
// began first makes them first, since each lists what those before it have added; and none does while the
// video is processed again.
func (v *Video) waitsToPackage(a *AdditionFold) bool {
	if a.Packaging == nil {
		return false
	}
	earlier := func(b AdditionFold) bool { return b.open() && b.begun().Sequence < a.begun().Sequence }
	return v.Finished.Sequence == 0 || slices.ContainsFunc(v.Additions, earlier)
}

// widenPackaging lets the packaging job of each open addition come after all jobs of the video that made
// what it lists. The frozen plan does not name them: an earlier addition may still succeed or fail.
func (v *Video) widenPackaging() {
	for i := range v.Additions {
		a := &v.Additions[i]
		if a.Packaging == nil || !a.open() {
			continue
		}
		j := &a.Plan[slices.IndexFunc(a.Plan, func(j Job) bool { return j.Name == a.Packaging.Job })]
		j.After = append(slices.Clone(j.After), v.makers(v.Plan, a.Packaging.Needs)...)
		j.Expects = append(slices.Clone(j.Expects), v.packaged()...)
		for n := range v.Additions {
			if b := &v.Additions[n]; b.End.State == StateAdditionReady {
				j.After = append(j.After, v.makers(b.Plan, a.Packaging.Needs)...)
				j.Expects = append(j.Expects, b.Renditions...)
			}
		}
		j.Tolerates = v.incomplete()
		j.After = sorted(append(j.After, j.Tolerates...))
		j.Expects = sorted(j.Expects)
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// makers returns the jobs of a plan that are completed and made an output of one of some kinds.
func (v *Video) makers(plan []Job, kinds []OutputKind) []string {
	var names []string
	for _, j := range plan {
		f := v.Jobs[j.Name]
		made := func(kind OutputKind) bool { _, ok := f.output(kind); return ok }
		if f.State == StateJobCompleted && slices.ContainsFunc(kinds, made) {
			names = append(names, j.Name)
		}
	}
	return names
}

// packaged returns the renditions that the manifests of the video's own plan list for certain.
func (v *Video) packaged() []string {
	var folders []string
	for _, j := range v.Plan {
		if _, ok := v.Jobs[j.Name].output(KindManifest); ok && v.Jobs[j.Name].State == StateJobCompleted {
			folders = append(folders, j.Expects...)
		}
	}
	return folders
}

// incomplete returns the optional jobs of the video's own plan that are not completed and without which
// manifests may be made.
func (v *Video) incomplete() []string {
	var names []string
	for _, j := range v.Plan {
		names = append(names, j.Tolerates...)
	}
	return slices.DeleteFunc(sorted(names), func(name string) bool {
		return v.Jobs[name].State == StateJobCompleted
	})
}

// allTurns returns the turns of the plan of the video and of those of its open additions.
func (v *Video) allTurns(window func(worker string) int) []Job {
	turns := v.turns(window)
	for i := range v.Additions {
		if a := &v.Additions[i]; a.open() {
			turns = append(turns, v.part(a).turns(window)...)
		}
	}
	return turns
}
