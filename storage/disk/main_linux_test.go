package disk_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or the part of one that needs a separate process: to be killed, or to have its own
// small file system.
func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "put":
		os.Exit(childPut())
	case "full":
		os.Exit(childFull())
	}
}

// childEnv names the part that a child process runs; the folder is its only argument.
const childEnv = "REELMILL_DISK_TEST_CHILD"
