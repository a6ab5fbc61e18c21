package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/reelmill/reelmill/pipeline/secret"
)

// UploadLimits limit what may be done with an upload token. Zero values do not limit.
type UploadLimits struct {
	Life    time.Duration // how long the token is valid, in whole seconds, at most 24 h; an hour when 0
	MaxSize int64         // bytes of the file
	Types   []string      // media types that the file may have, such as video/mp4 or video/*
	Origin  string        // of the web page that may use the token, such as https://app.example.com
}

// UploadToken is a token with which a browser makes one upload: as Bearer of POST /v1/uploads, or of the
// creation of tus.
type UploadToken struct {
	ID        string      `json:"id"`
	Token     secret.Text `json:"token"`
	ExpiresAt time.Time   `json:"expires_at"` // never later than the end of the client's own credential
	MaxSize   *int64      `json:"max_size"`   // nil: as many bytes as the server allows
	Types     []string    `json:"content_types"`
	Origin    string      `json:"origin"`
}

// CreateUploadToken makes an upload token. The client's key needs the scope upload.
func (c *Client) CreateUploadToken(ctx context.Context, l UploadLimits) (UploadToken, error) {
	body := struct {
		ExpiresIn int64    `json:"expires_in,omitempty"`
		MaxSize   int64    `json:"max_size,omitempty"`
		Types     []string `json:"content_types,omitempty"`
		Origin    string   `json:"origin,omitempty"`
	}{int64(l.Life / time.Second), l.MaxSize, l.Types, l.Origin}
	var t UploadToken
	err := c.doWith(ctx, http.MethodPost, "/v1/upload_tokens", body, &t)
	return t, err
}

// ReadToken is a token with which a browser reads and follows one video: as parameter token of the addresses
// of the video, of its events and of the WebSocket.
type ReadToken struct {
	ID        string      `json:"id"`
	Token     secret.Text `json:"token"`
	Video     string      `json:"video_id"`
	ExpiresAt time.Time   `json:"expires_at"` // never later than the end of the client's own credential
}

// CreateReadToken makes a read token for a video, valid for a life in whole seconds, at most 24 h; 10 minutes
// when 0. The client's key needs the scope read. pipeline.ErrNotFound: the project has no such video.
func (c *Client) CreateReadToken(ctx context.Context, video string, life time.Duration) (ReadToken, error) {
	body := struct {
		ExpiresIn int64 `json:"expires_in,omitempty"`
	}{int64(life / time.Second)}
	var t ReadToken
	err := c.doWith(ctx, http.MethodPost, "/v1/videos/"+url.PathEscape(video)+"/read_tokens", body, &t)
	return t, err
}
