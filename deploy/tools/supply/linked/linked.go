// Package linked finds the modules that are linked into a program, and the licences that they carry.
//
//  1. Of asks `go list -deps` for the packages of the program on every platform, and groups them by module.
//  2. Licences reads the licence files of a module: those at its root, and those between the root and each
//     linked package, since a module may hold code of others under other licences.
//  3. Each file is compared with the known licences. A file that is not nearly all known text is unknown.
//
// It does not read the licence headers of source files, and does not judge licences; the program licences
// does.
package linked

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// Platforms are those that ReelMill is built for, as GOOS/GOARCH.
var Platforms = []string{"linux/amd64", "linux/arm64"}

// Module is a module with code in a program.
type Module struct {
	Path    string
	Version string   // of the main module: empty
	Dir     string   // its root on this machine
	Folders []string // of its linked packages, sorted
}

// Of returns the modules that are linked into package pkg of the main module at dir, sorted by path: on any
// of the Platforms, without cgo, and without the main module and the standard library.
func Of(ctx context.Context, dir, pkg string) ([]Module, error) {
	modules := map[string]*Module{}
	folders := map[string]map[string]bool{}
	for _, platform := range Platforms {
		packages, err := list(ctx, dir, pkg, platform)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			m := p.Module
			if modules[m.Path] == nil {
				modules[m.Path] = &Module{Path: m.Path, Version: m.Version, Dir: m.Dir}
				folders[m.Path] = map[string]bool{}
			}
			folders[m.Path][p.Dir] = true
		}
	}
	var all []Module
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		m := *modules[path]
		m.Folders = slices.Sorted(maps.Keys(folders[path]))
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s in %s has no linked module: go list listed none", pkg, dir)
	}
	return all, nil
}

// listed is a package as `go list -json` prints it.
type listed struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
	}
}

func list(ctx context.Context, dir, pkg, platform string) (all []listed, err error) {
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,Standard,Module", pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -deps %s in %s: %w\n%s", pkg, dir, err, &stderr)
	}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var one listed
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the answer of go list: %w", err)
		}
		all = append(all, one)
	}
}

// File is a licence, or a notice that a licence wants to be passed on.
type File struct {
	Path string   // on this machine
	Name string   // below the root of the module
	IDs  []string // SPDX ids, sorted; empty for a notice, and for a licence that is unknown
	Text []byte

	Notice bool // NOTICE, PATENTS, AUTHORS and the like: no licence
}

var (
	licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|unlicense)([-._].*)?$`)
	noticeName  = regexp.MustCompile(`(?i)^(notice|patents|authors|contributors)([-._].*)?$`)
	sourceName  = regexp.MustCompile(`(?i)\.(go|s|c|h|py|sh|js|yaml|yml|json|tmpl)$`)
)

// Licences returns the licence and notice files of a module, sorted by name.
func (m Module) Licences() ([]File, error) {
	folders := map[string]bool{m.Dir: true}
	for _, dir := range m.Folders {
		for strings.HasPrefix(dir, m.Dir+string(filepath.Separator)) {
			folders[dir], dir = true, filepath.Dir(dir)
		}
	}
	var files []File
	for dir := range folders {
		more, err := m.readFolder(dir)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return files, nil
}

func (m Module) readFolder(dir string) (files []File, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		licence, notice := licenceName.MatchString(e.Name()), noticeName.MatchString(e.Name())
		if e.IsDir() || !licence && !notice || sourceName.MatchString(e.Name()) {
			continue
		}
		f := File{Path: filepath.Join(dir, e.Name()), Notice: !licence}
		if f.Name, err = filepath.Rel(m.Dir, f.Path); err != nil {
			return nil, err
		}
		if f.Text, err = os.ReadFile(f.Path); err != nil {
			return nil, err
		}
		if licence {
			f.IDs = Classify(f.Text)
		}
		files = append(files, f)
	}
	return files, nil
}

// mostlyKnown is how much of a licence file must be text of known licences, in percent. The rest is names,
// dates and headings.
const mostlyKnown = 75

// Classify returns the SPDX ids of the licences in a text, sorted; none if less than three quarters of it is
// text of known licences. That a text links to a licence does not count.
func Classify(text []byte) []string {
	cover := licensecheck.Scan(text)
	if cover.Percent < mostlyKnown {
		return nil
	}
	ids := map[string]bool{}
	for _, m := range cover.Match {
		if !m.IsURL {
			ids[m.ID] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}
