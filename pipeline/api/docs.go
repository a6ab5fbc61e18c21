package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// The pages for people: templates over the OpenAPI document and the catalogue of errors. They need no
// script and load nothing but their style sheet from the same server.
var (
	//go:embed pages/reference.html
	referencePage string
	//go:embed pages/errors.html
	errorsPage string
	//go:embed pages/style.css
	styleSheet []byte
)

// docsPolicy lets the pages load their style sheet and nothing else.
const docsPolicy = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action " +
	"'none'; " +
	"frame-ancestors 'none'"

// pages are the documents that do not change while the server runs.
type pages struct{ reference, errors, errorList []byte }

// makePages makes all pages.
func (s *server) makePages() (p pages, err error) {
	catalogue := errorCatalogue(s.cfg.PublicURL, s.stepWorkers())
	if p.errorList, err = json.Marshal(newList(catalogue, "")); err != nil {
		return p, err
	}
	if p.errors, err = page("errors", errorsPage, catalogue); err != nil {
		return p, err
	}
	var doc refDocument
	if err := json.Unmarshal(s.openapi, &doc); err != nil {
		return p, err
	}
	p.reference, err = page("reference", referencePage, doc.reference())
	return p, err
}

// page fills in a template.
func page(name, text string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"again": again}).Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, data)
	return b.Bytes(), err
}

// routeDocs lists the routes that only the pages use.
func (s *server) routeDocs() {
	s.mux.HandleFunc("GET /docs/style.css", func(w http.ResponseWriter, r *http.Request) {
		s.send(w, r, "text/css; charset=utf-8", styleSheet)
	})
	s.mux.HandleFunc("GET /docs/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "../docs") // relative: a proxy may have put the server below a path
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

// getDocs answers GET /docs.
func (s *server) getDocs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", docsPolicy)
	s.send(w, r, "text/html; charset=utf-8", s.pages.reference)
}

// getErrors answers GET /docs/errors.
func (s *server) getErrors(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", docsPolicy)
	s.send(w, r, "text/html; charset=utf-8", s.pages.errors)
}

// getErrorList answers GET /docs/errors.json.
func (s *server) getErrorList(w http.ResponseWriter, r *http.Request) {
	s.send(w, r, "application/json", s.pages.errorList)
}

// send answers with a document.
func (s *server) send(w http.ResponseWriter, r *http.Request, media string, body []byte) {
	w.Header().Set("Content-Type", media)
	if _, err := w.Write(body); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "write answer", "request_id", requestID(r.Context()), "error", err)
	}
}

// describeDocs describes the pages.
func (s *server) describeDocs() {
	doc := s.api.OpenAPI()
	answer := func(media string, schema *huma.Schema) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {
			Description: "The document", Content: map[string]*huma.MediaType{media: {Schema: schema}},
		}}
	}
	tags := []string{"documentation"}
	doc.AddOperation(&huma.Operation{
		OperationID: "docs", Method: http.MethodGet, Path: "/docs", Tags: tags,
		Summary: "This document as a page", Description: "It loads nothing from other servers and has no script.",
		Responses: answer("text/html", text("HTML")),
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "docs-errors", Method: http.MethodGet, Path: "/docs/errors", Tags: tags,
		Summary: "All errors as a page",
		Description: "Every code with its meaning, its likely cause and what to do. The `type` of a problem " +
			"leads here.",
		Responses: answer("text/html", text("HTML")),
	})
	list := doc.Components.Schemas.Schema(reflect.TypeFor[list[errorEntry]](), true, "")
	doc.AddOperation(&huma.Operation{
		OperationID: "list-errors", Method: http.MethodGet, Path: "/docs/errors.json", Tags: tags,
		Summary: "All errors", Description: "Every code with its meaning, its likely cause and what to do: " +
			"one page.",
		Responses: answer("application/json", list),
	})
	nullable(doc.Components.Schemas, "ErrorEntry", "answer", "failure")
}
