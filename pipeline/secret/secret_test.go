package secret

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// holder has a secret in each place that fmt treats in its own way.
type holder struct {
	Shown  Text
	hidden Text
	In     map[string]Text
	Many   []Text
	To     *Text
	Any    any
}

type pair struct{ A, B Text }

// TestTextIsNotPrinted prints, logs and encodes a secret in every way, also within other values.
func TestTextIsNotPrinted(t *testing.T) {
	const value = "hunter2-Grün"
	s := New(value)
	h := holder{Shown: s, hidden: s, In: map[string]Text{"a": s}, Many: []Text{s}, To: &s, Any: s}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%10s", "%T", "%U"} {
		fmt.Fprintf(&out, verb+"\n"+verb+"\n"+verb+"\n"+verb+"\n", s, &s, h, &h)
	}
	fmt.Fprintln(&out, s, h, errors.New(s.String()))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).With("secret", s).Info("x", "secret", s, "holder", holder{Shown: s, hidden: s}, "many", []Text{s})
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		raw, err := encode(pair{s, s})
		if err != nil {
			t.Fatal(err)
		}
		out.Write(raw)
	}
	for _, leak := range []string{value, "hunter", fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), "104 117"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%s is in\n%s", leak, &out)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v %q %s", s, s, s, s, s); got != "*** *** *** *** ***" {
		t.Errorf("it prints as %s", got)
	}
	if s.Reveal() != value || s.Empty() || !s.Equal(New(value)) || !New("").Empty() || !(Text{}).Equal(New("")) {
		t.Error("it does not hold what it was given")
	}
	var read struct{ A Text }
	if err := json.Unmarshal([]byte(`{"A":"b c"}`), &read); err != nil || read.A.Reveal() != "b c" {
		t.Errorf("it was read as %q, %v", read.A.Reveal(), err)
	}
}

// TestRedact has addresses alone, in lists, and as libraries quote them.
func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"no address, but me@home":    "no address, but me@home",
		"nats://10.0.0.5:4222":       "nats://10.0.0.5:4222",
		"nats://user:s3cr3t@a:1":     "nats://***@a:1",
		"nats://s3cr3t@a:1":          "nats://***@a:1",
		"tls://u:s3cr3t@a:1,tls://b": "tls://***@a:1,tls://b",
		"nats://u:s3cr3t@a,nats://s3cr3t@b, nats://c":                                          "nats://***@a,nats://***@b, nats://c",
		"nats://u:12,s3cr3t@a:1":                                                               "nats://***@a:1",
		"nats://u:s3/cr3t@a:1":                                                                 "nats://***@a:1",
		"nats://u:s3@cr3t@a:1":                                                                 "nats://***@a:1",
		"nats://u:s3%40cr3t@[::1]:1":                                                           "nats://***@[::1]:1",
		`parse "nats://u:s3cr3t@a:x": invalid port ":x" after host`:                            `parse "nats://***@a:x": invalid port ":x" after host`,
		`Get "http://s3cr3t:***@127.0.0.1:1/v1/videos": EOF`:                                   `Get "http://***@127.0.0.1:1/v1/videos": EOF`,
		"s3://KEY:s3cr3t@bucket/prefix?endpoint=http://u:s3cr3t@h&region=r":                    "s3://***@bucket/prefix?endpoint=http://***@h&region=r",
		`Put "https://h/b/k?X-Amz-Credential=s3cr3t&X-Amz-Date=1&X-Amz-Signature=s3cr3t": EOF`: `Put "https://h/b/k?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Signature=***": EOF`,
		"https://chat.example/v1?key=s3cr3t&token=s3cr3t&threadId=4":                           "https://chat.example/v1?key=***&token=***&threadId=4",
		"https://example.org/play/vid_a/master.m3u8?wait=30s":                                  "https://example.org/play/vid_a/master.m3u8?wait=30s",
		"nats://u:it's-s3cr3t@a:1, nats://o's3cr3t@b":                                          "nats://***@a:1, nats://***@b",
		"https://h/x?token=it's-s3cr3t&a='b'":                                                  "https://h/x?token=***&a='b'",
		"'nats://u:s3cr3t@a:1' and 'nats://b:1' for me@home":                                   "'nats://***@a:1' and 'nats://b:1' for me@home",
		"connect to nats://u:s3cr3t@a:1: refused":                                              "connect to nats://***@a:1: refused",
	} {
		if got := Redact(text); got != want || strings.Contains(got, "s3cr3t") {
			t.Errorf("%s\nis shown as\n%s\nwant\n%s", text, got, want)
		}
		if again := Redact(Redact(text)); again != want {
			t.Errorf("%s is shown as %s the second time", text, again)
		}
	}
}

// TestPlace keeps nothing but scheme and host.
func TestPlace(t *testing.T) {
	for address, want := range map[string]string{
		"https://hooks.example.org/services/T0/B0/s3cr3t": "https://hooks.example.org/***",
		"https://hooks.example.org?token=s3cr3t":          "https://hooks.example.org/***",
		"https://u:s3cr3t@hooks.example.org:8443/":        "https://hooks.example.org:8443/",
		"http://127.0.0.1:9":                              "http://127.0.0.1:9",
		"hooks.example.org/s3cr3t":                        "***",
		"https://%zz/s3cr3t":                              "***",
		"":                                                "***",
	} {
		if got := Place(address); got != want {
			t.Errorf("%s is shown as %s, want %s", address, got, want)
		}
	}
}

func TestCredentials(t *testing.T) {
	for address, want := range map[string]bool{
		"nats://a:1": false, "nats://a,nats://b": false, "s3://bucket?endpoint=http://h": false, "": false,
		"nats://t@a": true, "nats://a,nats://u:p@b": true, "s3://k:s@bucket": true, "https://u@h/x": true,
	} {
		if got := Credentials(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// FuzzRedact checks that nothing before the @ of a whole address is left.
func FuzzRedact(f *testing.F) {
	f.Add("user", "s3cr3t", "host:1")
	f.Add("", "a://b", ",nats://")
	f.Fuzz(func(t *testing.T, user, password, host string) {
		if strings.ContainsAny(user+password, " \t\r\n\"'<>`") || strings.Contains(user+password, "://") ||
			strings.Contains(host, "hunter2") {
			return
		}
		text := "see nats://" + user + ":hunter2" + password + "@" + host
		if got := Redact(text); strings.Contains(got, "hunter2") {
			t.Errorf("%q is shown as %q", text, got)
		}
	})
}

// TestFilesWithoutHardLinks: where the disk refuses hard links, a new file is written, too, no file is
// replaced, and a secret that cannot be written leaves no file.
func TestFilesWithoutHardLinks(t *testing.T) {
	refuse := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM} }
	path := filepath.Join(t.TempDir(), "a.secret")
	if err := writeFile(path, New("s3cr3t"), refuse); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, New("other"), refuse); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second secret: %v", err)
	}
	if got, open, err := ReadFile(path); err != nil || open || got.Reveal() != "s3cr3t" {
		t.Errorf("read %q, open to others %v, %v", got.Reveal(), open, err)
	}
	lost := func(from, to string) error { return errors.Join(refuse(from, to), os.Remove(from)) }
	if err := writeFile(path+"2", New("s3cr3t"), lost); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a rename that fails: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// TestFiles writes and reads secrets, and refuses files that hold none.
func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "a.secret")
	if err := WriteFile(path, New("s3cr3t")); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(at); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, %v", at, info.Mode(), err)
		}
	}
	if err := WriteFile(path, New("other")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second secret: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	if got, open, err := ReadFile(path); err != nil || open || got.Reveal() != "s3cr3t" {
		t.Errorf("read %q, open to others %v, %v", got.Reveal(), open, err)
	}
	for body, want := range map[string]string{
		"s3cr3t": "s3cr3t", "s3cr3t\n": "s3cr3t", "s3cr3t\r\n": "s3cr3t", " s3cr3t \n\n": " s3cr3t ",
		"": "", "\n": "", " \t\r\n": "", "s3cr3t\nmore\n": "", strings.Repeat("s3cr3t", 20_000): "",
	} {
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := ReadFile(path)
		if got.Reveal() != want || (err == nil) != (want != "") {
			t.Errorf("%.20q is read as %q, %v", body, got.Reveal(), err)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), path)) {
			t.Errorf("the error is %v", err)
		}
		if strings.TrimSpace(body) == "" && !errors.Is(err, ErrEmpty) {
			t.Errorf("%q: %v", body, err)
		}
	}
	for mode, want := range map[fs.FileMode]bool{0o600: false, 0o640: false, 0o444: true, 0o604: true} {
		err := errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chmod(path, mode))
		if _, open, readErr := ReadFile(path); open != want || errors.Join(err, readErr) != nil {
			t.Errorf("mode %o: open to others %v, %v, %v", mode, open, err, readErr)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
