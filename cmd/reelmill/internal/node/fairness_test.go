package node

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestFairness checks that a video of one project does not wait for a thousand videos of another. It counts
// the videos that begin before it, rather than time, which depends on the machine. On an idle machine they
// are two or three.
func TestFairness(t *testing.T) {
	const slots, crowd, most = 2, 1000, 100
	const work = 2 * time.Second
	crowded, alone := "crowded", "alone-5"
	before := make(chan int, 1)
	waiting := make(chan struct{})
	inspected, begun := 0, 0
	m := newMill(t, slots, work, func(e pipeline.Event) {
		switch {
		case e.Type == pipeline.VideoUploaded && e.Subject == pipeline.UploadedSubject(alone, "v"):
			begun = 0
		case e.Type == pipeline.JobStarted && strings.HasPrefix(e.Subject, "job."+alone+".v.idle"):
			select {
			case before <- begun:
			default:
			}
		case e.Type == pipeline.JobStarted && strings.Contains(e.Subject, ".idle"):
			begun++
		case e.Type == pipeline.VideoInspected:
			if inspected++; inspected == crowd/10 {
				close(waiting)
			}
		}
	})
	for i := range crowd {
		m.upload(crowded, fmt.Sprintf("v%d", i))
	}
	<-waiting // there are far more jobs than slots
	m.upload(alone, "v")
	if n := pipelinetest.Receive(t, "the start of the other project's job", before); n > most {
		t.Errorf("begun after %d jobs of the crowd, want at most %d", n, most)
	}
}

// TestFloodOfOneOf200Projects measures how long the videos of 199 projects take while another one floods the
// workers with hundreds of videos. A job takes one slot's time, which the test decides: it ends the jobs one
// by one, the one that has run longest first, and never while a job of the 199 is on its way to the queue. So
// it measures the waiting for workers, in slots, and not the machine. Without the flood a video takes two
// slots, for its two jobs. With it, it takes less than two slots more.
func TestFloodOfOneOf200Projects(t *testing.T) {
	const slots, crowd, projects, every = 8, 300, 199, 3
	f := &flood{t: t, begun: make(chan *running), ready: make(chan string, projects)}
	first := pipeline.Job{Name: "a"}
	work := idle{jobs: []pipeline.Job{first, {Name: "last", After: []string{"a"}}}, wait: f.work}
	f.mill = newMillOf(t, slots, work, func(e pipeline.Event) {
		if project, _, _, err := pipeline.Address(e.Subject); err == nil && e.Type == pipeline.VideoReady &&
			project != "flood" {
			f.ready <- project
		}
	})
	for i := range crowd {
		f.mill.upload("flood", fmt.Sprint("v", i))
	}
	for len(f.running) < slots {
		f.begin()
	}
	uploaded := map[string]int{}
	worst, sum := 0, 0
	for done := 0; done < projects; f.tick() {
		if n := len(uploaded); n < projects && f.ticks%every == 0 {
			project := fmt.Sprintf("project-%03d", n)
			uploaded[project] = f.ticks
			f.mill.upload(project, "v-"+project)
			f.queued(project, "idle-a")
		}
		for ; len(f.ready) > 0; done++ {
			took := f.ticks - uploaded[<-f.ready] - 2*slots
			worst, sum = max(worst, took), sum+took
		}
		if f.ticks > projects*every+10*slots {
			t.Fatalf("%d of %d videos are ready after %d slots", done, projects, f.ticks/slots)
		}
	}
	t.Logf("with the flood, a video takes %.2f slots more, and %.2f at most",
		float64(sum)/projects/slots, float64(worst)/slots)
	if worst >= 2*slots {
		t.Errorf("a video took %.2f slots more with the flood than without", float64(worst)/slots)
	}
}

// flood runs the jobs of a mill, and ends them one by one.
type flood struct {
	t       *testing.T
	mill    *mill
	begun   chan *running
	ready   chan string // the projects whose video is ready
	running []*running  // the one that has run longest first
	ticks   int         // jobs ended
}

type running struct {
	task pipeline.Task
	end  chan struct{}
}

func (f *flood) work(ctx context.Context, task pipeline.Task) error {
	r := &running{task, make(chan struct{})}
	select {
	case f.begun <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.end:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// begin waits for the begin of a job.
func (f *flood) begin() {
	f.running = append(f.running, pipelinetest.Receive(f.t, "the begin of a job", f.begun))
}

// tick ends the job that has run longest, and waits until its slot has another one.
func (f *flood) tick() {
	r := f.running[0]
	f.running = f.running[1:]
	f.ticks++
	close(r.end)
	if project := r.task.Project; project != "flood" && strings.HasSuffix(r.task.Job.Name, "-a") {
		f.queued(project, "idle-last")
	}
	f.begin()
}

// queued returns when the job of a project's video is in the queue, or has begun.
func (f *flood) queued(project, job string) {
	task := pipeline.Task{Project: project, Video: "v-" + project, Job: pipeline.Job{Name: job, Worker: "idle"}}
	pipelinetest.Until(f.t, project+": "+job+" is queued", func() bool {
		queued, err := f.mill.bus.Queued(f.t.Context(), task)
		check(f.t, err)
		return queued
	})
}
