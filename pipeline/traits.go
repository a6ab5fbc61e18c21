package pipeline

import (
	"encoding/json"
	"io"
	"path"
	"strings"
)

// Traits are what the planner and the intake of uploads must know of a worker type besides its parameters.
// The zero Traits ask for nothing.
type Traits struct {
	// HidesSource says that a video with a step of this type must not show its source: no worker publishes the
	// picture of the source bit for bit (Media.NoCopy).
	HidesSource bool
	// AddedFor is a kind of output that needs a step of this type. When jobs of a pipeline make that kind and no
	// step has this type, NewPlan adds one, without parameters and named after the type. No step of the pipeline
	// can come after the added one, and no timeout or retry of another step applies to it; a pipeline that needs
	// them names the step itself, once. Empty: none.
	AddedFor OutputKind
	// Upload says what an upload may send for a step of this type; nil: nothing, so no upload can request it.
	Upload *UploadField
}

// UploadField says what an upload may send for a step, in a field that is named after the worker type: a JSON
// object of parameters, and what is declared here.
type UploadField struct {
	// Asset is the parameter that names a file of the upload. An upload sends the file; the intake stores it and
	// sets the parameter. Empty: the type takes no file.
	Asset string
	// Formats are those that the file may have.
	Formats []Format
	// Short is a parameter that an upload may send as NAME:VALUE, such as text:hello, instead of a JSON object.
	// Empty: none.
	Short string
	// CheckParams refuses, with CodeParameters, parameters of a step that fit the schema and are of no use, such
	// as none at all. It gets those of the step and of the upload together. nil: the schema says all.
	CheckParams func(params json.RawMessage) error
	// CheckFile reads a file while it arrives, and refuses it, with CodeParameters, if no step could use it. Its
	// other errors are those of file. It needs little memory, and need not read to the end. It may accept what
	// the step refuses later. nil: it accepts every file of one of Formats.
	CheckFile func(file io.Reader) error
}

// Format is a file format of an asset.
type Format struct {
	Name      string // as people know it, such as PNG
	Extension string // of the stored object, such as .png
	// Magic are the first bytes of every file of this format; ? stands for any byte. A format without Magic,
	// such as a kind of text, is known by the extension of the file's name.
	Magic string
}

// Matches reports whether a file has the format, by its filename and its first bytes, head.
func (f Format) Matches(filename string, head []byte) bool {
	if f.Magic == "" {
		return strings.EqualFold(path.Ext(filename), f.Extension)
	}
	if len(head) < len(f.Magic) {
		return false
	}
	for i := range len(f.Magic) {
		if f.Magic[i] != '?' && f.Magic[i] != head[i] {
			return false
		}
	}
	return true
}
