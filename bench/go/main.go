// bench WORKLOAD ENDPOINT THREADS N: run one workload on etcd's own Go client, with
// a goroutine for each thread, and print one line of JSON. Exits with 1 when an
// operation failed or did not do what it should.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	keyCount = 10000
	valueLen = 100
)

var values = [2]string{strings.Repeat("a", valueLen), strings.Repeat("b", valueLen)}

func keyAt(i int) string { return fmt.Sprintf("bench/key/%014d", i) }

// 1 when the operation failed or did not do what it should.
func failed(what string, done bool, err error) int {
	if err == nil && !done {
		err = errors.New("not done")
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "go: %s: %v\n", what, err)
	return 1
}

// One operation of one goroutine after the other.
type worker struct {
	client    client
	workload  string
	keys      []string
	ownKey    string
	random    uint32
	errors    int
	latencies []time.Duration
}

func (w *worker) step(i int) {
	w.random = w.random*1664525 + 1013904223
	key := w.keys[int(w.random>>8)%keyCount]
	done, err := true, error(nil)
	switch w.workload {
	case "get":
		var value string
		value, err = w.client.get(key)
		done = len(value) == valueLen
	case "put":
		err = w.client.put(key, values[i%2])
	default: // succeeds only after the last one took effect
		done, err = w.client.tas(w.ownKey, values[i%2], values[(i+1)%2])
	}
	w.errors += failed(w.workload, done, err)
}

// What was put is what is got.
func checkPut(c client, key string) int {
	count := 0
	for _, value := range []string{values[1], values[0]} {
		count += failed("check", true, c.put(key, value))
		got, err := c.get(key)
		count += failed("check", got == value, err)
	}
	return count
}

func runThreads(workload, endpoint string, threads, n int) (*run, error) {
	c, err := open(endpoint)
	if err != nil {
		return nil, err
	}
	defer c.close()
	keys := make([]string, keyCount)
	for i := range keys {
		keys[i] = keyAt(i)
	}
	each := n / threads
	warm := each / 10
	workers := make([]*worker, threads)
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for id := range workers {
		w := &worker{client: c, workload: workload, keys: keys,
			ownKey: fmt.Sprintf("bench/tas/%014d", id), random: uint32(12345 + 977*id),
			latencies: make([]time.Duration, each)}
		workers[id] = w
		ready.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			w.errors += failed("put", true, c.put(w.ownKey, values[0]))
			for i := range warm {
				w.step(i)
			}
			ready.Done()
			<-start
			for i := range each {
				begin := time.Now()
				w.step(warm + i)
				w.latencies[i] = time.Since(begin)
			}
		}()
	}
	ready.Wait()
	r := &run{calls: (warm + each) * threads}
	r.timed(func() {
		close(start)
		done.Wait()
	})
	for _, w := range workers {
		r.errors += w.errors
		r.latencies = append(r.latencies, w.latencies...)
	}
	r.errors += checkPut(c, keys[0])
	return r, nil
}

// once before the clock starts, then n times.
func runOne(what string, n int, once func() (bool, error)) *run {
	r := &run{calls: n + 1, latencies: make([]time.Duration, n)}
	try := func() {
		done, err := once()
		r.errors += failed(what, done, err)
	}
	try()
	r.timed(func() {
		for i := range n {
			begin := time.Now()
			try()
			r.latencies[i] = time.Since(begin)
		}
	})
	return r
}

func runOpen(endpoint string, n int) *run {
	return runOne("open", n, func() (bool, error) {
		c, err := open(endpoint)
		if err != nil {
			return false, err
		}
		value, err := c.get(keyAt(0))
		return len(value) == valueLen, errors.Join(err, c.close())
	})
}

func runRange(endpoint string, n int) (*run, error) {
	c, err := open(endpoint)
	if err != nil {
		return nil, err
	}
	defer c.close()
	first, last := keyAt(0), keyAt(keyCount-1)
	return runOne("range", n, func() (bool, error) {
		pairs, err := c.getRange(first, last)
		bytes := 0
		for _, p := range pairs {
			bytes += len(p.key) + len(p.value)
		}
		return len(pairs) == keyCount && bytes == keyCount*(len(first)+valueLen), err
	}), nil
}

func runWatch(endpoint string, n int) (*run, error) {
	const key = "bench/wch/00000000000000"
	c, err := open(endpoint)
	if err != nil {
		return nil, err
	}
	defer c.close()
	heard := make(chan time.Time, 1)
	if err := c.watch(key, func() { heard <- time.Now() }); err != nil {
		return nil, err
	}
	warm := n / 10
	r := &run{calls: warm + n, latencies: make([]time.Duration, n)}
	putAndHear := func(i int) (latency time.Duration) {
		begin := time.Now()
		r.errors += failed("watch", true, c.put(key, values[i%2]))
		select {
		case at := <-heard:
			latency = at.Sub(begin)
		case <-time.After(timeout):
			r.errors += failed("watch", false, nil)
		}
		return latency
	}
	for i := range warm {
		putAndHear(i)
	}
	r.timed(func() {
		for i := 0; i < n && r.errors == 0; i++ {
			r.latencies[i] = putAndHear(i)
		}
	})
	r.errors += len(heard) // one too many
	return r, nil
}

func measure(workload, endpoint string, threads, n int) (*run, error) {
	switch workload {
	case "get", "put", "tas":
		return runThreads(workload, endpoint, threads, n)
	case "open":
		return runOpen(endpoint, n), nil
	case "range":
		return runRange(endpoint, n)
	case "watch":
		return runWatch(endpoint, n)
	}
	return nil, fmt.Errorf("no workload %s", workload)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: bench WORKLOAD ENDPOINT THREADS N")
		os.Exit(2)
	}
	threads, err1 := strconv.Atoi(os.Args[3])
	n, err2 := strconv.Atoi(os.Args[4])
	err := errors.Join(err1, err2)
	var r *run
	if err == nil {
		r, err = measure(os.Args[1], os.Args[2], threads, n)
	}
	if err == nil {
		err = r.print(os.Args[1], threads)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(2)
	}
	if r.errors > 0 {
		os.Exit(1)
	}
}
