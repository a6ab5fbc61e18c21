package api

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// examples has an example of each body, in a file of its own:
//
//   - <operationId>.request.json: the body of the request
//   - <operationId>.json: the body of the answer; <operationId>.txt if it is a text, such as server-sent
//     events
//   - <Schema>.json: each answer, and each element of a list, that is this component of the document
//   - <event>.webhook.json: the body of a webhook
//
// A body of bytes needs none. A test says which is missing, or does not fit its schema.
//
//go:embed examples
var examples embed.FS

// describeExamples adds the examples to the document. An operation without one stays as it is: a test tells.
func (s *server) describeExamples() error {
	doc := s.api.OpenAPI()
	for _, op := range operations(doc) {
		if op.RequestBody != nil {
			if err := addExamples(op.RequestBody.Content, op.OperationID+".request"); err != nil {
				return err
			}
		}
		for _, r := range op.Responses {
			if err := addExamples(r.Content, op.OperationID); err != nil {
				return err
			}
		}
	}
	for event, item := range doc.Webhooks {
		if err := addExamples(item.Post.RequestBody.Content, event+".webhook"); err != nil {
			return err
		}
	}
	return nil
}

// addExamples adds the example of a name to each form of a body.
func addExamples(content map[string]*huma.MediaType, name string) error {
	for media, m := range content {
		if isBinary(m.Schema) || m.Example != nil || m.Examples != nil {
			continue
		}
		if strings.HasPrefix(media, "text/") {
			raw, err := examples.ReadFile("examples/" + name + ".txt")
			if err == nil {
				m.Example = string(raw)
			}
			continue
		}
		value, err := exampleOf(m.Schema, name)
		if err != nil {
			return err
		}
		m.Example = value
	}
	return nil
}

// isBinary reports whether a body is bytes, of which a document can show no example.
func isBinary(s *huma.Schema) bool { return s != nil && s.Format == "binary" }

// exampleOf returns the example of an operation's body, or else of its schema; nil if there is none.
func exampleOf(schema *huma.Schema, name string) (any, error) {
	component := strings.TrimPrefix(schema.Ref, "#/components/schemas/")
	for _, from := range []string{name, component} {
		value, err := readExample(from)
		if value != nil || err != nil {
			return value, err
		}
	}
	element, isList := strings.CutPrefix(component, "List")
	if !isList {
		return nil, nil
	}
	value, err := readExample(element)
	if value == nil || err != nil {
		return nil, err
	}
	return list[any]{Data: []any{value}}, nil
}

// readExample reads examples/<name>.json; nil if there is none.
func readExample(name string) (value any, err error) {
	raw, err := examples.ReadFile("examples/" + name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, fmt.Errorf("decode the example %s: %w", name, err)
	}
	return value, nil
}
