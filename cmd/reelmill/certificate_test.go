package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestTLS: a server with a certificate speaks https alone. A renewed certificate is shown to new connections,
// while an event stream from before goes on.
func TestTLS(t *testing.T) {
	dir, end := t.TempDir(), time.Now().Add(23*time.Hour)
	authority, err := pipelinetest.NewCertificate(nil, end)
	check(t, err)
	roots := filepath.Join(dir, "roots.pem")
	check(t, os.WriteFile(roots, authority.Chain(), 0o600))
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	issue := func() *pipelinetest.Certificate {
		c, err := pipelinetest.NewCertificate(authority, end)
		check(t, err)
		check(t, os.WriteFile(chain, c.Chain(), 0o600))
		check(t, os.WriteFile(key, c.Key(), 0o600))
		return c
	}
	first := issue()
	p := startServe(t, binary, filepath.Join(dir, "data"), "--tls-cert", chain, "--tls-key", key)
	address, encrypted := strings.CutPrefix(p.url, "https://")
	if !encrypted {
		t.Fatalf("the ready line has %s", p.url)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority.Parsed)
	trust := &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}}
	shown := func() *x509.Certificate {
		conn, err := tls.Dial("tcp", address, trust)
		check(t, err)
		defer conn.Close()
		if conn.ConnectionState().NegotiatedProtocol != "http/1.1" {
			t.Errorf("the server speaks %q", conn.ConnectionState().NegotiatedProtocol)
		}
		return conn.ConnectionState().PeerCertificates[0]
	}
	if !shown().Equal(first.Parsed) {
		t.Error("another certificate is shown")
	}
	if status, body := fetchText(t, "http://"+address+"/readyz"); status != http.StatusBadRequest {
		t.Errorf("without TLS: %d %s", status, body)
	}

	c := client.New(p.url, &http.Client{Transport: &http.Transport{TLSClientConfig: trust}})
	seen, ctx := make(chan string, 1000), t.Context()
	followed, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- c.FollowAll(followed, client.EventFilter{}, func(e pipeline.Event) error {
			seen <- string(e.Type)
			return nil
		})
	}()
	second := issue()
	pipelinetest.Until(t, "the renewed certificate is shown", func() bool { return shown().Equal(second.Parsed) })

	upload := exec.CommandContext(ctx, binary, "upload", clip(t, "tls.mp4", 1, "320x180", 25), "--server", p.url,
		"--wait=ready")
	text, err := upload.CombinedOutput()
	if err == nil || !strings.Contains(string(text), "certificate") {
		t.Errorf("a client that does not trust the issuer: %v\n%s", err, text)
	}
	upload = exec.CommandContext(ctx, binary, upload.Args[1:]...)
	upload.Env = append(os.Environ(), "SSL_CERT_FILE="+roots)
	if text, err := upload.CombinedOutput(); err != nil {
		t.Errorf("upload: %v\n%s", err, text)
	}
	for pipelinetest.Receive(t, "the end of the video", seen) != "video.ready" {
		continue
	}
	stop()
	if err := pipelinetest.Receive(t, "the end of the stream", done); err != context.Canceled {
		t.Errorf("the event stream ended with %v", err)
	}
	metrics, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: trust}}).Get(p.url + "/metrics")
	check(t, err)
	defer metrics.Body.Close()
	raw, err := io.ReadAll(metrics.Body)
	check(t, err)
	if !strings.Contains(string(raw), "reelmill_tls_certificate_expiry_timestamp_seconds ") {
		t.Error("no metric says when the certificate expires")
	}
	p.stop(t)
}

// fetchText sends a GET, and returns what is answered.
func fetchText(t *testing.T, address string) (int, string) {
	t.Helper()
	answer, err := http.Get(address)
	check(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	check(t, err)
	return answer.StatusCode, string(body)
}
