package pipeline

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// VideoView is a video as the read model stores it and the API returns it. It is a pure function of the
// video's events in order: only Apply and ApplyJob change it.
type VideoView struct {
	ID          string            `json:"id" doc:"vid_ and 26 letters and digits, without order: videos sort by created_at"`
	Project     string            `json:"project" doc:"The owner"`
	Status      VideoState        `json:"status" enum:"queued,inspecting,processing,ready,errored,rejected,canceled"`
	Playable    bool              `json:"playable" doc:"True once a manifest with one verified rendition is published"`
	Progress    int               `json:"progress" minimum:"0" maximum:"100" doc:"Percent of the work done"`
	Pipeline    string            `json:"pipeline" doc:"Name of the pipeline"`
	Filename    string            `json:"filename" doc:"As the uploader called it; may be empty until a URL is fetched"`
	Size        int64             `json:"size" doc:"Bytes of the source; 0 until a URL is fetched"`
	SHA256      string            `json:"sha256" doc:"Of the source, in hex; empty until a URL is fetched"`
	Title       string            `json:"title" doc:"As given at upload, or changed since; may be empty"`
	Metadata    map[string]string `json:"metadata" doc:"As given at upload, or changed since"`
	Passthrough string            `json:"passthrough" doc:"As given at upload, or changed since; in webhooks too"`
	// PlaybackPolicy is empty in views that an earlier version stored, which means public; AddURLs sets it.
	PlaybackPolicy PlaybackPolicy `json:"playback_policy" enum:"public,signed" doc:"Who may play it: whoever knows the id, or whoever has a token; see POST /v1/signing_keys"`
	Media          *Media         `json:"media" doc:"What inspection found; null before"`
	Problem        *Problem       `json:"error" doc:"Why it is not ready; null otherwise"`
	Warnings       []Problem      `json:"warnings" doc:"Unused parts of the source, optional jobs that failed, and webhooks not delivered yet"`
	Manifest       string         `json:"manifest,omitempty" doc:"HLS manifest below /play/{id}/; set when playable"`
	DASH           string         `json:"dash_manifest,omitempty" doc:"DASH manifest below /play/{id}/"`
	PlayURL        string         `json:"play_url,omitempty" doc:"URL of the HLS manifest; a path when the server has no --public-url. If playback_policy is signed, add ?token= and a token"`
	DASHURL        string         `json:"dash_url,omitempty" doc:"As play_url, for the DASH manifest"`
	TraceID        string         `json:"trace_id" doc:"W3C trace id of everything done for the video"`
	CreatedAt      time.Time      `json:"created_at"`
	InspectedAt    *time.Time     `json:"inspected_at"`
	PlayableAt     *time.Time     `json:"playable_at"`
	ReadyAt        *time.Time     `json:"ready_at"`
	FinishedAt     *time.Time     `json:"finished_at" doc:"When it became ready, errored, rejected or canceled"`
	Additions      []AdditionView `json:"additions,omitempty" doc:"What was added to it since it was ready, in the order of the requests; see POST /v1/videos/{id}/outputs"`
	Hold           *Hold          `json:"hold" doc:"The legal hold: until it is removed, nobody deletes the video or its source; null: there is none"`

	SourceDeletedAt *time.Time `json:"source_deleted_at" doc:"When the retention of the project deleted the source; null: it has not"`
	// ExpiresAt follows from the rules of the project, which may change at any time: the read model has nil.
	ExpiresAt *time.Time `json:"expires_at" doc:"When the retention of the project will delete the video; null: never, as long as the rules stay, or the video has not ended or is held. In webhooks always null"`

	// Deleted marks a view that is to be removed; the API never returns it.
	Deleted bool `json:"-"`
	// Progress is DoneWeight divided by PlannedWeight, in percent.
	PlannedWeight int `json:"-"`
	DoneWeight    int `json:"-"`
	// Owed says that the webhook for the video's end is still to be delivered; OwedPlayable is the same for
	// video.playable. Generation counts how often the video was reopened: the name of the notify job follows
	// from it.
	Owed         bool `json:"-"`
	OwedPlayable bool `json:"-"`
	Generation   int  `json:"-"`
}

// AddURLs sets PlayURL and DASHURL; public is as in the function PlayURL. The read model stores views without
// URLs, so that the server's address may change. The URLs carry no token, whatever the policy says.
func (v *VideoView) AddURLs(public string) {
	v.PlaybackPolicy = v.PlaybackPolicy.OrPublic()
	if v.Manifest != "" {
		v.PlayURL = PlayURL(public, v.ID, v.Manifest)
	}
	if v.DASH != "" {
		v.DASHURL = PlayURL(public, v.ID, v.DASH)
	}
}

// PlayURL returns the URL of a path below a video. public is the address at which people reach the server,
// without a slash at its end; when it is empty the URL is a path (RFC 3986, 4.2).
func PlayURL(public, video, path string) string { return public + "/play/" + video + "/" + path }

// Open reports whether something is still to happen to the video.
func (v *VideoView) Open() bool {
	return !v.Status.Terminal() || v.Owed || v.OwedPlayable || v.Extending()
}

// StoredMilliseconds returns how long the video is that is kept, or made, to be played: 0 for one that is not
// inspected, and for one that ended before there was anything to play.
func (v *VideoView) StoredMilliseconds() int64 {
	if v.Playable || v.Status == StateVideoProcessing || v.Status == StateVideoReady {
		return v.Media.Milliseconds()
	}
	return 0
}

// JobView is a job as the read model stores it and the API returns it.
type JobView struct {
	ID         string         `json:"id" doc:"The video's id, a slash, the job's name"`
	Video      string         `json:"video_id"`
	Name       string         `json:"name"`
	Step       string         `json:"step"`
	Worker     string         `json:"worker" doc:"Worker type"`
	Status     JobState       `json:"status" enum:"pending,processing,retrying,completed,errored,canceled,skipped"`
	After      []string       `json:"after" doc:"Jobs that must be completed before"`
	Optional   bool           `json:"optional"`
	Weight     int            `json:"weight" doc:"Share of the planned work"`
	Addition   int            `json:"addition,omitempty" doc:"Number of the addition that it belongs to; absent for other jobs"`
	Attempt    int            `json:"attempt" doc:"Attempts so far"`
	Problem    *Problem       `json:"error" doc:"Of the last failed attempt; null when none failed"`
	Facts      map[string]any `json:"facts,omitempty" doc:"What the worker reports about the job"`
	CreatedAt  time.Time      `json:"created_at"`
	StartedAt  *time.Time     `json:"started_at" doc:"Of the last attempt"`
	RetryAt    *time.Time     `json:"retry_at" doc:"When the next attempt is due; null when none is"`
	FinishedAt *time.Time     `json:"finished_at"`
}

// OutputView is an output as the catalog stores it and, in lists, the API returns it (ListedOutputs).
type OutputView struct {
	Output
	ID    string `json:"id"`
	Video string `json:"video_id"`
	Job   string `json:"job"`
	URL   string `json:"url" doc:"As play_url, for this output; with segments, a template in which %05d is the number"`
}

// Apply updates the view with e, an event of the video itself.
func (v *VideoView) Apply(e Event) error {
	at := e.Time
	switch e.Type {
	case VideoUploaded:
		return v.applyUploaded(e)
	case VideoInspected:
		var data Inspected
		if err := e.Decode(&data); err != nil {
			return err
		}
		v.Media, v.InspectedAt = data.Media, &at
		switch {
		case v.Status.Terminal(): // a cancel came first
			v.Warnings = append(data.Media.problems(), v.Warnings...)
		case data.Verdict == VerdictAccept:
			v.Warnings, v.Status = data.Media.problems(), StateVideoProcessing
		default:
			v.Warnings = data.Media.problems()
		}
		for _, j := range data.Plan {
			v.PlannedWeight += j.weight()
		}
	case VideoPlayable:
		var data Playable
		if err := e.Decode(&data); err != nil {
			return err
		}
		v.Playable, v.PlayableAt, v.Manifest, v.OwedPlayable = true, &at, data.Path, data.Notify
	case VideoReady, VideoErrored, VideoRejected, VideoCanceled:
		return v.applyFinish(e)
	case VideoOutputsRequested, VideoOutputsAdded, VideoOutputsFailed, VideoOutputsReopened:
		return v.applyAddition(e)
	case VideoChanged:
		return v.relabel(e)
	case VideoReopened:
		return v.reopen(e)
	case VideoHeld:
		return v.hold(e)
	case VideoReleased:
		v.Hold = nil
	case VideoSourceDeleted, VideoSourcePurged:
		if v.SourceDeletedAt == nil {
			v.SourceDeletedAt = &at
		}
	case VideoDeleted, VideoPurged:
		v.Deleted = true
	}
	return nil
}

// relabel replaces what users may change.
func (v *VideoView) relabel(e Event) error {
	var l Label
	if err := e.Decode(&l); err != nil {
		return err
	}
	v.Title, v.Metadata, v.Passthrough = l.Title, l.Metadata, l.Passthrough
	if l.PlaybackPolicy != "" { // an earlier version changed what it knew
		v.PlaybackPolicy = l.PlaybackPolicy
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	return nil
}

// hold sets the legal hold.
func (v *VideoView) hold(e Event) error {
	var data Held
	if err := e.Decode(&data); err != nil {
		return err
	}
	v.Hold = &Hold{Reason: data.Reason, By: e.Actor, Since: e.Time}
	return nil
}

// SourceBytes returns how many bytes the source has in the store; 0 once it is deleted.
func (v *VideoView) SourceBytes() int64 {
	if v.SourceDeletedAt != nil {
		return 0
	}
	return v.Size
}

// reopen clears the end. ReadyAt stays: the video was ready then.
func (v *VideoView) reopen(e Event) error {
	var data Finish
	if err := e.Decode(&data); err != nil {
		return err
	}
	v.Generation = data.Generation
	v.Status, v.Problem, v.FinishedAt, v.Owed = StateVideoProcessing, nil, nil, false
	v.Warnings = append(v.Media.problems(), v.undelivered(NotifyPlayable)...)
	if v.InspectedAt == nil {
		v.Status = StateVideoQueued
	}
	v.progress()
	return nil
}

// progress updates Progress to 99 at most: only video.ready makes it 100.
func (v *VideoView) progress() {
	if v.PlannedWeight > 0 && !v.Status.Terminal() {
		v.Progress = min(99, 100*v.DoneWeight/v.PlannedWeight)
	}
}

func (v *VideoView) applyUploaded(e Event) error {
	var up Upload
	if err := e.Decode(&up); err != nil {
		return err
	}
	project, video, _, err := Address(e.Subject)
	if err != nil {
		return err
	}
	if up.Fetch != nil { // the fetch job brings size and sum
		up.Source.Filename = up.Fetch.Filename
	}
	*v = VideoView{
		ID: video, Project: project, Status: StateVideoQueued, Pipeline: up.Pipeline.Name,
		Filename: up.Source.Filename, Size: up.Source.Size, SHA256: up.Source.SHA256,
		Title: up.Title, Metadata: up.Metadata, Passthrough: up.Passthrough,
		PlaybackPolicy: up.PlaybackPolicy.OrPublic(), Warnings: []Problem{}, CreatedAt: e.Time,
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	if parts := strings.Split(e.TraceParent, "-"); len(parts) == 4 {
		v.TraceID = parts[1]
	}
	return nil
}

func (v *VideoView) applyFinish(e Event) error {
	var end Finish
	if err := e.Decode(&end); err != nil {
		return err
	}
	at := e.Time
	v.Status, v.Problem, v.FinishedAt = end.State, end.Problem, &at
	v.Owed, v.Generation = end.Notify, end.Generation
	v.Warnings = append(append(v.Media.problems(), end.Warnings...), v.undelivered(NotifyPlayable)...)
	if end.State == StateVideoReady {
		v.ReadyAt, v.Progress = &at, 100
	}
	return nil
}

// ApplyJob updates the view with e, an event of one of the video's jobs; job is that job's view after e.
func (v *VideoView) ApplyJob(e Event, job JobView) {
	if job.Step == InspectStep && e.Type == JobStarted && v.Status == StateVideoQueued {
		v.Status = StateVideoInspecting
	}
	if job.Step == NotifyStep {
		v.applyNotify(e, job)
		return
	}
	switch {
	case e.Type != JobCompleted, job.Step == InspectStep:
		return
	case job.Step == FetchStep:
		v.applyFetched(e)
		return
	}
	if job.Addition == 0 {
		v.DoneWeight += job.Weight
		v.progress()
	}
	var data JobEvent
	if err := e.Decode(&data); err != nil || data.Result == nil {
		return // JobView.Apply has already refused it
	}
	for _, o := range data.Result.Outputs {
		if o.Kind == KindManifest && path.Ext(o.Path) == ".mpd" {
			v.DASH = o.Path
		}
	}
}

// applyFetched sets what is known of a source once it is there.
func (v *VideoView) applyFetched(e Event) {
	var data JobEvent
	if err := e.Decode(&data); err == nil && data.Result != nil && data.Result.Source != nil {
		o := data.Result.Source
		v.Filename, v.Size, v.SHA256 = o.Filename, o.Size, o.SHA256
	}
}

// applyNotify keeps the last failure of a webhook among the warnings, until the receiver accepts.
func (v *VideoView) applyNotify(e Event, job JobView) {
	owed := !JobStateOf(e.Type).Terminal() // after job.requeued it is due again
	switch job.Name {
	case NotifyPlayable:
		v.OwedPlayable = owed
	case notifyName(v.Generation):
		v.Owed = owed
	default:
		return // the job of an earlier end
	}
	failed := (e.Type == JobRetrying || e.Type == JobErrored) && job.Problem != nil
	if !failed && e.Type != JobCompleted {
		return
	}
	of := func(p Problem) bool { return p.Job == job.Name }
	v.Warnings = slices.DeleteFunc(append([]Problem{}, v.Warnings...), of)
	if failed {
		p := *job.Problem
		p.Step, p.Job = NotifyStep, job.Name
		v.Warnings = append(v.Warnings, p)
	}
}

// undelivered returns the warnings of a notify job.
func (v *VideoView) undelivered(job string) []Problem {
	var all []Problem
	for _, w := range v.Warnings {
		if w.Job == job {
			all = append(all, w)
		}
	}
	return all
}

// PlannedJobs returns the views of the jobs that video.inspected or video.outputs_requested plans, all
// pending.
func PlannedJobs(e Event) ([]JobView, error) {
	_, video, _, err := Address(e.Subject)
	if err != nil {
		return nil, err
	}
	var data struct { // both have it
		Plan []Job `json:"plan"`
	}
	if err := e.Decode(&data); err != nil {
		return nil, err
	}
	jobs := make([]JobView, len(data.Plan))
	for i, j := range data.Plan {
		jobs[i] = JobView{
			ID: video + "/" + j.Name, Video: video, Name: j.Name, Step: j.Step, Worker: j.Worker,
			Status: StateJobPending, Addition: AdditionOf(e.Subject),
			After: append([]string{}, j.After...), Optional: j.Optional, Weight: j.weight(), CreatedAt: e.Time,
		}
	}
	return jobs, nil
}

// Apply updates the view with e, an event of the job, and returns the outputs that e publishes. A job outside
// the plan (inspect, notify) begins with its first event, from a zero view.
func (j *JobView) Apply(e Event) ([]Output, error) {
	var data JobEvent
	if err := e.Decode(&data); err != nil {
		return nil, err
	}
	at := e.Time
	if j.ID == "" {
		_, video, name, err := Address(e.Subject)
		if err != nil {
			return nil, err
		}
		*j = JobView{
			ID: video + "/" + name, Video: video, Name: name, Step: data.Step, Worker: data.Worker,
			After: []string{}, Weight: 1, CreatedAt: at,
		}
	}
	j.Status, j.RetryAt = JobStateOf(e.Type), data.RetryAt
	if e.Type != JobCanceled { // written by the coordinator, which runs no attempts
		j.Attempt = data.Attempt
	}
	if data.Problem != nil {
		j.Problem = data.Problem
	}
	switch e.Type {
	case JobStarted:
		j.StartedAt = &at
	case JobRequeued:
		j.StartedAt, j.FinishedAt = nil, nil
	}
	if j.Status.Terminal() {
		j.FinishedAt = &at
	}
	if data.Result == nil {
		return nil, nil
	}
	j.Facts = data.Result.Facts
	return data.Result.Outputs, nil
}

// Settle marks the job as skipped if it has not run when its video ends, and reports whether it did. e is the
// event of that end.
func (j *JobView) Settle(e Event) bool {
	if j.Status != StateJobPending || j.Step == NotifyStep {
		return false
	}
	at := e.Time
	j.Status, j.FinishedAt = StateJobSkipped, &at
	return true
}

// Unsettle makes a skipped job pending again, because its video was reopened, and reports whether it did.
func (j *JobView) Unsettle() bool {
	if j.Status != StateJobSkipped {
		return false
	}
	j.Status, j.FinishedAt = StateJobPending, nil
	return true
}

// ListedOutputs returns outputs, those of a video's completed jobs, as the API lists them. JoinRuns joins
// consecutive runs of one rendition into one output. It has the id, key and job of the first run, and the
// place of the rendition's first output. An object that several jobs stored alike, such as an init section,
// is listed once. Of manifests and playlists with one path, the last is listed, which is what is played:
// those that an addition made replace those before. Segments are listed without Header, and without
// Durations, which playlists have.
func ListedOutputs(outputs []OutputView) []OutputView {
	type place struct {
		kind         OutputKind
		path, sha256 string
		segments     bool
	}
	at := func(o OutputView) place { return place{o.Kind, o.Path, o.SHA256, o.Segments != nil} }
	outputs = withoutReplaced(outputs)
	groups := map[place][]OutputView{}
	for _, o := range outputs {
		groups[at(o)] = append(groups[at(o)], o)
	}
	listed := []OutputView{}
	for _, o := range outputs {
		group := groups[at(o)]
		delete(groups, at(o))
		switch {
		case len(group) == 0: // listed with the first of its group
		case o.Segments != nil:
			listed = append(listed, listedRuns(group)...)
		case o.SHA256 != "":
			listed = append(listed, o)
		default:
			listed = append(listed, group...)
		}
	}
	return listed
}

// withoutReplaced returns outputs without the manifests and playlists of which a later one has the path, and
// other bytes.
func withoutReplaced(outputs []OutputView) []OutputView {
	lists := func(o OutputView) bool { return o.Kind == KindManifest || o.Kind == KindPlaylist }
	latest := map[string]string{} // SHA-256, by path
	for _, o := range outputs {
		if lists(o) {
			latest[o.Path] = o.SHA256
		}
	}
	return slices.DeleteFunc(slices.Clone(outputs), func(o OutputView) bool {
		return lists(o) && latest[o.Path] != o.SHA256
	})
}

// listedRuns returns the runs of one rendition as the API lists them, in the order of their numbers.
func listedRuns(runs []OutputView) []OutputView {
	slices.SortStableFunc(runs, func(a, b OutputView) int {
		return cmp.Compare(a.Segments.First, b.Segments.First)
	})
	var listed []OutputView
	for from := 0; from < len(runs); {
		joined := []Output{runs[from].Output}
		to := from + 1
		for ; to < len(runs); to++ {
			s := runs[to-1].Segments
			if runs[to].Segments.First != s.First+s.Count {
				break
			}
			joined = append(joined, runs[to].Output)
		}
		view := runs[from]
		view.Output = JoinRuns(joined)
		view.Segments.Header = ""
		listed = append(listed, view)
		from = to
	}
	return listed
}

// JoinRuns joins consecutive runs of a rendition into one output. runs is in order and not empty. Segments,
// bytes and seconds are added up, the peak bandwidth is the highest, the average is weighted by time, and
// Last is that of the last run. Durations are left out. All else is the first run's. The key is right for the
// first run only, since each job stores its own objects.
func JoinRuns(runs []Output) Output {
	all, segments := runs[0], *runs[0].Segments
	bits := float64(all.AverageBandwidth) * all.Duration
	for _, r := range runs[1:] {
		all.Size, all.Duration = all.Size+r.Size, all.Duration+r.Duration
		all.Bandwidth, bits = max(all.Bandwidth, r.Bandwidth), bits+float64(r.AverageBandwidth)*r.Duration
		segments.Count, segments.Last = segments.Count+r.Segments.Count, r.Segments.Last
	}
	if len(runs) > 1 && all.Duration > 0 {
		all.AverageBandwidth = int64(math.Round(bits / all.Duration))
	}
	segments.Durations = nil
	all.Segments = &segments
	return all
}

func (j Job) weight() int { return max(1, j.Weight) }
