package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline/secret"
)

// Config says how messages are sent.
type Config struct {
	// Server is the address of the SMTP server: smtp://user:password@host:587 (STARTTLS), smtps://host:465
	// (TLS from the beginning), or smtp+plain://host:25 for one without TLS, such as on this machine. User
	// and password may be left out.
	Server secret.Text
	// From is the sender: an address, or a name and an address, such as ReelMill <video@example.org>.
	From string
	// Poster returns the poster of a video as a JPEG; nil data when it has none. Poster may be nil.
	Poster func(ctx context.Context, project, video string) ([]byte, error)
}

// server is a parsed address of a server.
type server struct {
	host           string
	port           int
	user, password string
	scheme         string
}

// The schemes of addresses.
const (
	startTLS = "smtp"
	fullTLS  = "smtps"
	noTLS    = "smtp+plain"
)

// parse reads the address of a server. Its error never contains the address.
func parse(address string) (server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" ||
		u.RawQuery != "" || u.Fragment != "" {
		return server{}, errors.New("it is not the address of an SMTP server; write one such as " +
			"smtp://user:password@mail.example.org:587")
	}
	s := server{host: u.Hostname(), scheme: u.Scheme}
	ports := map[string]int{startTLS: 587, fullTLS: 465, noTLS: 25}
	var known bool
	if s.port, known = ports[u.Scheme]; !known {
		return server{}, fmt.Errorf("its scheme is %.20q; use %s (STARTTLS), %s (TLS) or %s (no TLS)", u.Scheme,
			startTLS, fullTLS, noTLS)
	}
	if text := u.Port(); text != "" {
		if s.port, err = strconv.Atoi(text); err != nil || s.port < 1 || s.port > 65535 {
			return server{}, errors.New("its port is not a number from 1 to 65535")
		}
	}
	if u.User != nil {
		s.user = u.User.Username()
		s.password, _ = u.User.Password()
	}
	if s.scheme == noTLS && s.password != "" && !loopback(s.host) {
		return server{}, errors.New("a password would be sent without TLS; use smtp:// or smtps://")
	}
	return s, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Check returns why c cannot be used. It dials nothing, and names no secret.
func (c Config) Check() error {
	if _, err := parse(c.Server.Reveal()); err != nil {
		return fmt.Errorf("SMTP server: %w", err)
	}
	if _, err := mail.ParseAddress(c.From); err != nil || strings.ContainsAny(c.From, "\r\n") {
		return fmt.Errorf("sender %.80q: it is not an address; write one such as "+
			"ReelMill <video@example.org>", c.From)
	}
	return nil
}
