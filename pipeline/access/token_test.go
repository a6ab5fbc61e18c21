package access

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// issued has a Book with a project shop, its key, and the Tokens of an installation.
type issued struct {
	*Tokens
	log   *memory
	book  *Book
	key   Key
	grant Grant
	now   time.Time
}

func newIssued(t *testing.T, expires time.Time) *issued {
	t.Helper()
	root, err := OpenRoot(t.Context(), vault{})
	must(t, err)
	i := &issued{Tokens: NewTokens(root), log: &memory{}, book: NewBook(), now: time.Now()}
	i.book.now = func() time.Time { return i.now }
	_, err = CreateProject(t.Context(), i.log, "shop", Settings{})
	must(t, err)
	var text secret.Text
	i.key, text, _, err = CreateKey(t.Context(), i.log, NewKey{Project: "shop", Scopes: Scopes[:2], ExpiresAt: expires})
	must(t, err)
	i.catchUp(t)
	i.grant, err = i.book.Authenticate(t.Context(), text)
	must(t, err)
	return i
}

// catchUp lets the Book hear of all that is in the log.
func (i *issued) catchUp(t *testing.T) {
	t.Helper()
	for _, e := range i.log.events[i.book.state.sequence:] {
		must(t, i.book.apply(e))
	}
	i.book.hear(i.now)
}

// judge opens a token and asks the Book about it.
func (i *issued) judge(t *testing.T, text secret.Text, required bool) (Grant, error) {
	t.Helper()
	i.book.hear(i.now)
	told, err := i.Open(text)
	if err != nil {
		return Grant{}, err
	}
	return i.book.AuthenticateToken(t.Context(), told, required)
}

// TestTokens: a token gets the grant that its maker gave it, until it expires.
func TestTokens(t *testing.T) {
	i := newIssued(t, time.Time{})
	limits := Token{
		Kind: UploadToken, MaxSize: 1 << 30, Types: []string{"video/*", "audio/mp4"}, Origin: "https://shop.example",
	}
	up, text, err := i.Make(i.grant, limits, 0, i.now)
	must(t, err)
	if !strings.HasPrefix(text.Reveal(), "rm_upload_") || strings.Contains(fmt.Sprintf("%+v", text), "rm_") {
		t.Errorf("%s: %s", text.Reveal(), text)
	}
	g, err := i.judge(t, text, true)
	must(t, err)
	if g.Project != "shop" || g.Actor != "token:"+up.ID || !slices.Equal(g.Scopes, []Scope{Upload}) || g.Key != "" ||
		g.Bound != (Bound{Upload: up.ID}) || g.Origin != limits.Origin || !g.Expires.Equal(up.ExpiresAt()) ||
		g.Expires.Sub(i.now) > time.Hour || g.Expires.Sub(i.now) <= time.Hour-time.Second || g.Token.MaxSize != 1<<30 ||
		g.Token.By != "key:"+i.key.ID || g.Token.Seal().Empty() {
		t.Errorf("%+v of %+v", g, g.Token)
	}
	if seal := g.Token.Seal().Reveal(); strings.Contains(fmt.Sprintf("%+v %v", g.Token, *g.Token), seal) {
		t.Error("the seal is printed")
	}
	read, text, err := i.Make(i.grant, Token{Kind: ReadToken, Video: "vid_1"}, time.Minute, i.now)
	must(t, err)
	g, err = i.judge(t, text, true)
	if err != nil || g.Bound != (Bound{Video: "vid_1"}) || !slices.Equal(g.Scopes, []Scope{Read}) ||
		!strings.HasPrefix(text.Reveal(), "rm_read_") {
		t.Errorf("%+v, %v", g, err)
	}
	i.now = read.ExpiresAt().Add(-1)
	if _, err := i.judge(t, text, true); err != nil {
		t.Errorf("before its end: %v", err)
	}
	i.now = read.ExpiresAt()
	if _, err := i.judge(t, text, true); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("at its end: %v", err)
	}
}

// TestTokensEnd: a token ends with the key that made it, with the project, and at the latest when the credential
// would have expired.
func TestTokensEnd(t *testing.T) {
	i := newIssued(t, time.Now().Add(5*time.Minute))
	made, text, err := i.Make(i.grant, Token{Kind: UploadToken}, 0, i.now)
	must(t, err)
	if made.ExpiresAt().After(*i.key.ExpiresAt) {
		t.Errorf("the token ends %s, its key %s", made.ExpiresAt(), i.key.ExpiresAt)
	}
	_, err = i.judge(t, text, true)
	must(t, err)
	_, err = RevokeKey(t.Context(), i.log, "shop", i.key.ID)
	must(t, err)
	i.catchUp(t)
	if _, err := i.judge(t, text, true); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("after its key was revoked: %v", err)
	}
	user := Grant{Project: "shop", Scopes: []Scope{Upload}, Actor: "user:ada", Expires: i.now.Add(time.Minute)}
	made, text, err = i.Make(user, Token{Kind: UploadToken}, time.Hour, i.now)
	must(t, err)
	if made.ExpiresAt().After(user.Expires) {
		t.Errorf("the token ends %s, its maker's session %s", made.ExpiresAt(), user.Expires)
	}
	_, err = i.judge(t, text, true)
	must(t, err)
	_, err = DeleteProject(t.Context(), i.log, "shop")
	must(t, err)
	i.catchUp(t)
	if _, err := i.judge(t, text, true); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("after its project was deleted: %v", err)
	}
}

// TestTokensOfOperators: a key of the operator that acts in a project makes tokens of that project, which end with it.
func TestTokensOfOperators(t *testing.T) {
	i := newIssued(t, time.Time{})
	k, secretText, _, err := CreateKey(t.Context(), i.log, NewKey{Project: Operator, Scopes: Scopes})
	must(t, err)
	i.catchUp(t)
	g, err := i.book.Authenticate(t.Context(), secretText)
	must(t, err)
	g.Project = "shop"
	_, text, err := i.Make(g, Token{Kind: UploadToken}, 0, i.now)
	must(t, err)
	if g, err := i.judge(t, text, true); err != nil || g.Project != "shop" || g.Has(Operate) {
		t.Errorf("%+v, %v", g, err)
	}
	_, err = RevokeKey(t.Context(), i.log, Operator, k.ID)
	must(t, err)
	i.catchUp(t)
	if _, err := i.judge(t, text, true); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("after its key was revoked: %v", err)
	}
}

// TestTokensOfNobody: what was made while no credential was asked for counts only until one is.
func TestTokensOfNobody(t *testing.T) {
	i := newIssued(t, time.Time{})
	_, text, err := i.Make(Anonymous(), Token{Kind: UploadToken}, 0, i.now)
	must(t, err)
	if _, err := i.judge(t, text, false); err != nil {
		t.Error(err)
	}
	if _, err := i.judge(t, text, true); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("once credentials are asked for: %v", err)
	}
}

// TestForgedTokens: whatever is changed in a token, it is refused; so is a token of another kind or installation.
func TestForgedTokens(t *testing.T) {
	i := newIssued(t, time.Time{})
	_, upload, err := i.Make(i.grant, Token{Kind: UploadToken, MaxSize: 5}, 0, i.now)
	must(t, err)
	_, read, err := i.Make(i.grant, Token{Kind: ReadToken, Video: "vid_1"}, 0, i.now)
	must(t, err)
	other := newIssued(t, time.Time{})
	body, seal, _ := strings.Cut(upload.Reveal(), ".")
	doc, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(body, "rm_upload_"))
	must(t, err)
	larger := strings.Replace(string(doc), `"max_size":5`, `"max_size":6`, 1)
	if larger == string(doc) {
		t.Fatalf("%s", doc)
	}
	for name, text := range map[string]string{
		"empty": "", "prefix": "rm_upload_", "no seal": body, "empty seal": body + ".", "two seals": upload.Reveal() + "." + seal,
		"other limits":      "rm_upload_" + base64.RawURLEncoding.EncodeToString([]byte(larger)) + "." + seal,
		"as a read token":   strings.Replace(upload.Reveal(), "rm_upload_", "rm_read_", 1),
		"as upload token":   strings.Replace(read.Reveal(), "rm_read_", "rm_upload_", 1),
		"seal of another":   body + "." + read.Reveal()[strings.Index(read.Reveal(), ".")+1:],
		"upper case":        strings.ToUpper(upload.Reveal()),
		"long":              body + strings.Repeat("A", maxTokenText) + "." + seal,
		"an API key":        "rm_live_" + strings.Repeat("0", 49),
		"with a line":       upload.Reveal() + "\n",
		"seal is not whole": upload.Reveal()[:len(upload.Reveal())-1],
	} {
		if _, err := i.Open(secret.New(text)); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := other.Open(upload); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("of another installation: %v", err)
	}
	for at := range upload.Reveal() {
		wrong := []byte(upload.Reveal())
		wrong[at] ^= 1
		if _, err := i.Open(secret.New(string(wrong))); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("wrong at %d: %v", at, err)
		}
	}
}

// TestTokenLimits: what a token cannot have is refused when it is made.
func TestTokenLimits(t *testing.T) {
	i := newIssued(t, time.Time{})
	for name, c := range map[string]struct {
		token Token
		life  time.Duration
	}{
		"life above a day": {Token{Kind: UploadToken}, MaxTokenLife + time.Second}, "no life": {Token{Kind: UploadToken}, -time.Second},
		"no video": {Token{Kind: ReadToken}, 0}, "a video to upload": {Token{Kind: UploadToken, Video: "vid_1"}, 0},
		"size": {Token{Kind: UploadToken, MaxSize: -1}, 0}, "type": {Token{Kind: UploadToken, Types: []string{"video"}}, 0},
		"any type": {Token{Kind: UploadToken, Types: []string{"*/*"}}, 0}, "upper case": {Token{Kind: UploadToken, Types: []string{"Video/mp4"}}, 0},
		"many types": {Token{Kind: UploadToken, Types: make([]string, maxTokenTypes+1)}, 0},
		"origin":     {Token{Kind: UploadToken, Origin: strings.Repeat("a", maxTokenOrigin+1)}, 0},
	} {
		if _, text, err := i.Make(i.grant, c.token, c.life, i.now); !errors.Is(err, ErrInvalid) || !text.Empty() {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, text, err := i.Make(i.grant, Token{Kind: UploadToken}, 0, i.now)
	must(t, err)
	g, err := i.judge(t, text, true)
	must(t, err)
	if _, _, err := i.Make(g, Token{Kind: UploadToken}, 0, i.now); !errors.Is(err, ErrInvalid) {
		t.Errorf("a token makes a token: %v", err)
	}
	whole := Token{Kind: UploadToken, MaxSize: 1 << 62, Origin: strings.Repeat("a", maxTokenOrigin)}
	for range maxTokenTypes {
		whole.Types = append(whole.Types, strings.Repeat("a", 49)+"/"+strings.Repeat("b", 50))
	}
	_, text, err = i.Make(i.grant, whole, 0, i.now)
	must(t, err)
	if _, err := i.Open(text); err != nil {
		t.Errorf("a token with as much as it may have, %d bytes: %v", len(text.Reveal()), err)
	}
}

// FuzzOpenToken: no text but one that we have made is a token, and none makes a panic.
func FuzzOpenToken(f *testing.F) {
	root := Root{secret.New(strings.Repeat("7", rootBytes))}
	m := NewTokens(root)
	doc, err := json.Marshal(Token{ID: "tok_1", Project: pipeline.DefaultProject})
	if err != nil {
		f.Fatal(err)
	}
	_, good, err := m.Make(Anonymous(), Token{Kind: ReadToken, Video: "vid_1"}, 0, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Reveal())
	f.Add("rm_upload_" + base64.RawURLEncoding.EncodeToString(doc) + ".")
	f.Add("rm_read_.")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := m.Open(secret.New(text))
		// Each process of the fuzzer has a good token of its own, with the same key.
		if err == nil && (token.Kind != ReadToken || token.Video != "vid_1" || token.By != pipeline.ActorAnonymous) {
			t.Fatalf("%q: %+v", text, token)
		}
		if err != nil && !errors.Is(err, ErrUnauthorized) {
			t.Fatal(err)
		}
	})
}
