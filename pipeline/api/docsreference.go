package api

import (
	"bytes"
	"encoding/json"
	"html"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// refDocument is what the reference page shows of the OpenAPI document.
type refDocument struct {
	Info struct{ Title, Version, Description string }
	Tags []struct{ Name, Description string }
	// Paths and Webhooks have operations by method. Paths are addresses, webhooks are names of events.
	Paths, Webhooks map[string]map[string]refOperation
	Components      struct {
		Schemas   map[string]refSchema
		Responses map[string]refBody
	}
}

type refOperation struct {
	OperationID, Summary, Description string
	Tags                              []string
	Parameters                        []refParameter
	RequestBody                       *refBody
	Responses                         map[string]refBody
}

type refParameter struct {
	Name, In, Description string
	Required              bool
	Schema                refSchema
}

type refBody struct {
	Ref         string `json:"$ref"`
	Description string
	Content     map[string]struct {
		Schema   refSchema
		Example  json.RawMessage
		Examples map[string]any
	}
}

type refSchema struct {
	Ref                  string          `json:"$ref"`
	Type                 json.RawMessage // a name, or a list of names
	Format, Description  string
	Enum                 []any
	Const                any
	Default              any
	Required             []string
	Items                *refSchema
	Properties           map[string]refSchema
	AdditionalProperties json.RawMessage
	AnyOf, OneOf         []refSchema
}

// reference is the data of the page's template.
type reference struct {
	Title, Version string
	Description    template.HTML
	Groups         []refGroup
	Objects        []refObject
	General        []refAnswer // the errors of all operations
}

type refGroup struct {
	Name, Anchor string
	Description  template.HTML
	Calls        []refCall
}

type refCall struct {
	ID, Method, Path, Summary string
	Description               template.HTML
	Parameters                []refField
	Request                   []refContent
	Answers                   []refAnswer
}

type refField struct {
	Name, In    string
	Required    bool
	Type        template.HTML
	Description template.HTML
}

type refContent struct {
	Media   string
	Type    template.HTML
	Fields  []refField // of a schema without a name
	Example string
}

type refAnswer struct {
	Status      string
	Description template.HTML
	Codes       []string // the errors
	Content     []refContent
}

type refObject struct {
	Name        string
	Description template.HTML
	Type        template.HTML
	Fields      []refField
}

// reference returns what the page shows, by tag in the order of the document.
func (d refDocument) reference() reference {
	r := reference{Title: d.Info.Title, Version: d.Info.Version, Description: prose(d.Info.Description)}
	for _, t := range d.Tags {
		anchor := "tag-" + strings.ReplaceAll(t.Name, " ", "-")
		g := refGroup{Name: t.Name, Anchor: anchor, Description: prose(t.Description)}
		for _, from := range []map[string]map[string]refOperation{d.Paths, d.Webhooks} {
			g.Calls = append(g.Calls, callsOf(from, t.Name)...)
		}
		r.Groups = append(r.Groups, g)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		r.Objects = append(r.Objects, refObject{name, prose(s.Description), typeName(s), fieldsOf(s)})
	}
	for _, name := range []string{wrongRequest, failedServer} {
		r.General = append(r.General, answerOf("", d.Components.Responses[name]))
	}
	return r
}

// callsOf returns the operations with a tag, by address and then by method as people read them.
func callsOf(from map[string]map[string]refOperation, tag string) (calls []refCall) {
	methods := []string{
		http.MethodPost, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete,
	}
	for _, path := range slices.Sorted(maps.Keys(from)) {
		for _, method := range methods {
			op, ok := from[path][strings.ToLower(method)]
			if !ok || !slices.Contains(op.Tags, tag) {
				continue
			}
			calls = append(calls, callOf(method, path, op))
		}
	}
	return calls
}

func callOf(method, path string, op refOperation) refCall {
	c := refCall{
		ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Description: prose(op.Description),
	}
	for _, p := range op.Parameters {
		c.Parameters = append(c.Parameters,
			refField{p.Name, p.In, p.Required, typeName(p.Schema), prose(p.Description)})
	}
	if op.RequestBody != nil {
		c.Request = contentOf(*op.RequestBody)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if r := op.Responses[status]; r.Ref == "" {
			c.Answers = append(c.Answers, answerOf(status, r))
		}
	}
	return c
}

// answerOf returns an answer. That with errors has their codes, and no description, which would repeat them.
func answerOf(status string, r refBody) refAnswer {
	a := refAnswer{Status: status}
	if problem, ok := r.Content[problemType]; ok {
		a.Codes = slices.Sorted(maps.Keys(problem.Examples))
		return a
	}
	a.Description, a.Content = prose(r.Description), contentOf(r)
	return a
}

func contentOf(b refBody) (all []refContent) {
	for _, media := range slices.Sorted(maps.Keys(b.Content)) {
		m := b.Content[media]
		c := refContent{Media: media, Type: typeName(m.Schema), Example: shownExample(m.Example)}
		if m.Schema.Ref == "" {
			c.Fields = fieldsOf(m.Schema)
		}
		all = append(all, c)
	}
	return all
}

// shownExample returns an example as people read it: text as it is, JSON with indents.
func shownExample(raw json.RawMessage) string {
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		return plain
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return ""
	}
	return b.String()
}

// fieldsOf returns the properties of a schema, those that are required first.
func fieldsOf(s refSchema) (fields []refField) {
	names := slices.Sorted(maps.Keys(s.Properties))
	slices.SortStableFunc(names, func(a, b string) int {
		return index(!slices.Contains(s.Required, a)) - index(!slices.Contains(s.Required, b))
	})
	for _, name := range names {
		p := s.Properties[name]
		fields = append(fields, refField{
			name, "", slices.Contains(s.Required, name), typeName(p), prose(p.Description),
		})
	}
	return fields
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// typeName returns the type of a schema in words, with a link to one that has a name.
func typeName(s refSchema) template.HTML {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		name = html.EscapeString(name)
		return template.HTML(`<a href="#object-` + name + `">` + name + `</a>`) // escaped above
	}
	if either := slices.Concat(s.AnyOf, s.OneOf); len(either) > 0 {
		var names []string
		for _, e := range either {
			names = append(names, string(typeName(e)))
		}
		return template.HTML(strings.Join(names, " or ")) // of parts that are safe
	}
	words := s.typeWords()
	if s.Format != "" {
		words += " (" + s.Format + ")"
	}
	shown := html.EscapeString(words)
	if s.Items != nil {
		shown = "list of " + string(typeName(*s.Items))
	}
	var of refSchema
	if json.Unmarshal(s.AdditionalProperties, &of) == nil && len(s.Properties) == 0 {
		shown = "object of " + string(typeName(of))
	}
	for i, v := range s.Enum {
		sep := ": "
		if i > 0 {
			sep = ", "
		}
		shown += sep + "<code>" + html.EscapeString(jsonText(v)) + "</code>"
	}
	if s.Default != nil {
		shown += "; default <code>" + html.EscapeString(jsonText(s.Default)) + "</code>"
	}
	return template.HTML(shown) // escaped above
}

// typeWords returns the names of the types of a schema.
func (s refSchema) typeWords() string {
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return one
	}
	var several []string
	if json.Unmarshal(s.Type, &several) == nil {
		return strings.Join(several, " or ")
	}
	return "any"
}

// jsonText returns a value as JSON; a string without quotes.
func jsonText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return "null"
}

// quoted is a text in backquotes, in text that is escaped.
var quoted = regexp.MustCompile("`([^`]+)`")

// prose turns the little Markdown of descriptions into HTML: paragraphs, lists with hyphens, and backquotes.
func prose(markdown string) template.HTML {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(markdown), "\n\n") {
		if paragraph == "" {
			continue
		}
		shown := quoted.ReplaceAllString(html.EscapeString(paragraph), "<code>$1</code>")
		if items, isList := strings.CutPrefix(shown, "- "); isList {
			b.WriteString("<ul><li>" + strings.ReplaceAll(items, "\n- ", "</li><li>") + "</li></ul>")
			continue
		}
		b.WriteString("<p>" + shown + "</p>")
	}
	return template.HTML(b.String()) // escaped above
}
