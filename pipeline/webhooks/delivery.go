package webhooks

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Task is one attempt to be made, as it is queued.
type Task struct {
	Delivery string          `json:"delivery"`
	Project  string          `json:"project"`
	Endpoint string          `json:"endpoint"`
	Event    string          `json:"event"` // its id: the webhook-id of every attempt
	Type     string          `json:"type"`
	Video    string          `json:"video,omitempty"`
	Body     json.RawMessage `json:"body"` // a pipeline.Report; the same bytes in every attempt
	Queued   time.Time       `json:"queued"`
	Round    int             `json:"round"`   // grows when somebody asks for the delivery again
	Attempt  int             `json:"attempt"` // of the round, from 1
	// Again makes this no attempt but an order to send deliveries again, of which each task does a page.
	// Delivery is then the id of the order.
	Again *Query `json:"again,omitempty"`
}

// Status is what has become of a delivery.
type Status string

// The states of a delivery.
const (
	Pending   Status = "pending"   // an attempt is due, now or later
	Succeeded Status = "succeeded" // the receiver accepted it
	Failed    Status = "failed"    // no attempt is left, or none would help
	Canceled  Status = "canceled"  // its endpoint was disabled or deleted
)

// Statuses lists all states.
var Statuses = []Status{Pending, Succeeded, Failed, Canceled}

// DeliveryRecord is what is known of a delivery, as it is kept and answered.
type DeliveryRecord struct {
	ID        string          `json:"id" doc:"dlv_ and 26 letters and digits, derived from event and endpoint"`
	Project   string          `json:"project"`
	Endpoint  string          `json:"endpoint_id"`
	Event     string          `json:"event_id" doc:"The webhook-id of every attempt"`
	Type      string          `json:"type" doc:"Type of the event"`
	Video     string          `json:"video_id,omitempty"`
	Status    Status          `json:"status" enum:"pending,succeeded,failed,canceled"`
	Reason    string          `json:"reason,omitempty" doc:"Why it was canceled, or has no further attempt"`
	Round     int             `json:"round" doc:"Grows by one when somebody asks for the delivery again"`
	Done      int             `json:"done" doc:"Attempts made in this round"`
	Attempts  []Attempt       `json:"attempts" doc:"The last 30, oldest first"`
	Next      *time.Time      `json:"next_attempt_at" doc:"null when none is due"`
	Body      json.RawMessage `json:"body" doc:"What is sent, the same in every attempt"`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`

	Revision uint64 `json:"-"` // of the document; 0 for a new one
}

// maxAttempts is how many attempts a record keeps.
const maxAttempts = 30

// Attempt is one try of a delivery.
type Attempt struct {
	Round    int               `json:"round"`
	Number   int               `json:"number" doc:"In its round, from 1"`
	At       time.Time         `json:"at"`
	Millis   int64             `json:"duration_ms"`
	Request  map[string]string `json:"request_headers" doc:"With *** in place of the signature"`
	Status   int               `json:"response_status" doc:"0 without an answer"`
	Response map[string]string `json:"response_headers"`
	Answer   string            `json:"response_body" doc:"Its first KiB"`
	Error    string            `json:"error,omitempty" doc:"Why it failed; empty when it was accepted"`
}

// Outcome is what came of one attempt. The zero Outcome is no success: Accepted says so.
type Outcome struct {
	Accepted   bool
	Gone       bool          // the receiver wants no more, ever
	Final      bool          // no further attempt would help
	Silent     bool          // the receiver did not answer at all
	RetryAfter time.Duration // what the receiver asks for; 0 if nothing
	Status     int
	Error      string            // why it failed
	Request    map[string]string // headers, without secrets
	Response   map[string]string // headers
	Answer     []byte            // the beginning of the body
}

// Target makes attempts at deliveries of one kind of endpoint. It must end with ctx.
type Target interface {
	Send(ctx context.Context, e Endpoint, t Task) Outcome
	// Host names what the endpoint shares with others that may hang together, such as a host and port.
	Host(e Endpoint) string
}

// Bounds of what a record keeps of an answer.
const (
	maxAnswer      = 1 << 10
	maxHeaders     = 32
	maxHeaderValue = 256
)

// add notes an attempt.
func (r *DeliveryRecord) add(t Task, o Outcome, began time.Time, took time.Duration) {
	a := Attempt{
		Round: t.Round, Number: t.Attempt, At: began.UTC().Truncate(time.Millisecond), Millis: took.Milliseconds(),
		Request: o.Request, Status: o.Status, Response: bounded(o.Response), Error: o.Error,
		Answer: readable(o.Answer, maxAnswer),
	}
	if o.Accepted {
		a.Error = ""
	}
	r.Attempts = append(r.Attempts, a)
	if extra := len(r.Attempts) - maxAttempts; extra > 0 {
		r.Attempts = r.Attempts[extra:]
	}
	r.Round, r.Done = t.Round, t.Attempt
}

// bounded returns few and short headers.
func bounded(headers map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range headers {
		if len(kept) < maxHeaders {
			kept[readable([]byte(name), maxHeaderValue)] = readable([]byte(value), maxHeaderValue)
		}
	}
	return kept
}

// readable returns the beginning of a text as valid UTF-8.
func readable(text []byte, most int) string {
	if len(text) > most {
		text = text[:most]
		for cut := 0; cut < utf8.UTFMax && !utf8.Valid(text) && len(text) > 0; cut++ {
			if r, size := utf8.DecodeLastRune(text); r != utf8.RuneError || size != 1 {
				break
			}
			text = text[:len(text)-1]
		}
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// recordOf returns the record of a delivery that was not attempted yet.
func recordOf(t Task, now time.Time) DeliveryRecord {
	return DeliveryRecord{
		ID: t.Delivery, Project: t.Project, Endpoint: t.Endpoint, Event: t.Event, Type: t.Type, Video: t.Video,
		Status: Pending, Round: t.Round, Attempts: []Attempt{}, Body: t.Body, CreatedAt: t.Queued, UpdatedAt: now,
	}
}

// taskOf returns the task of the first attempt of a further round.
func (r DeliveryRecord) taskOf() Task {
	return Task{
		Delivery: r.ID, Project: r.Project, Endpoint: r.Endpoint, Event: r.Event, Type: r.Type, Video: r.Video,
		Body: r.Body, Queued: r.CreatedAt, Round: r.Round, Attempt: r.Done + 1,
	}
}
