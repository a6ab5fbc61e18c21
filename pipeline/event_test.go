package pipeline_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

func TestChildTrace(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	form := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	for parent, flags := range map[string]string{"00-" + trace + "-" + span + "-01": "01",
		"00-" + trace + "-" + span + "-00": "00"} {
		child := pipeline.ChildTrace(parent)
		if !form.MatchString(child) || child[3:35] != trace || child[36:52] == span || child[53:] != flags {
			t.Errorf("child of %s: %s", parent, child)
		}
	}
	seen := map[string]bool{trace: true}
	for _, parent := range []string{
		"", "x", "00-" + trace, "01-" + trace + "-" + span + "-01", "00-" + trace[1:] + "-" + span + "-01",
		"00-" + strings.Repeat("0", 32) + "-" + span + "-01", "00-" + trace + "-" + strings.Repeat("0", 16) + "-01",
		"00-" + strings.ToUpper(trace) + "-" + span + "-01", "00-" + trace + "-" + span[1:] + "-01",
		"00-" + trace + "-" + span + "-zz", "00-" + trace + "-" + span + "-1", "00-" + trace + "-" + span + "-01-x",
	} {
		child := pipeline.ChildTrace(parent)
		if !form.MatchString(child) || seen[child[3:35]] || child[53:] != "01" {
			t.Errorf("%q is not a traceparent, and its child is in its trace: %s", parent, child)
		}
		seen[child[3:35]] = true
	}
}

func TestAddress(t *testing.T) {
	for _, subject := range []string{
		pipeline.UploadedSubject("p", "v"), pipeline.InspectedSubject("p", "v"), pipeline.PlayableSubject("p", "v"),
		pipeline.FinishedSubject("p", "v"), pipeline.DeletedSubject("p", "v"),
	} {
		if p, v, j, err := pipeline.Address(subject); p != "p" || v != "v" || j != "" || err != nil {
			t.Errorf("the address of %s is %q %q %q, %v", subject, p, v, j, err)
		}
	}
	task := pipeline.Task{Project: "p", Video: "v", Job: pipeline.Job{Name: "j", Worker: "w"}}
	if p, v, j, err := pipeline.Address(task.JobSubject()); p != "p" || v != "v" || j != "j" || err != nil {
		t.Errorf("job: %q %q %q, %v", p, v, j, err)
	}
	letter := pipeline.DeadLetter{Task: task, Token: 7}
	for _, subject := range []string{
		"", "video", "video.uploaded.p", "job.p.v", "job.p.v.j.x", "other.p.v.j", task.Subject(),
		pipeline.ProgressSubject("p", "v", "j"), letter.DeadSubject(),
	} {
		if _, _, _, err := pipeline.Address(subject); err == nil {
			t.Errorf("%q is taken for a subject of the log", subject)
		}
	}
	for _, of := range []struct{ project, thing string }{{"p", "project"}, {"p", "key_1"}, {"_operator", "key_1"}} {
		s := pipeline.AccessSubject(of.project, of.thing)
		if p, thing, ok := pipeline.AccessAddress(s); p != of.project || thing != of.thing || !ok {
			t.Errorf("the address of %s is %q %q, %t", s, p, thing, ok)
		}
		if p, v, j, err := pipeline.Address(s); err == nil {
			t.Errorf("%s is taken for a video: %q %q %q", s, p, v, j)
		}
		if !strings.HasPrefix(s, strings.TrimSuffix(pipeline.AccessSubjects, ">")) {
			t.Errorf("%s does not match %s", s, pipeline.AccessSubjects)
		}
	}
	for _, s := range []string{pipeline.UploadedSubject("p", "v"), "video.access.p", "job.access.p.v", ""} {
		if p, thing, ok := pipeline.AccessAddress(s); ok {
			t.Errorf("%q is taken for a project or key: %q %q", s, p, thing)
		}
	}
	if s := task.Subject(); s != "task.w.normal."+pipeline.Lane("p")+".p.v.j" ||
		letter.DeadSubject() != "dead.w.p.v.j.7" {
		t.Errorf("subjects %s, %s", s, letter.DeadSubject())
	}
	lanes := map[string]bool{}
	for i := range 200 {
		lanes[pipeline.Lane(fmt.Sprint(i))] = true
	}
	if len(lanes) != pipeline.Lanes || !lanes["0"] || !lanes["7"] {
		t.Errorf("lanes %v", lanes)
	}
}

func TestDecode(t *testing.T) {
	e := pipeline.Event{ID: "evt_1", Type: pipeline.JobStarted, Data: []byte(`{"attempt":2,"unheard":{}}`)}
	var data pipeline.JobEvent
	if err := e.Decode(&data); err != nil || data.Attempt != 2 {
		t.Errorf("%+v, %v", data, err)
	}
	e.Data = []byte(`{"attempt":"x"}`)
	if err := e.Decode(&data); err == nil || !strings.Contains(err.Error(), "evt_1") {
		t.Errorf("got %v", err)
	}
	if _, err := pipeline.NewEvent("r", pipeline.JobStarted, "s", "v", pipeline.Event{}, func() {}); err == nil {
		t.Error("an event with a function as data is encoded")
	}
}

func TestProblemOf(t *testing.T) {
	if pipeline.ProblemOf(nil) != nil {
		t.Error("ProblemOf(nil) is not nil")
	}
	p := pipeline.ProblemOf(errors.New("plain"))
	if p.Code != pipeline.CodeInternal || p.Detail != "plain" || !p.Retryable ||
		p.Error() != "internal_error: plain" {
		t.Errorf("%+v", p)
	}
	root := errors.New("root")
	failure := pipeline.Fail(pipeline.CodeMalformed, "read: %w", root)
	failure.Stderr = "moov atom not found"
	p = pipeline.ProblemOf(fmt.Errorf("outer: %w", failure))
	if p.Code != pipeline.CodeMalformed || p.Detail != "read: root" || p.Class != pipeline.Input ||
		p.Retryable ||
		p.Stderr != failure.Stderr || p.Title == "" || p.Remedy == "" || !errors.Is(failure, root) {
		t.Errorf("%+v", p)
	}
	bare := &pipeline.Error{Code: pipeline.CodeDiskFull, Err: root}
	if p := pipeline.ProblemOf(bare); p.Detail != "root" || bare.Error() != "disk_full: root" || !p.Retryable {
		t.Errorf("%+v", p)
	}
	if p := pipeline.ProblemOf(&pipeline.Error{Code: "future_code"}); p.Code != "future_code" || !p.Retryable {
		t.Errorf("a code that is not in the catalogue reads as transient: %+v", p)
	}
}

// TestCatalogue: every code that codes.go declares is explained.
func TestCatalogue(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[pipeline.Code]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		declared[pipeline.Code(code)] = true
		return true
	})
	explained := pipeline.Codes()
	if len(declared) < 20 || len(explained) != len(declared) {
		t.Errorf("%d codes are declared, %d explained", len(declared), len(explained))
	}
	for _, c := range explained {
		e := pipeline.Describe(c)
		if !declared[c] || e.Title == "" || e.Cause == "" || e.Remedy == "" || e.Class == "" {
			t.Errorf("%s: %+v", c, e)
		}
	}
}
