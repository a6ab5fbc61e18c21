package pipeline

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFilename is how many characters of a file name are kept.
const maxFilename = 255

// CleanFilename returns a user's file name without folders and without the characters that inName refuses,
// cut to 255; upload when nothing is left of it.
func CleanFilename(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	runes := []rune(strings.Map(func(r rune) rune {
		if inName(r) {
			return r
		}
		return -1
	}, name))
	if len(runes) > maxFilename {
		runes = runes[:maxFilename]
	}
	if len(runes) == 0 {
		return "upload"
	}
	return string(runes)
}

// inName reports whether a file name that is shown may have a character. It allows spaces of all kinds, the
// invisible characters that scripts and emoji need (joiners, variation selectors, tags), and characters that
// are newer than this program's tables. It refuses those that change how the rest of a name or a page is
// shown: controls, line and paragraph separators, bidi controls, byte order marks, annotations, and code
// points that are not characters.
func inName(r rune) bool {
	switch {
	case r == utf8.RuneError, r == '\uFEFF', unicode.IsControl(r):
		return false
	case unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Noncharacter_Code_Point):
		return false
	case r >= '\u206A' && r <= '\u206F', r >= '\uFFF9' && r <= '\uFFFB', r == '\U000E0001': // deprecated
		return false
	}
	return true
}
