package secret

import (
	"net/url"
	"regexp"
	"strings"
)

// scheme matches the beginning of an address.
var scheme = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://`)

// parameter matches a parameter of an address whose name says that its value is a secret.
var parameter = regexp.MustCompile(
	`(?i)([?&;][\w.~-]*(?:token|secret|passw|sig|credential|key|auth)[\w.~-]*=)[^&;\s"<>\x60]+`)

// Redact returns a text with the secrets of the addresses in it replaced by ***: what stands before an @,
// which is a user name, a password or a token, and the values of parameters that are called token, key,
// signature and the like. The text may be one address, several with commas between them, or a sentence.
//
// It hides too much rather than too little: of an address that cannot be parsed, and of one with an @ in its
// path, it hides all before the last @. An apostrophe may stand in a password, so it does not end an address.
func Redact(text string) string {
	starts := scheme.FindAllStringIndex(text, -1)
	if starts == nil {
		return text
	}
	var b strings.Builder
	end := 0
	for i, at := range starts {
		if at[0] < end {
			continue // within what is hidden already
		}
		b.WriteString(text[end:at[1]])
		rest := text[at[1]:]
		if i+1 < len(starts) { // the next address begins after a comma or a space
			rest = text[at[1]:max(at[1], starts[i+1][0])]
		}
		if stop := strings.IndexAny(rest, " \t\r\n\"<>`"); stop >= 0 {
			rest = rest[:stop]
		}
		end = at[1]
		if last := strings.LastIndex(rest, "@"); last >= 0 {
			b.WriteString(Hidden)
			end += last
		}
	}
	b.WriteString(text[end:])
	return parameter.ReplaceAllString(b.String(), "${1}"+Hidden)
}

// Place returns where an address leads, without anything that may be a secret: its scheme, host and port, and
// /*** for a path and parameters, as of https://hooks.example.org/T0/B0/token. It returns *** for a text that
// is no address.
func Place(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return Hidden
	}
	place := url.URL{Scheme: u.Scheme, Host: u.Host}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return place.String() + "/" + Hidden
	}
	return place.String() + u.Path
}

// Credentials reports whether an address, or one of several with commas between them, holds a user name, a
// password or a token before an @.
func Credentials(addresses string) bool {
	return strings.Contains(Redact(addresses), "://"+Hidden+"@")
}
