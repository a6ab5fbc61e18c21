package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
)

// tlsFlags name the certificate of the listener.
type tlsFlags struct {
	TLSCert string `name:"tls-cert" help:"${tls_cert_help}" type:"existingfile" env:"REELMILL_TLS_CERT" placeholder:"FILE"`
	TLSKey  string `name:"tls-key" help:"${tls_key_help}" type:"existingfile" env:"REELMILL_TLS_KEY" placeholder:"FILE"`
}

// checkTLS refuses one flag without the other.
func (f tlsFlags) checkTLS() error {
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key: name both, or neither")
	}
	return nil
}

// openCertificate returns the certificate; nil: the flags name none.
func (f tlsFlags) openCertificate() (*node.Certificate, error) {
	if f.TLSCert == "" {
		return nil, nil
	}
	return node.OpenCertificate(node.CertificateFiles{Chain: f.TLSCert, Key: f.TLSKey})
}

// ownClient returns a client of this process's own listener, and the listener's URL as it is with the
// certificate, which may be nil.
func ownClient(c *node.Certificate, address string) (client *http.Client, its string) {
	if c == nil {
		return http.DefaultClient, address
	}
	return c.Client(), strings.Replace(address, "http:", "https:", 1)
}

// warnPlain warns of credentials that cross a network in clear text, and of a certificate that clients will
// refuse.
func (c serveCommand) warnPlain(cert *node.Certificate, listen string, log *slog.Logger) {
	public, err := url.Parse(string(c.PublicURL))
	switch {
	case cert == nil && !node.Loopback(listen) && (err != nil || public.Scheme != "https"):
		log.Warn("credentials and videos cross the network unencrypted: name --tls-cert and --tls-key, or let a "+
			"proxy encrypt, and name its address with --public-url", "listen", listen)
	case cert != nil && err == nil && public.Hostname() != "":
		if err := cert.Covers(public.Hostname()); err != nil {
			log.Warn("clients will refuse the certificate", "file", c.TLSCert, "error", err)
		}
	}
}

// expiresSoon is how long before its end the doctor warns of a certificate.
const expiresSoon = 14 * 24 * time.Hour

// certificate reads the certificate as serve does.
func (d *checkup) certificate(context.Context) (string, error) {
	c, err := d.flags.openCertificate()
	if c == nil || err != nil {
		return "none: connections are not encrypted", err
	}
	current, _ := c.Current()
	text := "it expires at " + pipeline.Clock(current.Leaf.NotAfter)
	if time.Until(current.Leaf.NotAfter) < expiresSoon {
		return "", remedied{caution(text), "renew it; a running server notices the new files"}
	}
	if u, err := url.Parse(string(d.flags.PublicURL)); err == nil && u.Hostname() != "" {
		if err := c.Covers(u.Hostname()); err != nil {
			return "", remedied{fmt.Errorf("it does not fit --public-url: %w", err), "get one for that name"}
		}
	}
	return text, nil
}
