package pipelinetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// clocked is a test in a binary with a time-out.
type clocked struct {
	testing.TB
	deadline time.Time
	failed   []string
}

func (c *clocked) Helper()                     {}
func (c *clocked) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }
func (c *clocked) Errorf(f string, args ...any) {
	c.failed = append(c.failed, fmt.Sprintf(f, args...))
}

func (c *clocked) Fatalf(f string, args ...any) {
	c.Errorf(f, args...)
	panic(c)
}

// fails runs f and returns its failures.
func (c *clocked) fails(f func()) []string {
	defer func() {
		if r := recover(); r != nil && r != any(c) {
			panic(r)
		}
	}()
	f()
	return c.failed
}

// TestAWaitTakesHalfOfWhatIsLeft: then the wait fails and says what it waited for.
func TestAWaitTakesHalfOfWhatIsLeft(t *testing.T) {
	for name, wait := range map[string]func(*clocked){
		"until":   func(c *clocked) { Until(c, "the end", func() bool { return false }) },
		"receive": func(c *clocked) { Receive(c, "the end", make(chan int)) },
	} {
		began := time.Now()
		c := &clocked{deadline: began.Add(400 * time.Millisecond)}
		c.fails(func() { wait(c) })
		if len(c.failed) != 1 || c.failed[0] != "waited in vain: the end" {
			t.Errorf("%s: failed %v", name, c.failed)
		}
		if took := time.Since(began); took < 150*time.Millisecond {
			t.Errorf("%s: gave up after %s", name, took)
		}
	}
	if got := Left(&clocked{}); got != unlimited {
		t.Errorf("without a time-out a wait may take %s", got)
	}
	if got := Receive(t, "a number", func() chan int { c := make(chan int, 1); c <- 7; return c }()); got != 7 {
		t.Errorf("received %d", got)
	}
}

// TestPromptly tells work that keeps a promise from work that does not, on any machine.
func TestPromptly(t *testing.T) {
	c := &clocked{}
	Promptly(c, "it", time.Now(), time.Minute)
	if len(c.failed) != 0 {
		t.Errorf("work that has just begun is late: %v", c.failed)
	}
	Promptly(c, "it", time.Now().Add(-1000*time.Hour), time.Second)
	if len(c.failed) != 1 {
		t.Error("work that takes a thousand hours instead of a second is not late")
	}
}

// TestLonger tries longer times until one suffices, and fails when none does.
func TestLonger(t *testing.T) {
	var tried []time.Duration
	try := func(need time.Duration) func(time.Duration) error {
		tried = nil
		return func(d time.Duration) error {
			if tried = append(tried, d); d < need {
				return errors.New("too short")
			}
			return nil
		}
	}
	c := &clocked{TB: t}
	if Longer(c, 2, 10, try(3)); !slices.Equal(tried, []time.Duration{2, 4}) || len(c.failed) != 0 {
		t.Errorf("tried %v, failed %v", tried, c.failed)
	}
	Longer(c, 2, 10, try(9))
	if !slices.Equal(tried, []time.Duration{2, 4, 8}) || len(c.failed) != 1 || c.failed[0] != "with 8ns, too: too short" {
		t.Errorf("tried %v, failed %v", tried, c.failed)
	}
}
