package userimage

import (
	"errors"
	"io"
	"testing"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main(Task(), sandbox.Task{Name: "waits", Run: waits}, sandbox.Task{Name: "panics-beside", Run: panicsBeside},
		sandbox.Task{Name: "writes", Run: writes}, sandbox.Task{Name: "fails", Run: fails})
	goleak.VerifyTestMain(m)
}

// waits never ends, and takes no processor time.
func waits(io.Reader, io.Writer, []string) error {
	select {}
}

// panicsBeside panics in another goroutine, where no recover helps.
func panicsBeside(io.Reader, io.Writer, []string) error {
	done := make(chan bool)
	go func() {
		defer close(done)
		panic("index out of range")
	}()
	<-done
	select {}
}

// writes answers with whatever it is given.
func writes(in io.Reader, out io.Writer, _ []string) error {
	_, err := io.Copy(out, in)
	return err
}

func fails(io.Reader, io.Writer, []string) error { return errors.New("no room") }

// newCage returns a cage that is required.
func newCage(t testing.TB) *sandbox.Cage {
	t.Helper()
	c, err := sandbox.New(t.Context(), sandbox.Required)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
