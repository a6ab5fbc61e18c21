package broker

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline/secret"
)

// Address says where a NATS server is, and who we are there. The zero Address is a server embedded in the
// process.
type Address struct {
	// URLs is nats://host:port, or several with commas between them. They may hold user names, passwords and
	// tokens. CheckURLs refuses other texts.
	URLs secret.Text
	// Credentials is the path of a NATS credentials file (.creds). Empty: none.
	Credentials string
}

// At returns the address of the servers at urls, with what these hold.
func At(urls string) Address { return Address{URLs: secret.New(urls)} }

// Embedded reports whether the server is embedded in the process.
func (a Address) Embedded() bool { return a.URLs.Empty() }

// String returns the address for people: without user names, since one without a password is a token
// (https://docs.nats.io, "Token authentication"), passwords and tokens.
func (a Address) String() string {
	if a.Embedded() {
		return "embedded in the process"
	}
	return secret.Redact(a.URLs.Reveal())
}

// CheckURLs refuses a text that is not the address of a NATS server, or several with commas between them. The
// error does not repeat the text, which may hold a password.
func CheckURLs(urls string) error {
	for address := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("not the address of a NATS server; write nats://host:port, and commas between several")
		}
	}
	return nil
}
