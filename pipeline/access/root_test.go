package access

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// vault is a Vault in memory.
type vault map[string][]byte

func (v vault) KeepSecret(_ context.Context, name string, value []byte) ([]byte, error) {
	if v[name] == nil {
		v[name] = value
	}
	return v[name], nil
}

// TestRoot: an installation has one secret; each purpose has a key of its own, which stays the same.
func TestRoot(t *testing.T) {
	v := vault{}
	first, err := OpenRoot(t.Context(), v)
	must(t, err)
	again, err := OpenRoot(t.Context(), v)
	must(t, err)
	other, err := OpenRoot(t.Context(), vault{})
	must(t, err)
	seen := map[string]bool{string(v["root"]): true}
	for _, p := range []Purpose{ForPlayback, ForUploadTokens, ForReadTokens} {
		key := first.Key(p)
		if len(key) != 32 || seen[string(key)] {
			t.Errorf("the key for %s has %d bytes, or is that of another purpose", p, len(key))
		}
		seen[string(key)] = true
		if !bytes.Equal(key, again.Key(p)) || bytes.Equal(key, other.Key(p)) {
			t.Errorf("the key for %s differs after a restart, or is that of another installation", p)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v", first, first, first); strings.Contains(shown, string(v["root"])) ||
		strings.Contains(shown, hex.EncodeToString(v["root"])) {
		t.Errorf("the secret stands in %q", shown)
	}
}

// TestRootIsDerivedAsAlways: a key that changed would end every token of an installation at an upgrade.
func TestRootIsDerivedAsAlways(t *testing.T) {
	r, err := OpenRoot(t.Context(), vault{"root": bytes.Repeat([]byte{7}, 32)})
	must(t, err)
	const want = "50785a5597cca52aedf390eb62a19f8a958d996e101d118f9ff7522195deb9a9"
	if got := hex.EncodeToString(r.Key(ForPlayback)); got != want {
		t.Errorf("the key for playback is %s, want %s", got, want)
	}
}

// brokenVault fails, or has something else than a secret.
type brokenVault struct {
	value []byte
	err   error
}

func (v brokenVault) KeepSecret(context.Context, string, []byte) ([]byte, error) {
	return v.value, v.err
}

// TestRootRefuses: no server works with a secret that is short or cannot be read, or with none.
func TestRootRefuses(t *testing.T) {
	broken := errors.New("the broker is away")
	if _, err := OpenRoot(t.Context(), brokenVault{err: broken}); !errors.Is(err, broken) {
		t.Errorf("a vault that fails: %v", err)
	}
	for _, short := range [][]byte{nil, {}, make([]byte, 31)} {
		if _, err := OpenRoot(t.Context(), brokenVault{value: short}); err == nil {
			t.Errorf("a secret of %d bytes is taken", len(short))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("the zero Root has a key")
		}
	}()
	Root{}.Key(ForPlayback)
}
