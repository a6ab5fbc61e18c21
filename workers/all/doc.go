// Package all lists the workers of ReelMill, one line each. A new worker is a folder beside this one and a
// line in New; a test fails when the line is missing.
package all
