package main

import (
	"os"
	"testing"
)

// TestChangedRecipesAreMadeAnew checks that a path depends on the recipe and those that it needs.
func TestChangedRecipesAreMadeAnew(t *testing.T) {
	at := func(args string) string {
		k, err := newKitchen(t.TempDir(), []recipe{
			{file: "a.mp4", args: args},
			{file: "b.mp4", args: "-i {a.mp4} -c copy"},
			{file: "c.mp4", from: []string{"b.mp4"}, build: joined},
		})
		if err != nil {
			t.Fatal(err)
		}
		hash, err := k.hash("c.mp4")
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	if first := at("-f lavfi -i color"); first != at("-f lavfi -i color") || first == at("-f lavfi -i testsrc") {
		t.Errorf("hash %s does not follow the recipe", first)
	}
}

// TestDamagedInputs makes the inputs with changed boxes, and checks them with ffprobe.
func TestDamagedInputs(t *testing.T) {
	k, err := newKitchen(t.TempDir(), recipes())
	if err != nil {
		t.Fatal(err)
	}
	made := func(name string) string {
		path, err := k.make(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	second, err := probe(t.Context(), made("r01.mov"), "a:1")
	if err != nil || second.Codec != "" && second.Codec != "unknown" {
		t.Errorf("the second sound of r01.mov is %q, %v; want no codec", second.Codec, err)
	}
	empty, err := probe(t.Context(), made("r49b.mp4"), audible)
	if err != nil || len(empty.packets) != 0 {
		t.Errorf("the sound of r49b.mp4 has %d packets, %v; want none", len(empty.packets), err)
	}
	if data, err := probe(t.Context(), made("r12.mp4"), "d:0"); err != nil || data.Kind != "data" {
		t.Errorf("r12.mp4 has a track of %q, %v; want data", data.Kind, err)
	}
	cast, err := os.ReadFile(made("r05.webm"))
	if err != nil || len(cast) < 10000 {
		t.Errorf("r05.webm has %d bytes, %v", len(cast), err)
	}
}
