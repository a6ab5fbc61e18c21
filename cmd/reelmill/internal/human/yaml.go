package human

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EncodeYAML writes v as a document of YAML, with the names and the order that its JSON has. What Line
// escapes is escaped as in YAML's double quotes; whoever decodes it gets the text unchanged.
func EncodeYAML(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	doc, err := nodeOf(dec)
	if err != nil {
		return fmt.Errorf("turn JSON into YAML: %w", err)
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	_, err = io.WriteString(w, "---\n"+escapeYAML(b.String()))
	return err
}

// oldWords are texts that readers of YAML 1.1 take for booleans, or for numbers to the base 60.
var oldWords = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)$`)

// nodeOf returns the next value of a JSON document. It does not read JSON as YAML, which differs in long keys
// and in characters that break lines.
func nodeOf(dec *json.Decoder) (*yaml.Node, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v == '{' {
			n.Kind = yaml.MappingNode
		}
		for dec.More() { // of an object, keys and values by turns
			child, err := nodeOf(dec)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := dec.Token()
		return n, err
	case string:
		return textNode(v), nil
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(v.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// textNode returns a text. One with what acts gets double quotes, in which it can be escaped, as do those
// that others would misread.
func textNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if strings.IndexFunc(text, acts) >= 0 || oldWords.MatchString(text) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// escapeYAML escapes what acts; it stands in double quotes only. Line breaks are those of the document.
func escapeYAML(doc string) string {
	if strings.IndexFunc(doc, actsBesideBreaks) < 0 {
		return doc
	}
	var b strings.Builder
	for _, r := range doc {
		switch {
		case !actsBesideBreaks(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	return b.String()
}

func actsBesideBreaks(r rune) bool { return r != '\n' && acts(r) }
