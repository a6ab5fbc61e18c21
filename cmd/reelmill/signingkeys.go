package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// signingKeysCommand makes, lists and revokes the keys that sign tokens for playback.
type signingKeysCommand struct {
	Create signingKeysCreate `cmd:"" help:"Make a key that signs tokens for playback, and print its private half once."`
	List   signingKeysList   `cmd:"" help:"List the signing keys of a project."`
	Revoke signingKeysRevoke `cmd:"" help:"Revoke signing keys: two seconds later nothing plays for their tokens."`
}

// signingKeysCreate makes a signing key.
type signingKeysCreate struct {
	serverFlags
	Project   string `help:"${key_project_help}" placeholder:"NAME"`
	Name      string `help:"For people: who signs with it."`
	Algorithm string `help:"How it signs: ${enum}. Default: ES256, or that of --public-key." enum:"ES256,EdDSA,RS256," default:"" placeholder:"ES256|EdDSA|RS256"`
	PublicKey string `help:"File with the public key, in PEM, of a pair of your own. Then the server never has the private one." type:"existingfile" placeholder:"FILE"`
}

// Run makes the key.
func (c signingKeysCreate) Run(ctx context.Context, s streams) error {
	n := access.NewSigningKey{Name: c.Name, Algorithm: access.Algorithm(c.Algorithm)}
	if c.PublicKey != "" {
		public, err := os.ReadFile(c.PublicKey)
		if err != nil {
			return err
		}
		if _, _, err := access.ParsePublicKey(string(public)); err != nil {
			return usageError{fmt.Errorf("%s: %w", c.PublicKey, err)}
		}
		n.PublicKey = string(public)
	}
	k, private, err := c.clientIn(c.Project).CreateSigningKey(ctx, n)
	if err != nil {
		return err
	}
	return c.tell(s, k, private)
}

// tell prints a new key: the private half on stdout, for scripts, and the rest for people.
func (c signingKeysCreate) tell(s streams, k access.SigningKey, private secret.Text) error {
	encoded := base64.StdEncoding.EncodeToString([]byte(private.Reveal()))
	if c.structured() {
		return c.encode(s.out, struct {
			access.SigningKey
			PrivateKey string `json:"private_key,omitempty"`
			Encoded    string `json:"private_key_base64,omitempty"`
		}{k, private.Reveal(), encoded})
	}
	human.Fprintf(s.err, "%s of project %s signs with %s: it is the kid of your tokens.\n",
		k.ID, k.Project, k.Algorithm)
	if private.Empty() {
		return nil
	}
	human.Fprintf(s.err, "Keep the private key; nobody can read it again. In base64, for a variable: %s\n",
		encoded)
	for line := range strings.Lines(private.Reveal()) {
		if _, err := human.Fprintln(s.out, strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// signingKeysList lists signing keys.
type signingKeysList struct {
	serverFlags
	Project string `help:"${key_project_help}" placeholder:"NAME"`
}

// Run lists the keys.
func (c signingKeysList) Run(ctx context.Context, s streams) error {
	keys, err := c.clientIn(c.Project).SigningKeys(ctx)
	if err != nil {
		return err
	}
	if keys == nil {
		keys = []access.SigningKey{}
	}
	return c.print(s, keys, func(w io.Writer) {
		human.Fprintf(w, "ID\tPROJECT\tNAME\tALGORITHM\tCREATED\tSTATE\n")
		for _, k := range keys {
			state := "active"
			if !k.Active() {
				state = "revoked " + pipeline.Clock(*k.RevokedAt)
			}
			human.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Project, k.Name, k.Algorithm,
				pipeline.Clock(k.CreatedAt), state)
		}
	})
}

// signingKeysRevoke revokes signing keys.
type signingKeysRevoke struct {
	serverFlags
	Project string   `help:"${key_project_help}" placeholder:"NAME"`
	IDs     []string `arg:"" name:"id" help:"The keys' ids."`
}

// Run revokes the keys.
func (c signingKeysRevoke) Run(ctx context.Context, s streams) error {
	for _, id := range c.IDs {
		if err := c.clientIn(c.Project).RevokeSigningKey(ctx, id); err != nil {
			return fmt.Errorf("revoke %s: %w", id, err)
		}
		human.Fprintf(s.err, "%s is revoked\n", id)
	}
	return nil
}
