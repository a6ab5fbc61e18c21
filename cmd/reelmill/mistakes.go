package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// printError prints err for people; every line of it begins with the name of the program. It prints nothing
// for nil.
func printError(w io.Writer, err error) {
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(inWords(err), "\n") {
		human.Fprintln(w, "reelmill:", line)
	}
}

// inWords returns the text of err without the secrets of addresses, and without Go's words for a deadline.
func inWords(err error) string {
	return secret.Redact(strings.ReplaceAll(err.Error(), context.DeadlineExceeded.Error(), "no answer in time"))
}

// plain rewrites an error of the command line: it names the mistake and says what to do.
func plain(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		if m := fetched.FindStringSubmatch(file.Path); m != nil {
			return fmt.Errorf("%s://%s: the command takes files; download it first, or let a server fetch it with "+
				"`reelmill upload`", m[1], m[2])
		}
		return fmt.Errorf("%s: %w", file.Path, file.Err)
	}
	parse, ok := errors.AsType[*kong.ParseError](err)
	if !ok {
		return err
	}
	at := parse.Context.Selected()
	if at == nil {
		at = parse.Context.Model.Node
	}
	for _, m := range mistakes {
		if found := regexp.MustCompile(m.kong).FindStringSubmatch(err.Error()); found != nil {
			return m.plain(at, found[1:])
		}
	}
	return err
}

// fetched matches the path that kong makes of a URL.
var fetched = regexp.MustCompile(`/(https?):/+(.*)$`)

// mistake rewrites errors of kong by their text, since they have no types. plain gets the command that was
// typed so far and the groups of the match.
type mistake struct {
	kong  string // a regular expression
	plain func(at *kong.Node, found []string) error
}

// durations shows how to write a duration.
const durations = "such as 90s, 30m or 24h"

// mistakes has the known errors of kong; the first match counts.
var mistakes = []mistake{
	{`^unexpected argument (.+?)(, did you mean .*)?$`, unexpected},
	{`^unknown flag (\S+?)(,.*)?$`, unknownFlag},
	{`^missing flags: (.*)$`, needs},
	{`^expected "([<\[].*)"$`, needs},
	{`^expected (one of )?"`, func(at *kong.Node, _ []string) error {
		return needs(at, []string{"a command: " + oneOf(childNames(at))})
	}},
	{`^(\S+) must be one of "(.*)" but got (".*")$`, func(_ *kong.Node, found []string) error {
		values := slices.DeleteFunc(strings.Split(found[1], `","`), func(v string) bool { return v == "" })
		return fmt.Errorf("%s must be %s, not %s", found[0], oneOf(values), found[2])
	}},
	{`^--(\S+): expected .* but got "EOL" `, func(at *kong.Node, found []string) error {
		return fmt.Errorf("--%s needs a value%s", found[0], valuesOf(at, found[0]))
	}},
	{`^(--\S+): expected duration but got (".*?"): `, func(_ *kong.Node, found []string) error {
		return fmt.Errorf("%s: %s is not a duration; write one %s", found[0], found[1], durations)
	}},
	{`^(--\S+): expected a valid 64 bit int but got (".*")$`, func(_ *kong.Node, found []string) error {
		return fmt.Errorf("%s: %s is not a whole number", found[0], found[1])
	}},
	{`^(--\S+): bool value must be .* but got (".*")$`, func(_ *kong.Node, found []string) error {
		return fmt.Errorf("%s must be true or false, not %s", found[0], found[1])
	}},
	{`^(--\S+): expected "<key>=<value>" but got (".*")$`, func(_ *kong.Node, found []string) error {
		return fmt.Errorf("%s: write KEY=VALUE, not %s", found[0], found[1])
	}},
	{`^<\w+>(?: \.\.\.)?: "(.*)" exists but is a directory$`, func(_ *kong.Node, found []string) error {
		return fmt.Errorf("%s is a folder; name a file", found[0])
	}},
}

// otherNames are names that people try, with what they stand for.
var otherNames = map[string]string{
	"-v": "--version", "--port": "--listen", "-p": "--listen", "--host": "--listen", "--address": "--listen",
}

// unknownFlag refuses a flag. It says when the flag belongs after a command, or has another name.
func unknownFlag(at *kong.Node, found []string) error {
	name, hint := found[0], found[1]
	other := otherNames[name]
	switch {
	case at.Parent == nil && anyHas(at.Children, name):
		hint = " before the command: write it after the command"
	case other != "" && anyHas([]*kong.Node{at}, other):
		hint = fmt.Sprintf(" (did you mean %s?)", other)
	case len(name) == len("-v"):
		hint = "" // kong's guess is always -h
	}
	return fmt.Errorf("unknown flag %s%s; see %s", name, hint, helpOf(at))
}

// anyHas reports whether one of the commands, or one below it, has the flag.
func anyHas(commands []*kong.Node, flag string) bool {
	return slices.ContainsFunc(commands, func(n *kong.Node) bool {
		return anyHas(n.Children, flag) || slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool {
			return "--"+f.Name == flag
		})
	})
}

// quoted matches each command that kong suggests.
var quoted = regexp.MustCompile(`"[^"]*"`)

// unexpected refuses a word after a command. Where it should be a command, it suggests those that kong finds
// similar, or else those with that name elsewhere, such as `videos list` for `list`.
func unexpected(at *kong.Node, found []string) error {
	word, similar := found[0], quoted.FindAllString(found[1], -1)
	if len(at.Children) == 0 {
		return fmt.Errorf("unexpected argument %q; see %s", word, helpOf(at))
	}
	for i, name := range similar {
		similar[i] = fmt.Sprintf("%q", below(at, strings.Trim(name, `"`)))
	}
	if len(similar) == 0 && at.Parent == nil {
		similar = commandsNamed(at, word)
	}
	return unknownCommand(at, word, similar)
}

// unknownCommand refuses a word that is no command below at.
func unknownCommand(at *kong.Node, word string, similar []string) error {
	hint := ""
	if len(similar) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", oneOf(similar))
	}
	return fmt.Errorf("unknown command %q%s; see %s", below(at, word), hint, helpOf(at))
}

// commandsNamed returns the commands of groups that have a name, quoted.
func commandsNamed(root *kong.Node, name string) (found []string) {
	for _, group := range root.Children {
		for _, n := range group.Children {
			if n.Name == name {
				found = append(found, fmt.Sprintf("%q", nameOf(n)))
			}
		}
	}
	return found
}

// needs says what a command lacks.
func needs(at *kong.Node, found []string) error {
	return fmt.Errorf("%s needs %s; see %s", nameOf(at), found[0], helpOf(at))
}

// valuesOf shows what a flag of a command takes; it returns nothing for a flag that takes any text.
func valuesOf(at *kong.Node, flag string) string {
	for _, group := range at.AllFlags(false) {
		for _, f := range group {
			switch {
			case f.Name != flag:
			case f.Enum != "":
				return ": " + oneOf(f.EnumSlice())
			case f.Target.Type() == reflect.TypeFor[time.Duration]():
				return " " + durations
			}
		}
	}
	return ""
}

// nameOf returns what is typed after `reelmill` for a command.
func nameOf(n *kong.Node) string {
	_, name, _ := strings.Cut(n.FullPath(), " ")
	return name
}

// below returns what is typed after `reelmill` for a command of a group.
func below(n *kong.Node, child string) string { return strings.TrimSpace(nameOf(n) + " " + child) }

// helpOf returns the command line that prints the help of a command.
func helpOf(n *kong.Node) string { return "`" + strings.TrimSpace("reelmill help "+nameOf(n)) + "`" }

func childNames(n *kong.Node) (names []string) {
	for _, child := range n.Children {
		names = append(names, child.Name)
	}
	return names
}

// oneOf lists words: a, b or c.
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
