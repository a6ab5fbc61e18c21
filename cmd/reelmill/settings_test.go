package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestPrecedence checks flag > environment > file > default with --listen.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("listen: from-file:1\nslots:\n  transcode: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  string
		args []string
		want string
	}{
		{"default", "", []string{"serve"}, "127.0.0.1:8080"},
		{"file beats default", "", []string{"serve", "--config", file}, "from-file:1"},
		{"environment beats file", "from-env:1", []string{"serve", "--config=" + file}, "from-env:1"},
		{"flag beats all", "from-env:1", []string{"serve", "--config", file, "--listen", "from-flag:1"}, "from-flag:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("REELMILL_LISTEN", c.env)
			}
			got := parse(t, c.args)
			if got.Serve.Listen != c.want {
				t.Errorf("listen %q, want %q", got.Serve.Listen, c.want)
			}
			if strings.Contains(strings.Join(c.args, " "), file) && got.Serve.Slots["transcode"] != 3 {
				t.Errorf("slots %v", got.Serve.Slots)
			}
		})
	}
}

func parse(t *testing.T, args []string) commands {
	t.Helper()
	var c commands
	parser, err := kong.New(&c, helpTexts)
	if err != nil {
		t.Fatal(err)
	}
	s, err := loadSettings(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(parser.Model); err != nil {
		t.Fatal(err)
	}
	if err := kong.Resolvers(s).Apply(parser); err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUsage checks that errors name the mistake, with the exit code of wrong usage.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown command", []string{"srve"}, "srve"},
		{"unknown flag", []string{"serve", "--lissten", "x"}, "--listen"},
		{"unknown key", []string{"serve", "--config", write("a.yaml", "lissten: x\n")}, "lissten"},
		{"unknown key of a pipeline", []string{"serve", "--config",
			write("b.yaml", "pipelines:\n- name: a\n  stepps: []\n")}, "stepps"},
		{"unknown key, guessed", []string{"serve", "--config", write("d.yaml", "lissten: x\n")}, `did you mean "listen"?`},
		{"unknown key of a step", []string{"serve", "--config",
			write("e.yaml", "pipelines:\n- name: a\n  steps:\n  - wrker: b\n")}, `did you mean "worker"?`},
		{"duration with a unit", []string{"serve", "--config",
			write("g5.yaml", "pipelines:\n- name: a\n  steps:\n  - worker: transcode\n    timeout: 5m\n")},
			"line 5: `5m` is not a number of seconds; write one such as 300"},
		{"unknown parameter", []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--config",
			write("f.yaml", "pipelines:\n- name: a\n  steps:\n  - worker: transcode\n    with: {qualty: basic}\n")},
			`did you mean "quality"?`},
		{"slots of no worker", []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--slots", "encode=1"}, "known ones are"},
		{"no address", []string{"serve", "--data", dir, "--listen", "nonsense"}, "127.0.0.1:8080"},
		{"no store", []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--store", "ftp://x"}, "s3://"},
		{"no secret", []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--config", write("h.yaml", "webhook_secret: x\n")}, "whsec_"},
		{"no URL", []string{"videos", "list", "--server", "example.org"}, "https://example.com"},
		{"no public URL", []string{"serve", "--public-url", "example.org"}, "https://video.example.com"},
		{"public URL with a query", []string{"doctor", "--public-url", "https://example.org/?a=b"}, "may have a scheme, host, port and path"},
		{"a host with a port", []string{"serve", "--allow-host", "a.lan:80"}, "--allow-host: \"a.lan:80\" is not the name of a host"},
		{"a host of a worker", []string{"worker", "--allow-host", "http://a.lan"}, "write a name without scheme and port"},
		{"any origin", []string{"serve", "--allow-origin", "*"}, "--allow-origin: \"*\" is not an origin; write scheme and host"},
		{"any and one origin", []string{"doctor", "--play-origin", "*,https://a.example"}, "--play-origin: \"*\" stands alone"},
		{"no network", []string{"serve", "--trusted-proxies", "10.0.0.0/33"}, "--trusted-proxies: \"10.0.0.0/33\" is not a network"},
		{"no rate", []string{"serve", "--min-upload-rate", "0"}, "--min-upload-rate must be 1 or more"},
		{"no streams", []string{"serve", "--max-streams", "0"}, "--max-streams must be 1 or more"},
		{"no requests", []string{"serve", "--max-client-rate", "0"}, "--max-client-rate must be 1 or more"},
		{"no webhook URL", []string{"serve", "--webhook-url", "example.org"}, "https://example.com"},
		{"no state", []string{"videos", "list", "--status", "done"}, "ready"},
		{"no limit", []string{"videos", "list", "--limit", "0"}, "1 to 200"},
		{"no window", []string{"stats", "--window", "3m"}, "5m"},
		{"no job", []string{"jobs", "retry", "vid_x"}, "slash"},
		{"too many at once", []string{"upload", os.Args[0], "--parallel", "17"}, "1 to 16"},
		{"no watermark", []string{"upload", os.Args[0], "--watermark", filepath.Join(dir, "logo.png")},
			"--watermark: " + filepath.Join(dir, "logo.png") + ": no such file or directory"},
		{"no watermark of a run", []string{"run", os.Args[0], "--out", filepath.Join(dir, "out"), "--watermark", "logo.png"},
			"--watermark: logo.png: no such file or directory; name an image, or write text:WORDS"},
		{"no folder can be made", []string{"run", os.Args[0], "--out", "/proc/x"}, "--out: mkdir /proc/x: "},
		{"a file as the folder of outputs", []string{"run", os.Args[0], "--out", os.Args[0]}, "not a directory; name a new folder"},
		{"a folder that takes no file", []string{"run", os.Args[0], "--out", "/proc/tty/ldisc"}, "; name a new folder"},
		{"a folder with files", []string{"run", os.Args[0], "--out", dir}, dir + " is not empty; name a new folder"},
		{"a folder as watermark", []string{"upload", os.Args[0], "--watermark", dir}, "is a folder"},
		{"no yaml", []string{"serve", "--config", write("c.yaml", "a: [")}, "c.yaml"},
		{"missing file", []string{"serve", "--config", filepath.Join(dir, "none")}, "none"},
		{"bad size", []string{"serve", "--max-upload", "ten"}, "ten"},
		{"NATS without a scheme", []string{"serve", "--nats", "127.0.0.1:4222"}, "--nats: not the address of a NATS server; write nats://host:port"},
		{"NATS with a name alone", []string{"worker", "--nats", "localhost:4222"}, "nats://host:port"},
		{"a second NATS without a scheme", []string{"doctor", "--nats", "nats://a:1,b:2"}, "nats://host:port"},
		{"a comma too many", []string{"streams", "show", "--nats", "nats://a:1,"}, "nats://host:port"},
		{"public", []string{"serve", "--data", dir, "--listen", "0.0.0.0:0"}, "reelmill keys create"},
		{"public, as before", []string{"serve", "--data", dir, "--listen", "0.0.0.0:0", "--allow-public"}, "reelmill keys create"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			err := run(context.Background(), c.args, &out, &errOut)
			if exitCode(err) != exitUsage || !strings.Contains(err.Error(), c.want) {
				t.Errorf("exit code %d, error %v; want 2 and %q", exitCode(err), err, c.want)
			}
		})
	}
}

// TestEmptyVariablesAreNotSet checks for every command that an empty variable leaves its setting to the file
// or the default.
func TestEmptyVariablesAreNotSet(t *testing.T) {
	data, config := t.TempDir(), filepath.Join(t.TempDir(), "reelmill.yaml")
	check(t, os.WriteFile(config, []byte("listen: here\n"), 0o600))
	names := map[string]bool{}
	var collect func(n *kong.Node)
	collect = func(n *kong.Node) {
		for _, f := range n.Flags {
			for _, name := range f.Envs {
				names[name] = true
			}
		}
		for _, c := range n.Children {
			collect(c)
		}
	}
	collect(newParser(t).Model.Node)
	if len(names) < 20 || !names["REELMILL_WEBHOOK_URL"] {
		t.Fatalf("the variables are %v", names)
	}
	for want, args := range map[string][]string{
		"address here":  {"serve", "--data", data, "--config", config},
		"is not empty":  {"run", config, "--out", filepath.Dir(config)},
		"has no broker": {"streams", "show", "--data", data},
		"needs --nats":  {"worker", "--data", data},
		"no server":     {"videos", "list", "--server", "http://127.0.0.1:1"},
	} {
		for name := range names {
			t.Setenv(name, "")
		}
		err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"upload", "--help"}, {"version"}} {
		var out, errOut bytes.Buffer
		if err := run(context.Background(), args, &out, &errOut); err != nil || out.Len() == 0 {
			t.Errorf("%v: %v, %d bytes on stdout", args, err, out.Len())
		}
	}
}

// TestEventsMaxHasAMinimum checks that every command refuses an event log that is too small, from a flag, a
// variable or the configuration. Help and error name the minimum.
func TestEventsMaxHasAMinimum(t *testing.T) {
	var names []string
	for _, leaf := range newParser(t).Model.Leaves(false) {
		if !slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "events-max-bytes" }) {
			continue
		}
		if leaf.Path() == "config show" { // it shows wrong values, too
			continue
		}
		names = append(names, leaf.Path())
		args := strings.Fields(leaf.Path())
		for range leaf.Positional {
			args = append(args, "x")
		}
		for text, taken := range map[string]bool{"0": true, "1": false, "268435455": false, "256MiB": true, "9GiB": true} {
			_, err := newParser(t).Parse(append(args, "--events-max-bytes", text))
			if (err == nil) != taken {
				t.Errorf("%s with %s: %v", leaf.Path(), text, err)
			}
		}
	}
	if len(names) < 6 {
		t.Errorf("the commands are %q", names)
	}
	data, config := filepath.Join(t.TempDir(), "nothing"), filepath.Join(t.TempDir(), "reelmill.yaml")
	check(t, os.WriteFile(config, []byte("events_max_bytes: 200MiB\n"), 0o600))
	show := []string{"streams", "show", "--data", data}
	refused := func(args ...string) {
		t.Helper()
		err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{})
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--events-max-bytes: an event log needs at least 256 MiB") {
			t.Errorf("%v: exit code %d, %v", args, exitCode(err), err)
		}
	}
	refused(append(show, "--events-max-bytes", "1")...)
	refused(append(show, "--config", config)...)
	t.Setenv("REELMILL_EVENTS_MAX_BYTES", "1kB")
	refused(show...)
	if help := strings.Join(strings.Fields(command(t, "serve", "--help")), " "); !strings.Contains(help, "at least 256 MiB") {
		t.Errorf("help says %s", help)
	}
}

// TestReadmeConfigurationRunsAsPrinted checks that a server starts with the configuration in the README.
func TestReadmeConfigurationRunsAsPrinted(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the README has no configuration")
	}
	file := filepath.Join(t.TempDir(), "reelmill.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, binary, t.TempDir(), "--config", file)
	if pipelines, err := p.client().Pipelines(t.Context()); err != nil || len(pipelines) != 2 {
		t.Errorf("the pipelines are %v, %v", pipelines, err)
	}
	p.stop(t)
}

// TestReadmeCommandsExist checks that the program accepts each command line in the README.
func TestReadmeCommandsExist(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(readme)) {
		if !strings.HasPrefix(line, "reelmill ") {
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		line, _, _ = strings.Cut(line, " > ") // into a file
		for _, file := range []string{"film.mp4", "a.mp4", "b.mp4"} {
			line = strings.ReplaceAll(line, " "+file, " "+os.Args[0])
		}
		for _, dir := range []string{"clips/", "/srv/inbox", "/srv/uploaded"} {
			line = strings.ReplaceAll(line, " "+dir, " "+t.TempDir())
		}
		args := strings.Fields(strings.ReplaceAll(line, "$ID", "vid_x"))[1:]
		if args[0] == "help" {
			command(t, args...)
		} else if _, err := newParser(t).Parse(args); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		found++
	}
	if found < 10 {
		t.Errorf("%d commands were found", found)
	}
}
