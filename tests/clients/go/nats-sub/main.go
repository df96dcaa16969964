// Command nats-sub subscribes to a subject, in a queue group if asked, and prints one JSON object a line for every message.
// It prints `ready` once the server has confirmed the subscription, and ends after -n messages, or drains and ends when its standard
// input is closed.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// line is what is printed for a message.
type line struct {
	Subject string `json:"subject"`
	Payload string `json:"payload"`
}

type options struct {
	url     string
	subject string
	queue   string
	count   int
}

func run(o options) error {
	finished := make(chan struct{})
	var once sync.Once
	finish := func() { once.Do(func() { close(finished) }) }
	closed := make(chan struct{})
	connection, err := nats.Connect(o.url, nats.Name("nats-sub"), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	seen := 0
	_, err = connection.QueueSubscribe(o.subject, o.queue, func(m *nats.Msg) {
		if o.count > 0 && seen >= o.count {
			return
		}
		seen++
		if err := out.Encode(line{Subject: m.Subject, Payload: string(m.Data)}); err != nil {
			finish()
		}
		if seen == o.count {
			finish()
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := connection.FlushTimeout(10 * time.Second); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	fmt.Println("ready")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		finish()
	}()
	<-finished
	if err := connection.Drain(); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	<-closed
	return connection.LastError()
}

func main() {
	var o options
	flag.StringVar(&o.url, "s", nats.DefaultURL, "server URL")
	flag.StringVar(&o.queue, "q", "", "queue group")
	flag.IntVar(&o.count, "n", 0, "end after this many messages, 0 for never")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: nats-sub -s URL [-q QUEUE] [-n COUNT] SUBJECT")
		os.Exit(2)
	}
	o.subject = flag.Arg(0)
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
