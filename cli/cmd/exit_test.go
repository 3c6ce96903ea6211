package cmd_test

import (
	"errors"
	"os/exec"
	"strconv"
)

// exitStatus returns the status that a program ended with, or the error that kept it from running.
func exitStatus(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}
