package broker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// keys returns a pair of keys, and its public key and seed.
func keys(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	pair, err := create()
	check(t, err)
	public, err = pair.PublicKey()
	check(t, err)
	seed, err = pair.Seed()
	check(t, err)
	return pair, public, seed
}

// TestCredentialsFile connects to a server that knows its users by the credentials files of an operator. It
// refuses the file of a stranger, and errors do not tell what is in a file.
func TestCredentialsFile(t *testing.T) {
	operator, operatorKey, _ := keys(t, nkeys.CreateOperator)
	account, accountKey, _ := keys(t, nkeys.CreateAccount)
	stranger, _, _ := keys(t, nkeys.CreateAccount)
	token, err := jwt.NewOperatorClaims(operatorKey).Encode(operator)
	check(t, err)
	claims, err := jwt.DecodeOperatorClaims(token)
	check(t, err)
	resolver := &server.MemAccResolver{}
	token, err = jwt.NewAccountClaims(accountKey).Encode(operator)
	check(t, errors.Join(err, resolver.Store(accountKey, token)))
	s := bustest.Start(t, &server.Options{TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver})

	file := func(account nkeys.KeyPair) (path string, body string) {
		_, user, seed := keys(t, nkeys.CreateUser)
		token, err := jwt.NewUserClaims(user).Encode(account)
		check(t, err)
		raw, err := jwt.FormatUserConfig(token, seed)
		check(t, err)
		path = filepath.Join(t.TempDir(), "user.creds")
		check(t, os.WriteFile(path, raw, 0o600))
		return path, string(raw)
	}
	good, _ := file(account)
	b, err := Open(t.Context(), Address{secret.New(s.ClientURL()), good}, "", silent())
	check(t, err)
	if !b.Conn.IsConnected() {
		t.Error("it is not connected")
	}
	check(t, b.Close())
	bad, body := file(stranger)
	for name, path := range map[string]string{"a stranger's": bad, "none": ""} {
		_, err := Open(t.Context(), Address{secret.New(s.ClientURL()), path}, "", silent())
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, line := range strings.Fields(body) {
			if len(line) > 40 && strings.Contains(err.Error(), line) {
				t.Errorf("%s: the error has a line of the file: %v", name, err)
			}
		}
	}
}
