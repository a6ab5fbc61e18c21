package api

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// errorEntry is a code in the catalogue of errors. The catalogue is made of the tables codes and causes,
// and of that of package pipeline. A code may be in both: with different remedies, since the reader has
// different means.
type errorEntry struct {
	Code    string         `json:"code" doc:"The code. Codes never change their meaning"`
	Type    string         `json:"type" doc:"The type of problems with the code: the address where it is explained"`
	Answer  *answerEntry   `json:"answer" doc:"What it means as the answer to a request; null if it is none"`
	Failure *failureReason `json:"failure" doc:"What it means on a video, a job or an upload; null if it is none"`
}

// answerEntry explains a code that a request is answered with.
type answerEntry struct {
	Status    int    `json:"status" doc:"The HTTP status"`
	Title     string `json:"title" doc:"The code in words"`
	Cause     string `json:"cause" doc:"The likely cause"`
	Remedy    string `json:"remedy" doc:"What to do about it, unless the problem itself says otherwise"`
	Retryable bool   `json:"retryable" doc:"Whether the same request may succeed later"`
}

// failureReason explains a code on a video, job or dead letter.
type failureReason struct {
	Class     pipeline.Class `json:"class" enum:"transient,resource,input,bug" doc:"What kind of failure it is"`
	Title     string         `json:"title" doc:"The code in words"`
	Cause     string         `json:"cause" doc:"The likely cause"`
	Remedy    string         `json:"remedy" doc:"What to do about it"`
	Retryable bool           `json:"retryable" doc:"Whether another attempt may succeed; the server makes it by itself"`
}

// errorCatalogue returns every code, sorted. Those with a star are listed for each of workers; without
// any, as they are. The addresses begin with public.
func errorCatalogue(public string, workers []string) []errorEntry {
	entries := map[string]*errorEntry{}
	at := func(name string) *errorEntry {
		if entries[name] == nil {
			entries[name] = &errorEntry{Code: name, Type: public + "/docs/errors#" + name}
		}
		return entries[name]
	}
	for c, e := range codes {
		for _, worker := range namesFor(c, workers) {
			f := failure{worker: worker}
			at(f.named(string(c))).Answer = &answerEntry{
				e.status, f.named(e.title), f.named(causes[c]), f.named(e.remedy), e.retryable,
			}
		}
	}
	for _, c := range pipeline.Codes() {
		e := pipeline.Describe(c)
		at(string(c)).Failure = &failureReason{e.Class, e.Title, e.Cause, e.Remedy, e.Class.Retryable()}
	}
	var all []errorEntry
	for _, e := range entries {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b errorEntry) int { return cmp.Compare(a.Code, b.Code) })
	return all
}

// namesFor returns what may stand for the star of a code: worker types, or itself.
func namesFor(c code, workers []string) []string {
	if len(workers) > 0 && strings.Contains(string(c), "*") {
		return workers
	}
	return []string{"*"}
}

// ErrorCatalogue returns the catalogue of errors as a document in Markdown: every code with its meaning, its
// likely cause and what to do. A * in a code is a worker type.
func ErrorCatalogue() string {
	var b strings.Builder
	b.WriteString("# Errors\n\nEvery code, from the tables in [codes.go](codes.go), " +
		"[causes.go](causes.go) and " +
		"[codes.go](../codes.go).\n`go test ./pipeline/api -run TestErrorCatalogue -update` writes this " +
		"file. A server has " +
		"the same at `/docs/errors` and,\nfor programs, at `/docs/errors.json`; the `type` of a problem " +
		"leads there. Codes " +
		"never change their meaning.\n\nA * is a worker type that takes a field of the upload, such as " +
		"`watermark`.\n")
	catalogue := errorCatalogue("", nil)
	b.WriteString("\n## Answers to requests\n\n| code | status | meaning | likely cause | what to do | " +
		"again? |\n" +
		"|---|---|---|---|---|---|\n")
	for _, e := range catalogue {
		if a := e.Answer; a != nil {
			b.WriteString(row("`"+e.Code+"`", strconv.Itoa(a.Status), a.Title, a.Cause, a.Remedy, again(a.Retryable)))
		}
	}
	b.WriteString("\n\"Again\" says whether the same request may succeed later.\n\n" +
		"## Failures of videos and jobs\n\nThey are in `error` and `warnings` of videos, in `error` of jobs and " +
		"dead letters, and in events.\n\n| code | class | meaning | likely cause | what to do | again? |\n" +
		"|---|---|---|---|---|---|\n")
	for _, e := range catalogue {
		if f := e.Failure; f != nil {
			b.WriteString(row("`"+e.Code+"`", string(f.Class), f.Title, f.Cause, f.Remedy, again(f.Retryable)))
		}
	}
	b.WriteString("\n\"Again\" says whether the server tries by itself again.\n")
	return b.String()
}

// row returns a row of a table.
func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

func again(retryable bool) string {
	if retryable {
		return "yes"
	}
	return "no"
}
