package pipeline

import (
	"hash/fnv"
	"strconv"
	"time"
)

// Task is the message that brings a job to a worker. It holds all that an attempt needs, so a worker in any
// language need not read the log's history.
type Task struct {
	Project string `json:"project"`
	Video   string `json:"video"`
	Job     Job    `json:"job"`
	// Cause is the sequence of the job event that led to the task: 0 for the first, later the job.retrying or
	// job.requeued. The task is valid only for the state that the event left.
	Cause   uint64            `json:"cause"`
	Source  Object            `json:"source"`           // the zero Object for a fetch job
	Assets  map[string]Object `json:"assets,omitempty"` // further objects of the upload, by name: watermark
	Media   *Media            `json:"media,omitempty"`  // nil for the inspect job
	EventID string            `json:"event_id"`         // of the event that led to the task
	Trace   string            `json:"traceparent"`
}

// Subject is the subject of the task in the queue: task.<type>.<priority>.<lane>.<project>.<video>.<job>.
func (t Task) Subject() string {
	return "task." + t.Job.Worker + "." + string(t.Job.priority()) + "." + Lane(t.Project) + "." +
		t.Project + "." + t.Video + "." + t.Job.Name
}

// Fences returns the subjects whose next event may end an attempt at the task: those of its job, and of the
// end and the deletion of its video.
func (t Task) Fences() []string {
	return []string{t.JobSubject(), FinishedSubject(t.Project, t.Video), DeletedSubject(t.Project, t.Video)}
}

// JobSubject is the subject of the task's job in the log.
func (t Task) JobSubject() string { return JobSubject(t.Project, t.Video, t.Job.Name) }

// Lanes is the number of lanes that subjects of tasks have. Processes of earlier versions take from lanes in
// turn; since then projects take turns.
const Lanes = 8

// Lane returns the lane of a project.
func Lane(project string) string {
	h := fnv.New32a()
	h.Write([]byte(project))
	return strconv.Itoa(int(h.Sum32() % Lanes))
}

// Place is where a job is in the queue.
type Place struct {
	Queued bool // a task waits, or is held by the worker that took it
	Taken  bool // a worker has it; false while it waits
	// Ahead is how many tasks of the same project, worker type and priority wait before this one; 0 when Taken.
	// Other projects take turns with this one: before each of these tasks, and before this one, a process takes
	// at most as many tasks of another project as that has weight.
	Ahead int
	// Limit is how many tasks of the project and worker type may run at once, when so many
	// run and this one waits for the end of one; else 0.
	Limit int
	DueAt *time.Time // when its retry becomes a task; nil when none is scheduled
}
