// Command features exercises one feature of nats.go against a server and exits non-zero, with the reason, when it does not behave.
// Usage: features -s URL NAME. The names are the keys of the table below; `-list` prints them.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"sort"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const patience = 10 * time.Second

var features = map[string]func(url string) error{
	"request_reply":    requestReply,
	"no_responders":    noResponders,
	"headers":          headers,
	"drain":            drain,
	"auto_unsubscribe": autoUnsubscribe,
	"max_payload":      maxPayload,
	"verbose_pedantic": verbosePedantic,
	"no_echo":          noEcho,
	"large_payload":    largePayload,
	"many_subjects":    manySubjects,
	"queue_group":      queueGroup,
	"reconnect":        reconnect,
	"old_request":      oldRequest,
}

func with(url string, body func(*nats.Conn) error, options ...nats.Option) error {
	connection, err := nats.Connect(url, append([]nats.Option{nats.Timeout(patience)}, options...)...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer connection.Close()
	return body(connection)
}

func next(subscription *nats.Subscription) (*nats.Msg, error) {
	return subscription.NextMsg(patience)
}

func requestReply(url string) error {
	return with(url, func(c *nats.Conn) error {
		if _, err := c.Subscribe("go.echo", func(m *nats.Msg) { _ = m.Respond(append([]byte("re:"), m.Data...)) }); err != nil {
			return err
		}
		for i := 0; i < 100; i++ {
			body := fmt.Sprintf("question %d", i)
			answer, err := c.Request("go.echo", []byte(body), patience)
			if err != nil {
				return err
			}
			if string(answer.Data) != "re:"+body {
				return fmt.Errorf("answer %q to %q", answer.Data, body)
			}
		}
		return nil
	})
}

func oldRequest(url string) error {
	return with(url, func(c *nats.Conn) error {
		if _, err := c.Subscribe("go.old.echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
			return err
		}
		answer, err := c.Request("go.old.echo", []byte("x"), patience)
		if err != nil {
			return err
		}
		if string(answer.Data) != "x" {
			return fmt.Errorf("answer %q", answer.Data)
		}
		return nil
	}, nats.UseOldRequestStyle())
}

func noResponders(url string) error {
	return with(url, func(c *nats.Conn) error {
		began := time.Now()
		_, err := c.Request("go.nobody.home", []byte("x"), patience)
		if !errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("got %v", err)
		}
		if waited := time.Since(began); waited > patience/2 {
			return fmt.Errorf("no responders took %v", waited)
		}
		return nil
	})
}

func headers(url string) error {
	return with(url, func(c *nats.Conn) error {
		subscription, err := c.SubscribeSync("go.headers")
		if err != nil {
			return err
		}
		sent := nats.NewMsg("go.headers")
		sent.Header.Add("Several", "one")
		sent.Header.Add("Several", "two")
		sent.Header["lower-case"] = []string{"kept as written"}
		sent.Data = []byte("body")
		if err := c.PublishMsg(sent); err != nil {
			return err
		}
		if err := c.PublishMsg(&nats.Msg{Subject: "go.headers", Header: nats.Header{"Only": []string{"header"}}}); err != nil {
			return err
		}
		got, err := next(subscription)
		if err != nil {
			return err
		}
		if values := got.Header.Values("Several"); len(values) != 2 || values[0] != "one" || values[1] != "two" {
			return fmt.Errorf("values %q", values)
		}
		if got.Header["lower-case"] == nil || got.Header["lower-case"][0] != "kept as written" || string(got.Data) != "body" {
			return fmt.Errorf("got %q %q", got.Header, got.Data)
		}
		empty, err := next(subscription)
		if err != nil {
			return err
		}
		if empty.Header.Get("Only") != "header" || len(empty.Data) != 0 {
			return fmt.Errorf("got %q %q", empty.Header, empty.Data)
		}
		return nil
	})
}

func drain(url string) error {
	closed := make(chan struct{})
	return with(url, func(c *nats.Conn) error {
		const count = 2000
		var seen atomic.Int64
		if _, err := c.Subscribe("go.drain", func(*nats.Msg) { seen.Add(1) }); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		err := with(url, func(publisher *nats.Conn) error {
			for i := 0; i < count; i++ {
				if err := publisher.Publish("go.drain", []byte("x")); err != nil {
					return err
				}
			}
			return publisher.Flush()
		})
		if err != nil {
			return err
		}
		if err := c.Drain(); err != nil {
			return err
		}
		select {
		case <-closed:
		case <-time.After(patience):
			return errors.New("drain did not end")
		}
		if seen.Load() != count {
			return fmt.Errorf("drained %d of %d", seen.Load(), count)
		}
		return nil
	}, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
}

func autoUnsubscribe(url string) error {
	return with(url, func(c *nats.Conn) error {
		subscription, err := c.SubscribeSync("go.auto")
		if err != nil {
			return err
		}
		if err := subscription.AutoUnsubscribe(7); err != nil {
			return err
		}
		for i := 0; i < 20; i++ {
			if err := c.Publish("go.auto", []byte{byte(i)}); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		for i := 0; i < 7; i++ {
			m, err := next(subscription)
			if err != nil {
				return err
			}
			if m.Data[0] != byte(i) {
				return fmt.Errorf("message %d is %d", i, m.Data[0])
			}
		}
		if m, err := subscription.NextMsg(50 * time.Millisecond); err == nil {
			return fmt.Errorf("an eighth message: %q", m.Data)
		}
		return nil
	})
}

func maxPayload(url string) error {
	return with(url, func(c *nats.Conn) error {
		if c.MaxPayload() != 1<<20 {
			return fmt.Errorf("max payload %d", c.MaxPayload())
		}
		if err := c.Publish("go.big", make([]byte, 1<<20+1)); !errors.Is(err, nats.ErrMaxPayload) {
			return fmt.Errorf("got %v", err)
		}
		return nil
	})
}

func verbosePedantic(url string) error {
	return with(url, func(c *nats.Conn) error {
		subscription, err := c.SubscribeSync("go.verbose.*")
		if err != nil {
			return err
		}
		for i := 0; i < 50; i++ {
			if err := c.Publish("go.verbose.x", []byte("y")); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		for i := 0; i < 50; i++ {
			if _, err := next(subscription); err != nil {
				return err
			}
		}
		return c.LastError()
	}, func(o *nats.Options) error {
		o.Verbose, o.Pedantic = true, true
		return nil
	})
}

func noEcho(url string) error {
	return with(url, func(c *nats.Conn) error {
		own, err := c.SubscribeSync("go.noecho")
		if err != nil {
			return err
		}
		if err := c.Publish("go.noecho", []byte("own")); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		err = with(url, func(other *nats.Conn) error {
			if err := other.Publish("go.noecho", []byte("other")); err != nil {
				return err
			}
			return other.Flush()
		})
		if err != nil {
			return err
		}
		m, err := next(own)
		if err != nil {
			return err
		}
		if string(m.Data) != "other" {
			return fmt.Errorf("got %q", m.Data)
		}
		return nil
	}, nats.NoEcho())
}

func largePayload(url string) error {
	return with(url, func(c *nats.Conn) error {
		subscription, err := c.SubscribeSync("go.large")
		if err != nil {
			return err
		}
		body := make([]byte, 1<<20)
		for i := range body {
			body[i] = byte(i*7 + i>>8)
		}
		for i := 0; i < 5; i++ {
			if err := c.Publish("go.large", body); err != nil {
				return err
			}
			m, err := next(subscription)
			if err != nil {
				return err
			}
			if !bytes.Equal(m.Data, body) {
				return errors.New("a large payload came back changed")
			}
		}
		return nil
	})
}

func manySubjects(url string) error {
	return with(url, func(c *nats.Conn) error {
		const count = 20000
		subscription, err := c.SubscribeSync("go.many.>")
		if err != nil {
			return err
		}
		if err := subscription.SetPendingLimits(-1, -1); err != nil {
			return err
		}
		for i := 0; i < count; i++ {
			if err := c.Publish(fmt.Sprintf("go.many.%d.%d", i%100, i), []byte("x")); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		for i := 0; i < count; i++ {
			m, err := next(subscription)
			if err != nil {
				return fmt.Errorf("after %d: %w", i, err)
			}
			if want := fmt.Sprintf("go.many.%d.%d", i%100, i); m.Subject != want {
				return fmt.Errorf("%s where %s was due", m.Subject, want)
			}
		}
		return nil
	})
}

func queueGroup(url string) error {
	return with(url, func(c *nats.Conn) error {
		const count = 3000
		var total atomic.Int64
		var each [3]atomic.Int64
		for i := range each {
			if _, err := c.QueueSubscribe("go.queue", "workers", func(*nats.Msg) { each[i].Add(1); total.Add(1) }); err != nil {
				return err
			}
		}
		for i := 0; i < count; i++ {
			if err := c.Publish("go.queue", []byte("x")); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		deadline := time.Now().Add(patience)
		for total.Load() < count && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if total.Load() != count {
			return fmt.Errorf("%d of %d", total.Load(), count)
		}
		for i := range each {
			if each[i].Load() < count/10 {
				return fmt.Errorf("member %d had only %d of %d", i, each[i].Load(), count)
			}
		}
		return nil
	})
}

// reconnect prints `ready`, waits for a line on standard input (the server was restarted meanwhile), and then uses the old
// subscription again.
func reconnect(url string) error {
	again := make(chan struct{}, 16)
	return with(url, func(c *nats.Conn) error {
		subscription, err := c.SubscribeSync("go.reconnect.>")
		if err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		fmt.Println("ready")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
		select {
		case <-again:
		case <-time.After(patience):
			return errors.New("did not reconnect")
		}
		if err := c.Publish("go.reconnect.after", []byte("again")); err != nil {
			return err
		}
		m, err := next(subscription)
		if err != nil {
			return err
		}
		if string(m.Data) != "again" {
			return fmt.Errorf("got %q", m.Data)
		}
		return nil
	}, nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1), nats.ReconnectHandler(func(*nats.Conn) { again <- struct{}{} }))
}

func main() {
	url := flag.String("s", nats.DefaultURL, "server URL")
	list := flag.Bool("list", false, "print the names")
	flag.Parse()
	if *list {
		names := make([]string, 0, len(features))
		for name := range features {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Println(name)
		}
		return
	}
	feature, known := features[flag.Arg(0)]
	if !known {
		fmt.Fprintf(os.Stderr, "no feature %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := feature(*url); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
