package disk_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or the part of one that is a process of its own: to be killed, or to have a small
// file system for itself.
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

// childEnv names the part that a child process plays; the folder is its only argument.
const childEnv = "REELMILL_DISK_TEST_CHILD"
