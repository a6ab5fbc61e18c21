// The program sbom writes what a built reelmill is made of, and the ffmpeg that it would run on this machine,
// as CycloneDX 1.6 JSON.
//
// usage: sbom [-licences DIR] BINARY
//
//  1. The modules are those that the Go linker wrote into BINARY, as `go version -m` prints them.
//  2. Their licences are looked up among the linked modules of the sources in DIR; without it they are left
//     out.
//  3. ffmpeg is asked for its version and its configuration; dpkg, if there is one, for the packages and
//     versions of ffmpeg and of the libraries that it loads, such as libx264 and libx265.
//
// The same binary on the same machine gives the same bytes: there is no time and no random number in them.
package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/reelmill/reelmill/deploy/tools/supply/linked"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	sources := flags.String("licences", "", "folder of the main module, to look up licences")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: sbom [-licences DIR] BINARY")
	}
	info, err := buildinfo.ReadFile(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("read what %s was built from: %w", flags.Arg(0), err)
	}
	licences, err := licencesOf(ctx, *sources, info.Path)
	if err != nil {
		return err
	}
	program, err := describe(flags.Arg(0), info)
	if err != nil {
		return err
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &program}
	parts := modules(info, licences)
	ffmpeg, libraries, err := describeFFmpeg(ctx)
	if err != nil {
		return err
	}
	bom.Dependencies = &[]cdx.Dependency{
		{Ref: program.BOMRef, Dependencies: refs(append(slices.Clone(parts), ffmpeg))},
		{Ref: ffmpeg.BOMRef, Dependencies: refs(libraries)},
	}
	parts = slices.Concat(parts, []cdx.Component{ffmpeg}, libraries)
	bom.Components = &parts
	encoder := cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	return encoder.EncodeVersion(bom, cdx.SpecVersion1_6)
}

// describe returns the component of the program itself.
func describe(path string, info *debug.BuildInfo) (c cdx.Component, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	settings := []cdx.Property{{Name: "go:version", Value: info.GoVersion}}
	version := info.Main.Version
	for _, s := range info.Settings {
		settings = append(settings, cdx.Property{Name: "go:build:" + strings.TrimLeft(s.Key, "-"), Value: s.Value})
		if _, word, ok := strings.Cut(s.Value, "-X main.version="); s.Key == "-ldflags" && ok {
			version, _, _ = strings.Cut(word, " ")
		}
	}
	purl := golang(info.Main.Path, version)
	return cdx.Component{
		BOMRef: purl, Type: cdx.ComponentTypeApplication, Name: info.Main.Path, Version: version, PackageURL: purl,
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: fmt.Sprintf("%x", sha256.Sum256(data))}},
		Properties: &settings,
	}, nil
}

// modules returns the components of the linked modules, and of Go's standard library.
func modules(info *debug.BuildInfo, licences map[string][]string) []cdx.Component {
	std := cdx.Component{
		BOMRef: golang("std", info.GoVersion), Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion,
		PackageURL: golang("std", info.GoVersion),
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "BSD-3-Clause"}}},
	}
	all := []cdx.Component{std}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := cdx.Component{
			BOMRef: golang(m.Path, m.Version), Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version,
			PackageURL: golang(m.Path, m.Version),
			Properties: &[]cdx.Property{{Name: "go:sum", Value: m.Sum}},
		}
		if ids := licences[m.Path+"@"+m.Version]; len(ids) > 0 {
			c.Licenses = &cdx.Licenses{}
			for _, id := range ids {
				*c.Licenses = append(*c.Licenses, cdx.LicenseChoice{License: &cdx.License{ID: id}})
			}
		}
		all = append(all, c)
	}
	return all
}

// licencesOf returns the SPDX ids of linked modules, by path@version; nothing if dir is empty.
func licencesOf(ctx context.Context, dir, pkg string) (map[string][]string, error) {
	if dir == "" {
		return nil, nil
	}
	all, err := linked.Of(ctx, dir, pkg)
	if err != nil {
		return nil, err
	}
	licences := map[string][]string{}
	for _, m := range all {
		files, err := m.Licences()
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, f := range files {
			ids = append(ids, f.IDs...)
		}
		slices.Sort(ids)
		licences[m.Path+"@"+m.Version] = slices.Compact(ids)
	}
	return licences, nil
}

func refs(components []cdx.Component) *[]string {
	all := []string{}
	for _, c := range components {
		all = append(all, c.BOMRef)
	}
	return &all
}

// golang returns the package URL of a Go module. Source: the purl specification, type golang.
func golang(path, version string) string {
	return "pkg:golang/" + path + "@" + url.PathEscape(version)
}
