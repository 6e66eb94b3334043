package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"time"
)

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// What the process used: processor time, and how often a thread gave up its core.
func usage() (time.Duration, int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), int64(u.Nvcsw)
}

type run struct {
	wall, cpu time.Duration
	switches  int64
	latencies []time.Duration // one for each operation of the timed part
	calls     int             // all operations, with those before the clock started
	errors    int
}

func (r *run) timed(f func()) {
	cpu, switches := usage()
	start := time.Now()
	f()
	r.wall = time.Since(start)
	cpuAfter, switchesAfter := usage()
	r.cpu, r.switches = cpuAfter-cpu, switchesAfter-switches
}

func (r *run) print(workload string, threads int) error {
	slices.Sort(r.latencies)
	n := len(r.latencies)
	line, err := json.Marshal(map[string]any{
		"client":   "go",
		"workload": workload,
		"threads":  threads,
		"n":        n,
		"calls":    r.calls,
		"errors":   r.errors,
		"ops_s":    float64(n) / r.wall.Seconds(),
		"cpu_us":   microseconds(r.cpu) / float64(n),
		"switches": float64(r.switches) / float64(n),
		"p50_us":   microseconds(r.latencies[(n-1)/2]),
		"p99_us":   microseconds(r.latencies[(n-1)*99/100]),
	})
	if err == nil {
		fmt.Println(string(line))
	}
	return err
}
