// Command cases runs cases that broke other systems, with files, clients and operations, and checks their
// outcomes. `make cases` and `make corpus` call it.
//
//	cases            run every case, print a line for each, and fail when one is wrong
//	cases -corpus D  process every file of a folder of real clips, and print a table in Markdown
//
// A case is an input, or an action of an operator or a client, with its right outcome (table.go). The steps
// of a run:
//
//  1. Make the inputs with ffmpeg from recipes, in a cache folder (recipes.go, made.go). No file comes from
//     outside.
//  2. Build reelmill, and start `reelmill serve` on loopback with its own data folder (server.go).
//  3. Upload every input as a user would, and wait for its end as long as there is progress.
//  4. Measure the outputs from outside: ffprobe and ffmpeg read them over HTTP, and this program checks
//     playlists, init sections, decoded samples and pixels (playlist.go, probe.go, sound.go, picture.go).
//     It does not trust what ReelMill says, except where a case is about that, such as a warning.
//  5. Check what must hold for every video (general.go), and then what the case is about (checks.go,
//     checkpicture.go, checksound.go). operators.go has the cases that need their own server.
//
// A case is wrong when one finding is wrong. The tests of cmd/reelmill check playback in a browser; this
// program does not.
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
	table   bool
	stall   time.Duration
}

// errWrong means that a case was wrong.
var errWrong = errors.New("some cases are wrong")

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
	if o.table {
		fmt.Print(hostileTable())
		return nil
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
	flags.StringVar(&o.only, "only", "", "ids of cases, separated by commas, such as r15 or x_*; all when "+
		"empty. With -corpus: "+
		"parts of file names")
	flags.StringVar(&o.json, "json", "", "file for the result")
	flags.StringVar(&o.cache, "cache", "bin/cases", "folder that keeps the inputs for the next run")
	flags.StringVar(&o.program, "program", "", "path of reelmill; built when empty")
	flags.StringVar(&o.corpus, "corpus", "", "folder of real clips to process instead of the cases")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder of data and logs")
	flags.BoolVar(&o.list, "list", false, "list the cases and their right outcomes, and run none")
	flags.BoolVar(&o.table, "table", false, "print the table of hostile files for SECURITY.md, and run none")
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
		if group, ok := strings.CutSuffix(id, "*"); ok {
			id = group
			if slices.ContainsFunc(known, func(c testCase) bool { return strings.HasPrefix(c.id, group) }) {
				continue
			}
		}
		if !slices.ContainsFunc(known, func(c testCase) bool { return c.id == id }) {
			return o, fmt.Errorf("-only: unknown case %q; -list lists the cases", id)
		}
	}
	return o, nil
}

// wanted returns the names in -only; none for all.
func (o options) wanted() []string {
	return strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' || r == ' ' })
}

// wants reports whether to run the case with an id.
func (o options) wants(id string) bool {
	wanted := o.wanted()
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool {
		group, ok := strings.CutSuffix(w, "*")
		return w == id || ok && strings.HasPrefix(id, group)
	})
}
