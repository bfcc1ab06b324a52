// Command load is both far ends of the bench: the server that tunnels lead to, and the clients that open them.
// Every client mode prints one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	proxy   = flag.String("proxy", "", "address of the proxy; none: straight to the target")
	plain   = flag.Bool("plain", false, "the proxy leads to the target by itself and wants no CONNECT")
	target  = flag.String("target", "", "address of the server")
	tunnels = flag.Int("tunnels", 1, "how many at once")
	seconds = flag.Float64("seconds", 1, "how long")
	rate    = flag.Int("rate", 100_000, "bytes a second of a slow tunnel")
	fast    = flag.Bool("fast", false, "one tunnel more, as fast as it goes")
)

const block = 256 << 10

func main() {
	flag.Parse()
	modes := map[string]func() any{"bulk": bulk, "churn": churn, "delay": delay, "hold": hold, "fair": fair}
	switch mode := flag.Arg(0); mode {
	case "serve":
		serve(flag.Arg(1))
	default:
		run, known := modes[mode]
		if !known {
			log.Fatalf("no such mode: %q", mode)
		}
		if err := json.NewEncoder(os.Stdout).Encode(run()); err != nil {
			log.Fatal(err)
		}
	}
}

// serve answers what the first line of a connection asks for.
func serve(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go answer(conn)
	}
}

func answer(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	if err != nil {
		return
	}
	var pace int
	switch {
	case line == "echo\n":
		io.Copy(conn, reader)
	case line == "bulk\n":
		zeros := make([]byte, block)
		for err == nil {
			_, err = conn.Write(zeros)
		}
	default:
		if _, err := fmt.Sscanf(line, "paced %d\n", &pace); err != nil {
			return
		}
		portion := make([]byte, pace/20)
		for ticker := time.NewTicker(50 * time.Millisecond); err == nil; <-ticker.C {
			_, err = conn.Write(portion)
		}
	}
}

// open makes a tunnel to the server, which is asked for something by the first line.
func open(line string) (net.Conn, error) {
	address := *proxy
	if address == "" {
		address = *target
	}
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if *proxy != "" && !*plain {
		if err := connect(conn); err != nil {
			conn.Close()
			return nil, err
		}
	}
	if _, err := io.WriteString(conn, line); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// connect asks for the tunnel, byte by byte where it must: what follows the head is the server's.
func connect(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	defer conn.SetDeadline(time.Time{})
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", *target, *target); err != nil {
		return err
	}
	head := make([]byte, 0, 512)
	for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, one[0]) {
		if _, err := conn.Read(one); err != nil {
			return err
		}
	}
	if !strings.Contains(string(head[:min(len(head), 16)]), " 200") {
		return fmt.Errorf("%q", head)
	}
	return nil
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func mustOpen(line string) net.Conn {
	conn, err := open(line)
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

// drain reads until the time is up; how much came.
func drain(conn net.Conn, until time.Time) int64 {
	defer conn.Close()
	conn.SetReadDeadline(until)
	buffer := make([]byte, block)
	var total int64
	for {
		n, err := conn.Read(buffer)
		total += int64(n)
		if err != nil {
			return total
		}
	}
}

// bulk reads over all tunnels as fast as they go.
func bulk() any {
	conns := make([]net.Conn, *tunnels)
	for i := range conns {
		conns[i] = mustOpen("bulk\n")
	}
	began := time.Now()
	until := began.Add(time.Duration(*seconds * float64(time.Second)))
	var total int64
	var group sync.WaitGroup
	for _, conn := range conns {
		group.Add(1)
		go func(conn net.Conn) {
			defer group.Done()
			atomic.AddInt64(&total, drain(conn, until))
		}(conn)
	}
	group.Wait()
	return map[string]any{"bytes": total, "seconds": time.Since(began).Seconds()}
}

// visit opens a tunnel, sends one byte and waits for it; how long that took.
func visit() (time.Duration, error) {
	began := time.Now()
	conn, err := open("echo\nx")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.ReadFull(conn, make([]byte, 1))
	return time.Since(began), err
}

// churn opens and closes tunnels, so many at once, until the time is up.
func churn() any {
	began := time.Now()
	until := began.Add(time.Duration(*seconds * float64(time.Second)))
	var done, failed int64
	var group sync.WaitGroup
	for i := 0; i < *tunnels; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(until) {
				if _, err := visit(); err != nil {
					atomic.AddInt64(&failed, 1)
				} else {
					atomic.AddInt64(&done, 1)
				}
			}
		}()
	}
	group.Wait()
	return map[string]any{"tunnels": done, "failed": failed, "seconds": time.Since(began).Seconds()}
}

// delay opens one tunnel after the other.
func delay() any {
	until := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	var took []float64
	for time.Now().Before(until) {
		one, err := visit()
		if err != nil {
			log.Fatal(err)
		}
		took = append(took, one.Seconds())
		time.Sleep(2 * time.Millisecond)
	}
	sort.Float64s(took)
	return map[string]any{"count": len(took), "p50": took[len(took)/2], "p99": took[len(took)*99/100]}
}

// hold opens tunnels and keeps them until its input ends.
func hold() any {
	conns := make([]net.Conn, *tunnels)
	for i := range conns {
		conns[i] = mustOpen("echo\n")
	}
	fmt.Println(len(conns))
	io.Copy(io.Discard, os.Stdin)
	return map[string]any{"tunnels": len(conns)}
}

// fair reads over slow tunnels, beside a fast one or none; the least and the mean that one of the slow ones got.
func fair() any {
	slow := make([]net.Conn, *tunnels)
	for i := range slow {
		slow[i] = mustOpen(fmt.Sprintf("paced %d\n", *rate))
	}
	until := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	var group sync.WaitGroup
	if *fast {
		conn := mustOpen("bulk\n")
		group.Add(1)
		go func() { defer group.Done(); drain(conn, until) }()
	}
	got := make([]int64, len(slow))
	for i, conn := range slow {
		group.Add(1)
		go func(i int, conn net.Conn) { defer group.Done(); got[i] = drain(conn, until) }(i, conn)
	}
	group.Wait()
	least, total := got[0], int64(0)
	for _, n := range got {
		total += n
		if n < least {
			least = n
		}
	}
	return map[string]any{"least": least, "mean": total / int64(len(got))}
}
