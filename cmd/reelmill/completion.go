package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
)

// completionCommand prints a script that lets a shell complete commands with the Tab key.
type completionCommand struct {
	Shell string `arg:"" enum:"bash, zsh, fish" help:"Your shell: ${enum}."`
}

// Help is the long help.
func (completionCommand) Help() string {
	return "Add the line for your shell to its start-up file:\n\n" +
		"  source <(reelmill completion bash)\n  source <(reelmill completion zsh)\n" +
		"  reelmill completion fish | source"
}

// completionScripts make the shell start this program with the line so far in COMP_LINE. When that prints
// nothing, the shell completes file names. Sources: bash(1), complete -C; zshcompsys(1), bashcompinit;
// complete of fish.
var completionScripts = map[string]string{
	"bash": "complete -o default -C %[1]q reelmill\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -o default -C %[1]q reelmill\n",
	"fish": "complete -c reelmill -a '(env COMP_LINE=(commandline -cp) %[1]q)'\n",
}

// Run prints the script.
func (c completionCommand) Run(s streams) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	_, err = human.Fprintf(s.out, completionScripts[c.Shell], program)
	return err
}

// complete prints the completions of the last word of line, one a line: commands, flags or values of a flag.
func complete(w io.Writer, model *kong.Application, line string) error {
	words := strings.Fields(line)
	last := ""
	if len(words) > 0 && !strings.HasSuffix(line, " ") {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	node, flag := model.Node, (*kong.Flag)(nil)
	flags := model.Flags
	words = words[min(1, len(words)):]
	if len(words) > 0 && words[0] == "help" { // what follows is a command
		words = words[1:]
	}
	for _, word := range words {
		if flag != nil {
			flag = nil // word is its value
			continue
		}
		if flag = wants(flags, word); flag != nil {
			continue
		}
		if child := childOf(node, word); child != nil {
			node, flags = child, append(slices.Clone(flags), child.Flags...)
		}
	}
	for _, word := range candidates(node, flags, flag, last) {
		if _, err := human.Fprintln(w, word); err != nil {
			return err
		}
	}
	return nil
}

// wants returns the flag that word names, if the next word is its value; otherwise nil.
func wants(flags []*kong.Flag, word string) *kong.Flag {
	for _, f := range flags {
		if word == "--"+f.Name && !f.IsBool() {
			return f
		}
	}
	return nil
}

func childOf(node *kong.Node, word string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == word {
			return child
		}
	}
	return nil
}

// candidates returns the words with a prefix that may come next: values of flag, unless that is nil.
func candidates(node *kong.Node, flags []*kong.Flag, flag *kong.Flag, prefix string) []string {
	var all []string
	switch {
	case flag != nil:
		all = flag.EnumSlice()
	case strings.HasPrefix(prefix, "-"):
		for _, f := range flags {
			if !f.Hidden {
				all = append(all, "--"+f.Name)
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				all = append(all, child.Name)
			}
		}
		for _, arg := range node.Positional {
			all = append(all, arg.EnumSlice()...)
			if arg.Name == "type" {
				names, _ := typeNames() // the command itself reports a worker that cannot be made
				all = append(all, names...)
			}
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, prefix) })
}
