package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

func TestDeadLettersArePagedByProject(t *testing.T) {
	bus := newBus(t, Config{})
	letters, next, err := bus.DeadLetters(soon(t), "default", "", 10)
	if err != nil || len(letters) != 0 || next != "" {
		t.Errorf("none: %v, %q, %v", letters, next, err)
	}
	for i := range 5 {
		for _, project := range []string{"default", "other"} {
			d := pipeline.DeadLetter{Task: taskOf(project, fmt.Sprint("job-", i), ""), Token: 7}
			must(t, bus.DeadLetter(soon(t), d))
		}
	}
	tests := []struct {
		limit int
		want  []string // the jobs of each page
	}{
		{2, []string{"job-0 job-1", "job-2 job-3", "job-4"}},
		{5, []string{"job-0 job-1 job-2 job-3 job-4"}},
		{100, []string{"job-0 job-1 job-2 job-3 job-4"}},
		{0, []string{"job-0", "job-1", "job-2", "job-3", "job-4"}},
	}
	for _, test := range tests {
		var pages []string
		after := ""
		for page := 0; page == 0 || after != ""; page++ {
			letters, next, err := bus.DeadLetters(soon(t), "default", after, test.limit)
			must(t, err)
			var jobs []string
			for _, d := range letters {
				jobs = append(jobs, d.Task.Job.Name)
				if d.Task.Project != "default" {
					t.Errorf("a letter of %s", d.Task.Project)
				}
			}
			pages = append(pages, strings.Join(jobs, " "))
			after = next
		}
		if !slices.Equal(pages, test.want) {
			t.Errorf("limit %d: pages %q, want %q", test.limit, pages, test.want)
		}
	}
	if _, _, err := bus.DeadLetters(soon(t), "default", "job-1", 2); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("after a malformed id: %v", err)
	}
}

func TestDeadLetterByIDAndDiscard(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.DeadLetter(soon(t), pipeline.DeadLetter{Task: task("a", "", 0), Token: 7, ID: "dead_99"}))
	must(t, bus.DeadLetter(soon(t), pipeline.DeadLetter{Task: task("b", "", 0), Token: 7}))
	letters, _, err := bus.DeadLetters(soon(t), "default", "", 10)
	must(t, err)
	id := letters[0].ID
	d, err := bus.DeadLetterByID(soon(t), "default", id)
	must(t, err)
	if d.ID != id || d.Task.Job.Name != "a" || d.Token != 7 {
		t.Errorf("letter %+v", d)
	}
	for _, bad := range [][2]string{
		{"other", id}, {"default", "dead_3"}, {"default", "dead_01"}, {"default", "1"}, {"default", ""},
		{"default", "dead_"}, {"default", "dead_-1"}, {"default", "dead_0"}, {"default", "dead_1x"}, {"*", id},
	} {
		if _, err := bus.DeadLetterByID(soon(t), bad[0], bad[1]); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("letter %q of %s: %v", bad[1], bad[0], err)
		}
		if err := bus.Discard(soon(t), bad[0], bad[1]); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("discard %q of %s: %v", bad[1], bad[0], err)
		}
	}
	must(t, bus.Discard(soon(t), "default", id))
	if err := bus.Discard(soon(t), "default", id); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("discard again: %v", err)
	}
	// A page may begin after a letter that was discarded.
	letters, next, err := bus.DeadLetters(soon(t), "default", id, 10)
	if err != nil || next != "" || len(letters) != 1 || letters[0].Task.Job.Name != "b" {
		t.Errorf("the rest is %+v, %q, %v", letters, next, err)
	}
}

func TestDeadLettersThatAreRaw(t *testing.T) {
	bus := newBus(t, Config{})
	subject := "task.transcode.normal.6.default.vid_1.broken"
	m := &nats.Msg{Subject: subject, Data: []byte("{not json"), Header: nats.Header{"traceparent": {"x"}}}
	_, err := bus.js.PublishMsg(soon(t), m)
	must(t, err)
	none(t, bus)
	_, err = bus.js.PublishMsg(soon(t), &nats.Msg{Subject: "dead.transcode.default.v.j.1", Data: []byte("{")})
	must(t, err)
	letters, _, err := bus.DeadLetters(soon(t), "default", "", 10)
	must(t, err)
	if len(letters) != 2 {
		t.Fatalf("letters %+v", letters)
	}
	d := letters[0]
	if string(d.Raw) != "{not json" || d.Subject != subject || d.Task.Job.Name != "" || d.ID == "" ||
		d.Problem.Code != pipeline.CodeInternal || !strings.Contains(d.Problem.Detail, "decode task") ||
		len(d.Headers) != 1 || d.Headers["traceparent"] != "x" || time.Since(d.Time) > time.Minute {
		t.Errorf("letter %+v", d)
	}
	if d := letters[1]; string(d.Raw) != "{" || d.Problem.Code != pipeline.CodeInternal {
		t.Errorf("a letter that cannot be read: %+v", d)
	}
	must(t, bus.Discard(soon(t), "default", d.ID))
}

func TestDeadLetterKeepsTheHeadersOfItsTask(t *testing.T) {
	bus := newBus(t, Config{})
	must(t, bus.Enqueue(soon(t), task("a", "", 7)))
	d := next(t, bus)
	must(t, bus.DeadLetter(soon(t), pipeline.DeadLetter{Task: d.Task(), Token: 9}))
	letters, _, err := bus.DeadLetters(soon(t), "default", "", 1)
	must(t, err)
	if h := letters[0].Headers; len(h) != 1 || h["content-type"] != "application/json" {
		t.Errorf("headers %v", h)
	}
}
