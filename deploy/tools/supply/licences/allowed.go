package main

// allowed are the licences under which linked modules may come, by SPDX id: permissive ones, which ask only
// that notices are passed on. A new one needs a decision (DECISIONS.md). A licence that is not in this list
// fails.
var allowed = map[string]bool{
	"Apache-2.0":   true,
	"BSD-2-Clause": true,
	"BSD-3-Clause": true,
	"ISC":          true,
	"MIT":          true,
	"MIT-0":        true,
	"Unlicense":    true,
	"0BSD":         true,
	"CC0-1.0":      true,
}

// exceptions are licence files that people have read and accepted although they match no known text. The key
// is the module and the name of the file. One whose text has changed since, or that no module has any more,
// fails.
var exceptions = map[string]exception{
	"kernel.org/pub/linux/libs/security/libcap/psx License": {
		"279fa656c62857d4", "BSD-3-Clause or GPL-2.0, as the user chooses; this project chooses BSD-3-Clause",
	},
	"modernc.org/libc LICENSE-3RD-PARTY.md": {
		"f597097efe3d9702", "Go BSD-3-Clause; musl, go-netdb and nixpkgs MIT; parts of musl BSD-2-Clause or public domain",
	},
	"modernc.org/memory LICENSE-LOGO": {
		"5ae5bee3072a8413", "where the picture in its README comes from; it is not linked",
	},
	"modernc.org/sqlite LICENSE-3RD-PARTY.md": {
		"b4366b9c27a93646", "what it links is BSD-3-Clause, MIT or public domain; MPL-2.0 is in its module graph only",
	},
	"modernc.org/sqlite LICENSE-SQLITE": {"8438c9c89b849131", "public domain"},
}

// exception is a licence file that has been read.
type exception struct {
	sum    string // first 16 hexadecimal digits of the SHA-256 of its text
	reason string // what it says
}
