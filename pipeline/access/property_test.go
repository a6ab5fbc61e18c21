package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/pipeline"
)

// memory is a log in memory with the rule of compare-and-swap.
type memory struct{ events []pipeline.Event }

func (m *memory) Append(_ context.Context, e pipeline.Event, after uint64) (uint64, error) {
	last, _ := m.Last(context.Background(), e.Subject)
	if last[0].Sequence != after {
		return 0, pipeline.ErrConflict
	}
	e.Sequence = uint64(len(m.events) + 1)
	m.events = append(m.events, e)
	return e.Sequence, nil
}

func (m *memory) Last(_ context.Context, subjects ...string) ([]pipeline.Event, error) {
	found := make([]pipeline.Event, len(subjects))
	for i, s := range subjects {
		for _, e := range m.events {
			if e.Subject == s {
				found[i] = e
			}
		}
	}
	return found, nil
}

// model says in the plainest way what must be true.
type model struct {
	titles  map[string]string // of the projects that exist
	keys    []modelKey
	signing []modelSigningKey
}

type modelSigningKey struct {
	project, id string
	algorithm   Algorithm
	void        bool
}

type modelKey struct {
	secret, project, id string
	scopes              []Scope
	expires             time.Time
	void                bool
}

// TestStateIsTheModel: whatever is written, the fold of the log says what a plain model says: which projects
// exist, which keys are whose, and which secret may do what, now and later. The Book folds the same events.
func TestStateIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := &memory{}
		m := model{titles: map[string]string{"default": ""}}
		names := rapid.SampledFrom([]string{"default", "a", "b-2", "UPPER", "", "_operator"})
		ctx := pipeline.WithActor(context.Background(), "key:key_root")
		t.Repeat(map[string]func(*rapid.T){
			"create project": func(t *rapid.T) { m.create(t, ctx, log, names.Draw(t, "name")) },
			"change project": func(t *rapid.T) { m.change(t, ctx, log, names.Draw(t, "name")) },
			"delete project": func(t *rapid.T) { m.remove(t, ctx, log, names.Draw(t, "name")) },
			"create key":     func(t *rapid.T) { m.makeKey(t, ctx, log, names.Draw(t, "name")) },
			"revoke key":     func(t *rapid.T) { m.revoke(t, ctx, log) },

			"create signing key": func(t *rapid.T) { m.makeSigningKey(t, ctx, log, names.Draw(t, "name")) },
			"revoke signing key": func(t *rapid.T) { m.revokeSigningKey(t, ctx, log) },
			"":                   func(t *rapid.T) { m.compare(t, log) },
		})
	})
}

func (m *model) create(t *rapid.T, ctx context.Context, log *memory, name string) {
	title := rapid.StringN(0, 5, 20).Draw(t, "title")
	_, err := CreateProject(ctx, log, name, Settings{Title: title})
	_, there := m.titles[name]
	switch {
	case CheckProject(name) != nil:
		want(t, err, ErrInvalid)
	case there:
		want(t, err, ErrExists)
	default:
		want(t, err, nil)
		m.titles[name] = title
	}
}

func (m *model) change(t *rapid.T, ctx context.Context, log *memory, name string) {
	title := rapid.StringN(0, 5, 20).Draw(t, "title")
	_, err := ChangeProject(ctx, log, name, func(Settings) Settings { return Settings{Title: title} })
	if _, there := m.titles[name]; !there {
		want(t, err, pipeline.ErrNotFound)
		return
	}
	want(t, err, nil)
	m.titles[name] = title
}

func (m *model) remove(t *rapid.T, ctx context.Context, log *memory, name string) {
	_, err := DeleteProject(ctx, log, name)
	_, there := m.titles[name]
	switch {
	case name == "default":
		want(t, err, ErrInvalid)
		return
	case !there:
		want(t, err, pipeline.ErrNotFound)
		return
	}
	want(t, err, nil)
	delete(m.titles, name)
	for i := range m.keys {
		m.keys[i].void = m.keys[i].void || m.keys[i].project == name
	}
	for i := range m.signing {
		m.signing[i].void = m.signing[i].void || m.signing[i].project == name
	}
}

func (m *model) makeSigningKey(t *rapid.T, ctx context.Context, log *memory, project string) {
	a := rapid.SampledFrom([]Algorithm{ES256, EdDSA, "HS256", ""}).Draw(t, "algorithm")
	k, _, _, err := CreateSigningKey(ctx, log, NewSigningKey{Project: project, Algorithm: a})
	_, there := m.titles[project]
	switch {
	case CheckProject(project) != nil, a == "HS256":
		want(t, err, ErrInvalid)
		return
	case !there:
		want(t, err, pipeline.ErrNotFound)
		return
	}
	want(t, err, nil)
	if a == "" {
		a = ES256
	}
	m.signing = append(m.signing, modelSigningKey{project, k.ID, a, false})
}

func (m *model) revokeSigningKey(t *rapid.T, ctx context.Context, log *memory) {
	if len(m.signing) == 0 {
		return
	}
	k := &m.signing[rapid.IntRange(0, len(m.signing)-1).Draw(t, "signing key")]
	_, err := RevokeSigningKey(ctx, log, "elsewhere", k.id)
	want(t, err, pipeline.ErrNotFound)
	_, err = RevokeKey(ctx, log, k.project, k.id) // it is no API key
	want(t, err, pipeline.ErrNotFound)
	_, err = RevokeSigningKey(ctx, log, k.project, k.id)
	want(t, err, nil)
	k.void = true
}

// compareSigning compares the signing keys of a fold with the model.
func (m *model) compareSigning(t *rapid.T, s *State) {
	for _, k := range m.signing {
		found, there := s.SigningKey(k.project, k.id)
		if !there || found.Active() == k.void || found.Algorithm != k.algorithm || found.Public() == nil {
			t.Fatalf("signing key %+v is %+v", k, found)
		}
		if _, there := s.SigningKey("elsewhere", k.id); there {
			t.Fatalf("signing key %s is another project's, too", k.id)
		}
		if !slices.ContainsFunc(s.SigningKeys(k.project), func(l SigningKey) bool { return l.ID == k.id }) {
			t.Fatalf("signing key %s is not listed", k.id)
		}
	}
}

func (m *model) makeKey(t *rapid.T, ctx context.Context, log *memory, project string) {
	if rapid.Bool().Draw(t, "operator") {
		project = Operator
	}
	n := NewKey{Project: project, Scopes: rapid.SliceOfNDistinct(rapid.SampledFrom(Scopes), 1, 3, rapid.ID).Draw(t, "scopes")}
	if rapid.Bool().Draw(t, "expires") {
		n.ExpiresAt = time.Now().Add(time.Hour)
	}
	k, text, _, err := CreateKey(ctx, log, n)
	_, there := m.titles[project]
	switch {
	case project != Operator && CheckProject(project) != nil,
		slices.Contains(n.Scopes, Operate) != (project == Operator):
		want(t, err, ErrInvalid)
		return
	case !there && project != Operator:
		want(t, err, pipeline.ErrNotFound)
		return
	}
	want(t, err, nil)
	if !WellFormed(text.Reveal()) || k.CreatedBy != "key:key_root" {
		t.Fatalf("%+v with the secret %q", k, text.Reveal())
	}
	m.keys = append(m.keys, modelKey{text.Reveal(), project, k.ID, n.Scopes, n.ExpiresAt, false})
}

func (m *model) revoke(t *rapid.T, ctx context.Context, log *memory) {
	if len(m.keys) == 0 {
		return
	}
	k := &m.keys[rapid.IntRange(0, len(m.keys)-1).Draw(t, "key")]
	if rapid.Bool().Draw(t, "foreign") {
		_, err := RevokeKey(ctx, log, "elsewhere", k.id)
		want(t, err, pipeline.ErrNotFound)
		return
	}
	_, err := RevokeKey(ctx, log, k.project, k.id)
	want(t, err, nil)
	k.void = true
}

// compare folds the log and compares it with the model, at two times: before and after keys expire.
func (m *model) compare(t *rapid.T, log *memory) {
	s := NewState()
	for _, e := range log.events {
		s.Apply(e)
	}
	titles := map[string]string{}
	for _, p := range s.Projects() {
		titles[p.Name] = p.Title
	}
	if fmt.Sprint(titles) != fmt.Sprint(m.titles) {
		t.Fatalf("projects %v, want %v", titles, m.titles)
	}
	for _, now := range []time.Time{time.Now(), time.Now().Add(2 * time.Hour)} {
		usable := false
		for _, k := range m.keys {
			may := !k.void && (k.expires.IsZero() || now.Before(k.expires))
			usable = usable || may
			g, ok := s.grant(k.secret, now)
			if ok != may || ok && (g.Project != k.project || !slices.Equal(g.Scopes, k.scopes) ||
				g.Actor != "key:"+k.id || !g.Expires.Equal(k.expires)) {
				t.Fatalf("key %+v at %s: %+v, %t", k, now, g, ok)
			}
			found, there := s.Key(k.project, k.id)
			if !there || found.Active(now) != may {
				t.Fatalf("key %+v is listed as %+v", k, found)
			}
			if _, there := s.Key("elsewhere", k.id); there {
				t.Fatalf("key %s is another project's, too", k.id)
			}
			if g, ok := s.grant(k.secret[:len(k.secret)-1], now); ok {
				t.Fatalf("a part of a secret has the grant %+v", g)
			}
		}
		if s.Usable(now) != usable || s.EverHadKeys() != (len(m.keys) > 0) {
			t.Fatalf("usable %t, want %t", s.Usable(now), usable)
		}
	}
	if _, ok := s.grant("", time.Now()); ok {
		t.Fatal("no secret has a grant")
	}
	m.compareSigning(t, s)
}

func want(t *rapid.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}
