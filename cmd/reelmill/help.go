package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// helpCommand puts `help` into the list of commands. spellHelp does its work.
type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, such as videos why."`
}

// Run is never called: spellHelp turns the command into --help.
func (helpCommand) Run() error { return nil }

// spellHelp turns `help CMD ...` into `CMD ... --help`. It refuses a word after a command that has no
// commands of its own; kong refuses other unknown words.
func spellHelp(args []string, model *kong.Application) ([]string, error) {
	if len(args) == 0 || args[0] != "help" || slices.Contains(args, "--help") {
		return args, nil
	}
	at := model.Node
	for _, word := range args[1:] {
		child := childOf(at, word)
		if child == nil && len(at.Children) == 0 && !strings.HasPrefix(word, "-") {
			return nil, unknownCommand(at, word, nil)
		}
		if child != nil {
			at = child
		}
	}
	return append(slices.Clone(args[1:]), "--help"), nil
}
