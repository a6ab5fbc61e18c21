package access

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/reelmill/reelmill/pipeline/secret"
)

// Root is the secret of an installation, from which the keys of its tokens are derived. All servers of an
// installation have the same one. OpenRoot returns it; the zero Root has no keys.
type Root struct{ value secret.Text }

// rootName is the name of the secret in its Vault, and rootBytes its length.
const (
	rootName  = "root"
	rootBytes = 32
)

// Vault keeps secrets where all servers of an installation reach them, and no worker needs to. bus.Bus is
// one.
type Vault interface {
	// KeepSecret stores a value under a name that has none yet, and returns the value that the name then has.
	KeepSecret(ctx context.Context, name string, value []byte) ([]byte, error)
}

// OpenRoot returns the secret of the installation. The first one that asks makes it, of 256 random bits.
func OpenRoot(ctx context.Context, v Vault) (Root, error) {
	fresh := make([]byte, rootBytes)
	rand.Read(fresh) // never fails: crypto/rand.Read ends the program instead
	kept, err := v.KeepSecret(ctx, rootName, fresh)
	if err != nil {
		return Root{}, fmt.Errorf("open the secret of the installation: %w", err)
	}
	if len(kept) != rootBytes {
		return Root{}, fmt.Errorf("the secret of the installation has %d bytes, want %d", len(kept), rootBytes)
	}
	return Root{secret.New(string(kept))}, nil
}

// Purpose says what a key is for. Whoever has the key of one purpose cannot find that of another.
type Purpose string

// The purposes.
const (
	ForPlayback     Purpose = "playback"     // passes that play a video (package playback)
	ForUploadTokens Purpose = "upload-token" // tokens with which a browser sends one upload
	ForReadTokens   Purpose = "read-token"   // tokens with which a browser follows one video
)

// Key returns the key of a purpose, of 32 bytes: HKDF-SHA-256 (RFC 5869) without salt, with the purpose as
// info. It is the same in every process and after every restart. The zero Root panics: its keys would be
// known to everybody.
func (r Root) Key(p Purpose) []byte {
	if r.value.Empty() {
		panic("access: the zero Root has no keys")
	}
	key, err := hkdf.Key(sha256.New, []byte(r.value.Reveal()), nil, "reelmill/"+string(p), sha256.Size)
	if err != nil {
		panic(err) // only a key longer than 255 hashes is refused
	}
	return key
}
