package human

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line returns a text that a terminal shows as one line and does not act on: names, codes and messages come
// from users, from files and from servers. It writes control characters, line breaks and tabs, characters
// that change the direction of text or cannot be seen, and bytes that are not UTF-8, as escapes such as \x1b
// and \u202e. All other text stays as it is, in every script, with the joiners of scripts and emoji.
func Line(text string) string { return escape(text, false) }

// Lines is a text of several lines for Fprintf, which escapes all that Line escapes but line breaks.
type Lines string

func escape(text string, breaks bool) string {
	if strings.IndexFunc(text, acts) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		first := rest[0]
		rest = rest[size:]
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, first)
		case !acts(r), breaks && r == '\n':
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r) // such as '\u202e'
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// acts reports whether a terminal may act on a character instead of showing it, or shows nothing for it where
// people expect something. Joiners (U+200C and U+200D), variation selectors and tags are parts of scripts and
// emoji, and do not count.
func acts(r rune) bool {
	switch {
	case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control):
		return true
	case unicode.In(r, unicode.Noncharacter_Code_Point):
		return true
	case r == '\u200B', r == '\uFEFF', r >= '\u2060' && r <= '\u206F': // no width, or deprecated
		return true
	case r >= '\uFFF9' && r <= '\uFFFB', r == '\U000E0001': // annotations, and a deprecated tag
		return true
	}
	return false
}

// Fprintf is fmt.Fprintf with Line applied to each argument that is a text, and to the text of each error and
// fmt.Stringer. The line breaks and tabs of the format stay.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	return fmt.Fprintf(w, format, plain(args)...)
}

// Fprintln is fmt.Fprintln with Line applied as by Fprintf.
func Fprintln(w io.Writer, args ...any) (int, error) { return fmt.Fprintln(w, plain(args)...) }

func plain(args []any) []any {
	all := make([]any, len(args))
	for i, arg := range args {
		all[i] = plainArg(arg)
	}
	return all
}

func plainArg(arg any) any {
	switch v := arg.(type) {
	case Lines:
		return escape(string(v), true)
	case error:
		return Line(v.Error())
	case fmt.Stringer:
		return Line(v.String())
	}
	switch v := reflect.ValueOf(arg); {
	case v.Kind() == reflect.String:
		return Line(v.String())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return Line(string(v.Bytes()))
	}
	return arg
}

// Encode writes v as a line of JSON in which what Line escapes is escaped as JSON has it: encoding/json
// leaves many such characters as they are. Whoever decodes it gets the text unchanged.
func Encode(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	doc := strings.TrimSuffix(b.String(), "\n")
	if strings.IndexFunc(doc, acts) < 0 {
		_, err := io.WriteString(w, doc+"\n")
		return err
	}
	b.Reset()
	for _, r := range doc { // what acts stands in texts only, since v was encoded without indents
		switch {
		case !acts(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}
