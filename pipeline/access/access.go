package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reelmill/reelmill/pipeline"
)

// Errors of writing and reading. What does not exist is pipeline.ErrNotFound.
var (
	// ErrExists: there is a project of this name.
	ErrExists = errors.New("the project exists")
	// ErrNotEmpty: the project still has videos, or keys that are not revoked.
	ErrNotEmpty = errors.New("the project is not empty")
	// ErrInvalid: a name, scope or time is not allowed. The message says which.
	ErrInvalid = errors.New("invalid")
)

// Operator stands for the project of the keys of the operator, who makes projects.
const Operator = "*"

// OperatorToken stands for Operator in subjects and in names of objects, where a star would be a wildcard. No
// project has this name.
const OperatorToken = "_operator"

// ProjectThing is the thing of a project's own subject; that of a key is its id.
const ProjectThing = "project"

// Scope is something that a credential may do. No scope implies another.
type Scope string

// The scopes.
const (
	Upload  Scope = "upload"   // make uploads and videos
	Read    Scope = "read"     // see videos, their jobs, outputs and events
	Write   Scope = "write"    // change, cancel, retry and delete videos
	Admin   Scope = "admin"    // keys, webhook endpoints and dead letters of the project
	Work    Scope = "work"     // connections of workers
	Operate Scope = "operator" // projects, and every project by the header X-Reelmill-Project
)

// Scopes lists all scopes.
var Scopes = []Scope{Upload, Read, Write, Admin, Work, Operate}

// Settings are what may be changed about a project.
type Settings struct {
	Title  string `json:"title" maxLength:"256" doc:"For people; may be empty"`
	Limits Limits `json:"limits,omitzero" doc:"What the project may use; no limits when left out"`
	// PlaybackPolicy is that of videos whose upload says none. Empty: public.
	PlaybackPolicy pipeline.PlaybackPolicy `json:"playback_policy,omitempty" enum:"public,signed" doc:"Of videos whose upload says none; public if left out"`
	Retention      pipeline.Retention      `json:"retention,omitzero" doc:"How long videos and their sources are kept after the end of the video; for ever when left out"`
}

// check returns ErrInvalid for settings that are not allowed.
func (s Settings) check() error {
	var policy error
	if s.PlaybackPolicy != "" {
		if err := pipeline.CheckPlaybackPolicy(s.PlaybackPolicy); err != nil {
			policy = fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	var retention error
	if err := s.Retention.Check(); err != nil {
		retention = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return errors.Join(checkText("title", s.Title), s.Limits.check(), policy, retention)
}

// Project owns videos, keys and webhook endpoints.
type Project struct {
	Name string `json:"name" doc:"1 to 40 of a-z, 0-9 and hyphen"`
	Settings
	CreatedAt time.Time `json:"created_at" doc:"0001-01-01 for the project default, which was always there"`
	ChangedAt time.Time `json:"changed_at"`
	Deleted   bool      `json:"deleted,omitempty"`
}

// KeyData is the data of key.created.
type KeyData struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Scopes    []Scope    `json:"scopes"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	SHA256    string     `json:"sha256"` // of the secret, in hex

	RequestsPerSecond int `json:"requests_per_second,omitempty"` // 0: as many as the project
}

// Key is an API key, without its secret.
type Key struct {
	ID        string     `json:"id" doc:"key_ and 26 letters and digits"`
	Project   string     `json:"project" doc:"* for a key of the operator"`
	Name      string     `json:"name" doc:"For people"`
	Scopes    []Scope    `json:"scopes" doc:"What it may do; no scope implies another"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by,omitempty" doc:"The actor"`
	ExpiresAt *time.Time `json:"expires_at" doc:"null: it does not expire"`
	RevokedAt *time.Time `json:"revoked_at" doc:"null: it is not revoked"`
	RevokedBy string     `json:"revoked_by,omitempty" doc:"The actor"`
	// LastUsedAt is no event: Uses has it, and the fold leaves it nil.
	LastUsedAt *time.Time `json:"last_used_at" doc:"To a minute; null: never, or not since this is noted"`

	RequestsPerSecond int `json:"requests_per_second,omitempty" doc:"Requests a second that each server process answers, beside the limit of the project; left out: no limit of its own"`

	sum [32]byte // of the secret
}

// Active reports whether the key is neither revoked nor expired.
func (k Key) Active(now time.Time) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}

// Bound is what a grant is limited to; empty fields do not limit.
type Bound struct{ Upload, Video string }

// Grant is what a request may do. It is made once, from the credential.
type Grant struct {
	Project string // Operator for an operator who has named none
	Scopes  []Scope
	Actor   string    // of the events that the request leads to
	Expires time.Time // zero: never
	Bound   Bound
	Origin  string // of the web page that may use it; empty: any
	Key     string // id of the key; empty for other credentials
	Token   *Token // what the token says; nil for other credentials

	RequestsPerSecond int // of the key alone; 0: no limit

	stored string // where State has the key; empty for other credentials
}

// Has reports whether the grant has a scope.
func (g Grant) Has(s Scope) bool { return slices.Contains(g.Scopes, s) }

// Anonymous returns the grant of a request to a server that asks for no credential: everything.
func Anonymous() Grant {
	return Grant{Project: pipeline.DefaultProject, Scopes: Scopes, Actor: pipeline.ActorAnonymous}
}

// maxProjectName is how long a project's name may be.
const maxProjectName = 40

// CheckProject returns ErrInvalid for what cannot be the name of a project.
func CheckProject(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if name == "" || len(name) > maxProjectName || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("%w: a project's name has 1 to %d of a-z, 0-9 and hyphen", ErrInvalid, maxProjectName)
	}
	return nil
}

// maxTitle is how many characters a title and the name of a key may have.
const maxTitle = 256

func checkText(what, text string) error {
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxTitle {
		return fmt.Errorf("%w: the %s has more than %d characters, or is not UTF-8", ErrInvalid, what, maxTitle)
	}
	return nil
}

// CheckScopes returns ErrInvalid for scopes that a key of a project cannot have.
func CheckScopes(project string, scopes []Scope) error {
	if len(scopes) == 0 {
		return fmt.Errorf("%w: a key needs a scope", ErrInvalid)
	}
	for i, s := range scopes {
		switch {
		case !slices.Contains(Scopes, s):
			names := make([]string, len(Scopes))
			for i, known := range Scopes {
				names[i] = string(known)
			}
			return fmt.Errorf("%w: %s", ErrInvalid, pipeline.Unknown("scope", string(s), names))
		case slices.Contains(scopes[:i], s):
			return fmt.Errorf("%w: scope %s appears twice", ErrInvalid, s)
		case s == Operate && project != Operator:
			return fmt.Errorf("%w: only a key of the project %s has the scope %s", ErrInvalid, Operator, Operate)
		}
	}
	if project == Operator && !slices.Contains(scopes, Operate) {
		return fmt.Errorf("%w: a key of the project %s needs the scope %s", ErrInvalid, Operator, Operate)
	}
	return nil
}

// subject returns the subject of a thing of a project.
func subject(project, thing string) string {
	if project == Operator {
		project = OperatorToken
	}
	return pipeline.AccessSubject(project, thing)
}

// Address returns the project and the thing that a subject of the log is about; both are empty for the
// subject of a video or job. The project of the operator's keys is Operator.
func Address(of string) (project, thing string) {
	project, thing, _ = pipeline.AccessAddress(of)
	if project == OperatorToken {
		project = Operator
	}
	return project, thing
}
