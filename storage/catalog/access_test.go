package catalog

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// signingKey is the public key of RFC 8410, 10.1.
const signingKey = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`

// accessStory is a log of projects, keys and a video.
func accessStory(t *testing.T) *story {
	t.Helper()
	s := &story{}
	key := func(project, id string) {
		s.tell(pipeline.KeyCreated, pipeline.AccessSubject(project, id), id, access.KeyData{
			ID: id, Name: "a key", Scopes: []access.Scope{access.Read}, SHA256: sha(id),
		})
	}
	key("default", "key_1")
	s.tell(pipeline.ProjectCreated, pipeline.AccessSubject("shop", "project"), "shop", access.Settings{Title: "Shop"})
	s.uploaded("shop", "vid_1")
	key("shop", "key_2")
	s.tell(pipeline.ProjectChanged, pipeline.AccessSubject("shop", "project"), "shop", access.Settings{Title: "Corner shop"})
	s.tell(pipeline.KeyRevoked, pipeline.AccessSubject("default", "key_1"), "key_1", struct{}{})
	s.tell(pipeline.KeyCreated, pipeline.AccessSubject("default", "key_bad"), "key_bad", `{"sha256":3}`)
	s.tell("key.renamed", pipeline.AccessSubject("shop", "key_2"), "key_2", struct{}{})
	s.tell(pipeline.ProjectCreated, pipeline.AccessSubject("gone", "project"), "gone", access.Settings{})
	key("gone", "key_3")
	signing := func(project, id string) {
		s.tell(pipeline.SigningKeyCreated, pipeline.AccessSubject(project, id), id, access.SigningKeyData{
			ID: id, Name: "a signing key", Algorithm: access.EdDSA, PublicKey: signingKey,
		})
	}
	signing("gone", "sgk_1")
	signing("shop", "sgk_2")
	signing("shop", "sgk_3")
	s.tell(pipeline.SigningKeyRevoked, pipeline.AccessSubject("shop", "sgk_3"), "sgk_3", struct{}{})
	s.tell(pipeline.SigningKeyCreated, pipeline.AccessSubject("shop", "sgk_bad"), "sgk_bad", `{"public_key":"x"}`)
	s.tell(pipeline.ProjectDeleted, pipeline.AccessSubject("gone", "project"), "gone", struct{}{})
	return s
}

// TestAccess: the tables are what the fold of the log says, in whatever batches it comes, and again when it is
// made anew.
func TestAccess(t *testing.T) {
	s := accessStory(t)
	state := access.NewState()
	for _, e := range s.events {
		state.Apply(e)
	}
	want := docOf(t, state.Keys("default")) + docOf(t, state.Keys("shop")) + docOf(t, state.Keys("gone"))
	wantSigning := map[string]access.SigningKey{}
	for _, k := range slices.Concat(state.SigningKeys("shop"), state.SigningKeys("gone")) {
		wantSigning[k.ID] = k
	}
	for size := 1; size <= len(s.events); size += 3 {
		c, err := Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"))
		must(t, err)
		for i := 0; i < len(s.events); i += size {
			must(t, c.Apply(t.Context(), s.events[i:min(i+size, len(s.events))]))
		}
		var got string
		for _, project := range []string{"default", "shop", "gone"} {
			keys, err := c.Keys(t.Context(), project)
			must(t, err)
			got += docOf(t, keys)
		}
		if got != want {
			t.Errorf("in batches of %d:\n%s\nwant\n%s", size, got, want)
		}
		shop, err := c.SigningKeys(t.Context(), "shop")
		must(t, err)
		gone, err := c.SigningKeys(t.Context(), "gone")
		must(t, err)
		if len(shop) != 2 || len(gone) != 1 || shop[0].ID != "sgk_2" || !shop[0].Active() || shop[1].Active() || gone[0].Active() {
			t.Errorf("signing keys %+v, %+v", shop, gone)
		}
		for _, k := range slices.Concat(shop, gone) {
			if docOf(t, k) != docOf(t, wantSigning[k.ID]) {
				t.Errorf("in batches of %d:\n%s\nwant\n%s", size, docOf(t, k), docOf(t, wantSigning[k.ID]))
			}
		}
		projects, err := c.Projects(t.Context())
		must(t, err)
		if len(projects) != 1 || projects[0].Title != "Corner shop" || projects[0].Name != "shop" {
			t.Errorf("projects %+v", projects)
		}
		poisoned, err := c.Poisoned(t.Context())
		if err != nil || poisoned != 0 {
			t.Errorf("%d events are poisoned, %v", poisoned, err)
		}
		must(t, c.Close())
	}
}

// TestEventsOfAccess: only a query that asks for them gets the events of projects and keys, in the order of the
// log, and of its own project.
func TestEventsOfAccess(t *testing.T) {
	s := accessStory(t)
	c, err := Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"))
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	must(t, c.Apply(t.Context(), s.events))
	for name, q := range map[string]struct {
		query EventQuery
		want  []uint64
	}{
		"without": {EventQuery{Project: "shop"}, []uint64{3}},
		"with":    {EventQuery{Project: "shop", Access: true}, []uint64{2, 3, 4, 5, 8, 12, 13, 14, 15}},
		"page":    {EventQuery{Project: "shop", Access: true, After: 2, Limit: 2}, []uint64{3, 4}},
		"types":   {EventQuery{Project: "default", Access: true, Types: []pipeline.EventType{pipeline.KeyRevoked}}, []uint64{6}},
		"a video": {EventQuery{Project: "shop", Access: true, Video: "vid_1"}, []uint64{3}},
		"videos":  {EventQuery{Project: "shop", Access: true, Videos: []string{"vid_1", "key_2"}}, []uint64{3}},
		"foreign": {EventQuery{Project: "elsewhere", Access: true}, nil},
	} {
		events, err := c.History(t.Context(), q.query)
		must(t, err)
		var got []uint64
		for _, e := range events {
			got = append(got, e.Sequence)
		}
		if docOf(t, got) != docOf(t, q.want) {
			t.Errorf("%s: %v, want %v", name, got, q.want)
		}
	}
}

func docOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	must(t, err)
	return string(raw) + "\n"
}

// sha returns 64 hex digits that differ for each text.
func sha(text string) string {
	sum := [32]byte{}
	copy(sum[:], text)
	digits := ""
	for _, b := range sum {
		digits += string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15])
	}
	return digits
}
