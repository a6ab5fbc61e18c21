//go:build !linux

package main

import "syscall"

// dieWithParent does nothing: only Linux can kill a process with the one that started it.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
