//go:build amd64 || arm64

package sandbox

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// libraryFolders are where libraries are when the loader does not say, or when a program loads them later.
var libraryFolders = []string{
	"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/ld-musl-x86_64.path",
	"/etc/ld-musl-aarch64.path",
}

// needsOf finds out what a program needs. It starts the program, which is the operator's and not an uploaded
// file, only as far as its loader, which lists the libraries. Source of the variable: ld.so(8).
func needsOf(ctx context.Context, program string) (needs, error) {
	n := needs{execute: []string{program}}
	f, err := elf.Open(program)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) {
			return n, fmt.Errorf("%s is not a binary but perhaps a script, which the sandbox does not run: "+
				"put the real program first in PATH", program)
		}
		return n, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	loader, err := interpreter(f)
	if loader == "" || err != nil {
		return n, err // static
	}
	n.execute = append(n.execute, loader)
	n.libraries = slices.Clone(libraryFolders)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = []string{"LD_TRACE_LOADED_OBJECTS=1"}
	list, err := cmd.Output()
	if ctx.Err() != nil {
		return n, fmt.Errorf("list the libraries of %s: %w", program, context.Cause(ctx))
	}
	if err != nil {
		return n, nil // another kind of loader; the usual folders have to do
	}
	n.addLibraries(list)
	return n, nil
}

// addLibraries adds the libraries in a list of the loader, with lines as
// "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x...)". Outside the usual folders it adds the file alone:
// beside it, there may be anything.
func (n *needs) addLibraries(list []byte) {
	for line := range bytes.Lines(list) {
		_, path, _ := strings.Cut(string(line), "=> ")
		path, _, _ = strings.Cut(path, " (")
		if filepath.IsAbs(path) && !n.covers(path) {
			n.libraries = append(n.libraries, path)
		}
	}
}

// covers reports whether a file is one of the libraries, or below a folder of them.
func (n *needs) covers(file string) bool {
	return slices.ContainsFunc(n.libraries, func(l string) bool {
		return file == l || strings.HasPrefix(file, l+"/")
	})
}

// interpreter returns the dynamic loader of a program; empty for a static one.
func interpreter(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, min(p.Filesz, 4096))
		if _, err := p.ReadAt(name, 0); err != nil {
			return "", fmt.Errorf("read the loader of the program: %w", err)
		}
		return string(bytes.TrimRight(name, "\x00")), nil
	}
	return "", nil
}

// self is this program, also after its file was replaced.
const self = "/proc/self/exe"

// resolve returns the file that a path leads to.
func resolve(path string) (string, error) {
	if path == self {
		return path, nil
	}
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
