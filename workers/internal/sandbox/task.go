package sandbox

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Task is a function of this program that runs in a cage, in a process of its own: decoders of hostile bytes
// that are written in Go, but may take all memory, or for ever.
type Task struct {
	Name string // lower-case letters and dashes
	// Run reads in, which is Spec.Stdin, and writes out, which is Spec.Stdout. Its error goes to standard error
	// and makes the process exit with TaskFailed. Go ignores SIGXCPU: SIGKILL ends a task without CPU time.
	Run func(in io.Reader, out io.Writer, args []string) error
}

// TaskFailed is the exit status of a task that returned an error. (A panic exits with 2, as does a lack of
// memory.)
const TaskFailed = 3

// taskPrefix begins the name (argv[0]) of a process that runs a task.
const taskPrefix = "reelmill-task:"

// Main runs a task and ends the process, if the process was started for one. Otherwise it returns at once.
// Call it first in main, and in TestMain where tests start tasks.
func Main(tasks ...Task) {
	name, is := strings.CutPrefix(os.Args[0], taskPrefix)
	if !is {
		return
	}
	for _, t := range tasks {
		if t.Name != name {
			continue
		}
		if err := t.Run(os.Stdin, os.Stdout, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(TaskFailed)
		}
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "there is no task %s\n", name)
	os.Exit(TaskFailed)
}
