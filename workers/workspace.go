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

// workspace makes the attempt's scratch directory, and its note beside it.
func (a *attempt) workspace() (dir string, remove func(), err error) {
	dir = filepath.Join(a.loop.Scratch, a.task.Job.Name+"-"+strconv.FormatUint(a.data.Token, 10))
	remove = func() {
		if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+noteSuffix)); err != nil {
			a.log.Warn("remove scratch", "error", err)
		}
	}
	err = os.Mkdir(dir, 0o700)
	if err == nil {
		err = writeNote(dir+noteSuffix, note{a.data.Token, a.task})
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("make scratch: %w", err)
	}
	return dir, remove, nil
}

const noteSuffix = ".json"

// note says to which attempt a scratch directory belongs. It is beside the directory while the attempt runs,
// and survives a crash of the process.
type note struct {
	Token uint64        `json:"token"`
	Task  pipeline.Task `json:"task"`
}

func writeNote(file string, n note) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode note: %w", err)
	}
	return os.WriteFile(file, raw, 0o600)
}

// readNotes returns the notes in scratch. It skips truncated ones: their attempts had not begun to work.
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
