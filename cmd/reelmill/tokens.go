package main

import (
	"context"
	"fmt"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// tokensCommand makes tokens for browsers.
type tokensCommand struct {
	Upload tokensUpload `cmd:"" help:"Make a token with which a browser makes one upload."`
	Read   tokensRead   `cmd:"" help:"Make a token with which a browser follows one video."`
}

// lifeFlag says how long a token is valid.
type lifeFlag struct {
	Expires time.Duration `help:"How long the token is valid, 1s to 24h. Default: 1h to upload, 10m to read.."`
}

// Validate is called by kong.
func (f lifeFlag) Validate() error {
	if f.Expires != 0 && (f.Expires < time.Second || f.Expires > access.MaxTokenLife) {
		return fmt.Errorf("--expires must be 1s to %s, not %s", access.MaxTokenLife, f.Expires)
	}
	return nil
}

// tokensUpload makes an upload token.
type tokensUpload struct {
	serverFlags
	Project string `help:"${key_project_help}" placeholder:"NAME"`
	lifeFlag
	MaxSize bytesize.Size `help:"Size of the largest file. Default: as the server allows."`
	Types   []string      `name:"type" help:"What the file may be, such as video/mp4 or 'video/*'. Default: anything." placeholder:"TYPE"`
	Origin  string        `help:"Origin of the web page that may use the token. Default: any." placeholder:"https://..."`
}

// Run makes the token.
func (c tokensUpload) Run(ctx context.Context, s streams) error {
	t, err := c.clientIn(c.Project).CreateUploadToken(ctx, client.UploadLimits{
		Life: c.Expires, MaxSize: int64(c.MaxSize), Types: c.Types, Origin: c.Origin,
	})
	if err != nil {
		return err
	}
	return c.tellToken(s, struct {
		client.UploadToken
		Token string `json:"token"`
	}{t, t.Token.Reveal()}, t.ID, "makes one upload", t.Token, t.ExpiresAt)
}

// tokensRead makes a read token.
type tokensRead struct {
	serverFlags
	Project string `help:"${key_project_help}" placeholder:"NAME"`
	lifeFlag
	Video string `arg:"" name:"id" help:"The video's id."`
}

// Run makes the token.
func (c tokensRead) Run(ctx context.Context, s streams) error {
	t, err := c.clientIn(c.Project).CreateReadToken(ctx, c.Video, c.Expires)
	if err != nil {
		return err
	}
	return c.tellToken(s, struct {
		client.ReadToken
		Token string `json:"token"`
	}{t, t.Token.Reveal()}, t.ID, "follows "+t.Video, t.Token, t.ExpiresAt)
}

// tellToken prints a new token: the token on stdout, for scripts, and the rest for people.
func (f serverFlags) tellToken(s streams, whole any, id, does string, token secret.Text,
	expires time.Time,
) error {
	if f.structured() {
		return f.encode(s.out, whole)
	}
	human.Fprintf(s.err, "%s %s until %s:\n", id, does, pipeline.Clock(expires))
	_, err := human.Fprintln(s.out, token.Reveal())
	return err
}
