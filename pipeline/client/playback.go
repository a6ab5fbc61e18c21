package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// CreateSigningKey makes a key that signs tokens for playback, and returns it with its private half in PEM,
// which nobody can read again. With NewSigningKey.PublicKey there is none. NewSigningKey.Project does not
// count: the key is of the project of the client.
func (c *Client) CreateSigningKey(
	ctx context.Context, n access.NewSigningKey,
) (access.SigningKey, secret.Text, error) {
	body := struct {
		Name      string           `json:"name,omitempty"`
		Algorithm access.Algorithm `json:"algorithm,omitempty"`
		PublicKey string           `json:"public_key,omitempty"`
	}{n.Name, n.Algorithm, n.PublicKey}
	var made struct {
		access.SigningKey
		PrivateKey secret.Text `json:"private_key"`
	}
	err := c.doWith(ctx, http.MethodPost, "/v1/signing_keys", body, &made)
	return made.SigningKey, made.PrivateKey, err
}

// SigningKeys returns the signing keys of the project, the newest first, revoked ones included.
func (c *Client) SigningKeys(ctx context.Context) ([]access.SigningKey, error) {
	var l page[access.SigningKey]
	err := c.get(ctx, "/v1/signing_keys", nil, &l)
	return l.Data, err
}

// SigningKey returns a signing key. pipeline.ErrNotFound: the project has no such key.
func (c *Client) SigningKey(ctx context.Context, id string) (access.SigningKey, error) {
	var k access.SigningKey
	err := c.get(ctx, "/v1/signing_keys/"+url.PathEscape(id), nil, &k)
	return k, err
}

// RevokeSigningKey revokes a signing key: two seconds later nothing plays for its tokens. Revoking again does
// nothing. pipeline.ErrNotFound: the project has no such key.
func (c *Client) RevokeSigningKey(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodPost, "/v1/signing_keys/"+url.PathEscape(id)+"/revoke", nil, nil)
}

// PlaybackURLs are URLs that play a video for a while, whatever its policy.
type PlaybackURLs struct {
	BaseURL   string     `json:"base_url"`   // outputs of the video are below it
	PlayURL   string     `json:"play_url"`   // of the HLS manifest; empty until the video is playable
	DASHURL   string     `json:"dash_url"`   // of the DASH manifest; empty until there is one
	ExpiresAt *time.Time `json:"expires_at"` // nil: the video is public
}

// PlaybackURLs makes URLs that play a video for a time, at most an hour; 0: ten minutes. They are for whoever
// may read the video. They are paths if the server has no public URL.
func (c *Client) PlaybackURLs(ctx context.Context, id string, during time.Duration) (PlaybackURLs, error) {
	q := url.Values{}
	if during > 0 {
		q.Set("seconds", strconv.Itoa(int(during/time.Second)))
	}
	var u PlaybackURLs
	err := c.do(ctx, http.MethodPost, "/v1/videos/"+url.PathEscape(id)+"/playback_urls", q, &u)
	return u, err
}

// passOf returns what comes before a path below a signed video, for a reader.
func (c *Client) passOf(ctx context.Context, id string) (string, error) {
	u, err := c.PlaybackURLs(ctx, id, 0)
	if err != nil {
		return "", err
	}
	_, pass, _ := strings.Cut(u.BaseURL, pipeline.PlayURL("", id, ""))
	return pass, nil
}
