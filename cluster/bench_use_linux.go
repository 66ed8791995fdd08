package cluster

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// useOf asks the kernel.
func useOf(pid int) (u processUse, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processUse{}, err
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return processUse{}, err
	}
	if u.cpu, err = parseCPU(string(stat)); err != nil {
		return processUse{}, err
	}
	u.rss, u.anon, err = parseMemory(string(statm))
	return u, err
}

// errProc is a line of another form than proc(5) says.
var errProc = errors.New("not what /proc should say of a process")

// parseCPU reads a line of /proc/PID/stat. Its second field is the program's name
// in brackets, which may itself have spaces and brackets.
func parseCPU(line string) (time.Duration, error) {
	const (
		// The fields count from the third.
		userTime, systemTime = 14 - 3, 15 - 3
		// tick is USER_HZ, which is 100 on every system that Go runs on.
		tick = time.Second / 100
	)
	ticks, err := numbers(line[strings.LastIndexByte(line, ')')+1:], userTime, systemTime)
	if err != nil {
		return 0, err
	}
	return time.Duration(ticks[0]+ticks[1]) * tick, nil
}

// parseMemory reads a line of /proc/PID/statm.
func parseMemory(line string) (rss, anon uint64, err error) {
	const resident, shared = 1, 2
	pages, err := numbers(line, resident, shared)
	if err != nil {
		return 0, 0, err
	}
	page := uint64(os.Getpagesize())
	return pages[0] * page, (pages[0] - min(pages[0], pages[1])) * page, nil
}

// numbers are two fields of a line, counted from 0.
func numbers(line string, first, second int) (values [2]uint64, err error) {
	// bits bounds them, such that a time of so many ticks is one still.
	const bits = 38
	fields := strings.Fields(line)
	if len(fields) <= max(first, second) {
		return values, errProc
	}
	for i, field := range []int{first, second} {
		if values[i], err = strconv.ParseUint(fields[field], 10, bits); err != nil {
			return values, fmt.Errorf("%w: %w", errProc, err)
		}
	}
	return values, nil
}
