package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// videoExtensions are the ends of names of files that are taken from a folder. A file that is named itself
// may be called anything.
func videoExtensions() []string {
	return []string{
		".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
		".mxf", ".ogv", ".ts", ".webm", ".wmv",
	}
}

// found is what was found below files and folders.
type found struct {
	files   []string
	skipped []string // files that are no videos by their names, or no files at all
	failed  []error  // what could not be read
}

// gather lists addresses and files, and the videos in folders, in the order given; the files of a folder are
// in that of their names. It leaves out what begins with a dot, and follows no link in a folder.
func gather(paths []string) (all found) {
	for _, path := range paths {
		if isAddress(path) {
			all.files = append(all.files, path)
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			all.failed = append(all.failed, err)
		case info.IsDir():
			all.walk(path)
		default:
			all.files = append(all.files, path)
		}
	}
	return all
}

// walk adds the videos of a folder.
func (f *found) walk(root string) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		hidden := path != root && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			f.failed = append(f.failed, err)
			return fs.SkipDir
		case entry.IsDir() && hidden:
			return fs.SkipDir
		case entry.IsDir(), hidden:
		case entry.Type().IsRegular() && isVideo(path):
			f.files = append(f.files, path)
		default:
			f.skipped = append(f.skipped, path)
		}
		return nil
	})
	if err != nil {
		f.failed = append(f.failed, err)
	}
}

// isVideo reports whether a file is a video by its name.
func isVideo(path string) bool {
	return slices.Contains(videoExtensions(), strings.ToLower(filepath.Ext(path)))
}

// maxNamed is how many skipped files are named; the others are counted.
const maxNamed = 10

// note says which files were skipped; it is empty when none was.
func (f *found) note() string {
	if len(f.skipped) == 0 {
		return ""
	}
	named := f.skipped[:min(len(f.skipped), maxNamed)]
	text := "skipped, since by their names they are no videos: " + strings.Join(named, ", ")
	if more := len(f.skipped) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
