package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/reelmill/reelmill/pipeline"
)

// CertificateFiles names the files of a server's certificate, both in PEM. The zero CertificateFiles: none.
type CertificateFiles struct {
	Chain string // the certificate, and then those of its issuers
	Key   string // its private key
}

// certificateLook is the time between two looks at the files.
const certificateLook = time.Second

var descCertificate = prometheus.NewDesc("reelmill_tls_certificate_expiry_timestamp_seconds",
	"When the certificate of the listener expires, in seconds since 1970.", nil, nil)

// Certificate is what a server shows to its TLS clients. It follows its files: a connection that begins more
// than a second after both were replaced gets the new certificate. Files that do not fit together, as between
// the two writes of who replaces them, change nothing: the certificate from before stays. It is safe for
// concurrent use. OpenCertificate makes one.
type Certificate struct {
	files CertificateFiles

	mu     sync.Mutex
	looked time.Time
	seen   [2]version // of the files that were read last, whether or not they were good
	served *tls.Certificate
	failed error // why the last files that were read are not served; nil: they are
}

// version tells whether a file was written since.
type version struct {
	at   time.Time
	size int64
}

// OpenCertificate reads the files. It returns an error when they are no certificate and its key, or when the
// certificate has expired.
func OpenCertificate(f CertificateFiles) (*Certificate, error) {
	c := &Certificate{files: f}
	now := time.Now()
	if err := c.look(now); err != nil {
		return nil, err
	}
	if c.served.Leaf.NotAfter.Before(now) {
		return nil, fmt.Errorf("the certificate in %s expired at %s; renew it", f.Chain,
			pipeline.Clock(c.served.Leaf.NotAfter))
	}
	return c, nil
}

// Current returns the certificate that a connection gets now, and why newer files are not served; nil: there
// are none, or they are served.
func (c *Certificate) Current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= certificateLook || now.Before(c.looked) {
		c.failed = c.look(now)
	}
	return c.served, c.failed
}

// look reads the files if one was written since they were read. An error repeats itself until then.
func (c *Certificate) look(now time.Time) error {
	c.looked = now
	var versions [2]version
	for i, path := range []string{c.files.Chain, c.files.Key} {
		info, err := os.Stat(path) // follows links, which is how some tools replace both files at once
		if err != nil {
			return fmt.Errorf("look at the certificate: %w", err)
		}
		versions[i] = version{info.ModTime(), info.Size()}
	}
	if versions == c.seen {
		return c.failed
	}
	read, err := tls.LoadX509KeyPair(c.files.Chain, c.files.Key)
	c.seen = versions
	if err != nil {
		return fmt.Errorf("read the certificate in %s with the key in %s: %w", c.files.Chain, c.files.Key, err)
	}
	c.served = &read
	return nil
}

// config returns the settings of a listener. HTTP/2 is not offered: event streams take their connections over
// from net/http, which HTTP/2 does not allow.
func (c *Certificate) config(failed func(error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			current, err := c.Current()
			failed(err)
			return current, nil
		},
	}
}

// Client returns a client that believes a server with this certificate alone, whatever name it is asked by:
// for the process that serves it.
func (c *Certificate) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			// The certificate names the server as others reach it, and here it is reached by its address.
			InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares the certificate itself
			VerifyConnection: func(s tls.ConnectionState) error {
				current, _ := c.Current()
				if !s.PeerCertificates[0].Equal(current.Leaf) {
					return errors.New("another server answers, with another certificate")
				}
				return nil
			},
		},
	}}
}

// Covers returns an error if the certificate does not name a host.
func (c *Certificate) Covers(host string) error {
	current, _ := c.Current()
	return current.Leaf.VerifyHostname(host)
}

// measure tells when the certificate expires.
func (c *Certificate) measure(_ context.Context, to sink) error {
	current, _ := c.Current()
	to.gauge(descCertificate, float64(current.Leaf.NotAfter.Unix()))
	return nil
}
