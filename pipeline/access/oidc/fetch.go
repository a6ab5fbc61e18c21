package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// fetchTimeout bounds one request to the issuer, its answer included.
	fetchTimeout = 5 * time.Second
	// maxAnswer and maxHeader are how many bytes an answer and its header may have.
	maxAnswer = 1 << 20
	maxHeader = 64 << 10
	// maxRedirects is how many redirects are followed.
	maxRedirects = 3
)

// source is where the keys of an issuer are.
type source struct {
	issuer, jwks string // jwks is empty if discovery says where
	client       *http.Client
}

// fetch returns the keys.
func (s source) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	address := s.jwks
	if address == "" {
		var err error
		if address, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, resp.Status)
	}
	return readKeys(doc)
}

// discover asks the issuer where its keys are (OpenID Connect Discovery 1.0, 4).
func (s source) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.client), s.issuer)
	if err != nil {
		return "", errors.New("discover the issuer: " + beginning(err.Error()))
	}
	var told struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&told); err != nil {
		return "", fmt.Errorf("discover the issuer: %w", err)
	}
	if err := checkAddress(told.Keys); err != nil {
		return "", fmt.Errorf("discover the issuer: jwks_uri: %w", err)
	}
	if strings.HasPrefix(s.issuer, "https:") && !strings.HasPrefix(told.Keys, "https:") {
		return "", errors.New("discover the issuer: its jwks_uri is not https")
	}
	return told.Keys, nil
}

// beginning returns what the log gets of an error, which may repeat a whole answer.
func beginning(text string) string { return text[:min(len(text), 500)] }

// newTransport returns what sends requests to the issuer. It uses no proxy of the environment and keeps no
// connections. Private addresses are allowed: the operator has named the issuer.
func newTransport() http.RoundTripper {
	return limited{&http.Transport{
		DialContext:         (&net.Dialer{Timeout: fetchTimeout}).DialContext,
		TLSHandshakeTimeout: fetchTimeout, ResponseHeaderTimeout: fetchTimeout, MaxResponseHeaderBytes: maxHeader,
		DisableKeepAlives: true, DisableCompression: true,
	}}
}

// limited limits the answers of a transport.
type limited struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// checkRedirect follows some redirects, and none to where somebody on the way could forge an answer.
func checkRedirect(next *http.Request, before []*http.Request) error {
	if len(before) > maxRedirects {
		return fmt.Errorf("the issuer redirects more than %d times", maxRedirects)
	}
	if before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("the issuer redirects from https to " + next.URL.Scheme)
	}
	return nil
}

// kindOf returns the kind of a public key, as kty of RFC 7517; empty for others.
func kindOf(key jose.JSONWebKey) string {
	switch key.Key.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return "EC"
	case ed25519.PublicKey:
		return "OKP"
	}
	return ""
}
