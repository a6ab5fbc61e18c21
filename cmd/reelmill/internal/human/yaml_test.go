package human

import (
	"bytes"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestEncodeYAML checks names, order and types, and that nothing acts on a terminal or gets lost.
func TestEncodeYAML(t *testing.T) {
	type inner struct {
		Name string `json:"name"`
		Size int64  `json:"size"`
	}
	var b bytes.Buffer
	v := struct {
		ID    string            `json:"id"`
		Done  bool              `json:"done"`
		None  *inner            `json:"none"`
		List  []inner           `json:"list"`
		Empty []inner           `json:"empty"`
		Text  map[string]string `json:"text"`
	}{"vid_1", true, nil, []inner{{"a: b", 1 << 40}, {"yes", -1}}, []inner{}, map[string]string{"n": "1e3", "two": "x\ny"}}
	if err := EncodeYAML(&b, v); err != nil {
		t.Fatal(err)
	}
	const want = `---
id: vid_1
done: true
none: null
list:
  - name: 'a: b'
    size: 1099511627776
  - name: "yes"
    size: -1
empty: []
text:
  "n": "1e3"
  two: "x\ny"
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

// FuzzEncodeYAML checks that every text comes back, and that nothing that acts is left.
func FuzzEncodeYAML(f *testing.F) {
	for _, s := range []string{"film.mp4", "\x1b[2J", "a\u202eb", "\u2028\r\n", "\U000e0001", `\u202e`, "- a: b #c", "yes", "\t x ", "'\"", "\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		var b bytes.Buffer
		if err := EncodeYAML(&b, map[string]string{text: text}); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.IndexFunc(b.String(), actsBesideBreaks) >= 0 {
			t.Errorf("%q is written as %q", text, &b)
		}
		var back map[string]string
		if err := yaml.Unmarshal(b.Bytes(), &back); err != nil || back[text] != text {
			t.Errorf("%q comes back as %q, %v, from %q", text, back, err, &b)
		}
	})
}
