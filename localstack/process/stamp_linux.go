package process

import (
	"fmt"
	"os"
	"strings"
)

// stampOf is the start time of a process in clock ticks since boot with the boot's id, from proc(5); ok is
// false if there is no such process or it is a zombie.
func stampOf(pid int) (stamp string, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The program's name is in parentheses and may contain anything; what follows the last one is field 3 and up.
	_, rest, found := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", false
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", false
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], true
}
