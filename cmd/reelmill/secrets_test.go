package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// TestNoSecretOnTheCommandLine checks that each flag for a secret is refused with what to do instead, and
// that the secret is not repeated.
func TestNoSecretOnTheCommandLine(t *testing.T) {
	film := filepath.Join(t.TempDir(), "film.mp4")
	check(t, os.WriteFile(film, nil, 0o600))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--webhook-secret", "hunter2"}, "set REELMILL_WEBHOOK_SECRET, or write it to a file and name that with --webhook-secret-file"},
		{[]string{"serve", "--webhook-secret=hunter2"}, "REELMILL_WEBHOOK_SECRET"},
		{[]string{"worker", "--s3-secret-key", "hunter2"}, "--s3-secret-key-file"},
		{[]string{"doctor", "--s3-access-key=hunter2"}, "REELMILL_S3_ACCESS_KEY"},
		{[]string{"serve", "--nats", "nats://me:hunter2@a:1"}, "set REELMILL_NATS, or write it to a file and name that with --nats-file"},
		{[]string{"serve", "--nats=nats://a:1,nats://hunter2@b:1"}, "--nats-file"},
		{[]string{"rebuild", "--nats", "nats://hunter2@b:1"}, "--nats-file"},
		{[]string{"serve", "--store", "s3://hunter2:hunter2@bucket"}, "REELMILL_S3_SECRET_KEY"},
		{[]string{"serve", "--webhook-url", "https://me:hunter2@a/x"}, "--webhook-url-file"},
		{[]string{"videos", "list", "--server", "https://me:hunter2@a"}, "set REELMILL_SERVER instead"},
		{[]string{"upload", film, "--webhook-url", "https://me:hunter2@a/x"}, "without them"},
	} {
		var out, log bytes.Buffer
		err := run(t.Context(), c.args, &out, &log)
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), "every user of this machine can read command lines") {
			t.Errorf("%q: exit code %d, %v", c.args, exitCode(err), err)
		}
		if strings.Contains(fmt.Sprint(err, &out, &log), "hunter2") {
			t.Errorf("%q: %v\n%s%s", c.args, err, &out, &log)
		}
	}
	for _, args := range [][]string{
		{"serve", "--nats", "nats://a:1,nats://b:1"}, {"serve", "--store", "s3://bucket?endpoint=http://h:1"},
		{"serve", "--webhook-url", "https://a/x@y"},
	} {
		if err := refuseSecrets(args[:2], newParser(t).Model); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestSecretsComeFromFiles checks where each secret may come from, and what overrides what.
func TestSecretsComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, body string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(body), 0o600))
		return path
	}
	one, two := write("one", "from-one\n"), write("two", "from-two")
	nats, hook := write("nats", "nats://t@a:1,nats://u:p@b:2\n"), write("hook", "https://a/token\r\n")
	key := write("key.yaml", "webhook_secret: from-key\n")
	keyFile := write("file.yaml", "webhook_secret_file: "+one+"\nnats_file: "+nats+"\n")
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"nothing":                        {nil, nil, ""},
		"variable":                       {map[string]string{"REELMILL_WEBHOOK_SECRET": "from-env"}, nil, "from-env"},
		"file in a variable":             {map[string]string{"REELMILL_WEBHOOK_SECRET_FILE": one}, nil, "from-one"},
		"file in a flag":                 {nil, []string{"--webhook-secret-file", two}, "from-two"},
		"a flag overrides a variable":    {map[string]string{"REELMILL_WEBHOOK_SECRET": "from-env"}, []string{"--webhook-secret-file=" + two}, "from-two"},
		"a flag overrides the file's":    {map[string]string{"REELMILL_WEBHOOK_SECRET_FILE": one}, []string{"--webhook-secret-file=" + two}, "from-two"},
		"key":                            {nil, []string{"--config", key}, "from-key"},
		"key of a file":                  {nil, []string{"--config", keyFile}, "from-one"},
		"a variable overrides a key":     {map[string]string{"REELMILL_WEBHOOK_SECRET": "from-env"}, []string{"--config", keyFile}, "from-env"},
		"a variable's overrides a key":   {map[string]string{"REELMILL_WEBHOOK_SECRET_FILE": two}, []string{"--config", key}, "from-two"},
		"a variable's overrides a key's": {map[string]string{"REELMILL_WEBHOOK_SECRET_FILE": two}, []string{"--config", keyFile}, "from-two"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			if got := parse(t, append([]string{"serve"}, c.args...)).Serve.WebhookSecret.Reveal(); got != c.want {
				t.Errorf("the secret is %q, want %q", got, c.want)
			}
		})
	}
	t.Setenv("REELMILL_S3_ACCESS_KEY_FILE", one)
	t.Setenv("REELMILL_S3_SECRET_KEY_FILE", two)
	t.Setenv("REELMILL_WEBHOOK_URL_FILE", hook)
	got := parse(t, []string{"serve", "--config", keyFile}).Serve
	if got.S3AccessKey.Reveal() != "from-one" || got.S3SecretKey.Reveal() != "from-two" ||
		got.NATS.Reveal() != "nats://t@a:1,nats://u:p@b:2" || string(got.WebhookURL) != "https://a/token" {
		t.Errorf("access key %q, secret key %q, NATS %q, webhook %q", got.S3AccessKey.Reveal(), got.S3SecretKey.Reveal(),
			got.NATS.Reveal(), string(got.WebhookURL))
	}
	if shown := fmt.Sprintf("%+v", got); strings.Contains(shown, "from-") || strings.Contains(shown, "t@a") ||
		strings.Contains(shown, "u:p") {
		t.Errorf("it prints as %s", shown)
	}
}

// TestSecretFilesAreChecked checks that a file that holds no secret is an error with a remedy, that two
// settings for one secret are, and that a file that others may read is warned of.
func TestSecretFilesAreChecked(t *testing.T) {
	dir := t.TempDir()
	write := func(name, body string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(body), 0o600))
		return path
	}
	full := write("full", "hunter2")
	damaged := filepath.Join(t.TempDir(), "webhook.secret")
	check(t, os.WriteFile(damaged, []byte("whsec_hunter2!"), 0o600))
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"empty file":     {map[string]string{"REELMILL_WEBHOOK_SECRET_FILE": write("empty", "")}, nil, "REELMILL_WEBHOOK_SECRET_FILE: " + dir + "/empty: the file holds no secret; write the secret into it"},
		"blank file":     {nil, []string{"--s3-secret-key-file", write("blank", " \n")}, "the file holds no secret"},
		"two lines":      {nil, []string{"--s3-secret-key-file", write("two", "hunter2\nb\n")}, "alone, on one line"},
		"no file":        {nil, []string{"--nats-file", filepath.Join(dir, "none")}, "no such file"},
		"a folder":       {nil, []string{"--nats-file", dir}, "is a directory"},
		"no address":     {nil, []string{"--nats-file", full}, "--nats: not the address of a NATS server"},
		"both":           {map[string]string{"REELMILL_NATS": "nats://hunter2@a", "REELMILL_NATS_FILE": full}, nil, "both REELMILL_NATS and REELMILL_NATS_FILE are set"},
		"both keys":      {nil, []string{"--config", write("both.yaml", "nats: nats://hunter2@a\nnats_file: x\n")}, "both nats and nats_file are set"},
		"a number":       {nil, []string{"--config", write("number.yaml", "webhook_secret: 0123\n")}, "write it in quotes"},
		"no settings":    {nil, []string{"--config", full}, "it is not a list of settings"},
		"no credentials": {nil, []string{"--nats", "nats://127.0.0.1:1", "--nats-creds", filepath.Join(dir, "none")}, "none: no such file or directory"},
		"damaged webhook.secret": {nil, []string{"--data", filepath.Dir(damaged)},
			"webhook.secret is damaged: it holds no webhook secret (whsec_ and base64); restore it from a backup; or remove"},
		"empty webhook.secret": {nil, []string{"--data", filepath.Dir(write("webhook.secret", "\n"))},
			"webhook.secret: the file holds no secret; write the secret into it; or restore it from a backup; or remove the file"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			var out, log bytes.Buffer
			args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data")}, c.args...)
			err := run(t.Context(), args, &out, &log)
			if exitCode(err) != exitUsage && !strings.HasSuffix(name, " webhook.secret") || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("exit code %d, %v; want %q", exitCode(err), err, c.want)
			}
			if strings.Contains(fmt.Sprint(err, &out, &log), "hunter2") {
				t.Errorf("the secret is told: %v", err)
			}
		})
	}
	t.Run("open to others", func(t *testing.T) {
		config := write("open.yaml", "nats: nats://hunter2@127.0.0.1:1\n")
		t.Setenv("REELMILL_S3_SECRET_KEY_FILE", full)
		check(t, errors.Join(os.Chmod(full, 0o644), os.Chmod(config, 0o644)))
		var log bytes.Buffer
		// It ends at once, since it needs --store.
		err := run(t.Context(), []string{"worker", "--config", config}, &log, &log)
		if exitCode(err) != exitUsage || strings.Contains(fmt.Sprint(err, &log), "hunter2") {
			t.Errorf("%v\n%s", err, &log)
		}
		for _, file := range []string{full, config} {
			if n := strings.Count(log.String(), "take that right away with: chmod o-r "+file); n != 1 {
				t.Errorf("%d warnings of %s in\n%s", n, file, &log)
			}
		}
	})
}

// TestNewWebhookSecretIsItsOwnersOnly checks the file that the first start makes, and that the second reads it.
func TestNewWebhookSecretIsItsOwnersOnly(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	var log bytes.Buffer
	made, err := webhookSecret(secret.Text{}, data, newLogger(&log, "debug"))
	check(t, err)
	for path, want := range map[string]fs.FileMode{data: 0o700, secretPath(data): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, %v", path, info.Mode(), err)
		}
	}
	again, err := webhookSecret(secret.Text{}, data, newLogger(&log, "debug"))
	if err != nil || !made.Equal(again) || !strings.HasPrefix(made.Reveal(), "whsec_") || log.Len() > 0 {
		t.Errorf("equal %v, %v, %s", made.Equal(again), err, &log)
	}
	check(t, os.Chmod(secretPath(data), 0o644))
	if _, err := webhookSecret(secret.Text{}, data, newLogger(&log, "debug")); err != nil || !strings.Contains(log.String(), "chmod o-r") {
		t.Errorf("%v, %s", err, &log)
	}
}

// TestLogHidesSecretsAndControls logs what libraries say about addresses, and names that would act on a
// terminal.
func TestLogHidesSecretsAndControls(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, "debug")
	err := errors.New(`Get "http://me:hunter2@a/x?token=hunter2": dial nats://hunter2@b: refused`)
	log.With("at", "nats://hunter2@a").WithGroup("g").Error("connect to nats://me:hunter2@a:1", "error", err,
		"url", "nats://me:hunter2@a:1,nats://hunter2@b:1", "address", broker.At("nats://hunter2@a"), "wrapped",
		fmt.Errorf("x: %w", err), slog.Group("in", "url", "tls://hunter2@a"), "server", webURL("http://hunter2@a"))
	if text := out.String(); strings.Contains(text, "hunter2") || strings.Count(text, "://***@") != 11 {
		t.Errorf("%d addresses are hidden in %s", strings.Count(text, "://***@"), text)
	}
	out.Reset()
	log.Info("a\x1b[31mb", "name\u202e", "c\u202ed\u009b1me\u2066f\u200fg\u061ch\u2028i\x7fj", "error", errors.New("k\x1b]0;l\al"))
	for _, r := range strings.TrimSuffix(out.String(), "\n") {
		if r < ' ' || r > '~' {
			t.Errorf("%U is in the log: %q", r, out.String())
		}
	}
}
