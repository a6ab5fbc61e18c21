package access

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// State is all projects and keys: the fold of their events in the order of the log. NewState makes one.
type State struct {
	projects map[string]Project
	keys     map[string]Key        // by project and id
	signing  map[string]SigningKey // likewise
	bySum    map[[32]byte]string   // the keys that were ever valid, by the SHA-256 of their secrets
	sequence uint64                // of the last event
}

// NewState returns the state of an empty log.
func NewState() *State {
	return &State{
		projects: map[string]Project{pipeline.DefaultProject: {Name: pipeline.DefaultProject}},
		keys:     map[string]Key{}, bySum: map[[32]byte]string{}, signing: map[string]SigningKey{},
	}
}

// Apply adds the next event. It ignores events that are not of projects and keys, and types that it does not
// know. An event that cannot be read makes its key void, since it might have been the revocation.
func (s *State) Apply(e pipeline.Event) {
	project, thing := Address(e.Subject)
	if thing == "" {
		return
	}
	s.sequence = e.Sequence
	if thing == ProjectThing {
		p, ok := FoldProject(s.projects[project], e)
		if ok {
			s.projects[project] = p
		}
		if p.Deleted {
			s.voidKeys(project, e)
		}
		return
	}
	id := project + "." + thing
	if IsSigningKey(thing) {
		if k, ok := FoldSigningKey(s.signing[id], e); ok {
			s.signing[id] = k
		}
		return
	}
	before, known := s.keys[id]
	k, ok := FoldKey(before, e)
	if !ok {
		return
	}
	if s.keys[id] = k; !known {
		s.bySum[k.sum] = id
	}
}

// voidKeys revokes the keys that a project had when it was deleted.
func (s *State) voidKeys(project string, e pipeline.Event) {
	for id, k := range s.keys {
		if k.Project == project && k.RevokedAt == nil {
			s.keys[id] = Void(k, e)
		}
	}
	for id, k := range s.signing {
		if k.Project == project && k.Active() {
			s.signing[id] = VoidSigningKey(k, e)
		}
	}
}

// FoldProject returns a project after an event of it; ok is false if the event changes nothing.
func FoldProject(p Project, e pipeline.Event) (after Project, ok bool) {
	name, thing := Address(e.Subject)
	if thing != ProjectThing {
		return p, false
	}
	switch e.Type {
	case pipeline.ProjectCreated, pipeline.ProjectChanged:
		var data Settings
		if e.Decode(&data) != nil {
			data = p.Settings // a project whose settings cannot be read exists all the same
		}
		if e.Type == pipeline.ProjectCreated {
			p = Project{CreatedAt: e.Time}
		}
		p.Name, p.Settings, p.ChangedAt = name, data, e.Time
		return p, true
	case pipeline.ProjectDeleted:
		p.Name, p.Deleted, p.ChangedAt = name, true, e.Time
		return p, true
	}
	return p, false
}

// FoldKey returns a key after an event of it; ok is false if the event changes nothing.
func FoldKey(k Key, e pipeline.Event) (after Key, ok bool) {
	project, id := Address(e.Subject)
	switch {
	case id == "" || id == ProjectThing || IsSigningKey(id):
		return k, false
	case e.Type == pipeline.KeyCreated && k.ID == "":
		k, err := newKey(project, id, e)
		return k, err == nil
	case (e.Type == pipeline.KeyRevoked || e.Type == "") && k.ID != "" && k.RevokedAt == nil:
		return Void(k, e), true
	}
	return k, false
}

func newKey(project, id string, e pipeline.Event) (Key, error) {
	var data KeyData
	if err := e.Decode(&data); err != nil {
		return Key{}, err
	}
	sum, err := hex.DecodeString(data.SHA256)
	if err != nil || len(sum) != len(Key{}.sum) {
		return Key{}, fmt.Errorf("key %s has no SHA-256", id)
	}
	return Key{
		ID: id, Project: project, Name: data.Name, Scopes: data.Scopes, CreatedAt: e.Time, CreatedBy: e.Actor,
		ExpiresAt: data.ExpiresAt, RequestsPerSecond: data.RequestsPerSecond, sum: [32]byte(sum),
	}, nil
}

// Void returns a key that is revoked by an event: its own revocation, or the deletion of its project.
func Void(k Key, e pipeline.Event) Key {
	at := e.Time
	k.RevokedAt, k.RevokedBy = &at, e.Actor
	return k
}

// Project returns a project that exists.
func (s *State) Project(name string) (Project, bool) {
	p, ok := s.projects[name]
	return p, ok && !p.Deleted
}

// Projects returns the projects that exist, by name.
func (s *State) Projects() []Project {
	all := slices.DeleteFunc(slices.Collect(maps.Values(s.projects)), func(p Project) bool { return p.Deleted })
	slices.SortFunc(all, func(a, b Project) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Key returns a key of a project, revoked or not.
func (s *State) Key(project, id string) (Key, bool) {
	k, ok := s.keys[project+"."+id]
	return k, ok
}

// Keys returns the keys of a project, the newest first, revoked ones included.
func (s *State) Keys(project string) []Key {
	return newestFirst(s.keys, project, func(k Key) (string, time.Time, string) {
		return k.Project, k.CreatedAt, k.ID
	})
}

// newestFirst returns those of a project. of returns the project, time of creation and id of one.
func newestFirst[K any](all map[string]K, project string, of func(K) (string, time.Time, string)) []K {
	some := slices.DeleteFunc(slices.Collect(maps.Values(all)), func(k K) bool {
		owner, _, _ := of(k)
		return owner != project
	})
	slices.SortFunc(some, func(a, b K) int {
		_, at, id := of(a)
		_, other, otherID := of(b)
		return cmp.Or(other.Compare(at), cmp.Compare(otherID, id))
	})
	return some
}

// ActiveKey returns the id of a key of a project that may be used now; empty: there is none.
func (s *State) ActiveKey(project string) string {
	for _, k := range s.Keys(project) {
		if k.Active(time.Now()) {
			return k.ID
		}
	}
	return ""
}

// Usable reports whether some key may be used now.
func (s *State) Usable(now time.Time) bool {
	for _, k := range s.keys {
		if k.Active(now) {
			return true
		}
	}
	return false
}

// EverHadKeys reports whether a key was ever made.
func (s *State) EverHadKeys() bool { return len(s.keys) > 0 }

// grant judges a secret. Every secret takes the same steps, whether it belongs to no key, to a key that may
// be used, or to one that may not.
func (s *State) grant(text string, now time.Time) (Grant, bool) {
	id, known := s.bySum[sumOf(text)]
	k := s.keys[id] // the zero Key for an unknown secret
	active := k.Active(now)
	g := Grant{
		Project: k.Project, Scopes: k.Scopes, Actor: "key:" + k.ID, Key: k.ID, stored: id,
		RequestsPerSecond: k.RequestsPerSecond,
	}
	if k.ExpiresAt != nil {
		g.Expires = *k.ExpiresAt
	}
	if known && active {
		return g, true
	}
	return Grant{}, false
}
