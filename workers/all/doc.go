// Package all lists the workers of ReelMill, one line each. A new worker is a folder beside this one and
// its line in New; a test fails when a folder has none.
package all
