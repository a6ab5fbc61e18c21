// Package pipelinetest has what the tests of all packages use to wait, a buffer, a free address, and the
// samples of long sweeps. Only tests import it.
//
// A test waits for an event, not for a number of seconds: on a busy machine, what takes a second elsewhere
// takes a minute. So a wait is limited only by the time-out of the test binary (go test -timeout). It takes
// at most half of the time that is left, so that the test can still say what did not come, and later tests
// can run. If you know the machine, and expect tests to hang, set TEST_PATIENCE.
//
// Promises of the product in seconds are another matter: Promptly allows for a slow machine, but not for
// ever.
//
// A test with many similar cases that each start programs many times is a sweep (Sweep). An ordinary run
// takes a sample of it. Set TEST_SWEEP for all.
package pipelinetest

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unlimited is how long a wait may take in a test binary without a time-out.
const unlimited = 24 * time.Hour

// Left returns how long one wait of the test may take: half of the time that is left, or the value of
// TEST_PATIENCE, such as 1m.
func Left(t testing.TB) time.Duration {
	if set, err := time.ParseDuration(os.Getenv("TEST_PATIENCE")); err == nil {
		return set
	}
	test, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return unlimited // a benchmark
	}
	deadline, ok := test.Deadline()
	if !ok {
		return unlimited
	}
	return time.Until(deadline) / 2
}

// Context returns a context for one wait: it ends with the test, or after Left.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Left(t))
	t.Cleanup(cancel)
	return ctx
}

// Until calls ok again and again until it returns true. It fails the test after Left; what says what it waits
// for.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(Left(t))
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// Receive returns the next value, or the zero value when the channel is closed. It fails the test after Left;
// what says what it waits for.
func Receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	limit := time.NewTimer(Left(t))
	defer limit.Stop()
	select {
	case v := <-from:
		return v
	case <-limit.C:
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

// Longer calls try with the time first, and then with twice as much, again and again, until it succeeds. Use
// it for a lease or time-out that may run out when a busy machine delays the test. It fails the test when try
// fails even with the longest time up to most: that is not the machine's fault.
func Longer(t testing.TB, first, most time.Duration, try func(d time.Duration) error) {
	t.Helper()
	for d := first; ; d *= 2 {
		err := try(d)
		if err == nil {
			return
		}
		if 2*d > most {
			t.Errorf("with %s, too: %v", d, err)
			return
		}
		t.Logf("with %s: %v", d, err)
	}
}

// slower is by how much a slow machine with nothing else to do may exceed a promise.
const slower = 10

// Promptly fails the test when more than ten times the promise has passed since began, for a slow machine,
// and more than that if this process has to wait for a processor. It does not prove the promise: it tells
// code that stops in time from code that runs to its own end.
func Promptly(t testing.TB, what string, began time.Time, promise time.Duration) {
	t.Helper()
	took := time.Since(began)
	if took <= slower*promise {
		return
	}
	if most := time.Duration(slower * crowding() * float64(promise)); took > most {
		t.Errorf("%s took %s, want at most %s, and %s on this machine now", what, took, promise, most)
	}
}

// Slowly returns d, or up to four times d where this process has to wait for a processor. Use it for a lease
// that a test keeps, or whose end it waits for.
func Slowly(d time.Duration) time.Duration { return time.Duration(float64(d) * min(crowding(), 4)) }

// crowding returns how much this process waits for a processor now: the time that a piece of work takes,
// divided by the time that it runs; at least 1.
func crowding() float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const work = 100 * time.Millisecond
	began, before := time.Now(), threadTime()
	ran := time.Duration(0)
	for ran < work {
		ran = threadTime() - before
	}
	return max(1, float64(time.Since(began))/float64(ran))
}

// threadTime returns the processor time that the calling thread has used.
func threadTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(thread, &u); err != nil {
		panic(err) // only a wrong argument can cause it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
