package pipeline

import (
	"errors"
	"fmt"
)

// ErrConflict says that the subject has moved on: somebody else wrote its next event.
var ErrConflict = errors.New("the subject has a later event")

// ErrTooMany says that a call asked for more than can be read at once; read it in parts.
var ErrTooMany = errors.New("too many to read at once")

// ErrNotFound says that a video, job or object does not exist, or does not belong to the caller.
var ErrNotFound = errors.New("not found")

// Class says what an error leads to: transient and resource are tried again, input and bug are not.
type Class string

// The failure classes.
const (
	Transient Class = "transient" // may pass by itself: a store that times out, a lost worker
	Resource  Class = "resource"  // the machine lacks something: memory, disk
	Input     Class = "input"     // the video is at fault; no attempt will change it
	Bug       Class = "bug"       // ReelMill or a worker is at fault; a person must look
)

// Retryable reports whether another attempt makes sense.
func (c Class) Retryable() bool { return c == Transient || c == Resource }

// Code names a failure on a video or job. The catalogue of codes is in codes.go.
type Code string

// Problem is a failure as people and programs read it: on a video, a job, a dead letter and in events.
type Problem struct {
	Code      Code   `json:"code" doc:"What failed, from the catalogue of error codes"`
	Title     string `json:"title" doc:"The code in words; the same for every occurrence"`
	Detail    string `json:"detail" doc:"What happened this time"`
	Remedy    string `json:"remedy" doc:"What to do about it"`
	Class     Class  `json:"class" enum:"transient,resource,input,bug" doc:"What kind of failure it is"`
	Retryable bool   `json:"retryable" doc:"Whether trying again may help"`
	Step      string `json:"step,omitempty" doc:"The step of the pipeline it happened in"`
	Job       string `json:"job,omitempty" doc:"The job it happened in"`
	Attempt   int    `json:"attempt,omitempty" doc:"The attempt of that job, from 1"`
	Stderr    string `json:"stderr,omitempty" doc:"The end of the failing program's output"`
}

// Error is an error with a code. A worker returns one to say what its failure means; any other error counts
// as CodeInternal, which is transient.
type Error struct {
	Code   Code
	Detail string // for people; the message of Err when empty
	Stderr string // the end of a program's output, already bounded and printable
	Err    error  // the cause; may be nil
}

// Fail returns an Error with code and a formatted detail; an error among the arguments of a %w verb becomes
// its cause.
func Fail(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Detail: err.Error(), Err: errors.Unwrap(err)}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Detail == "" && e.Err != nil {
		return string(e.Code) + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ProblemOf turns any error into a Problem: the code, detail and stderr of the first *Error in its chain, or
// CodeInternal with the error's message. It returns nil for nil.
func ProblemOf(err error) *Problem {
	if err == nil {
		return nil
	}
	e := &Error{Code: CodeInternal, Detail: err.Error()}
	errors.As(err, &e)
	entry := Describe(e.Code)
	detail := e.Detail
	if detail == "" && e.Err != nil {
		detail = e.Err.Error()
	}
	return &Problem{
		Code: e.Code, Title: entry.Title, Detail: detail, Remedy: entry.Remedy,
		Class: entry.Class, Retryable: entry.Class.Retryable(), Stderr: e.Stderr,
	}
}

// Error implements error.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }
