// Package secret holds passwords, keys and tokens so that they are not printed by mistake, hides those that
// stand in addresses, and reads and writes the files that hold them.
//
//  1. Text is a secret in memory. Whatever prints, logs or encodes it gets ***; Reveal returns it.
//  2. Redact hides the user name, password and token of each address in a text, for errors of libraries that
//     quote an address, and for logs. Place keeps of an address only where it leads.
//  3. ReadFile and WriteFile keep a secret in a file.
//
// Not guaranteed: Redact knows a secret by its place in an address, not by its value. It does not find a
// secret that stands in a path, or outside addresses. Memory is not cleared.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Hidden is what is printed in place of a secret.
const Hidden = "***"

// Text is a secret. It prints as *** with every verb, in logs, JSON, YAML and other encodings, also when it
// is empty. The zero Text is empty. Compare what Reveal returns, not Texts.
type Text struct {
	// A pointer, since fmt calls no method of a field that is not exported, but prints what it holds.
	value *string
}

// New returns a Text that holds s.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the secret itself. Call it where the secret is used, and nowhere else.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.Reveal() == "" }

// Equal reports whether both hold the same secret.
func (t Text) Equal(other Text) bool { return t.Reveal() == other.Reveal() }

// String returns ***.
func (Text) String() string { return Hidden }

// Format implements fmt.Formatter for every verb.
func (Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Hidden) }

// LogValue implements slog.LogValuer.
func (Text) LogValue() slog.Value { return slog.StringValue(Hidden) }

// MarshalText implements encoding.TextMarshaler, which JSON, YAML and XML use.
func (Text) MarshalText() ([]byte, error) { return []byte(Hidden), nil }

// UnmarshalText implements encoding.TextUnmarshaler: it takes any secret.
func (t *Text) UnmarshalText(text []byte) error {
	*t = New(string(text))
	return nil
}
