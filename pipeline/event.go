package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// EventType is the type of an event: the same word in the log, in SSE, in webhooks and in the API.
type EventType string

// The event types. Each has a JSON Schema in schemas/ of the same name.
const (
	VideoUploaded  EventType = "video.uploaded"  // the source is whole in the store
	VideoInspected EventType = "video.inspected" // verdict, media facts, and the plan
	VideoChanged   EventType = "video.changed"   // its title, metadata, passthrough or playback policy
	VideoPlayable  EventType = "video.playable"  // a manifest with one verified rendition is published
	VideoReady     EventType = "video.ready"     // every job is done and every output verified
	VideoErrored   EventType = "video.errored"   // a required job failed for good
	VideoRejected  EventType = "video.rejected"  // inspection refused it
	VideoCanceled  EventType = "video.canceled"  // somebody stopped it
	VideoReopened  EventType = "video.reopened"  // it had ended; jobs of it are tried again

	// Of additions to a ready video:
	VideoOutputsRequested EventType = "video.outputs_requested" // steps are added: their plan
	VideoOutputsAdded     EventType = "video.outputs_added"     // all their jobs are completed
	VideoOutputsFailed    EventType = "video.outputs_failed"    // one failed, or somebody canceled them
	VideoOutputsReopened  EventType = "video.outputs_reopened"  // they had failed; their jobs are tried again

	VideoHeld     EventType = "video.held"     // nobody may delete it or its source from now on
	VideoReleased EventType = "video.released" // the hold has ended

	VideoDeleted EventType = "video.deleted" // its objects and events will be removed
	VideoPurged  EventType = "video.purged"  // they are removed; holds what statistics need

	VideoSourceDeleted EventType = "video.source_deleted" // nobody reads its source now; its bytes will go
	VideoSourcePurged  EventType = "video.source_purged"  // they are removed

	JobStarted     EventType = "job.started"     // an attempt begins; its sequence is the attempt's token
	JobCompleted   EventType = "job.completed"   // the outputs of the winning attempt
	JobRetrying    EventType = "job.retrying"    // an attempt failed; another is scheduled
	JobInterrupted EventType = "job.interrupted" // an attempt was given back and does not count
	JobErrored     EventType = "job.errored"     // no attempt is left, or none would help
	JobCanceled    EventType = "job.canceled"    // its result is no longer wanted
	JobRequeued    EventType = "job.requeued"    // it was errored or canceled, and gets a new generation
)

// EventTypes lists every event type, in the order of the story.
var EventTypes = []EventType{
	VideoUploaded, VideoInspected,
	JobStarted, JobCompleted, JobRetrying, JobInterrupted, JobErrored, JobCanceled, JobRequeued,
	VideoPlayable, VideoReady, VideoErrored, VideoRejected, VideoCanceled, VideoReopened,
	VideoOutputsRequested, VideoOutputsAdded, VideoOutputsFailed, VideoOutputsReopened,
	VideoChanged, VideoHeld, VideoReleased, VideoSourceDeleted, VideoSourcePurged, VideoDeleted, VideoPurged,
}

// The event types of projects and their keys (package access).
const (
	ProjectCreated EventType = "project.created"
	ProjectChanged EventType = "project.changed"
	ProjectDeleted EventType = "project.deleted"
	KeyCreated     EventType = "key.created"
	KeyRevoked     EventType = "key.revoked"
	QuotaWarned    EventType = "quota.warned"   // a project has used 80% of a quota
	QuotaExceeded  EventType = "quota.exceeded" // it has used all, or was refused something because of it

	SigningKeyCreated EventType = "signing_key.created"
	SigningKeyRevoked EventType = "signing_key.revoked"
)

// QuotaEventTypes lists the event types of quotas. They belong to no video, but webhook endpoints get them.
var QuotaEventTypes = []EventType{QuotaWarned, QuotaExceeded}

// HookEventTypes returns the event types that webhook endpoints get.
func HookEventTypes() []EventType { return slices.Concat(EventTypes, QuotaEventTypes) }

// AccessEventTypes lists the event types of projects, their keys and quotas. They belong to no video: lists
// of events have them for administrators only, and webhook endpoints get none but those of QuotaEventTypes.
var AccessEventTypes = []EventType{
	ProjectCreated, ProjectChanged, ProjectDeleted, KeyCreated, KeyRevoked, QuotaWarned, QuotaExceeded,
	SigningKeyCreated, SigningKeyRevoked,
}

// Event is one immutable fact. On the wire it is a CloudEvents 1.0 document in structured JSON
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md) with the extensions
// eventversion, correlationid, causationid, traceparent and actor.
type Event struct {
	ID            string    `json:"id"`
	Source        string    `json:"source"` // a URI reference: /reelmill/<role>
	SpecVersion   string    `json:"specversion"`
	Type          EventType `json:"type"`
	Subject       string    `json:"subject"` // the subject of the log that the event was written to
	Time          time.Time `json:"time"`
	ContentType   string    `json:"datacontenttype"`
	Version       int       `json:"eventversion"`  // of the data's schema; rises with an incompatible change
	CorrelationID string    `json:"correlationid"` // the video, project or key
	CausationID   string    `json:"causationid"`   // the event that led to this one; itself for the first
	TraceParent   string    `json:"traceparent"`   // W3C Trace Context
	// Actor is who did it: key:<id of an API key>, user:<subject of the issuer>, token:<id>, worker:<type>,
	// ActorAnonymous or ActorSystem. Empty in events of earlier versions: unknown.
	Actor string          `json:"actor,omitempty"`
	Data  json.RawMessage `json:"data"`

	// Sequence is the event's place in the log. It is not part of the document.
	Sequence uint64 `json:"-"`
	// Fence, unless it is 0, makes Log.Append compare more than the subject of the event: it is the sequence of
	// the last event of the video itself, on whichever of the subjects that OwnSubjects matches, that the writer
	// has seen. It is not part of the document, and 0 in what is read.
	Fence uint64 `json:"-"`
}

// NewEvent returns an event about video on subject, caused by cause, with data encoded as JSON. The event
// continues the trace of cause; the zero cause starts a new trace.
func NewEvent(role string, t EventType, subject, video string, cause Event, data any) (Event, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return Event{}, fmt.Errorf("encode %s: %w", t, err)
	}
	e := Event{
		ID: NewID("evt"), Source: "/reelmill/" + role, SpecVersion: "1.0", Type: t, Subject: subject,
		Time: time.Now().UTC().Truncate(time.Microsecond), ContentType: "application/json", Version: 1,
		CorrelationID: video, CausationID: cause.ID, TraceParent: ChildTrace(cause.TraceParent), Data: raw,
	}
	if e.CausationID == "" {
		e.CausationID = e.ID
	}
	return e, nil
}

// Decode decodes the event's data into v. Unknown fields are ignored: within a version data only grows.
func (e Event) Decode(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("decode %s %s: %w", e.Type, e.ID, err)
	}
	return nil
}

// ChildTrace returns the traceparent (https://www.w3.org/TR/trace-context/) of a new span in the trace of
// parent. When parent is not a valid traceparent, the trace is new and sampled.
func ChildTrace(parent string) string {
	var b [24]byte
	rand.Read(b[:])
	span := hex.EncodeToString(b[16:])
	parts := strings.Split(parent, "-")
	if len(parts) == 4 && parts[0] == "00" && isHexID(parts[1], 32) && isHexID(parts[2], 16) &&
		len(parts[3]) == 2 && isHex(parts[3]) {
		return "00-" + parts[1] + "-" + span + "-" + parts[3]
	}
	return "00-" + hex.EncodeToString(b[:16]) + "-" + span + "-01"
}

// isHexID reports whether s is n lower-case hex digits, not all of them 0.
func isHexID(s string, n int) bool {
	return len(s) == n && isHex(s) && strings.Trim(s, "0") != ""
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// Log is the event log: an append-only sequence of events, each on a subject.
type Log interface {
	// Append writes e to e.Subject and returns its sequence, if the last event of that subject has sequence
	// after (0: the subject has no event). Otherwise it returns ErrConflict, unless the last event is e itself
	// (same ID): then an earlier try arrived and its answer was lost, and Append returns that sequence. The
	// event is on disk when Append returns.
	//
	// For an event with a Fence, Append compares that instead of after: with the sequence of the last event on
	// the subjects that OwnSubjects matches. All events that must not pass each other have one: what holds a
	// video, releases it, reopens it, or deletes it or its source.
	Append(ctx context.Context, e Event, after uint64) (uint64, error)

	// Last returns the last event of each subject, in the order given; a zero Event (Sequence 0) for a subject
	// without events. It sees every Append that returned before it was called.
	Last(ctx context.Context, subjects ...string) ([]Event, error)
}

// StateReader is a Log that can read the whole state of a video at once. Fold uses it where it can: one read
// is enough, since Fold need not know the names of the video's jobs first.
type StateReader interface {
	// State returns the last event of every subject of a video, in any order. It sees every Append that returned
	// before it was called. ErrTooMany: the video has more subjects than can be read at once.
	State(ctx context.Context, project, video string) ([]Event, error)
}

// UploadedSubject returns the subject of video.uploaded of a video, which has one event at most.
func UploadedSubject(project, video string) string { return "video.uploaded." + project + "." + video }

// InspectedSubject returns the subject of video.inspected of a video, which has one event at most.
func InspectedSubject(project, video string) string {
	return "video.inspected." + project + "." + video
}

// PlayableSubject returns the subject of video.playable of a video, which has one event at most.
func PlayableSubject(project, video string) string { return "video.playable." + project + "." + video }

// ChangedSubject returns the subject of the changes of a video's title, metadata and passthrough. The last
// event holds all of them. Compare-and-swap admits one next event.
func ChangedSubject(project, video string) string { return "video.changed." + project + "." + video }

// FinishedSubject returns the subject of a video's ends: ready, errored, rejected or canceled, with reopened
// in between. Compare-and-swap admits one next event.
func FinishedSubject(project, video string) string { return "video.finished." + project + "." + video }

// FenceReader is a Log that can say what the last event of a video itself is, whatever its subject. A fold
// that is read subject by subject asks for it first: what comes after has then not been seen.
type FenceReader interface {
	// LastOwn returns the sequence of the last event on the subjects that OwnSubjects matches; 0: none. It sees
	// every Append that returned before it was called.
	LastOwn(ctx context.Context, project, video string) (uint64, error)
}

// HeldSubject returns the subject of a video's legal holds: video.held and video.released.
func HeldSubject(project, video string) string { return "video.held." + project + "." + video }

// SourceDeletedSubject returns the subject of video.source_deleted and then video.source_purged of a video.
func SourceDeletedSubject(project, video string) string {
	return "video.source_deleted." + project + "." + video
}

// OwnSubjects matches the subjects of a video itself, but not those of its jobs.
func OwnSubjects(project, video string) string { return "video.*." + project + "." + video }

// DeletedSubject returns the subject of video.deleted and then video.purged: the only events that remain of a
// deleted video.
func DeletedSubject(project, video string) string { return "video.deleted." + project + "." + video }

// JobSubject returns the subject of a job's events. Compare-and-swap admits one next event.
func JobSubject(project, video, job string) string { return "job." + project + "." + video + "." + job }

// ProgressSubject returns the subject on which the attempts at a job report their progress. It is not part of
// the log.
func ProgressSubject(project, video, job string) string {
	return "progress." + project + "." + video + "." + job
}

// AccessSubjects matches the subjects of all projects and keys.
const AccessSubjects = "video.access.>"

// AccessSubject returns the subject of what is said about a project (thing is "project"), or about one of its
// keys or signing keys (thing is the key's id). Compare-and-swap admits one next event. It begins with
// video., because processes of earlier versions refuse a log that takes other subjects; they pass over these
// events.
func AccessSubject(project, thing string) string { return "video.access." + project + "." + thing }

// AccessAddress returns what AccessSubject got; ok is false for the subject of a video or job.
func AccessAddress(subject string) (project, thing string, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 4 || parts[0] != "video" || parts[1] != "access" {
		return "", "", false
	}
	return parts[2], parts[3], true
}

// Address returns the project, video and job that a subject of the log belongs to; job is empty for the
// subject of a video. The subjects of projects and keys are an error: AccessAddress reads them.
func Address(subject string) (project, video, job string, err error) {
	parts := strings.Split(subject, ".")
	switch {
	case len(parts) == 4 && parts[0] == "video" && parts[1] != "access":
		return parts[2], parts[3], "", nil
	case len(parts) == 4 && parts[0] == "job":
		return parts[1], parts[2], parts[3], nil
	}
	return "", "", "", fmt.Errorf("subject %q belongs to neither a video nor a job", subject)
}

// Clock formats a time for people, in UTC and to the second: 2026-05-01 11:59:00 UTC.
func Clock(at time.Time) string { return at.UTC().Format(time.DateTime + " UTC") }
