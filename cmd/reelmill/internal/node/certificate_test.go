package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// certificateFiles writes a chain and a key into a folder. Each call gives the files another time.
func certificateFiles(t *testing.T, dir string, chain, key []byte, at int) CertificateFiles {
	t.Helper()
	f := CertificateFiles{Chain: filepath.Join(dir, "chain.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, text := range map[string][]byte{f.Chain: chain, f.Key: key} {
		check(t, os.WriteFile(path, text, 0o600))
		when := time.Unix(int64(1_700_000_000+at), 0)
		check(t, os.Chtimes(path, when, when))
	}
	return f
}

func newCertificate(t *testing.T, end time.Time, names ...string) *pipelinetest.Certificate {
	t.Helper()
	c, err := pipelinetest.NewCertificate(nil, end, names...)
	check(t, err)
	return c
}

// TestCertificateFollowsItsFiles: the certificate from before is served until both files are new.
func TestCertificateFollowsItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, end := t.TempDir(), time.Now().Add(time.Hour)
		first, second := newCertificate(t, end), newCertificate(t, end)
		c, err := OpenCertificate(certificateFiles(t, dir, first.Chain(), first.Key(), 0))
		check(t, err)
		serves := func(want *pipelinetest.Certificate, problem string) {
			t.Helper()
			current, err := c.Current()
			if !current.Leaf.Equal(want.Parsed) {
				t.Error("the other certificate is served")
			}
			if (err != nil) != (problem != "") || err != nil && !strings.Contains(err.Error(), problem) {
				t.Errorf("error %v, want %q", err, problem)
			}
		}
		serves(first, "")

		certificateFiles(t, dir, second.Chain(), first.Key(), 1) // between the two writes of a renewal
		serves(first, "")                                        // the files are looked at once a second
		time.Sleep(time.Second)
		serves(first, "private key does not match")
		time.Sleep(time.Second)
		serves(first, "private key does not match")

		f := certificateFiles(t, dir, second.Chain(), second.Key(), 2)
		time.Sleep(time.Second)
		serves(second, "")

		check(t, os.Remove(f.Key))
		time.Sleep(time.Second)
		serves(second, "no such file")
		certificateFiles(t, dir, first.Chain(), first.Key(), 3)
		time.Sleep(time.Second)
		serves(first, "")
	})
}

// TestCertificateMistakes: a server does not start with files that no client could believe.
func TestCertificateMistakes(t *testing.T) {
	now := time.Now()
	good, old, other := newCertificate(t, now.Add(time.Hour)), newCertificate(t, now.Add(-time.Hour)),
		newCertificate(t, now.Add(time.Hour))
	for name, c := range map[string]struct {
		chain, key []byte
		want       string
	}{
		"expired":      {old.Chain(), old.Key(), "expired at"},
		"another key":  {good.Chain(), other.Key(), "private key does not match"},
		"no key":       {good.Chain(), nil, "failed to find any PEM data in key input"},
		"key as chain": {good.Key(), good.Key(), "failed to find certificate PEM data"},
	} {
		_, err := OpenCertificate(certificateFiles(t, t.TempDir(), c.chain, c.key, 0))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := OpenCertificate(CertificateFiles{Chain: "missing.pem", Key: "missing.key"})
	if err == nil {
		t.Error("missing files are no error")
	}
	c, err := OpenCertificate(certificateFiles(t, t.TempDir(), good.Chain(), good.Key(), 0))
	check(t, err)
	if c.Covers("video.example.com") == nil || c.Covers("127.0.0.1") != nil {
		t.Error("names of the certificate are misjudged")
	}
}
