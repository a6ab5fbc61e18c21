package workers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
)

// workspace makes the scratch directory of an attempt, and the note that goes with it.
func (l *Loop) workspace(task pipeline.Task, token uint64) (dir string, remove func(), err error) {
	dir = filepath.Join(l.Scratch, task.Job.Name+"-"+strconv.FormatUint(token, 10))
	remove = func() {
		if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+noteSuffix)); err != nil {
			l.Logger.Warn("remove scratch", "job", task.Job.Name, "error", err)
		}
	}
	err = os.Mkdir(dir, 0o700)
	if err == nil {
		err = writeNote(dir+noteSuffix, note{token, task})
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("make scratch: %w", err)
	}
	return dir, remove, nil
}

const noteSuffix = ".json"

// note is what an attempt leaves beside its scratch directory while it runs.
type note struct {
	Token uint64        `json:"token"`
	Task  pipeline.Task `json:"task"`
}

// writeNote stores the note of an attempt as file.
func writeNote(file string, n note) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note attempt: %w", err)
	}
	return os.WriteFile(file, raw, 0o600)
}

// readNotes returns the notes in scratch. One that is not whole is of an attempt that had not begun to work.
func readNotes(scratch string) []note {
	files, _ := filepath.Glob(filepath.Join(scratch, "*"+noteSuffix)) // the only error is a malformed pattern
	var notes []note
	for _, file := range files {
		raw, err := os.ReadFile(file)
		var n note
		if err == nil && json.Unmarshal(raw, &n) == nil {
			notes = append(notes, n)
		}
	}
	return notes
}
