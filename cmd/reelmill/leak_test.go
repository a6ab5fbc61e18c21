package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/s3/s3test"
)

// formsOf returns how a secret may stand in a text: as it is, and encoded in the usual ways.
func formsOf(secret string) []string {
	forms := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("", secret).String()[1:],
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		strings.Trim(strconv.Quote(secret), `"`),
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // base64 depends on where among other bytes the secret begins
			text := e.EncodeToString([]byte("abc"[:before] + secret))
			forms = append(forms, text[[]int{0, 2, 3}[before]:len(text)-2])
		}
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// leaks returns the names of the secrets that stand in a text, in any form.
func leaks(text string, secrets map[string]string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if slices.ContainsFunc(formsOf(secrets[name]), func(form string) bool { return strings.Contains(text, form) }) {
			names = append(names, name)
		}
	}
	return names
}

// TestLeaksAreFound plants secrets in every form, alone and within other text.
func TestLeaksAreFound(t *testing.T) {
	const secret = "p4ss/w0rd+of=nats"
	secrets := map[string]string{"password": secret, "other": "an0ther-secret"}
	at := url.URL{Scheme: "nats", User: url.UserPassword("u", secret), Host: "a:1"}
	for _, text := range []string{
		secret, at.String(), "x " + url.QueryEscape(secret) + " y", fmt.Sprintf("%x %q", secret, secret), fmt.Sprintf("%X", secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte("u:" + secret + ":v")),
		"Basic " + base64.StdEncoding.EncodeToString([]byte("m:"+secret)), base64.StdEncoding.EncodeToString([]byte("x" + secret)),
	} {
		if got := leaks(text, secrets); !slices.Equal(got, []string{"password"}) {
			t.Errorf("in %q it finds %q", text, got)
		}
	}
	if got := leaks("p4ss w0rd of nats", secrets); got != nil {
		t.Errorf("it finds %q where there is none", got)
	}
}

// secretSite is a server that gets its secrets from files and variables, perhaps a worker, and what they use.
type secretSite struct {
	secrets map[string]string
	token   bool // the broker takes a token, not a user and a password; the S3 keys are in files; a worker runs
	nats    *server.Server
	store   string
	data    string
	files   string
	worker  *process
	*process
}

// failsOnce is a receiver that refuses the first webhook. It sends the path and query of each.
func failsOnce(t *testing.T) (address string, got chan string) {
	got = make(chan string, 1024)
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n.Add(1) == 1 {
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
		got <- r.URL.RequestURI()
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

// newSecretSite starts the program with a distinctive secret of each kind. The address of the broker has two
// servers: the one that runs, and one that is away and has the other kind of secret.
func newSecretSite(t *testing.T, hook string, token bool) *secretSite {
	t.Helper()
	s := &secretSite{token: token, data: filepath.Join(t.TempDir(), "data"), files: t.TempDir()}
	gateway := s3test.StartGateway(t)
	key := "0123456789-webhook-signing-key!!"
	s.secrets = map[string]string{
		"webhook secret": "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)), "signing key": key,
		"webhook token": "h00k-t0ken-2a7d", "S3 access key": gateway.AccessKey.Reveal(),
		"S3 secret key": gateway.SecretKey.Reveal(), "NATS user": "nats-user-7f3c",
		"NATS password": "n4ts/p+ss=w0rd-51b", "NATS token": "nats-t0ken-9e1f",
	}
	o := &server.Options{JetStream: true, SyncAlways: true, MaxPayload: 8 << 20}
	if token {
		o.Authorization = s.secrets["NATS token"]
	} else {
		o.Username, o.Password = s.secrets["NATS user"], s.secrets["NATS password"]
	}
	s.nats = bustest.Start(t, o)
	s.store = fmt.Sprintf("s3://%s/leaks?endpoint=%s&path_style=true&create_bucket=true", gateway.Bucket, gateway.Endpoint)
	t.Setenv("REELMILL_LOG_LEVEL", "debug")
	for name, variable := range map[string]string{
		"S3 access key": "REELMILL_S3_ACCESS_KEY", "S3 secret key": "REELMILL_S3_SECRET_KEY",
	} {
		if token {
			t.Setenv(variable+"_FILE", s.file(t, name, s.secrets[name]))
		} else {
			t.Setenv(variable, s.secrets[name])
		}
	}
	t.Setenv("REELMILL_WEBHOOK_SECRET_FILE", s.file(t, "webhook", s.secrets["webhook secret"]))
	t.Setenv("REELMILL_WEBHOOK_URL_FILE", s.file(t, "url", hook+"/T0/"+s.secrets["webhook token"]+"?token="+s.secrets["webhook token"]))
	t.Setenv("REELMILL_NATS_FILE", s.file(t, "nats", s.address("")))
	if !token {
		s.process = startServe(t, binary, s.data, "--store", s.store)
		return s
	}
	s.process = startServe(t, binary, s.data, "--store", s.store, "--slots", "transcode=0;thumbnail=0")
	s.worker = start(t, binary, "worker", "--data", filepath.Join(t.TempDir(), "worker"), "--store", s.store)
	return s
}

func (s *secretSite) file(t *testing.T, name, body string) string {
	path := filepath.Join(s.files, name)
	check(t, os.WriteFile(path, []byte(body+"\n"), 0o600))
	return path
}

// address returns the address of the broker, with something wrong before its secrets.
func (s *secretSite) address(wrong string) string {
	here, away := strings.TrimPrefix(s.nats.ClientURL(), "nats://"), "127.0.0.1:1"
	if s.token {
		here, away = away, here
	}
	first := url.URL{Scheme: "nats", User: url.UserPassword(s.secrets["NATS user"], wrong+s.secrets["NATS password"]), Host: here}
	second := url.URL{Scheme: "nats", User: url.User(wrong + s.secrets["NATS token"]), Host: away}
	return first.String() + "," + second.String()
}

// programs returns the server and, if there is one, the worker.
func (s *secretSite) programs() map[string]*process {
	if s.worker == nil {
		return map[string]*process{"server": s.process}
	}
	return map[string]*process{"server": s.process, "worker": s.worker}
}

// watched is what was seen of processes below the program: every command line, and the environments of those
// that are ffmpeg or ffprobe by /proc/PID/exe. Until a child executes one of these, it is the program itself,
// and first even in the memory of its parent: then its environment is that of the parent, and tells nothing.
type watched struct {
	tools    []string // paths of ffmpeg and ffprobe
	mu       sync.Mutex
	cmdlines map[string]bool
	environs map[string]bool
	seen     map[string]int // by name of the program
}

func newWatched(t *testing.T) *watched {
	w := &watched{cmdlines: map[string]bool{}, environs: map[string]bool{}, seen: map[string]int{}}
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		path, err := exec.LookPath(name)
		check(t, err)
		path, err = filepath.EvalSymlinks(path)
		check(t, err)
		w.tools = append(w.tools, path)
	}
	return w
}

// look reads what /proc shows of a process, which may end meanwhile. It asks what the process executes first:
// memory and name change together, and never back.
func (w *watched) look(pid string) {
	exe, _ := os.Readlink(filepath.Join("/proc", pid, "exe"))
	cmdline, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	environ, err := os.ReadFile(filepath.Join("/proc", pid, "environ"))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cmdlines[string(cmdline)] = true
	if err == nil && len(cmdline) > 0 && slices.Contains(w.tools, exe) {
		w.environs[string(environ)] = true
		w.seen[filepath.Base(exe)]++
	}
}

// follow looks at all processes below one, until the test ends.
func (w *watched) follow(t *testing.T, pid int) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond) // ffprobe takes 100 ms to load its libraries
		defer tick.Stop()
		for ctx.Err() == nil {
			for _, child := range childrenOf(pid) {
				w.look(child)
			}
			<-tick.C
		}
	}()
}

// sees reports whether it saw this program.
func (w *watched) sees(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[name] > 0
}

func (w *watched) texts() (cmdlines, environs string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(w.cmdlines)), "\n"), strings.Join(slices.Sorted(maps.Keys(w.environs)), "\n")
}

// childrenOf returns the ids of the processes below one.
func childrenOf(pid int) (all []string) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range threads {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(raw)) {
			if id, err := strconv.Atoi(child); err == nil {
				all = append(append(all, child), childrenOf(id)...)
			}
		}
	}
	return all
}

// TestEnvironmentsAreSeen starts an ffmpeg with a secret in its environment, which the watcher must find.
func TestEnvironmentsAreSeen(t *testing.T) {
	w := newWatched(t)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "anullsrc", "-f", "null", "-")
	cmd.Env = []string{"KEY=s3cr3t-0815"}
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	w.follow(t, os.Getpid())
	pipelinetest.Until(t, "the secret is seen", func() bool {
		_, environs := w.texts()
		return w.sees("ffmpeg") && slices.Equal(leaks(environs, map[string]string{"key": "s3cr3t-0815"}), []string{"key"})
	})
}

// ask fetches a path of the program, whatever the status.
func (s *secretSite) ask(t *testing.T, path, accept string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	check(t, err)
	request.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(request)
	check(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	check(t, err)
	return fmt.Sprintf("%s\n%v\n%s", answer.Status, answer.Header, body)
}

// login returns how this test logs in to the broker.
func (s *secretSite) login() nats.Option {
	if s.token {
		return nats.Token(s.secrets["NATS token"])
	}
	return nats.UserInfo(s.secrets["NATS user"], s.secrets["NATS password"])
}

// messages returns all messages of the broker's streams.
func (s *secretSite) messages(t *testing.T) (string, int) {
	t.Helper()
	conn, err := nats.Connect(s.nats.ClientURL(), s.login())
	check(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	check(t, err)
	var all strings.Builder
	n := 0
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		stream, err := js.Stream(t.Context(), name)
		check(t, err)
		info, err := stream.Info(t.Context())
		check(t, err)
		fmt.Fprintf(&all, "%+v\n", info.Config)
		for i := info.State.FirstSeq; i > 0 && i <= info.State.LastSeq; i++ {
			if m, err := stream.GetMsg(t.Context(), i); err == nil { // others were removed
				fmt.Fprintf(&all, "%s %v %s\n", m.Subject, m.Header, m.Data)
				n++
			}
		}
	}
	check(t, names.Err())
	return all.String(), n
}

// failures runs commands that fail for a secret or an address that is wrong, all at once since most of them wait
// for an answer, and returns what they print.
func (s *secretSite) failures(t *testing.T) map[string]string {
	t.Helper()
	wrong := s.file(t, "wrong", s.address("wrong-"))
	away := s.file(t, "away", "nats://"+s.secrets["NATS token"]+"@127.0.0.1:1")
	wrongKey := s.file(t, "wrong key", "wrong-"+s.secrets["S3 secret key"])
	texts := map[string]string{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for name, c := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"wrong password":     {nil, []string{"streams", "show", "--nats-file", wrong}, "connect to broker nats://***@127.0.0.1"},
		"unreachable broker": {nil, []string{"doctor", "--nats-file", away}, "connect to broker nats://***@127.0.0.1:1"},
		"wrong S3 secret": {[]string{"REELMILL_S3_SECRET_KEY=", "REELMILL_S3_SECRET_KEY_FILE=" + wrongKey}, []string{"doctor", "--store", s.store},
			"check the access key"},
		"unreachable store": {nil, []string{"doctor", "--store", "s3://bucket?endpoint=http://127.0.0.1:1"}, "check the endpoint"},
		"password in argv":  {nil, []string{"serve", "--nats", s.address("")}, "every user of this machine"},
		"unreachable server": {[]string{"REELMILL_SERVER=http://" + s.secrets["NATS token"] + "@127.0.0.1:1"}, []string{"videos", "list"},
			"no server answers at http://***@127.0.0.1:1"},
	} {
		cmd := exec.CommandContext(t.Context(), binary, c.args...)
		cmd.Env = append(os.Environ(), "REELMILL_DATA="+t.TempDir(), "REELMILL_LISTEN=127.0.0.1:0")
		cmd.Env = append(cmd.Env, c.env...)
		group.Go(func() {
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%s: %v, want %q in\n%s", name, err, c.want, out)
			}
			mu.Lock()
			defer mu.Unlock()
			texts[name] = string(out)
		})
	}
	group.Wait()
	return texts
}

// upload sends a video through the program, until ffmpeg and ffprobe were seen at work. It returns the id.
func (s *secretSite) upload(t *testing.T, w *watched) (id string) {
	t.Helper()
	film := clip(t, "film.mp4", 4, "640x360", 25)
	pipelinetest.Until(t, "ffmpeg and ffprobe are seen", func() bool {
		view, err := s.client().Upload(t.Context(), client.Upload{Path: film})
		check(t, err)
		if end := awaitEnd(t, s.client(), view.ID); end.Status != pipeline.StateVideoReady {
			t.Fatalf("the video is %s: %+v\n%s", end.Status, end.Problem, s.stderr)
		}
		id = view.ID
		return w.sees("ffmpeg") && w.sees("ffprobe")
	})
	return id
}

// answers returns what the commands and the API say of a video, and what the broker holds.
func (s *secretSite) answers(t *testing.T, id string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, args := range [][]string{
		{"videos", "list"}, {"videos", "get", id}, {"videos", "outputs", id}, {"videos", "watch", id}, {"videos", "events", id},
		{"videos", "why", id}, {"dead", "list"}, {"stats"}, {"videos", "get", id, "--json"}, {"videos", "events", id, "--json"},
	} {
		texts[strings.Join(args, " ")] = command(t, append(args, "--server", s.url)...)
	}
	for _, path := range []string{
		"/openapi.json", "/metrics", "/readyz", "/healthz", "/v1/videos", "/v1/pipelines", "/v1/stats", "/v1/dead_letters",
		"/v1/videos/" + id, "/v1/videos/" + id + "/jobs", "/v1/videos/" + id + "/outputs", "/v1/videos/" + id + "/why",
		"/v1/videos/" + id + "/events", "/play/" + id + "/master.m3u8",
	} {
		texts["GET "+path] = s.ask(t, path, "application/json")
	}
	texts["event stream"] = s.ask(t, "/v1/videos/"+id+"/events", "text/event-stream")
	messages, n := s.messages(t)
	texts["messages of the broker"] = messages
	if n < 20 || !strings.Contains(texts["GET /metrics"], "reelmill_") || !strings.Contains(texts["event stream"], "video.ready") {
		t.Errorf("%d messages; metrics %.500s\nevents %.2000s", n, texts["GET /metrics"], texts["event stream"])
	}
	return texts
}

// leftovers ends the programs, and returns what is left of them: their command lines, outputs and files.
func (s *secretSite) leftovers(t *testing.T, w *watched) map[string]string {
	t.Helper()
	texts := map[string]string{}
	texts["command lines of children"], texts["environments of ffmpeg"] = w.texts()
	s.nats.Shutdown() // so that the log and /readyz have errors of the connection
	pipelinetest.Until(t, "the server notices", func() bool {
		texts["GET /readyz without a broker"] = s.ask(t, "/readyz", "application/json")
		return strings.HasPrefix(texts["GET /readyz without a broker"], "503") && strings.Contains(s.stderr.String(), "lost the broker")
	})
	for name, p := range s.programs() {
		texts[name+": command line"] = readText(t, fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
		environ := readText(t, fmt.Sprintf("/proc/%d/environ", p.cmd.Process.Pid))
		want := []string{"S3 access key", "S3 secret key"}
		if s.token { // all come from files
			want = nil
		}
		if names := leaks(environ, s.secrets); !slices.Equal(names, want) {
			t.Errorf("in the environment of the %s it finds %q, want %q", name, names, want)
		}
		p.kill()
		texts[name+": stdout"], texts[name+": stderr"] = p.stdout.String(), p.stderr.String()
		if !strings.Contains(p.stderr.String(), "level=DEBUG") || !strings.Contains(p.stdout.String(), `"ready":true`) {
			t.Errorf("the %s printed %s\n%.3000s", name, p.stdout, p.stderr)
		}
	}
	files := 0
	check(t, filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			texts[path] = readText(t, path)
			files++
		}
		return err
	}))
	if files == 0 || !strings.Contains(texts["command lines of children"], "ffmpeg") {
		t.Errorf("%d files; children %q", files, texts["command lines of children"])
	}
	return texts
}

func readText(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	check(t, err)
	return string(raw)
}

// TestNoSecretLeavesTheProgram runs a video through the program with secrets of every kind, lets a webhook, a
// password, a store and addresses fail, and looks for the secrets in all that others may see. The second time
// the broker takes a token, all secrets come from files, and a worker shares the work.
func TestNoSecretLeavesTheProgram(t *testing.T) {
	for name, token := range map[string]bool{"password": false, "token": true} {
		t.Run(name, func(t *testing.T) {
			hook, got := failsOnce(t)
			s := newSecretSite(t, hook, token)
			w := newWatched(t)
			for _, p := range s.programs() {
				w.follow(t, p.cmd.Process.Pid)
			}
			id := s.upload(t, w)
			for range 2 { // playable and ready; the first try of one failed
				if uri := pipelinetest.Receive(t, "a webhook", got); !strings.Contains(uri, s.secrets["webhook token"]) {
					t.Errorf("a webhook went to %s", uri)
				}
			}
			texts := s.answers(t, id)
			maps.Copy(texts, s.failures(t))
			maps.Copy(texts, s.leftovers(t, w))
			for name, text := range texts {
				if names := leaks(text, s.secrets); names != nil {
					t.Errorf("%s has the %s:\n%.2000s", name, strings.Join(names, ", "), text)
				}
			}
			if environs := texts["environments of ffmpeg"]; environs != "" {
				t.Errorf("ffmpeg has the environment %q", environs)
			}
			if names := leaks(readText(t, filepath.Join(s.files, "nats")), s.secrets); !slices.Equal(names, []string{"NATS password", "NATS token", "NATS user"}) {
				t.Errorf("in the file with the address it finds %q", names)
			}
		})
	}
}
