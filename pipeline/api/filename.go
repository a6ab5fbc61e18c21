package api

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reelmill/reelmill/storage"
)

// maxFilename is how many characters of a file name are kept.
const maxFilename = 255

// extension returns the extension of a user's file name, if it is one that a content type is known for: it
// is a word of our table, not the user's.
func extension(filename string) string {
	ext := strings.ToLower(path.Ext(filename))
	if storage.ContentType(ext) == storage.Unknown {
		return ""
	}
	return ext
}

// cleanFilename returns a user's file name as it was sent, without folders and what inName refuses, and not
// too long.
func cleanFilename(name string) string {
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

// inName reports whether a character may stand in a file name that is shown. Spaces of all kinds and the
// invisible characters that scripts and emoji are written with (joiners, variation selectors, tags) may, and
// so may characters that are newer than this program's tables. Those may not that steer whoever shows the
// name: controls, line and paragraph separators, bidi controls, byte order marks, annotations, and what is no
// character.
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
