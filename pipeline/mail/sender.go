package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// Sender sends messages. It is a webhooks.Target. New makes one.
type Sender struct {
	config Config
	server server
}

// New returns a Sender. It dials nothing.
func New(c Config) (*Sender, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	at, err := parse(c.Server.Reveal())
	if err != nil {
		return nil, err
	}
	return &Sender{config: c, server: at}, nil
}

// Host implements webhooks.Target: all messages go to one server.
func (s *Sender) Host(webhooks.Endpoint) string { return "smtp://" + s.server.host }

// Send implements webhooks.Target.
func (s *Sender) Send(ctx context.Context, e webhooks.Endpoint, t webhooks.Task) webhooks.Outcome {
	m, subject, err := s.message(ctx, e, t)
	if err != nil {
		return webhooks.Outcome{Final: true, Error: err.Error()}
	}
	o := webhooks.Outcome{Request: map[string]string{"to": e.Email, "subject": subject}}
	if err = s.deliver(ctx, m); err == nil {
		o.Accepted = true
		return o
	}
	o.Error = "the SMTP server did not take the message: " + s.reason(err)
	var refused *gomail.SendError
	if errors.As(err, &refused) && refused.ErrorCode() != 0 {
		o.Status = refused.ErrorCode()
		o.Final = o.Status >= 500 && !refused.IsTemp()
	} else {
		o.Silent = true
	}
	return o
}

// reason returns the text of an error in one line, without the password.
func (s *Sender) reason(err error) string {
	text := oneLine(err.Error())
	if s.server.password != "" {
		text = strings.ReplaceAll(text, s.server.password, "***")
	}
	return text
}

// deliver hands a message to the server over a connection of its own, which is closed when ctx ends: the
// library obeys ctx only while it dials.
func (s *Sender) deliver(ctx context.Context, m *gomail.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, timeout(ctx))
	defer cancel()
	var release func()
	client, err := s.client(ctx, func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := s.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		release = func() { stop(); _ = conn.Close() } // the library leaves it open after some errors
		return conn, nil
	})
	if err != nil {
		return err
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if release != nil {
		defer release()
	}
	if err == nil {
		err = client.SendWithSMTPClient(session, m)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("it took too long: %w", err)
	}
	if err == nil {
		_ = client.CloseWithSMTPClient(session) // the server has the message, whatever it says now
	}
	return err
}

// dial connects to the server, with TLS from the beginning if the address says so.
func (s *Sender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s.server.scheme == fullTLS {
		d := tls.Dialer{Config: &tls.Config{ServerName: s.server.host, MinVersion: tls.VersionTLS12}}
		return d.DialContext(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// client returns a client for one message, which connects with dial.
func (s *Sender) client(ctx context.Context, dial gomail.DialContextFunc) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(s.server.port), gomail.WithTimeout(timeout(ctx)), gomail.WithDialContextFunc(dial),
	}
	switch s.server.scheme {
	case fullTLS: // dial has done it, and the policy makes the library look whether it was done
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case noTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.server.user != "" {
		auth := gomail.SMTPAuthAutoDiscover
		if s.server.scheme == noTLS { // on this machine: parse has checked it
			auth = gomail.SMTPAuthPlainNoEnc
		}
		options = append(options, gomail.WithSMTPAuth(auth), gomail.WithUsername(s.server.user),
			gomail.WithPassword(s.server.password))
	}
	return gomail.NewClient(s.server.host, options...)
}

// timeout returns the time that is left of ctx.
func timeout(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return max(time.Until(at), time.Millisecond)
	}
	return 15 * time.Second
}

// message returns the message of a delivery, and its subject.
func (s *Sender) message(
	ctx context.Context, e webhooks.Endpoint, t webhooks.Task,
) (*gomail.Msg, string, error) {
	var report pipeline.Report
	if err := json.Unmarshal(t.Body, &report); err != nil {
		return nil, "", fmt.Errorf("decode delivery: %w", err)
	}
	poster := s.poster(ctx, report, t)
	c, err := contentOf(report, len(poster) > 0)
	if err != nil {
		return nil, "", err
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := errors.Join(m.From(s.config.From), m.To(e.Email)); err != nil {
		return nil, "", errors.New("the address of the sender or of the receiver cannot be used")
	}
	m.Subject(c.subject)
	m.SetMessageIDWithValue(t.Delivery + "@reelmill")
	m.SetDateWithValue(report.Timestamp)
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("X-ReelMill-Event", t.Event)
	m.SetBodyString(gomail.TypeTextPlain, c.text)
	m.AddAlternativeString(gomail.TypeTextHTML, c.html)
	if len(poster) > 0 {
		err = m.EmbedReader("poster.jpg", bytes.NewReader(poster), gomail.WithFileContentID("poster"))
	}
	return m, c.subject, err
}

// poster returns the poster of a video that is ready or playable. A message goes out without one that
// cannot be read.
func (s *Sender) poster(ctx context.Context, r pipeline.Report, t webhooks.Task) []byte {
	pictured := []pipeline.EventType{pipeline.VideoPlayable, pipeline.VideoReady, pipeline.VideoErrored}
	if !slices.Contains(pictured, r.Type) || s.config.Poster == nil || t.Video == "" {
		return nil
	}
	data, err := s.config.Poster(ctx, t.Project, t.Video)
	if err != nil {
		return nil
	}
	return data
}
