package mail

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
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
var authority *pipelinetest.Certificate

// TestMain makes the programs of the tests trust the authority, as the system of an operator does.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mail")
	if err == nil {
		authority, err = pipelinetest.NewCertificate(nil, soon())
	}
	if err == nil {
		file := filepath.Join(dir, "roots.pem")
		err = os.WriteFile(file, authority.Chain(), 0o600)
		os.Setenv("SSL_CERT_FILE", file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { os.RemoveAll(dir); os.Exit(code) }))
}

// served returns the TLS configuration of a server whose certificate by has signed.
func served(t *testing.T, by *pipelinetest.Certificate) *tls.Config {
	t.Helper()
	c, err := pipelinetest.NewCertificate(by, soon())
	if err != nil {
		t.Fatal(err)
	}
	return c.Config()
}

// soon is when the certificates of the tests end.
func soon() time.Time { return time.Now().Add(23 * time.Hour) }

// encryptions are the ways to a server with TLS.
var encryptions = map[string]bool{startTLS: false, fullTLS: true}

// TestEncrypted: with STARTTLS, and with TLS from the beginning, a message and the password go through TLS.
func TestEncrypted(t *testing.T) {
	for scheme, implicit := range encryptions {
		s := startServer(t, &smtpServer{tls: served(t, authority), implicit: implicit})
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
	stranger, err := pipelinetest.NewCertificate(nil, soon())
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
		for _, command := range s.commands { // or parts of a TLS greeting that the server took for commands
			verb, _, _ := strings.Cut(command, " ")
			if slices.Contains([]string{"AUTH", "MAIL", "RCPT", "DATA"}, verb) {
				t.Errorf("%s: the server was told %q", scheme, command)
			}
		}
	}
	send(startTLS, startSMTP(t, ""))
	send(fullTLS, startSMTP(t, ""))
	for scheme, implicit := range encryptions {
		send(scheme, startServer(t, &smtpServer{tls: served(t, stranger), implicit: implicit}))
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
				s.tls, s.implicit = served(t, authority), scheme == fullTLS
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
