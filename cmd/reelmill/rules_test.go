package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRules checks the import rules and other rules of this repository. It parses the sources in the test
// process: the test cache does not see what a child process such as `go list` reads, so a breach could pass
// as "(cached)".
func TestRules(t *testing.T) {
	root, err := ruleModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	breaches, err := ruleBreaches(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaches {
		t.Error(b)
	}
}

// ruleModuleRoot returns the nearest parent folder with a go.mod.
func ruleModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod in %s or above", dir)
		}
		dir = parent
	}
}

// ruleFile is one parsed Go file.
type ruleFile struct {
	path, dir string
	test      bool // its name ends in _test.go
	ast       *ast.File
	fset      *token.FileSet
	imports   map[string]string // the name of each import in the file, by path; also "." and "_"
}

// at returns the position of a node, for a message.
func (f ruleFile) at(n ast.Node) string { return f.fset.Position(n.Pos()).String() }

// ruleBreaches checks the module at fsys, and returns a sorted line for each breach.
func ruleBreaches(fsys fs.FS) ([]string, error) {
	module, err := ruleModule(fsys)
	if err != nil {
		return nil, err
	}
	files, breaches, err := ruleParse(fsys)
	if err != nil {
		return nil, err
	}
	top, err := ruleTop(fsys)
	if err != nil {
		return nil, err
	}
	breaches = append(breaches, top...)
	for _, f := range files {
		breaches = append(breaches, ruleCheckImports(f, module)...)
		breaches = append(breaches, ruleCheckCode(f)...)
	}
	breaches = append(breaches, ruleCheckPackages(files)...)
	breaches = append(breaches, ruleCheckRegistry(files, module)...)
	slices.Sort(breaches)
	return breaches, nil
}

// ruleModule returns the module's path.
func ruleModule(fsys fs.FS) (string, error) {
	f, err := fsys.Open("go.mod")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("go.mod has no module line")
}

// ruleParse parses every Go file of the module, without folders that the go command ignores, and without
// inner modules. A folder called docs is a breach.
func ruleParse(fsys fs.FS) (files []ruleFile, breaches []string, err error) {
	fset := token.NewFileSet()
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "docs" {
				breaches = append(breaches, name+": a docs folder; documents stand beside what they describe")
			}
			if ruleSkipFolder(fsys, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, newRuleFile(name, parsed, fset))
		return nil
	})
	return files, breaches, err
}

func ruleSkipFolder(fsys fs.FS, name string) bool {
	if name == "." {
		return false
	}
	base := path.Base(name)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || name == "bin" {
		return true
	}
	if base == name && !ruleBelongs(fsys, name) {
		return true
	}
	_, err := fs.Stat(fsys, name+"/go.mod")
	return err == nil
}

func newRuleFile(name string, parsed *ast.File, fset *token.FileSet) ruleFile {
	f := ruleFile{
		path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		ast: parsed, fset: fset, imports: map[string]string{},
	}
	for _, i := range parsed.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		f.imports[imported] = path.Base(imported)
		if i.Name != nil {
			f.imports[imported] = i.Name.Name
		}
	}
	return f
}

// ruleTop checks that the folders at the top that belong to the module are exactly the five.
func ruleTop(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, err
	}
	var found, breaches []string
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == "bin" || !ruleBelongs(fsys, e.Name()) {
			continue
		}
		found = append(found, e.Name())
		if !slices.Contains(ruleTopFolders, e.Name()) {
			breaches = append(breaches, e.Name()+": a folder at the top besides "+strings.Join(ruleTopFolders, ", "))
		}
	}
	for _, name := range ruleTopFolders {
		if !slices.Contains(found, name) {
			breaches = append(breaches, name+": the folder is missing at the top")
		}
	}
	return breaches, nil
}

// ruleCheckImports checks the imports of one file. Tests may import every package of this module, except cmd
// and, in the folder of a worker, other workers.
func ruleCheckImports(f ruleFile, module string) []string {
	var breaches []string
	breach := func(imported, why string) {
		breaches = append(breaches, fmt.Sprintf("%s imports %s: %s", f.path, imported, why))
	}
	ours, known := ruleFor(f.dir)
	if !known {
		breaches = append(breaches, f.path+": no rule of ruleImports says what this package may import")
	}
	for imported := range f.imports {
		own, isOurs := strings.CutPrefix(imported, module+"/")
		if who, allowed := ruleMayImport(f, imported); !isOurs && !allowed {
			breach(imported, who)
		}
		switch {
		case isOurs && ruleWithin(own, "cmd") && !ruleIsInside(f.dir, own):
			breach(imported, "nothing imports the program")
		case isOurs && f.test:
			if ruleIsWorker(f.dir) && ruleIsWorker(own) && ruleWorker(own) != ruleWorker(f.dir) {
				breach(imported, "a worker knows no other worker")
			}
		case isOurs && own == "pipeline/bus/embedded" && !ruleWithin(f.dir, "cmd") && !ruleIsKit(f.dir):
			breach(imported, "only cmd and tests may")
		case isOurs && ruleIsKit(own) && !ruleIsKit(f.dir):
			breach(imported, "only tests may")
		case isOurs && !ruleMatchAny(ours, own):
			if ruleIsWorker(f.dir) && ruleWithin(own, ruleWorker(f.dir)) {
				continue // its own folder
			}
			breach(imported, "of this module it may import only: "+strings.Join(ours, " "))
		}
	}
	return breaches
}

// ruleMayImport reports whether a file may import a package of another module or of the standard library; if
// not, who may.
func ruleMayImport(f ruleFile, imported string) (who string, allowed bool) {
	dir := f.dir
	if ruleIsWorker(dir) {
		dir = ruleWorker(dir)
	}
	for _, r := range ruleModules {
		if !ruleWithin(imported, r.imported) {
			continue
		}
		if ruleMatchAny(r.code, dir) || (f.test || ruleIsKit(dir)) && ruleMatchAny(r.tests, dir) {
			return "", true
		}
		if len(r.code) == 0 {
			return "only tests may", false
		}
		return "only " + strings.Join(r.code, ", ") + " may", false
	}
	return "ruleModules does not list it", !ruleHasHost(imported)
}

func ruleFor(dir string) (ours []string, known bool) {
	for _, r := range ruleImports {
		if ruleMatch(r.dir, dir) {
			return r.ours, true
		}
	}
	if ruleIsWorker(dir) { // a package in the folder of a worker
		return ruleFor(ruleWorker(dir))
	}
	return nil, false
}

// ruleMatchAny reports whether dir matches one of the patterns.
func ruleMatchAny(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return ruleMatch(p, dir) })
}

// ruleMatch reports whether dir matches pattern.
func ruleMatch(pattern, dir string) bool {
	tree, below := strings.CutSuffix(pattern, "/...")
	want, have := strings.Split(tree, "/"), strings.Split(dir, "/")
	if len(have) < len(want) || len(have) > len(want) && !below {
		return false
	}
	for i, w := range want {
		if w != "*" && w != have[i] {
			return false
		}
	}
	return true
}

// ruleWithin reports whether the package is root or below it.
func ruleWithin(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

// ruleIsKit reports whether the package is a kit for tests: its name ends in test.
func ruleIsKit(pkg string) bool { return strings.HasSuffix(pkg, "test") }

// ruleIsInside reports whether an imported package is internal to the program that dir belongs to.
func ruleIsInside(dir, imported string) bool {
	program, _, internal := strings.Cut(imported, "/internal/")
	return internal && ruleWithin(dir, program)
}

// ruleHasHost reports whether an import path is of another module, since its first element has a dot.
func ruleHasHost(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".")
}

// ruleIsWorker reports whether dir is the folder of a worker, or below one.
func ruleIsWorker(dir string) bool {
	parts := strings.Split(dir, "/")
	return len(parts) > 1 && parts[0] == "workers" && !slices.Contains(ruleNoWorker, parts[1])
}

// ruleWorker returns the folder of the worker that dir is in.
func ruleWorker(dir string) string { return path.Join(strings.Split(dir, "/")[:2]...) }

// ruleCheckCode checks that a file has no init function, and that tests have no skip, no sleep and no flag
// for files. In a testing/synctest bubble time is not real, so time.Sleep is allowed there. A test that needs
// the name of a file would pass without one, so it needs a build tag.
func ruleCheckCode(f ruleFile) []string {
	var breaches []string
	_, tests := f.imports["testing"]
	bubble := f.imports["testing/synctest"]
	clock := f.imports["time"]
	flags := f.test && !ruleHasConstraint(f.ast) && f.imports["flag"] != ""
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				breaches = append(breaches, f.at(n)+": func init; list it in a function that is called")
			}
		case *ast.CallExpr:
			on, method := ruleCall(n)
			switch {
			case on != "" && on == bubble && method == "Test":
				return false
			case tests && on == clock && on != "" && method == "Sleep":
				breaches = append(breaches, f.at(n)+": time.Sleep in a test; use testing/synctest or wait for a signal")
			case tests && ruleIsTB(on) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method):
				breaches = append(breaches, f.at(n)+": a test that skips; have .ci/install bring what it needs")
			case flags && on == f.imports["flag"] && method == "String":
				breaches = append(breaches, f.at(n)+": a test that needs a flag; put it behind a build tag")
			}
		}
		return true
	})
	return breaches
}

// ruleCall splits a call of the form on.method(); both results are empty for other calls.
func ruleCall(c *ast.CallExpr) (on, method string) {
	s, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return x.Name, s.Sel.Name
}

// ruleHasConstraint reports whether a file has a build constraint.
func ruleHasConstraint(f *ast.File) bool {
	return slices.ContainsFunc(f.Comments, func(g *ast.CommentGroup) bool {
		return g.Pos() < f.Package && slices.ContainsFunc(g.List, func(c *ast.Comment) bool {
			return constraint.IsGoBuild(c.Text)
		})
	})
}

// ruleIsTB reports whether a name is a usual one for variables of type testing.TB.
func ruleIsTB(name string) bool { return slices.Contains([]string{"t", "b", "f", "tb"}, name) }

// ruleCheckPackages checks that packages have meaningful names and comments.
func ruleCheckPackages(files []ruleFile) []string {
	var breaches []string
	described, names := map[string]bool{}, map[string]string{}
	for _, f := range files {
		name := f.ast.Name.Name
		if slices.Contains(ruleNames, strings.TrimSuffix(name, "_test")) {
			breaches = append(breaches, f.path+": package "+name+"; name it after what it does")
		}
		if f.test {
			continue
		}
		names[f.dir] = name
		opening := "Package " + name + " "
		if name == "main" {
			opening = "Command "
		}
		described[f.dir] = described[f.dir] || strings.HasPrefix(f.ast.Doc.Text(), opening)
	}
	for dir, name := range names {
		if !described[dir] {
			breaches = append(breaches, fmt.Sprintf("%s: package %s has no comment that begins `// Package %[2]s ` "+
				"(of a program: `// Command `)", dir, name))
		}
	}
	return breaches
}

// ruleCheckRegistry checks that workers/all imports every worker with a usable name.
func ruleCheckRegistry(files []ruleFile, module string) []string {
	listed, workers := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		if ruleIsWorker(f.dir) {
			workers[ruleWorker(f.dir)] = true
		}
		if f.dir != "workers/all" {
			continue
		}
		for imported, name := range f.imports {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok && name != "_" {
				listed[own] = true
			}
		}
	}
	var breaches []string
	for w := range workers {
		if !listed[w] {
			breaches = append(breaches, w+": the worker is not registered in workers/all")
		}
	}
	return breaches
}

// ruleSound is a module without breaches; the cases of TestRulesCanFail spoil it.
func ruleSound() fstest.MapFS {
	files := map[string]string{
		"go.mod":                           "module example.org/m\n\ngo 1.26\n",
		"cmd/bench/main.go":                "// Command bench is it.\npackage main\n\nimport _ \"example.org/m/pipeline/bus/embedded\"\n",
		"cmd/reelmill/main.go":             "// Command reelmill is it.\npackage main\n\nimport _ \"example.org/m/cmd/reelmill/internal/human\"\n",
		"cmd/reelmill/internal/human/h.go": "// Package human is\npackage human\n",
		"deploy/tools/go.mod":              "module example.org/m/deploy/tools\n",
		"deploy/tools/x.go":                "package util\n\nfunc init() {}\n",
		"bin/x.go":                         "package util\n",
		".ci/x.go":                         "package util\n",
		"film/master.m3u8":                 "#EXTM3U\n",
		"reelmill-data/docs/original.mp4":  "a video",
		"pipeline/doc.go":                  "// Package pipeline is the story.\npackage pipeline\n",
		"pipeline/p_test.go":               "package pipeline\n\nimport _ \"github.com/google/go-cmp/cmp\"\n",
		"pipeline/bus/bus.go":              "// Package bus is\npackage bus\n\nimport _ \"github.com/nats-io/nats.go/jetstream\"\n",
		"pipeline/bus/embedded/e.go":       "// Package embedded is\npackage embedded\n",
		"storage/doc.go":                   "// Package storage is\npackage storage\n",
		"storage/catalog/c.go":             "// Package catalog is\npackage catalog\n\nimport _ \"example.org/m/pipeline\"\n",
		"workers/worker.go":                "// Package workers is\npackage workers\n\nimport _ \"example.org/m/storage\"\n",
		"workers/all/all.go":               "// Package all is\npackage all\n\nimport \"example.org/m/workers/audio\"\n",
		"workers/audio/audio.go":           "// Package audio is\npackage audio\n\nimport _ \"example.org/m/workers/internal/ffmpeg\"\n",
		"workers/audio/a_test.go":          "package audio\n\nimport _ \"example.org/m/workers/workertest\"\n",
		"workers/internal/ffmpeg/f.go":     "// Package ffmpeg is\npackage ffmpeg\n\nimport _ \"github.com/u2takey/ffmpeg-go\"\n",
		"workers/workertest/w.go":          "// Package workertest is\npackage workertest\n",
		"workers/corpus_test.go":           "//go:build corpus\n\npackage workers\n\nimport \"flag\"\n\nvar _ = flag.String(\"corpus\", \"\", \"\")\n",
		"workers/schema_test.go":           "package workers\n\nimport \"flag\"\n\nvar _ = flag.Bool(\"update\", false, \"\")\n",
		"workers/clock_test.go": "package workers\n\nimport (\n\t\"testing\"\n\t\"testing/synctest\"\n\t\"time\"\n)\n\n" +
			"func TestBubble(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }\n",
	}
	fsys := fstest.MapFS{}
	for name, source := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(source)}
	}
	return fsys
}

func TestRulesHoldForASoundModule(t *testing.T) {
	breaches, err := ruleBreaches(ruleSound())
	if err != nil || len(breaches) > 0 {
		t.Fatalf("breaches %q, error %v; want none", breaches, err)
	}
}

// TestRulesCanFail adds a file to a module without breaches, or removes one, and checks the one breach.
func TestRulesCanFail(t *testing.T) {
	imports := func(pkg, imported string) string {
		return "// Package " + pkg + " is\npackage " + pkg + "\n\nimport _ \"" + imported + "\"\n"
	}
	test := func(body string) string {
		return "package p\n\nimport (\n\t\"testing\"\n\tclock \"time\"\n)\n\nvar _ = clock.Now\n\n" +
			"func TestX(t *testing.T) { " + body + " }\n"
	}
	flagged := func(head, name string) string {
		return head + "package p\n\nimport \"flag\"\n\nvar _ = flag.String(\"" + name + "\", \"\", \"\")\n"
	}
	const ours, theirs = "example.org/m/", "github.com/x/y"
	const nats, sqlite = "github.com/nats-io/nats.go", "modernc.org/sqlite"
	for _, c := range []struct{ name, file, source, want string }{
		{"story imports a module", "pipeline/x.go", imports("pipeline", "golang.org/x/sync/errgroup"), "pipeline/x.go imports golang"},
		{"story imports ours", "pipeline/x.go", imports("pipeline", ours+"storage"), "imports " + ours + "storage"},
		{"bus imports a module", "pipeline/bus/x.go", imports("bus", theirs), "ruleModules does not list it"},
		{"bus imports the store", "pipeline/bus/x.go", imports("bus", ours+"storage"), "imports " + ours + "storage"},
		{"api imports workers", "pipeline/api/x.go", imports("api", ours+"workers"), "imports " + ours + "workers"},
		{"api imports a store", "pipeline/api/x.go", imports("api", ours+"storage/disk"), "imports " + ours + "storage/disk"},
		{"client imports the api", "pipeline/client/x.go", imports("client", ours+"pipeline/api"), "pipeline/api"},
		{"code imports a kit", "cmd/bench/x.go", "package main\n\nimport _ \"" + ours + "pipeline/pipelinetest\"\n", "only tests may"},
		{"broker outside cmd", "workers/x.go", imports("workers", ours+"pipeline/bus/embedded"), "only cmd and tests"},
		{"contract imports the bus", "workers/x.go", imports("workers", ours+"pipeline/bus"), "imports " + ours + "pipeline/bus"},
		{"worker imports a worker", "workers/audio/x.go", imports("audio", ours+"workers/all"), "workers/all"},
		{"worker's test imports a worker", "workers/audio/x_test.go", imports("audio", ours+"workers/video"), "no other worker"},
		{"worker imports a store", "workers/audio/x.go", imports("audio", ours+"storage/s3"), "storage/s3"},
		{"ffmpeg imports ours", "workers/internal/ffmpeg/x.go", imports("ffmpeg", ours+"pipeline"), "imports " + ours + "pipeline"},
		{"internal imports workers", "workers/internal/hls/x.go", imports("hls", ours+"workers"), "imports " + ours + "workers"},
		{"ffmpeg-go elsewhere", "workers/audio/x_test.go", imports("audio", "github.com/u2takey/ffmpeg-go"), "only workers/internal"},
		{"websocket elsewhere", "workers/x.go", imports("workers", "github.com/coder/websocket"), "only pipeline/api may"},
		{"pgx elsewhere", "storage/catalog/x.go", imports("catalog", "github.com/jackc/pgx/v5/pgxpool"), "only storage/postgres may"},
		{"nats in another package", "pipeline/webhooks/x.go", imports("webhooks", nats), "only cmd/bench, "},
		{"nats in the api", "pipeline/api/x.go", imports("api", nats), "only cmd/bench, "},
		{"nats in a worker", "workers/audio/x.go", imports("audio", nats), "only cmd/bench, "},
		{"nats in a worker's inside", "workers/audio/in/x.go", imports("in", nats), "only cmd/bench, "},
		{"nats in a worker's test", "workers/audio/x_test.go", imports("audio", nats), "only cmd/bench, "},
		{"broker in a worker's test", "workers/audio/x_test.go", imports("audio", "github.com/nats-io/nats-server/v2/server"), "only cmd/bench, "},
		{"sqlite in a store", "storage/redis/x.go", imports("redis", sqlite), "only cmd/chaos, "},
		{"sqlite in a listed store", "storage/disk/x.go", imports("disk", sqlite), "only cmd/chaos, "},
		{"sqlite below workers", "workers/internal/zip/x.go", imports("zip", sqlite), "only cmd/chaos, "},
		{"sql in the api", "pipeline/api/x.go", imports("api", "database/sql"), "only cmd/chaos, "},
		{"minio elsewhere", "storage/disk/x.go", imports("disk", "github.com/minio/minio-go/v7"), "only storage/s3 may"},
		{"kong elsewhere", "cmd/bench/x.go", imports("main", "github.com/alecthomas/kong"), "only cmd/reelmill may"},
		{"huma elsewhere", "pipeline/client/x.go", imports("client", "github.com/danielgtaylor/huma/v2"), "only pipeline/api, "},
		{"prometheus elsewhere", "workers/x.go", imports("workers", "github.com/prometheus/client_golang/prometheus"), "only cmd/reelmill/internal/node may"},
		{"process elsewhere", "workers/audio/x.go", imports("audio", "os/exec"), "workers/internal/ffmpeg, "},
		{"code imports a module of tests", "workers/x.go", imports("workers", "go.uber.org/goleak"), "only tests may"},
		{"test imports an unknown module", "workers/x_test.go", imports("workers", theirs), "ruleModules does not list it"},
		{"pipeline without a rule", "pipeline/quotas/x.go", "// Package quotas is\npackage quotas\n", "no rule"},
		{"store without a rule", "storage/redis/x.go", "// Package redis is\npackage redis\n", "no rule"},
		{"workers' inside without a rule", "workers/internal/zip/x.go", "// Package zip is\npackage zip\n", "no rule"},
		{"program without a rule", "cmd/other/x.go", "// Command other is\npackage main\n", "no rule"},
		{"pause imports ours", "pipeline/pause/x.go", imports("pause", ours+"pipeline"), "imports " + ours + "pipeline"},
		{"hls imports ffmpeg", "workers/internal/hls/x.go", imports("hls", ours+"workers/internal/ffmpeg"), "imports " + ours + "workers/internal/ffmpeg"},
		{"sandbox imports ours", "workers/internal/sandbox/x.go", imports("sandbox", ours+"pipeline"), "imports " + ours + "pipeline"},
		{"console imports the api", "pipeline/console/x.go", imports("console", ours+"pipeline/api"), "pipeline/api"},
		{"store imports a module", "storage/x.go", imports("storage", "modernc.org/sqlite"), "storage/x.go imports modernc"},
		{"store imports a store", "storage/s3/x.go", imports("s3", ours+"storage/disk"), "storage/disk"},
		{"test imports the program", "workers/x_test.go", imports("workers", ours+"cmd/bench"), "nothing imports the program"},
		{"program imports a program's inside", "cmd/bench/x.go", "package main\n\nimport _ \"" + ours + "cmd/reelmill/internal/human\"\n", "nothing imports the program"},
		{"inside imports a worker", "cmd/reelmill/internal/loss/x.go", imports("loss", ours+"workers/audio"), "imports " + ours + "workers/audio"},
		{"inside without a rule", "cmd/reelmill/internal/x/x.go", "// Package x is\npackage x\n", "no rule"},
		{"package without a rule", "pipeline/a/b/x.go", "// Package b is\npackage b\n", "no rule"},
		{"package without a comment", "pipeline/client/x.go", "package client\n", "package client has no comment"},
		{"comment of another form", "pipeline/client/x.go", "// The client.\npackage client\n", "no comment"},
		{"program without a comment", "cmd/other/x.go", "package main\n", "Command"},
		{"worker not registered", "workers/video/x.go", "// Package video is\npackage video\n", "not registered"},
		{"worker listed blank", "workers/all/all.go", imports("all", ours+"workers/audio"), "not registered"},
		{"folder at the top", "internal/x.go", "// Package internal is\npackage internal\n", "a folder at the top"},
		{"tracked folder at the top", ".git/index", ruleIndex(t, "film/master.m3u8", "film/720p/seg_00001.m4s"), "film: a folder at the top"},
		{"folder missing", "-storage/", "", "storage: the folder is missing"},
		{"docs folder", "pipeline/docs/x.md", "", "a docs folder"},
		{"init", "pipeline/x.go", "package pipeline\n\nfunc init() {}\n", "func init"},
		{"empty name", "pipeline/util/x.go", "// Package util is\npackage util\n", "package util; name it"},
		{"sleep", "pipeline/x_test.go", test("clock.Sleep(1)"), "time.Sleep in a test"},
		{"sleep in a kit", "storage/storagetest/x.go", "// Package p is\n" + test("clock.Sleep(1)"), "time.Sleep in a test"},
		{"skip", "pipeline/x_test.go", test("t.Skip()"), "a test that skips"},
		{"flag", "pipeline/x_test.go", flagged("", "corpus"), "a test that needs a flag"},
		{"flag behind a comment", "pipeline/x_test.go", flagged("// Copyright\n\n", "corpus"), "a test that needs a flag"},
		{"skip in a subtest", "pipeline/x_test.go", test(`t.Run("", func(t *testing.T) { t.Skipf("") })`), "a test that skips"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := ruleSound()
			if folder, remove := strings.CutPrefix(c.file, "-"); remove {
				for name := range fsys {
					if strings.HasPrefix(name, folder) {
						delete(fsys, name)
					}
				}
			} else {
				fsys[c.file] = &fstest.MapFile{Data: []byte(c.source)}
			}
			breaches, err := ruleBreaches(fsys)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(breaches, func(b string) bool { return strings.Contains(b, c.want) }) {
				t.Errorf("breaches %q; want one with %q", breaches, c.want)
			}
		})
	}
}
