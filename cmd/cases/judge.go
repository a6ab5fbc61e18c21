package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// testCase is one case, with its right outcome.
type testCase struct {
	id    string // r: from a public report; o: of operators and clients; m: our own; x: hostile
	what  string
	right string // the right value, in words
	file  string // the input, by its recipe; empty if run does all
	// pipeline is the one to upload to (server.go); empty means the default.
	pipeline string
	want     want
	// check judges what want does not cover; may be nil.
	check func(*judge) error
	// hostile is the file, in place of a recipe, and what to judge (hostile.go).
	hostile *hostile
	// run judges a case that is more than an upload. It runs alone on the machine.
	run func(*runner, *judge) error
}

// want has the values that the general checks want.
type want struct {
	// rejected are the possible codes of a rejection. Without any, the video must become ready.
	rejected []pipeline.Code
	length   float64 // seconds
	slack    float64 // seconds; 2%, and 0.1 s at least, when 0
	aspect   float64 // width by height
	sounds   int     // audio renditions; -1 for any number
	heard    float64 // seconds of audio; not judged when 0
	frames   []int   // possible numbers for the top rung, ±1; not judged when empty
}

// finding is the result of one check.
type finding struct {
	What string `json:"what"`
	Got  string `json:"got"`
	Want string `json:"want,omitempty"`
	OK   bool   `json:"ok"`

	general bool // checked for every video, and reported only when wrong
}

// String returns the line of the report.
func (f finding) String() string {
	if f.OK || f.Want == "" {
		return f.What + " " + f.Got
	}
	return fmt.Sprintf("%s %s, want %s", f.What, f.Got, f.Want)
}

// judge collects the findings of one case.
type judge struct {
	ctx      context.Context
	c        testCase
	source   string // path of the input
	base     string // URL below which the video plays, with a slash
	view     pipeline.VideoView
	jobs     []pipeline.JobView
	notes    []string // the decisions about the video, and why
	outputs  []pipeline.OutputView
	master   master
	tracks   []track // of the rungs
	frames   []int   // decoded frames of the rungs
	findings []finding
	general  bool // whether the current checks are those for every video
}

// whyTop returns why the top rung is not a copy of the source; empty if it is.
func (j *judge) whyTop() string {
	var notes []string
	for _, note := range j.notes {
		if strings.HasPrefix(note, "the top rung ") {
			notes = append(notes, note)
		}
	}
	return strings.Join(notes, "; ")
}

// note records a measured value without a wanted one.
func (j *judge) note(what, format string, args ...any) {
	j.findings = append(j.findings, finding{What: what, Got: fmt.Sprintf(format, args...), OK: true})
}

// wrong records a finding that is wrong in any case.
func (j *judge) wrong(what, format string, args ...any) {
	j.findings = append(j.findings, finding{What: what, Got: fmt.Sprintf(format, args...)})
}

// near wants got within slack of want.
func (j *judge) near(what string, got, want, slack float64) {
	j.holds(what, fmt.Sprintf("%.3f", got), fmt.Sprintf("%.3f ±%.3f", want, slack), math.Abs(got-want) <= slack)
}

// above wants got above least; below wants it below most.
func (j *judge) above(what string, got, least float64) {
	j.holds(what, fmt.Sprintf("%.4g", got), fmt.Sprintf("above %.4g", least), got > least)
}

func (j *judge) below(what string, got, most float64) {
	j.holds(what, fmt.Sprintf("%.4g", got), fmt.Sprintf("below %.4g", most), got < most)
}

// is wants one of several values.
func (j *judge) is(what string, got any, wanted ...any) {
	var names []string
	for _, w := range wanted {
		names = append(names, fmt.Sprint(w))
	}
	j.holds(what, fmt.Sprint(got), strings.Join(names, " or "), slices.Contains(names, fmt.Sprint(got)))
}

// holds records a value, the wanted one, and whether it is right.
func (j *judge) holds(what, got, want string, ok bool) {
	j.findings = append(j.findings, finding{What: what, Got: got, Want: want, OK: ok, general: j.general})
}

// ok reports whether there are findings and none is wrong.
func (j *judge) ok() bool {
	return len(j.findings) > 0 && !slices.ContainsFunc(j.findings, func(f finding) bool { return !f.OK })
}

// verdict returns one line: the wrong findings or, if none is wrong, the measured values.
func (j *judge) verdict() string {
	var parts []string
	for _, f := range j.findings {
		if text := f.String(); f.OK == j.ok() && (!f.OK || !f.general) && !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}
