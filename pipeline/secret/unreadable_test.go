package secret_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/secret"
)

// A file that cannot be read is an error with a remedy. It is no fs.PathError, of which the command prints the
// file only, without the setting that names it.
func TestReadFileSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	for file, want := range map[string]string{
		missing: missing + ": no such file or directory; name a file with the secret that this process can read",
		dir:     dir + ": is a directory; name a file with the secret that this process can read",
	} {
		_, _, err := secret.ReadFile(file)
		if fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			t.Errorf("%v hides the words of its caller", failed)
		}
		if missed := errors.Is(err, fs.ErrNotExist); missed != strings.HasSuffix(file, "missing") {
			t.Errorf("%s: missing is %v", file, missed)
		}
	}
}
