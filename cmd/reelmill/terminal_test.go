package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/pipeline/why"
	"github.com/reelmill/reelmill/workers/workertest"
)

// hostile has one of each kind of character that a terminal acts on, and a line break and tab that would forge
// lines and columns.
const hostile = "a\x1b[2J\x1b]0;t\a\u009b31m\u202eb\u2066\u200f\u061c\u2028\x7f\r\n\tc"

// actsOn returns the characters of the output of a command that a terminal would act on; line breaks are the
// command's own.
func actsOn(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r >= ' ' && r < 0x7F || r > 0x9F && !strings.ContainsRune("\u202e\u2066\u200f\u061c\u2028", r) {
			return -1
		}
		return r
	}, text)
}

// fill sets everything in v: each text is hostile, each list has an element.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			raw, _ := json.Marshal(hostile)
			v.SetBytes(raw)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Interface:
		v.Set(reflect.ValueOf(hostile))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1700000000, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	}
}

func filled[T any]() T {
	var v T
	fill(reflect.ValueOf(&v).Elem())
	return v
}

// hostileServer answers every request of the client with hostile texts, or with status and a hostile problem.
func hostileServer(t *testing.T, status int) *httptest.Server {
	t.Helper()
	list := func(v any) any { return map[string]any{"data": []any{v}, "next_cursor": hostile} }
	video := filled[pipeline.VideoView]()
	video.Status = pipeline.StateVideoErrored
	video.Size, video.SHA256 = 1, fmt.Sprintf("%x", sha256.Sum256([]byte("x")))
	upload := client.UploadView{Video: "vid_1", URL: "/v1/tus/token"}
	event := filled[pipeline.Event]()
	event.Subject = pipeline.JobSubject("p", "vid_1", "job")
	answers := map[string]any{
		"GET /v1/videos":                     list(video),
		"POST /v1/videos":                    video,
		"GET /v1/videos/{id}":                video,
		"POST /v1/uploads":                   upload,
		"GET /v1/videos/{id}/outputs":        map[string]any{"data": []any{filled[pipeline.OutputView]()}},
		"GET /v1/videos/{id}/events":         map[string]any{"data": []any{event}},
		"GET /v1/videos/{id}/why":            filled[why.Why](),
		"POST /v1/videos/{id}/cancel":        video,
		"POST /v1/videos/{id}/retry":         video,
		"POST /v1/jobs/{id}/retry":           filled[pipeline.JobView](),
		"GET /v1/dead_letters":               list(filled[client.DeadLetter]()),
		"GET /v1/dead_letters/{id}":          filled[client.DeadLetter](),
		"POST /v1/dead_letters/{id}/redrive": filled[pipeline.JobView](),
		"GET /v1/stats":                      filled[stats.Stats](),
	}
	mux := http.NewServeMux()
	for route, answer := range answers {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			if status != http.StatusOK {
				problem := filled[client.Error]()
				problem.Status, problem.Retryable = status, false
				w.WriteHeader(status)
				answer = problem
			}
			if err := json.NewEncoder(w).Encode(answer); err != nil {
				t.Error(err)
			}
		})
	}
	mux.HandleFunc("HEAD /v1/tus/token", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Upload-Offset", "1") })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// TestHostileTextsDoNotReachTheTerminal runs every command that asks a server against one whose answers, or
// errors, carry escape sequences and overrides in every text.
func TestHostileTextsDoNotReachTheTerminal(t *testing.T) {
	film := filepath.Join(t.TempDir(), strings.ReplaceAll(hostile, "/", "")+".mp4")
	check(t, os.WriteFile(film, []byte("x"), 0o600))
	if got := actsOn(hostile); len([]rune(got)) != len([]rune("\x1b\x1b\a\u009b\u202e\u2066\u200f\u061c\u2028\x7f\r\t")) {
		t.Fatalf("the check finds only %q", got)
	}
	for _, status := range []int{http.StatusOK, http.StatusConflict} {
		server := hostileServer(t, status)
		escaped := 0
		for _, args := range [][]string{
			{"videos", "list"}, {"videos", "get", "vid_1"}, {"videos", "outputs", "vid_1"}, {"videos", "watch", "vid_1"},
			{"videos", "events", "vid_1"}, {"videos", "why", "vid_1"}, {"videos", "cancel", "vid_1"}, {"videos", "retry", "vid_1"},
			{"jobs", "retry", "vid_1/a"}, {"dead", "list"}, {"dead", "show", "dead_1"}, {"dead", "redrive", "dead_1"},
			{"stats"}, {"upload", film}, {"upload", film, "--wait", "ready"},
			{"upload", film, "--pipeline", hostile, "--passthrough", hostile}, {"videos", "get", hostile}, {"dead", "show", "dead_" + hostile},
			{"videos", "list", "--status", hostile}, {hostile}, {"upload", film + hostile}, {"videos", hostile, "--" + hostile},
		} {
			for _, extra := range [][]string{
				{"--server", server.URL}, {"--server", server.URL, "-o", "yaml"}, {"--server", server.URL, "--json"},
			} {
				var out, errOut bytes.Buffer
				err := run(t.Context(), append(slices.Clone(args), extra...), &out, &errOut)
				printError(&errOut, err)
				if status != http.StatusOK && err == nil {
					t.Errorf("%q succeeds", args)
				}
				for _, text := range []string{out.String(), errOut.String()} {
					if got := actsOn(text); got != "" {
						t.Errorf("%q prints %q:\n%q", args, got, text)
					}
					if strings.Contains(text, `\x1b[2J`) || strings.Contains(text, `\u001b[2J`) || strings.Contains(text, `\e[2J`) {
						escaped++
					}
					if extra[len(extra)-1] == "--json" && len(out.String()) > 0 && !json.Valid([]byte(strings.SplitN(out.String(), "\n", 2)[0])) {
						t.Errorf("%q --json prints %s", args, &out)
					}
				}
			}
		}
		if escaped < 25 {
			t.Errorf("status %d: only %d outputs have the hostile text", status, escaped)
		}
	}
}

// TestScreenEscapes checks the lines of progress, and what is printed beside them.
func TestScreenEscapes(t *testing.T) {
	var out, errOut bytes.Buffer
	s := newScreen(streams{&out, &errOut})
	b := s.file(hostile)
	b.processed(pipeline.VideoView{ID: hostile, Status: hostile, Filename: hostile})
	b.close()
	s.line(fmt.Sprintf("upload %s: %v", hostile, errors.New(hostile)))
	s.close()
	check(t, (&timeline{out: &out}).print(pipeline.Event{Type: hostile, Subject: pipeline.JobSubject("p", "vid_1", "job")}))
	for _, err := range []error{nil, errors.Join(errors.New(hostile), errors.New("two"))} {
		check(t, judge("name", hostile, hostile, err).print(streams{out: &out}, output{}))
	}
	if got := actsOn(out.String() + errOut.String()); got != "" || !strings.Contains(errOut.String(), human.Line(hostile)) ||
		!strings.Contains(out.String(), human.Line(hostile)) {
		t.Errorf("%q is left in\n%s%s", got, &out, &errOut)
	}
}

// TestAllIsPrintedByHuman checks that the code of the program prints through package human alone, which keeps
// terminals from acting on what others wrote.
func TestAllIsPrintedByHuman(t *testing.T) {
	if found := printsPast(t, "package main\nfunc f() { fmt.Fprintf(w, `x`); json.NewEncoder(w).Encode(v) }"); len(found) != 2 {
		t.Errorf("the check finds %v in code that prints twice", found)
	}
	files, err := filepath.Glob("*.go")
	check(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			for _, at := range printsPast(t, file) {
				t.Errorf("%s prints past package human: %s", file, at)
			}
		}
	}
	if len(files) < 30 {
		t.Errorf("only %d files were checked", len(files))
	}
}

// printsPast returns the calls in a file, or in source code, that print past package human.
func printsPast(t *testing.T, file string) (found []string) {
	t.Helper()
	var source any
	if strings.HasPrefix(file, "package") {
		file, source = "source.go", file
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
	check(t, err)
	ast.Inspect(parsed, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := s.X.(*ast.Ident)
		if ok && slices.Contains([]string{
			"fmt.Fprint", "fmt.Fprintf", "fmt.Fprintln", "fmt.Print", "fmt.Printf", "fmt.Println", "io.WriteString", "json.NewEncoder",
		}, from.Name+"."+s.Sel.Name) {
			found = append(found, from.Name+"."+s.Sel.Name)
		}
		return true
	})
	return found
}

// TestHostileVideoDoesNotReachTheTerminal runs the commands about videos on a real one, whose tags, language,
// file name and metadata have what a terminal acts on, and reads the log of its server.
func TestHostileVideoDoesNotReachTheTerminal(t *testing.T) {
	p := startServe(t, binary, t.TempDir(), "--log-level", "debug")
	t.Setenv("REELMILL_SERVER", p.url)
	film := hostileFilm(t)
	try := func(args ...string) (texts string) {
		t.Helper()
		for _, extra := range [][]string{nil, {"--json"}} {
			var out, errOut bytes.Buffer
			printError(&errOut, run(t.Context(), append(slices.Clone(args), extra...), &out, &errOut))
			if got := actsOn(out.String() + errOut.String()); got != "" {
				t.Errorf("%q %q prints %q:\n%q\n%q", args, extra, got, &out, &errOut)
			}
			texts += out.String() + errOut.String()
		}
		return texts
	}
	escaped := func(args ...string) string {
		t.Helper()
		said := try(args...)
		if !strings.Contains(said, `\x1b[2J`) && !strings.Contains(said, `\u001b[2J`) {
			t.Errorf("%q does not print the hostile text at all:\n%s", args, said)
		}
		return said
	}
	said := escaped("upload", film, "--metadata",
		"title="+hostile, "--passthrough", hostile, "--wait", "ready")
	id := videoID.FindString(said)
	if id == "" {
		t.Fatalf("the upload says %s", said)
	}
	escaped("videos", "list")
	escaped("videos", "get", id)
	escaped("videos", "events", id)
	for _, about := range []string{"outputs", "why", "watch"} {
		try("videos", about, id)
	}
	p.stop(t)
	if got := actsOn(p.stderr.String()); got != "" {
		t.Errorf("serve prints %q:\n%q", got, p.stderr)
	}
}

// hostileFilm makes a video with hostile tags under a hostile name.
func hostileFilm(t *testing.T) string {
	t.Helper()
	plain := workertest.Clip(t, "film.mkv", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=1", "-f", "lavfi", "-i",
		"sine=duration=1", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-metadata", "title="+hostile,
		"-metadata", "a\x1b[2J\u202e=b\x1b[2J", "-metadata:s:a:0", "language=e\x1b\u009b", "-metadata:s:v:0", "title="+hostile)
	raw, err := os.ReadFile(plain)
	check(t, err)
	if !bytes.Contains(raw, []byte("\x1b[2J")) || !bytes.Contains(raw, []byte("e\x1b")) {
		t.Fatal("ffmpeg wrote no hostile tags")
	}
	film := filepath.Join(filepath.Dir(plain), hostile+".mkv")
	check(t, os.Rename(plain, film))
	return film
}
