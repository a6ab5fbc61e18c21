package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

var (
	opListDeadLetters = huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: "/v1/dead_letters",
		Tags: []string{"dead letters"}, Summary: "List the dead letters of the project",
		Description: "A job that is not tried again leaves one, with its error and its task.",
	}
	opGetDeadLetter = huma.Operation{
		OperationID: "get-dead-letter", Method: http.MethodGet, Path: "/v1/dead_letters/{id}",
		Tags: []string{"dead letters"}, Summary: "Read a dead letter",
		Description: "Redriving or discarding it removes it.",
	}
	opRedriveDeadLetter = huma.Operation{
		OperationID: "redrive-dead-letter", Method: http.MethodPost, Path: "/v1/dead_letters/{id}/redrive",
		Tags: []string{"dead letters"}, Summary: "Try the job of a dead letter again",
		DefaultStatus: http.StatusOK,
		Description: "Retries the job and discards the letter. When the job was retried since, the letter is " +
			"only discarded, and the answer is the job as it is.",
	}
	opDiscardDeadLetter = huma.Operation{
		OperationID: "discard-dead-letter", Method: http.MethodDelete, Path: "/v1/dead_letters/{id}",
		Tags: []string{"dead letters"}, Summary: "Discard a dead letter",
		Description: "The job stays as it is.",
	}
)

// deadLetterView is a dead letter as it is answered.
type deadLetterView struct {
	ID        string            `json:"id"`
	Subject   string            `json:"subject" doc:"The subject of the task's message"`
	Video     string            `json:"video_id"`
	Job       string            `json:"job"`
	Step      string            `json:"step"`
	Worker    string            `json:"worker" doc:"Worker type"`
	Attempts  int               `json:"attempts"`
	Problem   pipeline.Problem  `json:"error" doc:"Of the last attempt"`
	TraceID   string            `json:"trace_id" doc:"W3C trace id of everything done for the video"`
	CreatedAt time.Time         `json:"created_at"`
	Payload   *pipeline.Task    `json:"payload" doc:"The task; null when the message was not a task"`
	Raw       []byte            `json:"raw,omitempty" doc:"The message, in base64, when it was not a task"`
	Headers   map[string]string `json:"headers" doc:"Of the message"`
}

func viewOfLetter(d pipeline.DeadLetter) deadLetterView {
	t := d.Task
	v := deadLetterView{
		ID: d.ID, Subject: d.Subject, Video: t.Video, Job: t.Job.Name, Step: t.Job.Step, Worker: t.Job.Worker,
		Attempts: d.Attempts, Problem: d.Problem, CreatedAt: d.Time, Raw: d.Raw, Headers: d.Headers,
	}
	if isTask(d) {
		v.Payload = new(shownTask(t))
	}
	if v.Headers == nil {
		v.Headers = map[string]string{}
	}
	if parts := strings.Split(t.Trace, "-"); len(parts) == 4 {
		v.TraceID = parts[1]
	}
	return v
}

// isTask reports whether the letter holds a task. Any other message has no job, and may be empty.
func isTask(d pipeline.DeadLetter) bool { return d.Raw == nil && d.Task.Job.Name != "" }

type listDeadLettersInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Letters on a page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"The next_cursor of the previous page"`
}

type deadLettersOutput struct{ Body list[deadLetterView] }

func (s *server) listDeadLetters(ctx context.Context, in *listDeadLettersInput) (*deadLettersOutput, error) {
	letters, next, err := s.cfg.DeadLetters.DeadLetters(ctx, projectOf(ctx), in.Cursor, in.Limit)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil, failAt("/query/cursor", codeCursor, "The cursor is not one that this list returned.")
	}
	if err != nil {
		return nil, orUnavailable(err)
	}
	views := make([]deadLetterView, len(letters))
	for i, d := range letters {
		views[i] = viewOfLetter(d)
	}
	return &deadLettersOutput{newList(views, next)}, nil
}

type deadLetterInput struct {
	ID string `path:"id" doc:"The letter's id"`
}

type deadLetterOutput struct{ Body deadLetterView }

func (s *server) getDeadLetter(ctx context.Context, in *deadLetterInput) (*deadLetterOutput, error) {
	d, err := s.letter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &deadLetterOutput{viewOfLetter(d)}, nil
}

func (s *server) letter(ctx context.Context, id string) (pipeline.DeadLetter, error) {
	d, err := s.cfg.DeadLetters.DeadLetterByID(ctx, projectOf(ctx), id)
	if err != nil {
		return d, orUnavailable(noSuch("dead letter", err))
	}
	return d, nil
}

// redriveDeadLetter retries the job, then discards the letter. Both may be repeated.
func (s *server) redriveDeadLetter(ctx context.Context, in *deadLetterInput) (*jobOutput, error) {
	d, err := s.letter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if !isTask(d) {
		f := fail(codeState, "The message in the dead letter is not a task, so there is no job to try again.")
		f.remedy = "Look at raw and error to see who sent it, then discard the letter."
		return nil, f
	}
	e, _, err := pipeline.RedriveLetter(ctx, s.cfg.Log, projectOf(ctx), d, "")
	gone := errors.Is(err, pipeline.ErrNotFound)
	if err != nil && !gone {
		return nil, orUnavailable(err)
	}
	if err := s.cfg.DeadLetters.Discard(ctx, projectOf(ctx), in.ID); err != nil &&
		!errors.Is(err, pipeline.ErrNotFound) { // another request was faster
		return nil, orUnavailable(err)
	}
	if gone {
		return nil, fail(codeNotFound, "The video of the dead letter was deleted, so the letter was discarded.")
	}
	return s.jobAfter(ctx, d.Task.Video, d.Task.Job.Name, e)
}

func (s *server) discardDeadLetter(ctx context.Context, in *deadLetterInput) (*struct{}, error) {
	if err := s.cfg.DeadLetters.Discard(ctx, projectOf(ctx), in.ID); err != nil {
		return nil, orUnavailable(noSuch("dead letter", err))
	}
	return nil, nil
}
