//go:build !linux

package process

import (
	"os/exec"
	"strconv"
	"strings"
)

// stampOf is the start time of a process as ps(1) tells it; ok is false if there is no such process or it
// is a zombie.
func stampOf(pid int) (stamp string, ok bool) {
	raw, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	state, started, found := strings.Cut(strings.TrimSpace(string(raw)), " ")
	if err != nil || !found || strings.HasPrefix(state, "Z") {
		return "", false
	}
	return strings.TrimSpace(started), true
}
