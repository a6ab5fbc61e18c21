package main

import "slices"

// helpCommand stands in the list of commands; spellHelp does its work.
type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, as in: reelmill help videos why."`
}

// Run is never reached: spellHelp has made --help of it.
func (helpCommand) Run() error { return nil }

// spellHelp turns `help CMD ...` into `CMD ... --help`.
func spellHelp(args []string) []string {
	if len(args) == 0 || args[0] != "help" || slices.Contains(args, "--help") {
		return args
	}
	return append(slices.Clone(args[1:]), "--help")
}
