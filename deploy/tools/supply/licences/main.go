// The program licences checks that every module that is linked into ReelMill has a permissive licence, and
// writes the notices that those licences want to be passed on with a binary.
//
// usage: licences [-notices FILE] DIR PACKAGE
//
// It prints a line for each module. It fails when a module has no licence file, when a file is of no known
// licence, when a licence is not allowed (allowed.go), and when an exception is not needed any more. FILE
// gets the text of every licence and notice, that of Go's standard library included.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/deploy/tools/supply/linked"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("licences", flag.ContinueOnError)
	notices := flags.String("notices", "", "write the text of all licences and notices into this file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errors.New("usage: licences [-notices FILE] DIR PACKAGE")
	}
	modules, err := linked.Of(ctx, flags.Arg(0), flags.Arg(1))
	if err != nil {
		return err
	}
	standard, err := standardLibrary(ctx)
	if err != nil {
		return err
	}
	modules = append(modules, standard)
	texts, err := judge(modules, allowed, exceptions, out)
	if err != nil || *notices == "" {
		return err
	}
	return os.WriteFile(*notices, texts, 0o644)
}

// standardLibrary is Go's, which every program links.
func standardLibrary(ctx context.Context) (linked.Module, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) != 2 {
		return linked.Module{}, fmt.Errorf("go env GOROOT GOVERSION: %q, %w", out, err)
	}
	return linked.Module{Path: "std", Version: words[1], Dir: words[0]}, nil
}

// judge prints the licences of each module, and returns the text of all. The error names every file that is
// not allowed.
func judge(modules []linked.Module, allowed map[string]bool, exceptions map[string]exception, out io.Writer) (
	texts []byte, err error,
) {
	var all bytes.Buffer
	fmt.Fprintf(&all, "Licences and notices of the code that is linked into ReelMill.\n")
	unused, wrong := maps.Clone(exceptions), []error{}
	for _, m := range modules {
		files, err := m.Licences()
		if err != nil {
			return nil, err
		}
		licences := 0
		for _, f := range files {
			fmt.Fprintf(&all, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, f.Name,
				bytes.TrimSpace(f.Text))
			if f.Notice {
				continue
			}
			licences++
			key := m.Path + " " + filepath.ToSlash(f.Name)
			read, ok := exceptions[key]
			delete(unused, key)
			fmt.Fprintf(out, "%-55s %-12s %-25s %s\n", m.Path, m.Version, names(f.IDs), read.reason)
			if !ok || read.sum != sumOf(f.Text) {
				wrong = append(wrong, refuse(m, f, allowed))
			}
		}
		if licences == 0 {
			wrong = append(wrong, fmt.Errorf("%s %s has no licence file in %s", m.Path, m.Version, m.Dir))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(unused)) {
		wrong = append(wrong, fmt.Errorf("the exception for %q is not needed: remove it from allowed.go", key))
	}
	return all.Bytes(), errors.Join(wrong...)
}

// refuse returns why a licence file is not allowed; nil if it is.
func refuse(m linked.Module, f linked.File, allowed map[string]bool) error {
	if len(f.IDs) == 0 {
		return fmt.Errorf("%s %s: %s (%s) is of no known licence: read it, and add it to the exceptions of allowed.go "+
			"if it asks only for notices", m.Path, m.Version, f.Path, sumOf(f.Text))
	}
	for _, id := range f.IDs {
		if !allowed[id] {
			return fmt.Errorf("%s %s: %s is %s, which is not in the list of allowed.go",
				m.Path, m.Version, f.Path, id)
		}
	}
	return nil
}

// sumOf returns the sum of a text as in exception.
func sumOf(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text))[:16] }

func names(ids []string) string {
	if len(ids) == 0 {
		return "unknown"
	}
	return strings.Join(ids, " and ")
}
