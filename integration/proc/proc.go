// Package proc reads what Linux says of processes (proc(5)): what they hold, whose children they are, what they run.
//
// It changes nothing and waits for nothing.
package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what a process holds, in MiB.
type Memory struct{ Resident, Anonymous float64 }

// MemoryOf reads a process's memory.
func MemoryOf(pid int) (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, err
	}
	return parseRollup(string(b))
}

func parseRollup(text string) (Memory, error) {
	var m Memory
	found := 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "Rss:":
			m.Resident, found = kib/1024, found+1
		case "Anonymous:":
			m.Anonymous, found = kib/1024, found+1
		}
	}
	if found != 2 {
		return m, errors.New("smaps_rollup holds no Rss and Anonymous")
	}
	return m, nil
}

// CPUOf returns the seconds of CPU that a process and the children that it has reaped used.
func CPUOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseCPU(string(b))
}

// parseCPU adds utime, stime, cutime and cstime, in ticks of 1/100 s (proc(5)). The name before may hold anything.
func parseCPU(stat string) (float64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, errors.New("stat is too short")
	}
	var ticks float64
	for _, f := range fields[11:15] {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks / 100, nil
}

// FilesOf counts the files that a process has open.
func FilesOf(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}

// familyOf returns a process and its descendants that run the same program.
func familyOf(pid int) ([]int, error) {
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, child := range All() {
		if parent, err := ParentOf(child); err == nil { // else it has ended
			children[parent] = append(children[parent], child)
		}
	}
	family := []int{pid}
	for i := 0; i < len(family); i++ {
		for _, child := range children[family[i]] {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child)); err == nil && exe == program {
				family = append(family, child)
			}
		}
	}
	return family, nil
}

// AnonymousOf adds up the anonymous memory of a process's family.
func AnonymousOf(pid int) (float64, error) {
	family, err := familyOf(pid)
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, p := range family {
		m, err := MemoryOf(p)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		sum += m.Anonymous
	}
	return sum, nil
}

// All returns the ids of all processes.
func All() (list []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// ParentOf returns the id of a process's parent.
func ParentOf(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseParent(string(b))
}

func parseParent(stat string) (int, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, errors.New("stat is too short")
	}
	return strconv.Atoi(fields[1])
}
