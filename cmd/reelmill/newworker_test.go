package main

import (
	"bytes"
	"encoding/json"
	"go/format"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// example returns the code of workers/ADDING-A-WORKER.md that follows the line with name.
func example(t *testing.T, root, name string) string {
	t.Helper()
	document := string(readFile(t, filepath.Join(root, "workers", "ADDING-A-WORKER.md")))
	_, after, named := strings.Cut(document, "\n`"+name+"`:\n\n```")
	_, after, _ = strings.Cut(after, "\n")
	code, _, ended := strings.Cut(after, "\n```\n")
	if !named || !ended {
		t.Fatalf("workers/ADDING-A-WORKER.md has no code for %s", name)
	}
	code += "\n"
	if strings.HasSuffix(name, ".go") {
		if tidy, err := format.Source([]byte(code)); err != nil || string(tidy) != code {
			t.Errorf("%s is not as gofmt has it (%v)", name, err)
		}
	}
	return code
}

// TestNewWorker follows workers/ADDING-A-WORKER.md in an overlay of the sources: it adds the example's folder
// and line, runs its tests, builds the program, and uses the worker in the example's pipeline.
func TestNewWorker(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	list := filepath.Join(root, "workers", "all", "all.go")
	replace := map[string]string{list: file("all.go", listed(t, list, "digest"))}
	for _, name := range []string{"digest.go", "digest_test.go"} {
		replace[filepath.Join(root, "workers", "digest", name)] = file(name, example(t, root, "workers/digest/"+name))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	changes := file("overlay.json", string(overlay))
	testOverlay(t, dir, changes, "github.com/reelmill/reelmill/workers/digest")
	program := filepath.Join(dir, "reelmill")
	if err := build(program, changes); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, program, t.TempDir(), "--config", file("archive.yaml", example(t, root, "archive.yaml")))
	source := clip(t, "a.mp4", 1, "320x180", 25)
	for _, c := range []struct {
		name   string
		fields map[string]string
		digits int
	}{
		{"with of the step", nil, 128},
		{"short form", map[string]string{"digest": "algorithm:sha256"}, 64},
		{"JSON", map[string]string{"digest": `{"algorithm":"sha256"}`}, 64},
	} {
		id := postForm(t, p, source, "archive", c.fields)
		if end := awaitEnd(t, p.client(), id); end.Status != pipeline.StateVideoReady {
			t.Fatalf("%s: end: %+v\n%s", c.name, end, p.stderr)
		}
		sum, _, _ := strings.Cut(string(get(t, p.url+"/play/"+id+"/digest.txt")), " ")
		if len(sum) != c.digits {
			t.Errorf("%s: the worker wrote %q, want %d digits", c.name, sum, c.digits)
		}
	}
}

// listed returns the source of workers/all with a line for a further worker type.
func listed(t *testing.T, list, worker string) string {
	t.Helper()
	lines := readFile(t, list)
	const add = "\tworkers.Add("
	with := strings.Replace(string(lines), add, add+"r, \""+worker+"\", "+worker+".Worker{})\n"+add, 1)
	with = strings.Replace(with, "import (", "import (\n\t\"github.com/reelmill/reelmill/workers/"+worker+"\"", 1)
	if strings.Count(with, worker) != 3 {
		t.Fatal("workers/all/all.go no longer has the form `workers.Add(r, ...)`")
	}
	return with
}

// testOverlay runs the tests of a package of the overlay. It runs them in dir, because the package's folder
// does not exist.
func testOverlay(t *testing.T, dir, overlay, pkg string) {
	t.Helper()
	program := filepath.Join(dir, "package.test")
	compile := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", // vet enters the package's folder
		"-overlay", overlay, "-o", program, pkg)
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v\n%s", pkg, err, out)
	}
	tests := exec.CommandContext(t.Context(), program, "-test.v")
	tests.Dir = dir
	out, err := tests.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestConformance")) {
		t.Fatalf("run the tests of %s: %v\n%s", pkg, err, out)
	}
}

// postForm uploads a file with further fields, and returns the id of the video.
func postForm(t *testing.T, p *process, path, pipe string, fields map[string]string) string {
	t.Helper()
	body := &bytes.Buffer{}
	form := multipart.NewWriter(body)
	w, err := form.CreateFormFile("file", "a.mp4")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(readFile(t, path)) // a Buffer takes all
	_ = form.WriteField("pipeline", pipe)
	for name, value := range fields {
		_ = form.WriteField(name, value)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(p.url+"/v1/videos", form.FormDataContentType(), body)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var view pipeline.VideoView
	if err := json.NewDecoder(answer.Body).Decode(&view); err != nil || view.ID == "" {
		t.Fatalf("upload with %v: %s, %v", fields, answer.Status, err)
	}
	return view.ID
}
