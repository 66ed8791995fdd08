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
func useOf(pid int) (processUse, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processUse{}, err
	}
	return parseUse(string(text))
}

// errStat is a line of another form than proc_pid_stat(5) says.
var errStat = errors.New("not a line of /proc/PID/stat")

// parseUse reads a line of /proc/PID/stat. Its second field is the program's name
// in brackets, which may itself have spaces and brackets.
func parseUse(line string) (processUse, error) {
	const (
		// The fields count from the third.
		userTime, systemTime, residentPages = 14 - 3, 15 - 3, 24 - 3
		// tick is USER_HZ, which is 100 on every system that Go runs on.
		tick = time.Second / 100
		// bits bounds the values, such that a time of so many ticks is one still.
		bits = 38
	)
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) <= residentPages {
		return processUse{}, errStat
	}
	var values [3]uint64
	for i, field := range []int{userTime, systemTime, residentPages} {
		var err error
		if values[i], err = strconv.ParseUint(fields[field], 10, bits); err != nil {
			return processUse{}, fmt.Errorf("%w: %w", errStat, err)
		}
	}
	return processUse{
		cpu: time.Duration(values[0]+values[1]) * tick,
		rss: values[2] * uint64(os.Getpagesize()),
	}, nil
}
