package bulk_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bulk"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// These name, in the environment of a process that is to be killed, its folder and where it waits for that.
const (
	crashDir = "REELMILL_TEST_CRASH_DIR"
	crashAt  = "REELMILL_TEST_CRASH_AT"
)

// The effects on a letter, in their order.
const (
	chosen    = "chosen"    // the run says that the letter is next
	requeued  = "requeued"  // its job is requeued
	discarded = "discarded" // the letter is gone; what became of it is not stored
)

// TestARunSurvivesItsServer: the server is killed after each effect on a letter in turn. The run goes on with the
// next start: each letter is redriven once, none is forgotten, and the counts are right.
func TestARunSurvivesItsServer(t *testing.T) {
	const letters = 30
	if dir := os.Getenv(crashDir); dir != "" {
		die(t, dir, os.Getenv(crashAt))
		return
	}
	dir := t.TempDir()
	var run bulk.Run
	t.Run("begin", func(t *testing.T) {
		r := open(t, dir)
		for i := range letters {
			r.letter(fmt.Sprintf("vid_%02d", i), pipeline.CodeEncodeFailed)
		}
		run = r.starts(bulk.Redrive, bulk.LetterFilter{Worker: "inspect"})
	})
	for _, at := range []string{chosen, requeued, discarded, discarded, requeued, chosen} {
		kill(t, dir, at)
	}
	r := open(t, dir)
	c := r.config("last")
	c.Alone = true
	r.runs(c)
	run = r.until(run.ID, "the end of the run", ended)
	if got := counts(run); got != "completed: 30 of 30 done, 0 failed, 0 skipped, 0 remain" {
		t.Error(got)
	}
	if left := r.left(); len(left) != 0 {
		t.Errorf("letters of %v are forgotten", left)
	}
	for i := range letters {
		if n := len(r.requeued(fmt.Sprintf("vid_%02d", i))); n != 1 {
			t.Errorf("letter %d was redriven %d times", i, n)
		}
	}
}

// kill starts a process that leads the run, and kills it when it says that it has come to an effect.
func kill(t *testing.T, dir, at string) {
	t.Helper()
	child := exec.CommandContext(pipelinetest.Context(t), os.Args[0], "-test.run=^TestARunSurvivesItsServer$")
	child.Env = append(os.Environ(), crashDir+"="+dir, crashAt+"="+at)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines, came := bufio.NewScanner(out), false
	for !came && lines.Scan() {
		came = strings.HasPrefix(lines.Text(), "here")
		if !came {
			t.Log(lines.Text())
		}
	}
	must(t, child.Process.Kill())
	if err := child.Wait(); err == nil || !came {
		t.Fatalf("the process ended by itself, before the letter was %s", at)
	}
}

// die leads the run until the third letter has come to an effect. Then it waits to be killed.
func die(t *testing.T, dir, at string) {
	r := open(t, dir)
	n := 0
	effect := func(name string) {
		if name != at {
			return
		}
		if n++; n == 3 {
			fmt.Println("here")
			<-t.Context().Done()
		}
	}
	c := r.config("dying " + at)
	c.Alone = true
	c.Log = logFunc{r.bus, func() { effect(requeued) }}
	c.Letters, c.Bucket = deadly{r.bus, effect}, deadlyBucket{r.bus, effect}
	must(t, bulk.New(c).Run(pipelinetest.Context(t)))
	t.Error("the run had an end")
}

type deadly struct {
	bulk.Letters
	effect func(string)
}

func (d deadly) Discard(ctx context.Context, project, id string) error {
	err := d.Letters.Discard(ctx, project, id)
	d.effect(discarded)
	return err
}

type deadlyBucket struct {
	bulk.Bucket
	effect func(string)
}

func (d deadlyBucket) PutBulkRun(ctx context.Context, r bulk.Run) (bulk.Run, error) {
	stored, err := d.Bucket.PutBulkRun(ctx, r)
	if r.Current != "" {
		d.effect(chosen)
	}
	return stored, err
}
