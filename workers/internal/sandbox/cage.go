package sandbox

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Mode says how much of a cage is required.
type Mode string

// Modes.
const (
	// Required: without Landlock and seccomp, New fails. This is the default on Linux.
	Required Mode = "required"
	// BestEffort: New builds what the kernel can, and Cage.Missing says what it cannot. Where programs in memory
	// are forbidden that is nothing: programs have their limits, and the tier is TierOff.
	BestEffort Mode = "best-effort"
	// Off: programs run with all rights of this process; their limits hold on Linux.
	Off Mode = "off"
)

// Tier is how much of a cage there is. The words are in logs, /readyz and metrics.
type Tier string

// Tiers, from the best.
const (
	TierFull     Tier = "full"     // all that the package comment lists
	TierStandard Tier = "standard" // the same, but in the network namespace of this process
	TierPartial  Tier = "partial"  // without Landlock, without seccomp, or without both
	TierOff      Tier = "off"      // none
)

// Tiers lists them, from the best.
func Tiers() []Tier { return []Tier{TierFull, TierStandard, TierPartial, TierOff} }

// Cage is what this machine's cages are made of. A nil Cage starts programs without one. It is immutable and
// safe for concurrent use.
type Cage struct {
	abi        int      // version of Landlock; 0: none
	filter     []byte   // of seccomp; empty: none
	pid        int      // offset of the process id in filter
	network    *os.File // a network namespace for all programs; nil: none
	namespaces bool     // network and user namespaces of its own for each program
	missing    []string
	none       bool // not even a process that restricts itself can start: programs have limits alone

	capabilities uint32 // that programs keep

	lock     sync.Mutex
	programs map[string]needs // by path, without links
}

// Close gives back what the cage holds. Programs that run in it stay in it.
func (c *Cage) Close() error {
	if c == nil || c.network == nil {
		return nil
	}
	return c.network.Close()
}

// Tier returns what the cage reaches.
func (c *Cage) Tier() Tier {
	switch {
	case c == nil || c.none:
		return TierOff
	case c.abi == 0 || len(c.filter) == 0:
		return TierPartial
	case c.network == nil && !c.namespaces:
		return TierStandard
	}
	return TierFull
}

// Missing says, part by part, what the cage lacks, and why. Empty: nothing.
func (c *Cage) Missing() []string {
	if c == nil {
		return []string{"the sandbox is off"}
	}
	return c.missing
}

// String is one line for people.
func (c *Cage) String() string {
	s := "sandbox " + string(c.Tier())
	if c != nil && c.abi > 0 {
		s += fmt.Sprintf(", Landlock ABI %d", c.abi)
	}
	if c != nil && len(c.missing) > 0 {
		s += "; missing: " + strings.Join(c.missing, "; ")
	}
	return s
}

// Unavailable is the error of New when a required part cannot be had.
type Unavailable struct {
	Missing []string // what is missing and why, part by part
}

// Error says what is missing, and how to go on.
func (e *Unavailable) Error() string {
	return "the sandbox for ffmpeg is not available: " + strings.Join(e.Missing, "; ") +
		". Use Linux 5.13 or later with Landlock and seccomp on (a container's seccomp profile must allow both), " +
		"or accept less protection from hostile files with --sandbox best-effort, or none with --sandbox off"
}

// needs are what a program needs to start.
type needs struct {
	execute   []string // the program, and its dynamic loader
	libraries []string // folders of its libraries, and the loader's index of them
}
