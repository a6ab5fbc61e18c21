package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/workers/webhook"
)

// A flag with the tag secret has a value that others must not read: "value" says that all of it is a secret,
// "address" that it is an address, which may hold a user name, password or token, and "file" that the file
// that it names holds one. Every user of a machine may read the command lines of all processes, so the first
// two come from elsewhere: from the variable of the flag, from the configuration file, or from a file. A flag
// --x for them has a flag --x-file beside it, with the variable REELMILL_X_FILE and the key x_file.
const (
	secretTag     = "secret"
	secretValue   = "value"
	secretAddress = "address"
	secretFile    = "file"

	fileSuffix = "-file"
)

// holdsSecret reports whether the value of a flag is a secret, or may hold one.
func holdsSecret(f *kong.Flag) bool {
	kind := f.Tag.Get(secretTag)
	return kind == secretValue || kind == secretAddress
}

// refuseSecrets refuses a command line that holds a secret. The error does not repeat it.
func refuseSecrets(args []string, model *kong.Application) error {
	at := model.Node
	for i, arg := range args {
		if arg == "--" {
			return nil
		}
		if child := childOf(at, arg); child != nil {
			at = child
			continue
		}
		name, value, given := strings.Cut(arg, "=")
		if !given && i+1 < len(args) {
			value = args[i+1]
		}
		for _, n := range []*kong.Node{at, model.Node} { // also where the flag is out of place
			f := flagBelow(n, name)
			if f != nil && holdsSecret(f) && (f.Tag.Get(secretTag) == secretValue || secret.Credentials(value)) {
				return secretError(f, flagBelow(n, name+fileSuffix) != nil)
			}
		}
	}
	return nil
}

// flagBelow returns the flag --name of a command or of one below it, or nil.
func flagBelow(n *kong.Node, name string) *kong.Flag {
	for _, f := range n.Flags {
		if name == "--"+f.Name {
			return f
		}
	}
	for _, child := range n.Children {
		if f := flagBelow(child, name); f != nil {
			return f
		}
	}
	return nil
}

// secretError says where the secret of a flag belongs.
func secretError(f *kong.Flag, hasFile bool) error {
	what := "its value is a secret"
	if f.Tag.Get(secretTag) == secretAddress {
		what = "the address holds a user name, password or token"
	}
	var places []string
	if len(f.Envs) > 0 {
		places = append(places, "set "+f.Envs[0])
	}
	if hasFile {
		places = append(places, "write it to a file and name that with --"+f.Name+fileSuffix)
	}
	switch {
	case f.Name == "store": // it has flags of its own for them
		places = []string{"set REELMILL_S3_ACCESS_KEY and REELMILL_S3_SECRET_KEY"}
	case len(places) == 0: // of an upload
		places = []string{"name an address without them"}
	}
	return fmt.Errorf("--%s: %s, and every user of this machine can read command lines; %s instead. Change the "+
		"secret if others may have seen it", f.Name, what, strings.Join(places, ", or "))
}

// setting is where a value comes from.
type setting struct {
	name  string // of the flag, variable or key
	value any
	from  origin
}

// origin is a kind of setting; a higher one overrides a lower one.
type origin int

const (
	nowhere origin = iota
	fromConfiguration
	fromEnvironment
	fromFlag
)

// settingOf returns where the value of a flag comes from, other than its default.
func (s *settings) settingOf(ctx *kong.Context, flag *kong.Flag) setting {
	for _, at := range ctx.Path {
		if at.Flag == flag && !at.Resolved {
			return setting{"--" + flag.Name, ctx.FlagValue(flag), fromFlag}
		}
	}
	for _, name := range flag.Envs {
		if value, set := os.LookupEnv(name); set {
			return setting{name, value, fromEnvironment}
		}
	}
	if value, key := s.value(flag.Name); key != "" {
		return setting{key, value, fromConfiguration}
	}
	return setting{}
}

// resolveSecret returns the value of a flag that holds a secret, from its file or the configuration; nil
// leaves the flag as it is.
func (s *settings) resolveSecret(ctx *kong.Context, path *kong.Path, flag *kong.Flag) (any, error) {
	own, file := s.settingOf(ctx, flag), setting{}
	for _, f := range path.Flags {
		if f.Name == flag.Name+fileSuffix {
			file = s.settingOf(ctx, f)
		}
	}
	switch {
	case file.from != nowhere && file.from == own.from:
		return nil, fmt.Errorf("both %s and %s are set; leave one out", own.name, file.name)
	case file.from > own.from:
		return s.readSecret(fmt.Sprint(file.value), file.name)
	case own.from != fromConfiguration:
		return nil, nil
	}
	text, ok := own.value.(string)
	if !ok {
		return nil, fmt.Errorf("%s in %s must be a text; write it in quotes", own.name, s.path)
	}
	return text, nil
}

// readSecret reads the file that a setting names.
func (s *settings) readSecret(file, setting string) (string, error) {
	text, open, err := secret.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	if open {
		s.warnings = append(s.warnings, openWarning(file))
	}
	return text.Reveal(), nil
}

// openWarning warns of a file with secrets that others may read. It is no error, since containers often get
// theirs like this.
func openWarning(file string) string {
	return "every user of this machine can read the secrets in " + file + "; take that right away with: " +
		"chmod o-r " + file
}

// warn logs which files with secrets others may read: those that were read, those that flags name, and the
// configuration if it has a secret for one of the flags.
func (s *settings) warn(ctx *kong.Context, log *slog.Logger) {
	open := map[string]bool{}
	for _, f := range ctx.Flags() {
		value, key := s.value(f.Name)
		kind := f.Tag.Get(secretTag)
		switch text := fmt.Sprint(value); {
		case kind == secretFile:
			open[fmt.Sprint(ctx.FlagValue(f))] = true
		case key != "" && (kind == secretValue || kind == secretAddress && secret.Credentials(text)):
			open[s.path] = true
		}
	}
	for _, path := range slices.Sorted(maps.Keys(open)) {
		if info, err := os.Stat(path); err == nil && secret.Open(info) {
			s.warnings = append(s.warnings, openWarning(path))
		}
	}
	for _, text := range s.warnings {
		log.Warn(text)
	}
}

// keptSecret returns the given webhook secret, or the one kept below data; empty if there is none.
func keptSecret(given secret.Text, data string, log *slog.Logger) (secret.Text, error) {
	if !given.Empty() {
		return given, nil
	}
	path := secretPath(data)
	kept, open, err := secret.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return secret.Text{}, nil
	case errors.Is(err, secret.ErrEmpty):
		return secret.Text{}, fmt.Errorf("read the webhook secret: %w; or restore it from a backup; or remove the "+
			"file, to have a new secret made, which your receivers must learn", err)
	case err != nil:
		return secret.Text{}, fmt.Errorf("read the webhook secret: %w", err)
	case open:
		log.Warn(openWarning(path))
	}
	if err := webhook.CheckSecret(kept); err != nil {
		return secret.Text{}, fmt.Errorf("%s is damaged: it holds no webhook secret (whsec_ and base64); restore "+
			"it from a backup; or remove the file, to have a new secret made, which your receivers must learn", path)
	}
	return kept, nil
}

func secretPath(data string) string { return filepath.Join(data, "webhook.secret") }

// webhookSecret returns the given secret, or the one kept below data. It makes that on first use.
func webhookSecret(given secret.Text, data string, log *slog.Logger) (secret.Text, error) {
	if kept, err := keptSecret(given, data, log); err != nil || !kept.Empty() {
		return kept, err
	}
	return newWebhookSecret(data)
}

// newWebhookSecret makes a secret and keeps it below data.
func newWebhookSecret(data string) (secret.Text, error) {
	var key [32]byte
	rand.Read(key[:])
	made := secret.New("whsec_" + base64.StdEncoding.EncodeToString(key[:]))
	if err := secret.WriteFile(secretPath(data), made); err != nil {
		return secret.Text{}, fmt.Errorf("keep a new webhook secret: %w", err)
	}
	return made, nil
}
