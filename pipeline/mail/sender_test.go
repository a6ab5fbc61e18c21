package mail

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	stdmail "net/mail"
	"strings"
	"sync"
	"testing"

	"context"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// smtpServer speaks as much SMTP (RFC 5321) over a socket as a client needs.
type smtpServer struct {
	address  string
	refuse   string      // the answer to RCPT, if not empty
	tls      *tls.Config // STARTTLS is offered; nil: it is not
	implicit bool        // TLS begins with the connection
	hang     string      // the verb, or "greeting", after which nothing is answered; "": none
	hangs    chan struct{}

	mu         sync.Mutex
	commands   []string
	recipients []string
	got        chan string
}

func startSMTP(t *testing.T, refuse string) *smtpServer {
	t.Helper()
	return startServer(t, &smtpServer{refuse: refuse})
}

func startServer(t *testing.T, s *smtpServer) *smtpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address, s.got, s.hangs = l.Addr().String(), make(chan string, 10), make(chan struct{}, 10)
	if s.implicit {
		l = tls.NewListener(l, s.tls)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { defer conn.Close(); s.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return s
}

func (s *smtpServer) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	answer := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	answer("220 test ESMTP")
	encrypted := s.implicit
	if s.hang == "greeting" {
		s.silence(r)
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.commands = append(s.commands, line)
		s.mu.Unlock()
		verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0])
		if verb == s.hang {
			s.silence(r)
			return
		}
		switch verb {
		case "EHLO":
			answer("250-test\r\n250-8BITMIME")
			if s.tls != nil && !encrypted {
				answer("250-STARTTLS")
			}
			answer("250 AUTH PLAIN LOGIN")
		case "STARTTLS":
			answer("220 go on")
			safe := tls.Server(conn, s.tls)
			r, encrypted = bufio.NewReader(safe), true
			answer = func(line string) { _, _ = io.WriteString(safe, line+"\r\n") }
		case "AUTH":
			answer("235 2.7.0 ok")
		case "RCPT":
			if s.refuse != "" {
				answer(s.refuse)
				continue
			}
			s.mu.Lock()
			s.recipients = append(s.recipients, line)
			s.mu.Unlock()
			answer("250 ok")
		case "DATA":
			answer("354 go on")
			s.got <- readData(r)
			answer("250 taken")
		case "QUIT":
			answer("221 bye")
			return
		default:
			answer("250 ok")
		}
	}
}

// silence answers nothing more, until the client is gone.
func (s *smtpServer) silence(r io.Reader) {
	s.hangs <- struct{}{}
	_, _ = io.Copy(io.Discard, r)
}

// readData reads a message up to the line with a dot.
func readData(r *bufio.Reader) string {
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == ".\r\n" {
			return all.String()
		}
		all.WriteString(strings.TrimPrefix(line, "."))
	}
}

func sender(t *testing.T, s *smtpServer, poster []byte) *Sender {
	t.Helper()
	return senderBy(t, "smtp+plain", s, poster)
}

func senderBy(t *testing.T, scheme string, s *smtpServer, poster []byte) *Sender {
	t.Helper()
	m, err := New(Config{
		Server: secret.New(scheme + "://user:hunter2@" + s.address), From: "ReelMill <video@example.org>",
		Poster: func(context.Context, string, string) ([]byte, error) { return poster, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// taskOf returns the task of a delivery about a video.
func taskOf(t *testing.T, kind pipeline.EventType, v pipeline.VideoView) webhooks.Task {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(pipeline.Report{Type: kind, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return webhooks.Task{Delivery: "dlv_1", Event: "evt_1", Type: string(kind), Video: v.ID, Project: "default", Body: body}
}

var reader = webhooks.Endpoint{Kind: webhooks.Email, Email: "anna@example.org"}

// parts returns the decoded text, HTML and picture of a message.
func parts(t *testing.T, m *stdmail.Message) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(kind string, body io.Reader)
	walk = func(kind string, body io.Reader) {
		media, params, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(media, "multipart/") {
			raw, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			all[media] = string(raw)
			return
		}
		r := multipart.NewReader(body, params["boundary"])
		for {
			p, err := r.NextRawPart()
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var decoded io.Reader = p
			if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
				decoded = quotedprintable.NewReader(p)
			}
			walk(p.Header.Get("Content-Type"), decoded)
		}
	}
	walk(m.Header.Get("Content-Type"), m.Body)
	return all
}

func receive(t *testing.T, s *smtpServer) (*stdmail.Message, string) {
	t.Helper()
	raw := pipelinetest.Receive(t, "the message", s.got)
	m, err := stdmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	return m, raw
}

func subject(t *testing.T, m *stdmail.Message) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestReady: a message has a text and an HTML part, the poster and a link.
func TestReady(t *testing.T) {
	s := startSMTP(t, "")
	o := sender(t, s, []byte("\xff\xd8\xff poster")).Send(t.Context(), reader, taskOf(t, pipeline.VideoReady, pipeline.VideoView{
		ID: "vid_1", Title: "Sommer in Zürich", Filename: "a.mp4", PlayURL: "https://video.example.org/play/vid_1/master.m3u8",
	}))
	if !o.Accepted || o.Error != "" {
		t.Fatalf("outcome %+v", o)
	}
	m, raw := receive(t, s)
	if got := subject(t, m); got != "Sommer in Zürich is ready" {
		t.Errorf("subject %q", got)
	}
	all := parts(t, m)
	for _, kind := range []string{"text/plain", "text/html"} {
		if !strings.Contains(all[kind], "https://video.example.org/play/vid_1/master.m3u8") ||
			!strings.Contains(all[kind], "Sommer in Zürich is ready") {
			t.Errorf("%s: %s", kind, all[kind])
		}
	}
	if all["image/jpeg"] == "" || !strings.Contains(all["text/html"], "cid:poster") {
		t.Errorf("there is no poster:\n%s", raw)
	}
	if id := m.Header.Get("Message-Id"); id != "<dlv_1@reelmill>" || m.Header.Get("X-Reelmill-Event") != "evt_1" {
		t.Errorf("Message-ID %s", id)
	}
}

// TestHostileNames: no title or file name adds a header, a receiver or HTML.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		"x\r\nBcc: eve@example.net\r\n\r\nbody", "x\nBcc: eve@example.net", "x\rBcc: eve@example.net",
		"\u2028Bcc: eve@example.net", "=?utf-8?q?x=0D=0ABcc:_eve@example.net?=", "x\x00y\u202egpj.exe",
		"<script>alert(1)</script>\"'><img src=x onerror=alert(1)>", strings.Repeat("long ", 500), "{{.Link}}",
		"x\r\n.\r\nMAIL FROM:<eve@example.net>\r\nRCPT TO:<eve@example.net>",
	} {
		for field, v := range map[string]pipeline.VideoView{
			"title":    {ID: "vid_1", Title: name},
			"filename": {ID: "vid_1", Filename: name},
			"error":    {ID: "vid_1", Problem: &pipeline.Problem{Title: name, Detail: name, Remedy: name}},
		} {
			s := startSMTP(t, "")
			o := sender(t, s, nil).Send(t.Context(), reader, taskOf(t, pipeline.VideoErrored, v))
			if !o.Accepted {
				t.Fatalf("%s %q: %+v", field, name, o)
			}
			m, raw := receive(t, s)
			if m.Header.Get("Bcc") != "" || len(s.recipients) != 1 || !strings.Contains(s.recipients[0], "anna@example.org") {
				t.Errorf("%s %q: receivers %v\n%s", field, name, s.recipients, raw)
			}
			if text := subject(t, m); strings.ContainsAny(text, "\r\n\x00\u202e") || len([]rune(text)) > 150 {
				t.Errorf("%s %q: subject %q", field, name, text)
			}
			html := parts(t, m)["text/html"]
			if strings.Contains(html, "<script") || strings.Contains(html, "<img src=x") {
				t.Errorf("%s %q: %s", field, name, html)
			}
		}
	}
}

// TestRefusals: a receiver that does not exist is final, a server that is busy or away is tried again.
func TestRefusals(t *testing.T) {
	for answer, final := range map[string]bool{"550 5.1.1 no such user": true, "451 4.3.0 later": false} {
		o := sender(t, startSMTP(t, answer), nil).Send(t.Context(), reader, taskOf(t, pipeline.VideoReady, pipeline.VideoView{ID: "vid_1"}))
		if o.Accepted || o.Final != final || fmt.Sprint(o.Status) != answer[:3] || strings.Contains(o.Error, "hunter2") {
			t.Errorf("%s: %+v", answer, o)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := &smtpServer{address: l.Addr().String()}
	_ = l.Close()
	o := sender(t, away, nil).Send(t.Context(), reader, taskOf(t, pipeline.VideoReady, pipeline.VideoView{ID: "vid_1"}))
	if o.Accepted || o.Final || !o.Silent || strings.Contains(o.Error, "hunter2") {
		t.Errorf("away: %+v", o)
	}
}

func TestCheck(t *testing.T) {
	for address, ok := range map[string]bool{
		"smtp://mail.example.org": true, "smtps://u:hunter2@mail.example.org:465": true, "smtp+plain://127.0.0.1:25": true,
		"smtp+plain://u:hunter2@localhost": true, "": false, "mail.example.org": false, "http://x": false,
		"smtp+plain://u:hunter2@mail.example.org": false, "smtp://x/path": false, "smtp://x:0": false, "smtp://": false,
	} {
		err := Config{Server: secret.New(address), From: "a@example.org"}.Check()
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, from := range []string{"", "nobody", "a@example.org\r\nBcc: b@example.org"} {
		if (Config{Server: secret.New("smtp://x"), From: from}).Check() == nil {
			t.Errorf("accepted the sender %q", from)
		}
	}
}
