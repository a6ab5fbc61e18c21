package bus

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
)

// crashDir names the folder in the environment of the process that is to be killed.
const crashDir = "REELMILL_TEST_CRASH_DIR"

// A process that is killed without warning loses nothing that the broker has acknowledged, and the task that it held
// is delivered at once.
func TestKilledProcessLosesNothing(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		crash(t, dir)
		return
	}
	dir := t.TempDir()
	child := exec.CommandContext(soon(t), os.Args[0], "-test.run=^TestKilledProcessLosesNothing$")
	child.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(out)
	var stored int
	for lines.Scan() && stored < 50 {
		if strings.HasPrefix(lines.Text(), "stored ") {
			stored++
		}
	}
	must(t, child.Process.Kill())
	if err := child.Wait(); err == nil {
		t.Error("the process ended by itself")
	}

	b := &broker{t: t, dir: dir}
	b.start()
	t.Cleanup(b.stop)
	bus := b.open(Config{Exclusive: true})
	for i := range stored {
		last, err := bus.Last(soon(t), pipeline.JobSubject("default", "vid_1", fmt.Sprint("job-", i)))
		must(t, err)
		if last[0].Sequence == 0 {
			t.Errorf("event %d is lost", i)
		}
	}
	q, err := bus.queue("transcode")
	must(t, err)
	d, err := bus.take(soon(t), q, &q.lines[2], pipeline.Priorities)
	must(t, err)
	if d == nil || d.Task().Job.Name != "held" {
		t.Fatalf("took %+v, want the task that the dead process held", d)
	}
	must(t, d.Ack(soon(t)))
	if d := next(t, bus); d.Task().Job.Name != "due" {
		t.Errorf("task %+v, want the schedule that fell due", d.Task())
	}
}

// crash is the process that is killed: it holds a task, has a schedule, and appends until it dies.
func crash(t *testing.T, dir string) {
	s, err := embedded.Start(soon(t), embedded.Config{Dir: dir})
	must(t, err)
	nc, err := s.Conn()
	must(t, err)
	bus, err := Open(soon(t), nc, Config{Exclusive: true})
	must(t, err)
	must(t, bus.Enqueue(soon(t), task("acked", "", 0)))
	must(t, next(t, bus).Ack(soon(t)))
	must(t, bus.Enqueue(soon(t), task("held", "", 0)))
	next(t, bus)
	must(t, bus.Schedule(soon(t), task("due", "", 1), time.Now().Add(time.Second)))
	for i := 0; ; i++ {
		_, err := bus.Append(soon(t), event(t, "vid_1", fmt.Sprint("job-", i)), 0)
		must(t, err)
		fmt.Println("stored", i)
	}
}
