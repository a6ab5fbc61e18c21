// Command cases checks that what real files, players and operators broke elsewhere ends right here. `make
// cases` and `make corpus` call it.
//
//	cases            run every case, print a line for each, and fail when one is wrong
//	cases -corpus D  measure every file of a folder of real clips, and print a table in Markdown
//
// A case is an input, or something that an operator or a client does, with the right value of its outcome
// (table.go). The steps of a run:
//
//  1. The inputs are made by ffmpeg, from recipes, into a cache folder (recipes.go, made.go). No file comes
//     from outside.
//  2. reelmill is built and `reelmill serve` started on loopback with a data folder of its own (server.go).
//  3. Every input is uploaded as a user would upload it, and awaited for as long as anything moves.
//  4. What came out is measured from outside: ffprobe and ffmpeg read it over HTTP, and the playlists, the
//     init sections, decoded samples and pixels are looked at here (playlist.go, probe.go, sound.go,
//     picture.go). Nothing that ReelMill says of itself counts, but for what a case is about, such as a
//     warning.
//  5. What holds for every video is checked for each (general.go), and then what the case is about
//     (checks.go, checkpicture.go, checksound.go); operators.go has the cases that need a server of their
//     own.
//
// A case is wrong when one finding is. It does not check that a player shows what is served: the tests of
// cmd/reelmill do that in a browser.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags of a run.
type options struct {
	only    string
	json    string
	cache   string
	program string
	corpus  string
	keep    bool
	list    bool
	stall   time.Duration
}

// errWrong is how a run ends in which a case was wrong.
var errWrong = errors.New("not every case ends right")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	if o.list {
		for _, c := range cases() {
			fmt.Printf("%-20s %s: %s\n", c.id, c.what, c.right)
		}
		return nil
	}
	r, err := newRunner(ctx, o)
	if err != nil {
		return err
	}
	defer r.close()
	if o.corpus != "" {
		return r.measureCorpus(ctx)
	}
	return r.runCases(ctx)
}

func parseOptions(args []string) (o options, err error) {
	flags := flag.NewFlagSet("cases", flag.ContinueOnError)
	flags.StringVar(&o.only, "only", "", "ids of cases, separated by commas; all when empty. With -corpus: "+
		"parts of file names")
	flags.StringVar(&o.json, "json", "", "file for the result")
	flags.StringVar(&o.cache, "cache", "bin/cases", "folder that keeps the made inputs for the next run")
	flags.StringVar(&o.program, "program", "", "reelmill; built when empty")
	flags.StringVar(&o.corpus, "corpus", "", "folder of real clips to measure instead of the cases")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder with data and logs")
	flags.BoolVar(&o.list, "list", false, "list the cases and their right values, and run none")
	flags.DurationVar(&o.stall, "stall", 10*time.Minute, "a video counts as stuck when no event comes for "+
		"this long")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if o.corpus != "" {
		return o, nil
	}
	known := cases()
	for _, id := range o.wanted() {
		if !slices.ContainsFunc(known, func(c testCase) bool { return c.id == id }) {
			return o, fmt.Errorf("-only: no case is called %q; -list names them", id)
		}
	}
	return o, nil
}

// wanted are the names in -only; none for all.
func (o options) wanted() []string {
	return strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' || r == ' ' })
}

// wants reports whether the case of that id is to be run.
func (o options) wants(id string) bool {
	wanted := o.wanted()
	return len(wanted) == 0 || slices.Contains(wanted, id)
}
