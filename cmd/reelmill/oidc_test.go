package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// TestIssuer: the users of an issuer are let in by their tokens, beside keys; tokens for browsers that they make end
// with theirs, and events name them.
func TestIssuer(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	mux := http.NewServeMux()
	issuer := httptest.NewServer(mux)
	t.Cleanup(issuer.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer.URL, issuer.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "a", Algorithm: "ES256"}}})
	})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "a"}}, nil)
	check(t, err)
	ends := time.Now().Add(10 * time.Minute)
	token := func(project, audience string) secret.Text {
		doc, err := json.Marshal(map[string]any{
			"iss": issuer.URL, "aud": audience, "sub": "ada", "exp": ends.Unix(), "project": project, "scope": "openid upload read",
		})
		check(t, err)
		signed, err := signer.Sign(doc)
		check(t, err)
		text, err := signed.CompactSerialize()
		check(t, err)
		return secret.New(text)
	}
	data := t.TempDir()
	admin := offlineKey(t, data, "admin,read")
	p := startServe(t, binary, data, "--oidc-issuer", issuer.URL, "--oidc-audience", "reelmill")
	as := func(credential secret.Text) *client.Client {
		return client.Open(client.Config{URL: p.url, Key: credential, Retries: -1})
	}
	user := as(token("default", "reelmill"))
	made, err := user.CreateUploadToken(t.Context(), client.UploadLimits{Life: time.Hour})
	check(t, err)
	if made.ExpiresAt.After(ends.Add(time.Minute)) {
		t.Errorf("the upload token ends %s, that of its maker %s", made.ExpiresAt, ends)
	}
	uploaded, err := user.Upload(t.Context(), client.Upload{Path: clientClip(t)})
	check(t, err)
	id := uploaded.ID
	if _, err := user.Video(t.Context(), id); err != nil {
		t.Error(err)
	}
	t.Setenv("REELMILL_KEY", token("default", "reelmill").Reveal())
	read := strings.TrimSpace(command(t, "tokens", "read", "--server", p.url, "--expires", "1m", id))
	get(t, p.url+"/v1/videos/"+id+"?token="+read)
	up := strings.TrimSpace(command(t, "tokens", "upload", "--server", p.url, "--type", "video/mp4", "--max-size", "1MiB"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/v1/uploads", strings.NewReader(`{"filename":"a.mp4","size":9}`))
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+up)
	answer, err := http.DefaultClient.Do(req)
	check(t, err)
	if check(t, answer.Body.Close()); answer.StatusCode != http.StatusCreated {
		t.Errorf("with the token of the command: %s", answer.Status)
	}
	if out := command(t, "tokens", "upload", "--server", p.url, "--json"); !strings.Contains(out, `"token":"rm_upload_`) {
		t.Errorf("%s", out)
	}
	for name, refused := range map[string]secret.Text{
		"no token": {}, "another audience": token("default", "other"), "a project that does not exist": token("nowhere", "reelmill"),
	} {
		if _, err := as(refused).Video(t.Context(), id); err == nil || !strings.Contains(err.Error(), "(unauthorized)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	found := false
	for e, err := range as(admin).EventLog(t.Context(), id) {
		check(t, err)
		found = found || e.Actor == "user:ada"
	}
	if !found {
		t.Error("no event names the user")
	}
	issuer.Close() // keys, and tokens under keys that are known, count on
	if _, err := user.Video(t.Context(), id); err != nil {
		t.Errorf("without the issuer: %v", err)
	}
	if _, err := as(admin).Video(t.Context(), id); err != nil {
		t.Errorf("a key without the issuer: %v", err)
	}
}
