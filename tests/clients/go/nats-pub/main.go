// Command nats-pub publishes one message the way the CMS Go publishers do: connect, Publish, Flush, look at LastError, close.
// It exits non-zero when any of them failed, so exit code 0 means that the server has answered for the message.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

func publish(url, subject string, payload []byte) error {
	connection, err := nats.Connect(url, nats.Name("nats-pub"), nats.NoReconnect())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer connection.Close()
	if err := connection.Publish(subject, payload); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := connection.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := connection.LastError(); err != nil {
		return fmt.Errorf("last error: %w", err)
	}
	return nil
}

func main() {
	url := flag.String("s", nats.DefaultURL, "server URL")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: nats-pub -s URL SUBJECT MESSAGE")
		os.Exit(2)
	}
	if err := publish(*url, flag.Arg(0), []byte(flag.Arg(1))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
