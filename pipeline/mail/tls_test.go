package mail

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// authority signs the certificates of the tests' servers.
var authority certificate

// TestMain makes the programs of the tests trust the authority, as the system of an operator does.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mail")
	if err == nil {
		authority, err = newCertificate(nil)
	}
	if err == nil {
		file := filepath.Join(dir, "roots.pem")
		raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.parsed.Raw})
		err = os.WriteFile(file, raw, 0o600)
		os.Setenv("SSL_CERT_FILE", file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.RemoveAll(dir); os.Exit(code) }))
}

// certificate is one with its key.
type certificate struct {
	parsed *x509.Certificate
	key    *ecdsa.PrivateKey
}

// newCertificate returns an authority when by is nil, otherwise a certificate for this machine that by signs.
func newCertificate(by *certificate) (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true,
		IsCA: by == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.parsed, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return certificate{}, err
	}
	parsed, err := x509.ParseCertificate(raw)
	return certificate{parsed, key}, err
}

// served returns the TLS configuration of a server whose certificate by has signed.
func served(t *testing.T, by *certificate) *tls.Config {
	t.Helper()
	c, err := newCertificate(by)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.parsed.Raw}, PrivateKey: c.key}}}
}

// encryptions are the ways to a server with TLS.
var encryptions = map[string]bool{startTLS: false, fullTLS: true}

// TestEncrypted: with STARTTLS, and with TLS from the beginning, a message and the password go through TLS.
func TestEncrypted(t *testing.T) {
	for scheme, implicit := range encryptions {
		s := startServer(t, &smtpServer{tls: served(t, &authority), implicit: implicit})
		o := senderBy(t, scheme, s, nil).Send(t.Context(), reader,
			taskOf(t, pipeline.VideoReady, pipeline.VideoView{ID: "vid_1", Title: "Film"}))
		if !o.Accepted {
			t.Fatalf("%s: %+v", scheme, o)
		}
		if m, _ := receive(t, s); subject(t, m) != "Film is ready" {
			t.Errorf("%s: subject %q", scheme, subject(t, m))
		}
		password := base64.StdEncoding.EncodeToString([]byte("\x00user\x00hunter2"))
		if !slices.Contains(s.commands, "AUTH PLAIN "+password) {
			t.Errorf("%s: the server was told %q", scheme, s.commands)
		}
		if begun := slices.Contains(s.commands, "STARTTLS"); begun == implicit {
			t.Errorf("%s: the server was told %q", scheme, s.commands)
		}
	}
}

// TestNotEncrypted: a server without STARTTLS, and one whose certificate nobody trusts, get neither the password nor
// the message.
func TestNotEncrypted(t *testing.T) {
	stranger, err := newCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	send := func(scheme string, s *smtpServer) {
		t.Helper()
		o := senderBy(t, scheme, s, nil).Send(t.Context(), reader,
			taskOf(t, pipeline.VideoReady, pipeline.VideoView{ID: "vid_1"}))
		if o.Accepted || o.Final || o.Error == "" || strings.Contains(o.Error, "hunter2") {
			t.Errorf("%s: %+v", scheme, o)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, command := range s.commands {
			if verb, _, _ := strings.Cut(command, " "); verb != "EHLO" && verb != "STARTTLS" && verb != "QUIT" {
				t.Errorf("%s: the server was told %q", scheme, command)
			}
		}
	}
	send(startTLS, startSMTP(t, ""))
	send(fullTLS, startSMTP(t, ""))
	for scheme, implicit := range encryptions {
		send(scheme, startServer(t, &smtpServer{tls: served(t, &stranger), implicit: implicit}))
	}
}

// TestHangingServer: a server that stops to answer, at any point, does not hold a message beyond the end of its
// context, and what is sent then is not accepted.
func TestHangingServer(t *testing.T) {
	for scheme, hangs := range map[string][]string{
		noTLS: {"greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"}, startTLS: {"STARTTLS", "AUTH", "DATA"},
		fullTLS: {"greeting", "DATA"},
	} {
		for _, hang := range hangs {
			s := &smtpServer{hang: hang}
			if scheme != noTLS {
				s.tls, s.implicit = served(t, &authority), scheme == fullTLS
			}
			startServer(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			ended := make(chan webhooks.Outcome, 1)
			m, task := senderBy(t, scheme, s, nil), taskOf(t, pipeline.VideoReady, pipeline.VideoView{ID: "vid_1"})
			go func() { ended <- m.Send(ctx, reader, task) }()
			pipelinetest.Receive(t, "the server to hang after "+hang, s.hangs)
			cancel() // as a process does that stops
			o := pipelinetest.Receive(t, "the end of a message after "+hang, ended)
			if o.Accepted || o.Final || !o.Silent {
				t.Errorf("%s, hangs after %s: %+v", scheme, hang, o)
			}
		}
	}
}

// TestSlowGoodbye: a message that the server has taken is accepted, although it does not answer to the end.
func TestSlowGoodbye(t *testing.T) {
	s := startServer(t, &smtpServer{hang: "QUIT"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-s.hangs; cancel() }()
	o := sender(t, s, nil).Send(ctx, reader, taskOf(t, pipeline.VideoReady, pipeline.VideoView{ID: "vid_1"}))
	if !o.Accepted {
		t.Errorf("%+v", o)
	}
	pipelinetest.Receive(t, "the message", s.got)
}

// TestFactsHaveOneOrder: the same event is always told in the same words.
func TestFactsHaveOneOrder(t *testing.T) {
	data := []byte(`{"id":"vid_1","filename":"film.mp4"}`)
	for range 50 {
		c, err := contentOf(pipeline.Report{Type: pipeline.VideoReady, Data: data}, false)
		if err != nil {
			t.Fatal(err)
		}
		if id, file := strings.Index(c.text, "id: vid_1"), strings.Index(c.text, "file: film.mp4"); id < 0 || file < id {
			t.Fatalf("the text is %s", c.text)
		}
	}
}
