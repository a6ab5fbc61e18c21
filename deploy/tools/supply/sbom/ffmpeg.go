package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// describeFFmpeg returns the component of the ffmpeg in PATH, and those of the packages whose libraries it
// loads. Without dpkg there are no packages: the configuration still names the external libraries.
func describeFFmpeg(ctx context.Context) (c cdx.Component, libraries []cdx.Component, err error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return c, nil, fmt.Errorf("find ffmpeg, whose version belongs into the list: %w", err)
	}
	out, err := exec.CommandContext(ctx, path, "-version").Output()
	if err != nil {
		return c, nil, fmt.Errorf("%s -version: %w", path, err)
	}
	version, config, err := parseVersion(string(out))
	if err != nil {
		return c, nil, err
	}
	properties := []cdx.Property{{Name: "ffmpeg:configuration", Value: config}}
	for _, name := range external(config) {
		properties = append(properties, cdx.Property{Name: "ffmpeg:external-library", Value: name})
	}
	packages, err := packagesOf(ctx, path)
	if err != nil {
		return c, nil, err
	}
	own := packages[path]
	delete(packages, path)
	if own.name != "" {
		properties = append(properties, cdx.Property{Name: "debian:package", Value: own.name + " " + own.version})
	}
	c = cdx.Component{
		BOMRef: "pkg:generic/ffmpeg@" + url.PathEscape(version), Type: cdx.ComponentTypeApplication, Name: "ffmpeg",
		Version: version, PackageURL: "pkg:generic/ffmpeg@" + url.PathEscape(version), Properties: &properties,
		CPE: "cpe:2.3:a:ffmpeg:ffmpeg:" + cpeVersion(version) + ":*:*:*:*:*:*:*",
	}
	known := map[debian]bool{own: true}
	for _, file := range slices.Sorted(maps.Keys(packages)) {
		if p := packages[file]; !known[p] {
			known[p] = true
			libraries = append(libraries, cdx.Component{
				BOMRef: p.purl(), Type: cdx.ComponentTypeLibrary, Name: p.name, Version: p.version, PackageURL: p.purl(),
			})
		}
	}
	slices.SortFunc(libraries, func(a, b cdx.Component) int { return strings.Compare(a.Name, b.Name) })
	return c, libraries, nil
}

// parseVersion reads "ffmpeg version 5.1.9-0+deb12u1 Copyright ..." and the line "configuration: ...".
func parseVersion(out string) (version, config string, err error) {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if words := strings.Fields(line); version == "" && len(words) > 2 && words[1] == "version" {
			version = words[2]
		}
		if rest, ok := strings.CutPrefix(line, "configuration:"); ok {
			config = strings.TrimSpace(rest)
		}
	}
	if version == "" {
		return "", "", fmt.Errorf("ffmpeg -version: unknown answer %.80q", out)
	}
	return version, config, nil
}

// external returns the names of the external libraries that a configuration enables: "libx264" of
// "--enable-libx264". Those that are not called lib are left to the configuration line.
func external(config string) (names []string) {
	for word := range strings.FieldsSeq(config) {
		if name, ok := strings.CutPrefix(word, "--enable-"); ok && strings.HasPrefix(name, "lib") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// cpeVersion returns the release without what a distribution adds, "5.1.9" of "n5.1.9-0+deb12u1"; "-" if
// there is none.
func cpeVersion(version string) string {
	version = strings.TrimPrefix(version, "n")
	end := strings.IndexFunc(version, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(version)
	}
	if version = version[:end]; !strings.Contains(version, ".") {
		return "-"
	}
	return version
}

// debian is a package of Debian or a descendant.
type debian struct{ name, version, arch, distro string }

func (d debian) purl() string {
	return fmt.Sprintf("pkg:deb/%s/%s@%s?arch=%s", d.distro, d.name, url.PathEscape(d.version), d.arch)
}

// packagesOf returns the packages of a program and of the libraries that it loads, by file. It returns none
// where there is no dpkg, and none for files that no package owns.
func packagesOf(ctx context.Context, program string) (map[string]debian, error) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return nil, nil //nolint:nilerr // not a Debian
	}
	files := map[string]string{} // by their names in packages
	add := func(file string) {
		files[file] = file
		if real, err := filepath.EvalSymlinks(file); err == nil { // /lib is a link to /usr/lib
			files[real] = file
		}
	}
	add(program)
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if _, static := errors.AsType[*exec.ExitError](err); err != nil && !static {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 2 && words[1] == "=>" && filepath.IsAbs(words[2]) {
			add(words[2])
		}
	}
	owners, err := query(ctx, append([]string{"-S"}, slices.Sorted(maps.Keys(files))...))
	if err != nil {
		return nil, err
	}
	return versionsOf(ctx, files, owners)
}

// versionsOf reads "package:arch: file" lines, and asks for the versions of the packages.
func versionsOf(ctx context.Context, files map[string]string, owners string) (map[string]debian, error) {
	names := map[string]string{} // by file
	for line := range strings.Lines(owners) {
		if owner, file, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && files[file] != "" {
			names[files[file]], _, _ = strings.Cut(owner, ",")
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	asked := slices.Compact(slices.Sorted(maps.Values(names)))
	out, err := query(ctx, append([]string{
		"-W", "-f", "${Package} ${binary:Package} ${Version} ${Architecture} ${Origin}\n",
	}, asked...))
	if err != nil {
		return nil, err
	}
	known := map[string]debian{}
	for line := range strings.Lines(out) {
		if w := strings.Fields(line); len(w) >= 4 {
			d := debian{name: w[0], version: w[2], arch: w[3], distro: "debian"}
			if len(w) > 4 {
				d.distro = strings.ToLower(w[4])
			}
			known[w[0]], known[w[1]], known[w[0]+":"+w[3]] = d, d, d
		}
	}
	packages := map[string]debian{}
	for file, name := range names {
		if d, ok := known[name]; ok {
			packages[file] = d
		}
	}
	return packages, nil
}

// query runs dpkg-query. It exits with 1 when some of what it is asked for is unknown, and prints the rest.
func query(ctx context.Context, args []string) (string, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("dpkg-query %s: %w", args[0], err)
	}
	return string(out), nil
}
