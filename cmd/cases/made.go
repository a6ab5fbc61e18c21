package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// recipe says how an input is made: by ffmpeg with args, or by build from other inputs.
type recipe struct {
	file string // its name, which is what it is uploaded as
	// args are ffmpeg's, separated by blanks, without the output. {NAME} stands for the path of another input,
	// which is made first.
	args  string
	piped bool // the output goes through a pipe, so that ffmpeg cannot go back and write a length or an index
	// from are the inputs of build, which returns the bytes of the file. Version is to be raised with each
	// change of build, as what is cached is known by it.
	from    []string
	version int
	build   func(inputs [][]byte) ([]byte, error)
}

// kitchen makes inputs from recipes, each once, and keeps them in a folder for later runs. What a recipe
// makes lies below a hash of the recipe and of those that it builds on, so a changed one is made anew.
type kitchen struct {
	dir     string
	recipes map[string]recipe
}

func newKitchen(dir string, all []recipe) (*kitchen, error) {
	k := &kitchen{dir: dir, recipes: map[string]recipe{}}
	for _, r := range all {
		if _, twice := k.recipes[r.file]; twice {
			return nil, fmt.Errorf("two recipes make %s", r.file)
		}
		k.recipes[r.file] = r
	}
	return k, os.MkdirAll(dir, 0o755)
}

// placeholder is the name of another input in a recipe's arguments.
var placeholder = regexp.MustCompile(`\{([a-z0-9_.]+)\}`)

// needs lists the inputs that a recipe builds on.
func (r recipe) needs() []string {
	needs := r.from
	for _, m := range placeholder.FindAllStringSubmatch(r.args, -1) {
		needs = append(needs, m[1])
	}
	return needs
}

// path returns where an input lies, made or not.
func (k *kitchen) path(name string) (string, error) {
	hash, err := k.hash(name)
	return filepath.Join(k.dir, hash, name), err
}

func (k *kitchen) hash(name string) (string, error) {
	r, ok := k.recipes[name]
	if !ok {
		return "", fmt.Errorf("no recipe makes %s", name)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%v\n%d\n", r.file, r.args, r.piped, r.version)
	for _, n := range r.needs() {
		hash, err := k.hash(n)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintln(h, hash)
	}
	return fmt.Sprintf("%.6x", h.Sum(nil)), nil
}

// make returns the path of an input, which is made when it is not there.
func (k *kitchen) make(ctx context.Context, name string) (string, error) {
	path, err := k.path(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	r := k.recipes[name]
	paths := map[string]string{}
	for _, n := range r.needs() {
		if paths[n], err = k.make(ctx, n); err != nil {
			return "", err
		}
	}
	unfinished := filepath.Join(filepath.Dir(path), "unfinished-"+name) // ffmpeg goes by the ending
	if r.build != nil {
		err = r.assemble(paths, unfinished)
	} else {
		err = r.encode(ctx, paths, unfinished)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("make %s: %w", name, err), removeIfThere(unfinished))
	}
	return path, os.Rename(unfinished, path)
}

func (r recipe) assemble(paths map[string]string, out string) error {
	var inputs [][]byte
	for _, n := range r.from {
		raw, err := os.ReadFile(paths[n])
		if err != nil {
			return err
		}
		inputs = append(inputs, raw)
	}
	raw, err := r.build(inputs)
	if err != nil {
		return err
	}
	return os.WriteFile(out, raw, 0o644)
}

func (r recipe) encode(ctx context.Context, paths map[string]string, out string) error {
	args := []string{"-nostdin", "-v", "error", "-y"}
	for _, a := range strings.Fields(r.args) {
		args = append(args, placeholder.ReplaceAllStringFunc(a, func(p string) string {
			return paths[p[1:len(p)-1]]
		}))
	}
	if r.piped {
		raw, err := output(ctx, "ffmpeg", append(args, "-")...)
		if err != nil {
			return err
		}
		return os.WriteFile(out, raw, 0o644)
	}
	_, err := output(ctx, "ffmpeg", append(args, out)...)
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
