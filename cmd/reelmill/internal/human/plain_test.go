package human

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestLineEscapes has what a terminal would act on, or what hides and reorders text.
func TestLineEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"a\x1b[31mred\x1b[0m":          `a\x1b[31mred\x1b[0m`,
		"\x1b]0;title\a":               `\x1b]0;title\a`,
		"a\rb\nc\td\x00e\x7f\b":        `a\rb\nc\td\x00e\x7f\b`,
		"c1 \u009b2J \u0090\u0085":     `c1 \u009b2J \u0090\u0085`,
		"gpj.\u202e4pm":                `gpj.\u202e4pm`,
		"\u202a\u202b\u202c\u202d":     `\u202a\u202b\u202c\u202d`,
		"\u2066\u2067\u2068\u2069":     `\u2066\u2067\u2068\u2069`,
		"\u200e\u200f\u061c":           `\u200e\u200f\u061c`,
		"\u2028\u2029\u200b\ufeff":     `\u2028\u2029\u200b\ufeff`,
		"\u2060\u206a\ufff9\U000e0001": `\u2060\u206a\ufff9\U000e0001`,
		"raw \x9b31m \xff":             `raw \x9b31m \xff`,
		"\ufffe":                       `\ufffe`,
	} {
		if got := Line(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}

// TestLineLeaves has texts of people.
func TestLineLeaves(t *testing.T) {
	for _, text := range []string{
		"", "film.mp4", `C:\new\x1b`, "Größe, naïve, e\u0301", "שלום עולם", "مرحبا بالعالم", "نامه\u200cای", "क्\u200dष",
		"👩\u200d👩\u200d👧\u200d👦", "❤\ufe0f", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "日本語　全角", "a\u00a0b", "\ufffd",
	} {
		if got := Line(text); got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}

type word string

// stringer has a text that is not plain.
type stringer struct{}

func (stringer) String() string { return "x\x1by" }

func TestFprintf(t *testing.T) {
	var b bytes.Buffer
	evil := "a\x1b\nb"
	_, err := Fprintf(&b, "%s\t%s\t%v\t%v\t%s\t%.3s\t%d\t%s\n", evil, word(evil), errors.New(evil), stringer{}, []byte(evil), evil, 7,
		Lines(evil))
	want := `a\x1b\nb` + "\t" + `a\x1b\nb` + "\t" + `a\x1b\nb` + "\t" + `x\x1by` + "\t" + `a\x1b\nb` + "\t" + `a\x` + "\t7\t" + `a\x1b` + "\nb\n"
	if err != nil || b.String() != want {
		t.Errorf("got %q, %v\nwant %q", b.String(), err, want)
	}
	b.Reset()
	if _, err := Fprintln(&b, evil, 7); err != nil || b.String() != `a\x1b\nb`+" 7\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

// FuzzLine checks that nothing that acts is left, in text and in JSON, that JSON is read back unchanged, and
// that text without it stays as it is.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"film.mp4", "\x1b[2J", "a\u202eb", "\x9b", "👩\u200d👧", "\u2028\r\n", "\U000e0001", "\\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Line(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, harms) {
			t.Errorf("%q is shown as %q", text, got)
		}
		if Line(got) != got || utf8.ValidString(text) && !strings.ContainsFunc(text, harms) && got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
		lines := escape(text, true)
		if strings.Count(lines, "\n") != strings.Count(text, "\n") ||
			strings.ContainsFunc(strings.ReplaceAll(lines, "\n", ""), harms) {
			t.Errorf("the lines of %q are shown as %q", text, lines)
		}
		var doc bytes.Buffer
		if err := Encode(&doc, map[string]string{"a": text}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(strings.TrimSuffix(doc.String(), "\n"), harms) {
			t.Errorf("%q is encoded as %q", text, &doc)
		}
		var back map[string]string
		if err := json.Unmarshal(doc.Bytes(), &back); err != nil || back["a"] != strings.ToValidUTF8(text, "\ufffd") &&
			utf8.ValidString(text) {
			t.Errorf("%q is encoded as %q, %v", text, &doc, err)
		}
	})
}

// harms is what the tests take for harmful, apart from the code under test.
func harms(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7F && r <= 0x9F, r == 0x061C, r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
		return true
	case r == 0x200E, r == 0x200F, r == 0x2028, r == 0x2029, r == 0x200B, r == 0xFEFF, r >= 0x2060 && r <= 0x206F:
		return true
	}
	return r >= 0xFFF9 && r <= 0xFFFB || r == 0xE0001 || unicode.Is(unicode.Noncharacter_Code_Point, r)
}
