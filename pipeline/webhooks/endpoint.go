package webhooks

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Kind is how an endpoint is reached.
type Kind string

// The kinds of endpoints.
const (
	Web   Kind = "webhook" // a POST to a URL, signed
	Email Kind = "email"   // a message to an address
	NATS  Kind = "nats"    // a message on a subject below SubjectPrefix
)

// Kinds lists all kinds.
var Kinds = []Kind{Web, Email, NATS}

// SubjectPrefix is what the subjects of all NATS endpoints begin with, so that none can write to the
// subjects of the pipeline. The project follows, then the endpoint's own subject.
const SubjectPrefix = "reelmill.events."

// The types of messages that are no events of the log.
const (
	TypeTest     = "webhook_endpoint.test"     // what a test sends
	TypeDisabled = "webhook_endpoint.disabled" // to the other endpoints of the project; data is the endpoint
)

// Endpoint is what a project has set up, as it is kept. It holds secrets: EndpointView is for readers.
type Endpoint struct {
	ID          string            `json:"id"` // whe_ and 26 letters and digits
	Project     string            `json:"project"`
	Kind        Kind              `json:"kind"`
	URL         string            `json:"url,omitempty"`     // of a Web endpoint
	Email       string            `json:"email,omitempty"`   // of an Email endpoint
	Subject     string            `json:"subject,omitempty"` // of a NATS endpoint, below SubjectPrefix and the project
	Events      []string          `json:"events"`            // patterns: a type, video.*, job.* or *
	Description string            `json:"description,omitempty"`
	Enabled     bool              `json:"enabled"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Disabled    *Reason           `json:"disabled,omitempty"` // why ReelMill disabled it; nil if it did not
	Untold      bool              `json:"untold,omitempty"`   // others are still to be told that it is disabled
	Secrets     []Secret          `json:"secrets,omitempty"`  // of a Web endpoint; the newest first
	After       uint64            `json:"after"`              // only later events of the log count
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`

	// Revision is that of the document in its bucket; 0 for a new one. It is not part of the document.
	Revision uint64 `json:"-"`
}

// Secret signs deliveries until it expires.
type Secret struct {
	Value   string     `json:"value"`             // whsec_ and base64
	Expires *time.Time `json:"expires,omitempty"` // nil: never
}

// Reason says why ReelMill disabled an endpoint.
type Reason struct {
	Code   string    `json:"code" enum:"gone,failing" doc:"gone: it answered 410. failing: every attempt failed for five days"`
	Detail string    `json:"detail"`
	At     time.Time `json:"at"`
}

// The codes of a Reason.
const (
	ReasonGone    = "gone"
	ReasonFailing = "failing"
)

// NewSecret returns a new signing secret of 32 random bytes.
func NewSecret() string {
	var key [32]byte
	rand.Read(key[:]) // never fails: crypto/rand.Read ends the program instead
	return "whsec_" + base64.StdEncoding.EncodeToString(key[:])
}

// Signing returns the secrets that sign now, the newest first.
func (e Endpoint) Signing(now time.Time) []string {
	var valid []string
	for _, s := range e.Secrets {
		if s.Expires == nil || now.Before(*s.Expires) {
			valid = append(valid, s.Value)
		}
	}
	return valid
}

// maxSecrets is how many secrets an endpoint keeps: more than sign at once make the header too long.
const maxSecrets = 4

// Rotate puts a new secret before those that are there, which expire after overlap; 0: at once.
func (e *Endpoint) Rotate(secret string, overlap time.Duration, now time.Time) {
	until := now.Add(overlap)
	rotated := []Secret{{Value: secret}}
	for _, s := range e.Secrets {
		if s.Expires == nil || s.Expires.After(until) {
			s.Expires = &until
		}
		if s.Expires.After(now) && len(rotated) < maxSecrets {
			rotated = append(rotated, s)
		}
	}
	e.Secrets = rotated
}

// Wants reports whether the endpoint is enabled and asks for events of a type.
func (e Endpoint) Wants(kind string) bool {
	return e.Enabled && slices.ContainsFunc(e.Events, func(p string) bool { return Matches(p, kind) })
}

// Matches reports whether a pattern of Endpoint.Events selects a type.
func Matches(pattern, kind string) bool {
	if pattern == "*" || pattern == kind {
		return true
	}
	family, wild := strings.CutSuffix(pattern, ".*")
	return wild && strings.HasPrefix(kind, family+".")
}

// Patterns returns everything that Endpoint.Events may have.
func Patterns() []string {
	all := []string{"*", "video.*", "job.*", "quota.*", "webhook_endpoint.*", TypeDisabled}
	for _, t := range pipeline.HookEventTypes() {
		all = append(all, string(t))
	}
	return all
}

// CheckEvents returns why a list of patterns cannot be Endpoint.Events.
func CheckEvents(events []string) error {
	if len(events) == 0 {
		return fmt.Errorf("events is empty; list types, such as video.ready, or %q for all", "*")
	}
	known := Patterns()
	for _, p := range events {
		if !slices.Contains(known, p) {
			return errors.New(pipeline.Unknown("type of event", p, known))
		}
	}
	return nil
}

// CheckSubject returns why s cannot be the subject of a NATS endpoint: 1 to 8 tokens (pipeline.ValidName)
// with dots between them.
func CheckSubject(s string) error {
	tokens := strings.Split(s, ".")
	for _, t := range tokens {
		if !pipeline.ValidName(t) {
			return errors.New("a subject is 1 to 8 words of letters, digits, - and _ with dots between them, such " +
				"as videos.ready")
		}
	}
	if len(tokens) > 8 {
		return fmt.Errorf("the subject has %d words, and may have 8", len(tokens))
	}
	return nil
}

// Place returns where deliveries of a NATS endpoint go.
func (e Endpoint) Place() string { return SubjectPrefix + e.Project + "." + e.Subject }

// DeliveryID returns the id of the delivery of an event to an endpoint: always the same.
func DeliveryID(event, endpoint string) string {
	return pipeline.DerivedID("dlv", sha256.Sum256([]byte(event+"/"+endpoint)))
}

// Health is how the deliveries to an endpoint fare, as it is kept.
type Health struct {
	// FailingSince is the first failed attempt after the last success, or after a pause of maxIdle without an
	// attempt.
	FailingSince time.Time `json:"failing_since,omitzero"`
	// FailedAt is the last failed attempt, or one up to an hour before it.
	FailedAt time.Time `json:"failed_at,omitzero"`

	Revision uint64 `json:"-"` // as in Endpoint
}

// maxIdle is for how long an endpoint that fails may be left alone before its failures count anew, so that
// time without attempts does not count as failure. The attempts at one delivery are up to 27 hours apart.
const maxIdle = 48 * time.Hour

// noteEvery is how far apart two writes of FailedAt are.
const noteEvery = time.Hour

// failed notes a failed attempt. changed reports whether h must be written, since for how long all have
// failed.
func (h *Health) failed(now time.Time) (changed bool, since time.Duration) {
	last := h.FailedAt
	if last.IsZero() { // one of an earlier version
		last = h.FailingSince
	}
	switch {
	case h.FailingSince.IsZero() || now.Sub(last) > maxIdle:
		h.FailingSince, h.FailedAt = now, now
		return true, 0
	case now.Sub(last) >= noteEvery:
		h.FailedAt = now
		return true, now.Sub(h.FailingSince)
	}
	return false, now.Sub(h.FailingSince)
}
