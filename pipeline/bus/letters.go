package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// MaxDeadLetters is the most dead letters that one call of DeadLetters returns.
const MaxDeadLetters = 1000

// deadPrefix comes before the stream sequence in the id of a dead letter.
const deadPrefix = "dead_"

// DeadLetter stores d, unless its subject has a letter already. A letter without Headers gets those of the
// task message, if that is still there.
func (b *Bus) DeadLetter(ctx context.Context, d pipeline.DeadLetter) error {
	if err := checkTask(d.Task); err != nil {
		return fmt.Errorf("store dead letter: %w", err)
	}
	if d.Headers == nil {
		m, err := b.lastTask(ctx, d.Task.Subject())
		if err != nil {
			b.log.Warn("read the headers of a task that is dead", "subject", d.Task.Subject(), "error", err)
		}
		if m != nil && causeOf(m) == d.Task.Cause {
			d.Headers = plainHeaders(m.Header)
		}
	}
	d.ID = "" // readers make it of the sequence
	doc, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("store dead letter of %s: %w", d.Subject, err)
	}
	return b.publishDead(ctx, documentOn(d.DeadSubject(), doc))
}

// plainHeaders returns the first value of each header that is not NATS's own.
func plainHeaders(header nats.Header) map[string]string {
	plain := map[string]string{}
	for name, values := range header {
		if !isOwn(name) && len(values) > 0 {
			plain[name] = values[0]
		}
	}
	return plain
}

// isOwn reports whether a header means something to NATS, and so must not be copied.
func isOwn(header string) bool { return strings.HasPrefix(strings.ToLower(header), "nats-") }

// DeadLetters returns a page of the dead letters of a project, oldest first, with at most limit letters;
// limit is clamped to the range 1 to MaxDeadLetters. after is the id of the last letter of the page before,
// or "" for the first page; that letter may have been discarded. next is the after of the next page, or "" on
// the last page.
//
// It makes one request for each letter.
func (b *Bus) DeadLetters(ctx context.Context, project, after string, limit int,
) (letters []pipeline.DeadLetter, next string, err error) {
	sequence, ok := uint64(0), true
	if after != "" {
		sequence, ok = deadSequence(after)
	}
	if !ok || !pipeline.ValidName(project) {
		return nil, "", fmt.Errorf("list dead letters after %q: %w", after, pipeline.ErrNotFound)
	}
	limit = min(max(limit, 1), MaxDeadLetters)
	for {
		m, err := b.message(ctx, streamDead, want{Sequence: sequence + 1, NextOf: "dead.*." + project + ".>"})
		switch {
		case err != nil:
			return nil, "", fmt.Errorf("list dead letters: %w", err)
		case m == nil:
			return letters, "", nil
		case len(letters) == limit:
			return letters, letters[limit-1].ID, nil
		}
		letters = append(letters, decodeLetter(m))
		sequence = m.Sequence
	}
}

// DeadLetterByID returns the dead letter of a project with an id. It returns pipeline.ErrNotFound when the
// id is malformed, no letter has it, or the letter is another project's.
func (b *Bus) DeadLetterByID(ctx context.Context, project, id string) (pipeline.DeadLetter, error) {
	m, err := b.letter(ctx, project, id)
	if err != nil {
		return pipeline.DeadLetter{}, fmt.Errorf("read dead letter %q: %w", id, err)
	}
	return decodeLetter(m), nil
}

// Discard removes a dead letter of a project. Errors are those of DeadLetterByID, so a second call returns
// pipeline.ErrNotFound.
func (b *Bus) Discard(ctx context.Context, project, id string) error {
	m, err := b.letter(ctx, project, id)
	if err != nil {
		return fmt.Errorf("discard dead letter %q: %w", id, err)
	}
	removed, err := b.remove(ctx, streamDead, m.Sequence)
	if err == nil && !removed {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("discard dead letter %q: %w", id, err)
	}
	return nil
}

// letter reads the message of a dead letter.
func (b *Bus) letter(ctx context.Context, project, id string) (*message, error) {
	sequence, ok := deadSequence(id)
	if !ok {
		return nil, pipeline.ErrNotFound
	}
	m, err := b.message(ctx, streamDead, want{Sequence: sequence})
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, pipeline.ErrNotFound
	}
	if parts := strings.Split(m.Subject, "."); len(parts) < 3 || parts[2] != project {
		return nil, pipeline.ErrNotFound
	}
	return m, nil
}

// DeadCount returns how many dead letters there are.
func (b *Bus) DeadCount(ctx context.Context) (int, error) {
	var got struct {
		refusal
		State struct {
			Messages int `json:"messages"`
		} `json:"state"`
	}
	if err := b.request(ctx, "STREAM.INFO."+streamDead, struct{}{}, &got); err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return got.State.Messages, nil
}

// deadID returns the id of the dead letter with a stream sequence.
func deadID(sequence uint64) string { return deadPrefix + strconv.FormatUint(sequence, 10) }

// deadSequence returns the stream sequence of an id. A sequence has exactly one id.
func deadSequence(id string) (uint64, bool) {
	digits, _ := strings.CutPrefix(id, deadPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0 && id == deadID(n)
}

// decodeLetter reads a dead letter. A message that is no task comes back in Raw, and so does a letter that
// cannot be read.
func decodeLetter(m *message) pipeline.DeadLetter {
	why, raw := m.Header[headerProblem]
	if !raw {
		var d pipeline.DeadLetter
		err := json.Unmarshal(m.Data, &d)
		if err == nil {
			d.ID, d.Sequence = deadID(m.Sequence), m.Sequence
			return d
		}
		why = []string{fmt.Sprintf("decode dead letter: %v", err)}
	}
	problem := why[0]
	if plain, err := strconv.Unquote(problem); err == nil {
		problem = plain
	}
	d := pipeline.DeadLetter{
		ID: deadID(m.Sequence), Sequence: m.Sequence, Subject: m.Header.Get(headerSubject),
		Headers: plainHeaders(m.Header),
		Problem: *pipeline.ProblemOf(pipeline.Fail(pipeline.CodeInternal, "the message is no task: %s", problem)),
		Time:    m.Time, Raw: m.Data,
	}
	if !raw {
		d.Subject = m.Subject
	}
	delete(d.Headers, headerProblem)
	delete(d.Headers, headerSubject)
	return d
}

func (b *Bus) publishDead(ctx context.Context, m *nats.Msg) error {
	_, err := b.publish(ctx, m, jetstream.WithExpectLastSequencePerSubject(0),
		jetstream.WithExpectStream(streamDead))
	if err != nil && !isWrongSequence(err) {
		return fmt.Errorf("store dead letter %s: %w", m.Subject, err)
	}
	return nil
}
