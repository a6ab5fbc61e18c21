package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// recipe makes an input: with ffmpeg and args, or with build from other inputs.
type recipe struct {
	file string // its name, also in the upload
	// args are arguments of ffmpeg, separated by blanks, without the output. {NAME} stands for the path of
	// another input, which is made first.
	args  string
	piped bool // the output goes through a pipe, so that ffmpeg cannot go back and write a length or an index
	// from are the inputs of build, which returns the bytes of the file. Raise version with each change of
	// build, since it identifies the cached file.
	from    []string
	version int
	build   func(inputs [][]byte) ([]byte, error)
}

// kitchen makes inputs from recipes, each once, and keeps them in a folder for later runs. The path of an
// input has a hash of its recipe and of those that it needs, so a changed recipe makes a new file.
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

// placeholder matches the name of another input in the arguments of a recipe.
var placeholder = regexp.MustCompile(`\{([a-z0-9_.]+)\}`)

// needs lists the inputs that a recipe needs.
func (r recipe) needs() []string {
	needs := r.from
	for _, m := range placeholder.FindAllStringSubmatch(r.args, -1) {
		needs = append(needs, m[1])
	}
	return needs
}

// path returns the path of an input, made or not.
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

// make returns the path of an input, and makes it if it is missing.
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
	dir, err := os.MkdirTemp(filepath.Dir(path), "unfinished-") // others may make the same file
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	unfinished := filepath.Join(dir, name) // ffmpeg needs the extension
	if r.build != nil {
		err = r.assemble(paths, unfinished)
	} else {
		err = r.encode(ctx, paths, unfinished)
	}
	if err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
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
