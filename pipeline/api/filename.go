package api

import (
	"path"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// extension returns the extension of a user's file name if the table of content types has it, and else an
// empty string: nothing of the user's becomes part of a key.
func extension(filename string) string {
	ext := strings.ToLower(path.Ext(filename))
	if storage.ContentType(ext) == storage.Unknown {
		return ""
	}
	return ext
}

// cleanFilename is pipeline.CleanFilename.
func cleanFilename(name string) string { return pipeline.CleanFilename(name) }
