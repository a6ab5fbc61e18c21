// Command chaos runs ReelMill while everything around it fails, and checks that no accepted video is lost,
// doubled or stuck. `make chaos MINUTES=30` and `make mutate` call it; pipeline/RELIABILITY.md says what it
// shows and what it does not.
//
//	chaos           run it, and print a table; exit code 1 when a promise was broken
//	chaos broker    run a NATS server
//	chaos mutate    remove safeguards from the code, one at a time, and check that a test fails; arguments
//	                choose safeguards by parts of their names
//
// It judges from outside: the load goes through the API, and the verdict comes from the API, the read model's
// file, the folder of objects and the webhooks received.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// options are the flags of a run.
type options struct {
	minutes float64
	seed    uint64
	json    string
	program string
	keep    bool
	only    string
	choose  string
	inner   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "broker" {
		return runBroker(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == "mutate" {
		return runMutations(ctx, args[1:])
	}
	var o options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.Float64Var(&o.minutes, "minutes", 3, "how long faults and load last, in all")
	flags.Uint64Var(&o.seed, "seed", 0, "of every choice; 0 for one from the clock")
	flags.StringVar(&o.json, "json", "", "file for the result")
	flags.StringVar(&o.program, "program", "", "reelmill built with -tags chaos; built when empty")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder also when all is well")
	flags.StringVar(&o.only, "only", "", "A or B: one phase alone")
	flags.StringVar(&o.choose, "faults", "", "only these faults: parts of their names, separated by commas")
	flags.BoolVar(&o.inner, "inner", false, "internal: runs in a mount namespace of its own")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	if !o.inner {
		ran, err := runInNamespace(args, o.seed)
		if ran {
			return err
		}
		fmt.Println("no mount namespace, so no small disk:", err)
	}
	return newHarness(o).run(ctx)
}

// errViolated means that a promise was broken; the table says which.
var errViolated = errors.New("a promise was broken")

// runInNamespace runs this program again in a mount namespace of its own, whose mounts vanish with it. ran is
// false when the system refuses.
func runInNamespace(args []string, seed uint64) (ran bool, err error) {
	args = append(args, "-inner", fmt.Sprintf("-seed=%d", seed))
	inner := exec.Command("/proc/self/exe", args...) //nolint:noctx // it gets the same signals
	inner.Stdout, inner.Stderr = os.Stdout, os.Stderr
	inner.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := inner.Start(); err != nil {
		return false, err
	}
	if err := inner.Wait(); err != nil {
		return true, errViolated
	}
	return true, nil
}
