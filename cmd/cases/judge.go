package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// testCase is one case: what is done, and what is right.
type testCase struct {
	id    string // r and a number: from a public report; o: of operators and clients; m: an input of our own
	what  string
	right string // the right value, in words
	file  string // the input, by its recipe; empty when run does all
	// pipeline is the one to upload to, by runner.go; the server's default when empty.
	pipeline string
	want     want
	// check judges what want does not say; may be nil.
	check func(*judge) error
	// run judges a case that is more than an upload: it has the machine for itself.
	run func(*runner, *judge) error
}

// want is what the general checks want of a video.
type want struct {
	// rejected are the codes of which one is to be the end. With none the video is to be ready.
	rejected []pipeline.Code
	length   float64 // seconds
	slack    float64 // seconds; 2%, and 0.1 s at least, when 0
	aspect   float64 // width by height
	sounds   int     // audio renditions; -1 when it does not matter
	heard    float64 // seconds of sound; not judged when 0
	frames   []int   // that the top rung may have, one more or less; not judged when empty
}

// finding is one thing that was looked at.
type finding struct {
	What string `json:"what"`
	Got  string `json:"got"`
	Want string `json:"want,omitempty"`
	OK   bool   `json:"ok"`

	general bool // it is looked at for every video, and told only when it is wrong
}

// String is the line of the report.
func (f finding) String() string {
	if f.OK || f.Want == "" {
		return f.What + " " + f.Got
	}
	return fmt.Sprintf("%s %s, want %s", f.What, f.Got, f.Want)
}

// judge collects the findings of one case, and knows what it is about.
type judge struct {
	ctx      context.Context
	c        testCase
	source   string // path of the input
	base     string // URL that the video is played below, with a slash
	view     pipeline.VideoView
	jobs     []pipeline.JobView
	notes    []string // what was decided of the video, and why
	outputs  []pipeline.OutputView
	master   master
	tracks   []track // of the rungs
	frames   []int   // that the rungs decode to
	findings []finding
	general  bool // whether what is looked at now is looked at for every video
}

// whyTop says why the top rung is not a copy of the source; empty when it is.
func (j *judge) whyTop() string {
	var notes []string
	for _, note := range j.notes {
		if strings.HasPrefix(note, "the top rung ") {
			notes = append(notes, note)
		}
	}
	return strings.Join(notes, "; ")
}

// note notes a measured value that nothing is wanted of.
func (j *judge) note(what, format string, args ...any) {
	j.findings = append(j.findings, finding{What: what, Got: fmt.Sprintf(format, args...), OK: true})
}

// wrong notes what has no right value.
func (j *judge) wrong(what, format string, args ...any) {
	j.findings = append(j.findings, finding{What: what, Got: fmt.Sprintf(format, args...)})
}

// near wants a number within slack of another.
func (j *judge) near(what string, got, want, slack float64) {
	j.holds(what, fmt.Sprintf("%.3f", got), fmt.Sprintf("%.3f ±%.3f", want, slack), math.Abs(got-want) <= slack)
}

// above and below want a number beyond another.
func (j *judge) above(what string, got, least float64) {
	j.holds(what, fmt.Sprintf("%.4g", got), fmt.Sprintf("above %.4g", least), got > least)
}

func (j *judge) below(what string, got, most float64) {
	j.holds(what, fmt.Sprintf("%.4g", got), fmt.Sprintf("below %.4g", most), got < most)
}

// is wants one of some values.
func (j *judge) is(what string, got any, wanted ...any) {
	var names []string
	for _, w := range wanted {
		names = append(names, fmt.Sprint(w))
	}
	j.holds(what, fmt.Sprint(got), strings.Join(names, " or "), slices.Contains(names, fmt.Sprint(got)))
}

// holds notes a value, what is wanted of it, and whether it is that.
func (j *judge) holds(what, got, want string, ok bool) {
	j.findings = append(j.findings, finding{What: what, Got: got, Want: want, OK: ok, general: j.general})
}

// ok reports whether nothing is wrong, and something was looked at.
func (j *judge) ok() bool {
	return len(j.findings) > 0 && !slices.ContainsFunc(j.findings, func(f finding) bool { return !f.OK })
}

// verdict is one line: what is wrong, or the measured values.
func (j *judge) verdict() string {
	var parts []string
	for _, f := range j.findings {
		if text := f.String(); f.OK == j.ok() && (!f.OK || !f.general) && !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}
