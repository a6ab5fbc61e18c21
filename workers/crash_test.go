package workers_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/workers"
)

// childDir and childDeath are set in a process that must die: the folder of its broker and store, and the way
// of its death.
const (
	childDir   = "REELMILL_TEST_CRASH_DIR"
	childDeath = "REELMILL_TEST_CRASH_DEATH"
)

// deaths are the ways in which the attempt at job j kills its process.
var deaths = map[string]func(){
	"panic": func() { go panic("the decoder wrote past its end\x1b[31m") },
	"kill":  func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }, // when it fails, nothing dies
	"quit":  func() { _ = syscall.Kill(os.Getpid(), syscall.SIGQUIT) },
}

// openChild returns the rig of a process with a broker of its own.
func openChild(t *testing.T, dir string) *rig {
	return openRig(t, dir, bus.Config{AckWait: patient, Exclusive: true})
}

// TestCrashChild only does something in the child process of another test. There it runs a loop on two jobs
// until both have ended, or the process dies. Job j kills it in its first attempt, while job i runs beside
// it; after a panic, j does so again.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	die, always := deaths[os.Getenv(childDeath)], os.Getenv(childDeath) == "panic"
	r := openChild(t, dir)
	beside := make(chan struct{})
	work := func(ctx context.Context, j job) (pipeline.Result, error) {
		first := j.Number == 1
		switch {
		case first && j.Task.Job.Name == "i":
			close(beside)
			<-ctx.Done()
		case first:
			<-beside
			die()
			<-ctx.Done()
		case always && j.Task.Job.Name == "j":
			die()
			<-ctx.Done()
		}
		return publish(ctx, j)
	}
	subjects := []string{pipeline.JobSubject("p", "v", "i"), pipeline.JobSubject("p", "v", "j")}
	changed, err := r.bus.Watch(t.Context(), subjects...)
	must(t, err)
	stop := r.start(working(work), func(c *workers.Config) {
		c.Slots = map[string]int{"test": 2}
		c.Scratch, c.CrashOutput = filepath.Join(dir, "scratch"), filepath.Join(dir, "crash.txt")
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	})
	for ended := 0; ended < 2; {
		<-changed
		events, err := r.bus.Last(t.Context(), subjects...)
		must(t, err)
		ended = 0
		for _, e := range events {
			if pipeline.JobStateOf(e.Type).Terminal() {
				ended++
			}
		}
	}
	if always { // the dead letter of j is stored after its last event
		r.until("letter", func(acts []string) bool { return slices.Contains(acts, "letter") })
	}
	stop()
}

func write(t *testing.T, dir, name, contents string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o600))
}

// untilBothEnd enqueues the two jobs, and runs child processes until one survives. It returns how many died,
// a rig on their folder, and the stored dead letters.
func untilBothEnd(t *testing.T, death string) (died int, left *rig, letters []pipeline.DeadLetter) {
	t.Helper()
	dir := t.TempDir()
	r := openChild(t, dir)
	for _, name := range []string{"i", "j"} {
		r.enqueue(func(j *pipeline.Job) { j.Name = name })
	}
	r.close()
	for ; ; died++ {
		ctx := pipelinetest.Context(t)
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCrashChild$")
		child.Env = append(os.Environ(), childDir+"="+dir, childDeath+"="+death)
		out, err := child.CombinedOutput()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if died == 4 || !errors.As(err, &exit) || ctx.Err() != nil {
			t.Fatalf("child %d: %v\n%s", died, err, out)
		}
	}
	left = openChild(t, dir)
	letters, _, err := left.bus.DeadLetters(t.Context(), "p", "", 10)
	must(t, err)
	return died, left, letters
}

// TestCrashIsBlamed: a job that crashes its process gets two attempts, the second of them alone. The job that
// ran beside the first attempt completes.
func TestCrashIsBlamed(t *testing.T) {
	died, r, letters := untilBothEnd(t, "panic")
	if died != 2 {
		t.Errorf("%d processes died", died)
	}
	_, guilty := r.lastOf("j", pipeline.JobErrored)
	p := guilty.Problem
	if p.Code != pipeline.CodeWorkerCrashed || guilty.Failed != 2 || guilty.Attempt != 2 || guilty.Lost != 0 {
		t.Errorf("%+v, %+v", guilty, p)
	}
	if !strings.Contains(p.Stderr, "panic: the decoder") || !strings.Contains(p.Stderr, "goroutine ") ||
		strings.Contains(p.Stderr, "\x1b") || len(p.Stderr) > 4<<10 {
		t.Errorf("crash text %q", p.Stderr)
	}
	if len(letters) != 1 || letters[0].Task.Job.Name != "j" || letters[0].Problem.Stderr != p.Stderr {
		t.Errorf("letters %+v", letters)
	}
	_, innocent := r.lastOf("i", pipeline.JobCompleted)
	if innocent.Failed != 1 || innocent.Lost != 0 || innocent.Problem != nil {
		t.Errorf("%+v", innocent)
	}
	if got := r.keys(); len(got) != 1 || got[0] != innocent.Result.Outputs[0].Key {
		t.Errorf("the store has %v", got)
	}
}

// TestKillIsNobodysFault: if the process is killed from outside, its attempts are lost, not failed.
func TestKillIsNobodysFault(t *testing.T) {
	for _, death := range []string{"kill", "quit"} {
		t.Run(death, func(t *testing.T) {
			died, r, letters := untilBothEnd(t, death)
			if died != 1 || len(letters) != 0 {
				t.Errorf("%d processes died, letters %+v", died, letters)
			}
			for _, name := range []string{"i", "j"} {
				_, data := r.lastOf(name, pipeline.JobCompleted)
				if data.Lost != 1 || data.Failed != 0 || data.Attempt != 2 {
					t.Errorf("%s: %+v", name, data)
				}
			}
		})
	}
}

// TestBlameIsNotAgainst: a suspect whose job has moved on, or a truncated note, changes nothing.
func TestBlameIsNotAgainst(t *testing.T) {
	r := newRig(t, patient)
	task := r.enqueue()
	token := r.append(pipeline.JobStarted, task, 0, pipeline.JobEvent{Attempt: 1, Owner: 999})
	r.append(pipeline.JobCompleted, task, token, pipeline.JobEvent{Attempt: 1, Token: token})
	dir := t.TempDir()
	scratch := filepath.Join(dir, "scratch")
	must(t, os.Mkdir(scratch, 0o700))
	raw, err := json.Marshal(map[string]any{"token": token, "task": task})
	must(t, err)
	write(t, scratch, "j-1.json", string(raw))
	write(t, scratch, "j-2.json", `{"tok`)
	write(t, dir, "crash.txt", "panic: out of luck")
	t.Cleanup(func() { must(t, debug.SetCrashOutput(nil, debug.CrashOptions{})) })
	r.start(working(publish), func(c *workers.Config) {
		c.Scratch = scratch
		c.CrashOutput = filepath.Join(dir, "crash.txt")
	})
	r.done("next", "ack")
	if _, data := r.last(pipeline.JobCompleted); data.Token != token {
		t.Errorf("%+v", data)
	}
	if left, err := os.ReadFile(filepath.Join(dir, "crash.txt")); err != nil || len(left) != 0 {
		t.Errorf("the crash output holds %q, %v", left, err)
	}
}
