package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/reelmill/reelmill/pipeline"
)

var update = flag.Bool("update", false, "write ERRORS.md anew from the tables")

// committed returns the document that is committed.
var committed = sync.OnceValues(func() (doc refDocument, err error) {
	raw, err := os.ReadFile("openapi.json")
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	return doc, err
})

// wantDescribed checks that the document says of the operation of a request that it may answer a code.
func wantDescribed(t *testing.T, r *http.Request, answered code) {
	t.Helper()
	doc, err := committed()
	must(t, err)
	wrong, failed := generalCodes()
	ofKey := r != nil && r.Method == http.MethodPost && slices.Contains(keyCodes(), answered)
	if r == nil || ofKey || slices.Contains(slices.Concat(wrong, failed), answered) {
		return
	}
	for path, item := range doc.Paths {
		pattern := regexp.MustCompile("^" + inPath.ReplaceAllString(path, "[^/]+") + "$")
		if path == "/play/{id}/{path}" {
			pattern = regexp.MustCompile("^/play/[^/]+/.+$")
			if strings.Contains(r.URL.Path, "/thumbnail.") && r.URL.RawQuery != "" {
				continue // it has a description of its own
			}
		}
		op := item[strings.ToLower(r.Method)].OperationID
		if op != "" && pattern.MatchString(r.URL.Path) && !slices.Contains(answeredCodes()[op], answered) {
			t.Errorf("%s answers %s: add the code in answeredCodes (describeerrors.go)", op, answered)
		}
	}
}

// TestEveryOperationIsDescribed says what the description of an operation lacks.
func TestEveryOperationIsDescribed(t *testing.T) {
	_, raw := document(newEnv(t, nil))
	doc := decode[refDocument](t, raw)
	named, used := map[string]bool{}, map[string]bool{}
	has := func(what string, b refBody, names ...string) {
		for media, m := range b.Content {
			if media == problemType || m.Schema.Format == "binary" {
				continue
			}
			if m.Example == nil {
				t.Errorf("%s has no example (%s): add examples/%s.json, or .txt for text", what, media, names[0])
			}
			component := strings.TrimPrefix(m.Schema.Ref, "#/components/schemas/")
			var shown map[string]json.RawMessage
			if of, ok := doc.Components.Schemas[component]; ok && json.Unmarshal(m.Example, &shown) == nil {
				for key := range shown {
					if _, known := of.Properties[key]; !known && len(of.Properties) > 0 {
						t.Errorf("%s has %s, which the schema %s lacks", what, key, component)
					}
				}
			}
			for _, name := range append(names, component, strings.TrimPrefix(component, "List")) {
				used[name] = true
			}
		}
	}
	for path, item := range doc.Paths {
		for method, op := range item {
			id := op.OperationID
			if !regexp.MustCompile("^[a-z]+(-[a-z]+)*$").MatchString(id) || named[id] {
				t.Errorf("%s %s: the operationId %q is not a new one in lower case with hyphens", method, path, id)
			}
			named[id] = true
			if op.Summary == "" || op.Description == "" || len(op.Tags) != 1 || strings.HasSuffix(op.Summary, ".") {
				t.Errorf("%s lacks a summary without a full stop, a description or one tag", id)
			}
			if _, ok := answeredCodes()[id]; !ok {
				t.Errorf("%s has no errors: list them in answeredCodes (describeerrors.go)", id)
			}
			if op.RequestBody != nil {
				has("the body of "+id, *op.RequestBody, id+".request")
			}
			for status, r := range op.Responses {
				has("the answer "+status+" of "+id, r, id)
			}
		}
	}
	for event, item := range doc.Webhooks {
		has("the webhook "+event, *item["post"].RequestBody, event+".webhook")
	}
	for id := range answeredCodes() {
		if !named[id] {
			t.Errorf("answeredCodes has %s, which is no operation", id)
		}
	}
	used["events"] = true // of the AsyncAPI document
	must(t, fs.WalkDir(examples, "examples", func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".json"), ".txt")
		if !d.IsDir() && !used[name] {
			t.Errorf("%s belongs to nothing", path)
		}
		return err
	}))
}

// TestExamplesFitTheirSchemas validates each example in the document.
func TestExamplesFitTheirSchemas(t *testing.T) {
	_, raw := document(newEnv(t, nil))
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	must(t, err)
	must(t, compiler.AddResource("file:///openapi.json", parsed))
	root, checked := decode[map[string]any](t, raw), 0
	var visit func(at string, v any)
	fits := func(at string, example any) {
		compiled, err := compiler.Compile("file:///openapi.json#" + at + "/schema")
		must(t, err)
		checked++
		if err := compiled.Validate(example); err != nil {
			t.Errorf("the example at %s: %v", at, err)
		}
	}
	visit = func(at string, v any) {
		switch v := v.(type) {
		case []any:
			for i, inner := range v {
				visit(at+"/"+string(rune('0'+i)), inner)
			}
		case map[string]any:
			if _, isBody := v["schema"]; isBody && strings.Contains(at, "/content/") {
				if example, ok := v["example"]; ok {
					fits(at, example)
				}
				all, _ := v["examples"].(map[string]any)
				for _, example := range all {
					if ref, ok := example.(map[string]any)["$ref"].(string); ok {
						name := strings.TrimPrefix(ref, "#/components/examples/")
						example = root["components"].(map[string]any)["examples"].(map[string]any)[name]
					}
					fits(at, example.(map[string]any)["value"])
				}
				return
			}
			for key, inner := range v {
				visit(at+"/"+strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key), inner)
			}
		}
	}
	visit("/paths", root["paths"])
	visit("/webhooks", root["webhooks"])
	visit("/components/responses", root["components"].(map[string]any)["responses"])
	if checked < 100 {
		t.Errorf("only %d examples", checked)
	}
}

// TestErrorCatalogue: the committed document is made of the tables.
func TestErrorCatalogue(t *testing.T) {
	want := ErrorCatalogue()
	if *update {
		must(t, os.WriteFile("ERRORS.md", []byte(want), 0o644))
	}
	if got, err := os.ReadFile("ERRORS.md"); err != nil || string(got) != want {
		t.Errorf("ERRORS.md is not fresh (%v): run go test ./pipeline/api -run TestErrorCatalogue -update", err)
	}
}

// TestErrorCatalogueIsComplete: each code that the sources declare has an entry with a meaning, a cause and a
// remedy, is used, and is the only one; no other text becomes a code.
func TestErrorCatalogueIsComplete(t *testing.T) {
	declared := declaredCodes(t)
	var explained []string
	for _, e := range errorCatalogue("", nil) {
		explained = append(explained, e.Code)
		if e.Answer == nil && e.Failure == nil {
			t.Errorf("%s has no entry", e.Code)
		}
		if a := e.Answer; a != nil && (a.Status < 400 || a.Title == "" || a.Cause == "" || a.Remedy == "") {
			t.Errorf("%s: %+v; causes are in causes.go", e.Code, *a)
		}
		if f := e.Failure; f != nil && (f.Class == "" || f.Title == "" || f.Cause == "" || f.Remedy == "") {
			t.Errorf("%s: %+v", e.Code, *f)
		}
	}
	equal(t, "codes", explained, slices.Sorted(maps.Keys(declared))...)
	for c := range causes {
		if _, ok := codes[c]; !ok {
			t.Errorf("causes has %s, which is no code", c)
		}
	}
	for name, uses := range declared {
		if uses == 0 && name != "policy_rejected" { // which waits for policies
			t.Errorf("nothing uses the code %s", name)
		}
	}
}

// declaredCodes returns the values of all constants of the types Code and code, and how often each is used outside
// of the tables. It fails the test for a text that is converted to a code elsewhere.
func declaredCodes(t *testing.T) map[string]int {
	t.Helper()
	constants, uses := map[string]string{}, map[string]int{} // by the names of the constants
	root := filepath.Join("..", "..")
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if kind, ok := n.Type.(*ast.Ident); ok && strings.EqualFold(kind.Name, "code") && len(n.Values) == 1 {
					constants[n.Names[0].Name] = strings.Trim(n.Values[0].(*ast.BasicLit).Value, `"`)
					return false
				}
				return true
			case *ast.KeyValueExpr:
				ast.Inspect(n.Value, count(uses))
				return false
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "code" || f.Name == "Code") {
					if _, text := n.Args[0].(*ast.BasicLit); text {
						t.Errorf("%s makes a code of a text", path)
					}
				}
			}
			return count(uses)(n)
		})
		return nil
	}))
	declared := map[string]int{}
	for name, value := range constants {
		declared[value] += uses[name]
	}
	return declared
}

// count returns a visitor that counts identifiers and selected names.
func count(uses map[string]int) func(ast.Node) bool {
	return func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			uses[id.Name]++
		}
		return true
	}
}

// TestPagesOfDocumentation: they show every operation, object and code, their links lead somewhere, and they load
// nothing from elsewhere.
func TestPagesOfDocumentation(t *testing.T) {
	e := newEnv(t, nil)
	doc, _ := document(e)
	resp, reference := e.get("/docs")
	policy := resp.Header.Get("Content-Security-Policy")
	if ct := resp.Header.Get("Content-Type"); ct != "text/html; charset=utf-8" || policy != docsPolicy {
		t.Errorf("%q, policy %q", ct, policy)
	}
	_, failures := e.get("/docs/errors")
	pages := map[string]string{"docs": string(reference), "docs/errors": string(failures)}
	for path, item := range doc.Paths {
		for method, op := range item {
			if !strings.Contains(pages["docs"], `id="`+op.OperationID+`"`) {
				t.Errorf("/docs lacks %s %s", method, path)
			}
		}
	}
	for name := range doc.Components.Schemas {
		if !strings.Contains(pages["docs"], `id="object-`+name+`"`) {
			t.Errorf("/docs lacks the object %s", name)
		}
	}
	for _, entry := range read[list[errorEntry]](e, "/docs/errors.json").Data {
		if !strings.Contains(pages["docs/errors"], `id="`+entry.Code+`"`) || entry.Type != "/docs/errors#"+entry.Code {
			t.Errorf("/docs/errors lacks %s, or its type is %s", entry.Code, entry.Type)
		}
	}
	for name, html := range pages {
		for _, link := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(html, -1) {
			page, anchor, _ := strings.Cut(link[1], "#")
			page = strings.TrimPrefix(filepath.Join("/", filepath.Dir(name), page), "/")
			if link[1][0] == '#' {
				page = name
			}
			switch target, known := pages[page]; {
			case link[1] == "data:,":
			case anchor != "" && (!known || !strings.Contains(target, `id="`+anchor+`"`)):
				t.Errorf("%s: the link %s leads nowhere", name, link[1])
			case !known:
				if resp, _ := e.get("/" + page); resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %s is %s", name, link[1], resp.Status)
				}
			}
		}
		if regexp.MustCompile(`(?i)<script|style=|https?://|url\(| on[a-z]+=`).MatchString(
			regexp.MustCompile(`(?s)<pre.*?</pre>|<p>.*?</p>|<dd>.*?</dd>|<td>.*?</td>`).ReplaceAllString(html, "")) {
			t.Errorf("%s has a script, a style or an address of another server", name)
		}
		if n := strings.Count(html, "<article"); n != strings.Count(html, "</article>") || n < 40 {
			t.Errorf("%s has %d articles", name, n)
		}
	}
	if resp, _ := e.get("/docs/"); resp.Header.Get("Location") != "../docs" {
		t.Errorf("/docs/: %s", resp.Status)
	}
}

// TestProblemsLeadToTheCatalogue: the type of a problem is the address of its code, with --public-url in front.
func TestProblemsLeadToTheCatalogue(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.PublicURL = "https://video.example.org/reelmill" })
	for _, path := range []string{"/v1/videos/vid_x", "/v1/videos?limit=x"} { // ours, and huma's
		_, raw := e.get(path)
		p := decode[problemDocument](t, raw)
		if want := "https://video.example.org/reelmill/docs/errors#" + string(p.Code); p.Type != want {
			t.Errorf("type %q, want %q", p.Type, want)
		}
	}
	if pipeline.Describe(pipeline.CodeLogFull).Title != codes[codeLogFull].title {
		t.Error("one code has two meanings")
	}
}
