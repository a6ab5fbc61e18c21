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

const (
	offlineNATSHelp = "Address of the NATS server that the server uses. Default: the broker in --data."
	unusedHelp      = "This command ignores the flag; serve uses it."
)

// ownHelp has the help texts that replace those of helpTexts for one command.
var ownHelp = map[string]kong.Vars{
	"worker": {
		"nats_help":  "Address of the NATS server that the server uses. A worker needs it.",
		"store_help": storeHelp + "A worker needs it, the same as its server.",
		"webhook_secret_help": "File that holds the secret that signs webhooks; or set REELMILL_WEBHOOK_SECRET. " +
			"A worker needs that of its server, which is in webhook.secret in the server's data folder.",
	},
	"run": {"slots_help": slotsHelp},
	"rebuild": {
		"nats_help": offlineNATSHelp, "store_help": unusedHelp, "replicas_help": unusedHelp,
		"events_max_help": unusedHelp,
	},
	"streams": {"nats_help": offlineNATSHelp, "store_help": unusedHelp},
}

// setOwnHelp gives each command its own help texts.
func setOwnHelp(k *kong.Kong) error {
	for _, n := range k.Model.Children {
		n.Tag.Vars = n.Tag.Vars.CloneWith(ownHelp[n.Name])
	}
	return nil
}
