// JetStream through nats.go, its module jetstream and its older API; prints what it sees. Arguments: url, part.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

// Left out: what no two runs have in common, and what a stream takes on the server's disk.
var volatile = map[string]bool{
	"created": true, "ts": true, "cluster": true, "bytes": true, "first_ts": true, "last_ts": true, "last_active": true, "memory": true,
	"storage": true, "reserved_memory": true, "reserved_storage": true, "_nats.ver": true, "_nats.level": true, "pause_remaining": true,
}

func plain(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, entry := range value {
			if volatile[key] {
				delete(value, key)
			} else {
				value[key] = plain(entry)
			}
		}
	case []any:
		for at, entry := range value {
			value[at] = plain(entry)
		}
	}
	return value
}

func show(label string, value any) {
	text, err := json.Marshal(value)
	must(err)
	var read any
	must(json.Unmarshal(text, &read))
	text, err = json.Marshal(plain(read))
	must(err)
	fmt.Printf("%s: %s\n", label, text)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// seen shows a result, or the error with what the server said.
func seen(label string, value any, err error) {
	if err == nil {
		show(label, value)
		return
	}
	var api *jetstream.APIError
	var old *nats.APIError
	switch {
	case errors.As(err, &api):
		show(label, fmt.Sprintf("error: %v [%d %d %s]", err, api.Code, api.ErrorCode, api.Description))
	case errors.As(err, &old):
		show(label, fmt.Sprintf("error: %v [%d %d %s]", err, old.Code, old.ErrorCode, old.Description))
	default:
		show(label, fmt.Sprintf("error: %v", err))
	}
}

func message(m jetstream.Msg) any {
	meta, err := m.Metadata()
	must(err)
	return []any{m.Subject(), string(m.Data()), meta.Sequence.Stream, meta.Sequence.Consumer, meta.NumPending, meta.NumDelivered, m.Headers()}
}

func all(batch jetstream.MessageBatch, err error) ([]jetstream.Msg, error) {
	if err != nil {
		return nil, err
	}
	var found []jetstream.Msg
	for m := range batch.Messages() {
		found = append(found, m)
	}
	return found, batch.Error()
}

func numbers(messages []jetstream.Msg) []uint64 {
	found := []uint64{}
	for _, m := range messages {
		meta, err := m.Metadata()
		must(err)
		found = append(found, meta.Sequence.Stream)
	}
	return found
}

func fill(ctx context.Context, js jetstream.JetStream, count int) jetstream.Stream {
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	must(err)
	for n := range count {
		_, err := js.PublishMsg(ctx, &nats.Msg{Subject: fmt.Sprintf("s.%d", n%3), Data: fmt.Appendf(nil, "%d", n), Header: nats.Header{"N": {fmt.Sprint(n)}}})
		must(err)
	}
	return stream
}

func streams(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) {
	config := jetstream.StreamConfig{Name: "A", Subjects: []string{"a.*"}, AllowDirect: true, Duplicates: time.Minute, MaxMsgsPerSubject: 3}
	stream, err := js.CreateStream(ctx, config)
	seen("create", stream.CachedInfo(), err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "A", Subjects: []string{"b"}})
	seen("create again", nil, err)
	_, err = js.UpdateStream(ctx, jetstream.StreamConfig{Name: "NONE"})
	seen("update none", nil, err)
	config.Description = "changed"
	stream, err = js.CreateOrUpdateStream(ctx, config)
	seen("update", stream.CachedInfo().Config, err)
	for _, option := range []jetstream.PublishOpt{
		jetstream.WithMsgID("one"), jetstream.WithMsgID("one"), jetstream.WithExpectLastSequence(1), jetstream.WithExpectLastSequence(7),
		jetstream.WithExpectStream("B"), jetstream.WithExpectLastMsgID("none"), jetstream.WithExpectLastSequencePerSubject(9),
	} {
		ack, err := js.Publish(ctx, "a.x", []byte("x"), option)
		seen("publish", ack, err)
	}
	_, err = js.Publish(ctx, "nobody.takes", nil)
	seen("nobody", nil, err)
	future, err := js.PublishAsync("a.y", []byte("later"))
	must(err)
	select {
	case ack := <-future.Ok():
		seen("async", ack, nil)
	case err := <-future.Err():
		seen("async", nil, err)
	}
	for _, seq := range []uint64{1, 99} {
		got, err := stream.GetMsg(ctx, seq)
		if err != nil {
			seen("get", nil, err)
			continue
		}
		seen("get", []any{got.Subject, got.Sequence, string(got.Data), got.Header}, nil)
	}
	got, err := stream.GetLastMsgForSubject(ctx, "a.y")
	must(err)
	seen("last", []any{got.Subject, got.Sequence}, nil)
	seen("delete message", nil, stream.DeleteMsg(ctx, 1))
	seen("delete message again", nil, stream.DeleteMsg(ctx, 1))
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"), jetstream.WithDeletedDetails(true))
	seen("info", info, err)
	seen("purge", nil, stream.Purge(ctx, jetstream.WithPurgeSubject("a.x")))
	name, err := js.StreamNameBySubject(ctx, "a.q")
	seen("by subject", name, err)
	account, err := js.AccountInfo(ctx)
	seen("account", []any{account.Streams, account.Consumers, account.Limits}, err)
	seen("delete", nil, js.DeleteStream(ctx, "A"))
	seen("delete again", nil, js.DeleteStream(ctx, "A"))
}

func consumers(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) {
	stream := fill(ctx, js, 12)
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "D", AckWait: time.Minute, MaxDeliver: 5})
	seen("create", consumer.CachedInfo(), err)
	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "D", AckWait: time.Hour})
	seen("create again", nil, err)
	_, err = stream.UpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "NONE"})
	seen("update none", nil, err)
	first, err := all(consumer.Fetch(3))
	must(err)
	for _, m := range first {
		show("first", message(m))
	}
	seen("nak", nil, first[1].Nak())
	seen("term", nil, first[2].TermWithReason("no more"))
	seen("double ack", nil, first[0].DoubleAck(ctx))
	seen("ack again", nil, first[0].Ack())
	again, err := consumer.Next()
	must(err)
	show("again", message(again))
	must(again.InProgress())
	must(again.NakWithDelay(200 * time.Millisecond))
	later, err := all(consumer.Fetch(10, jetstream.FetchMaxWait(1500*time.Millisecond)))
	got := numbers(later)
	sort.Slice(got, func(a, b int) bool { return got[a] < got[b] })
	seen("later", got, err)
	for _, m := range later {
		must(m.DoubleAck(ctx))
	}
	nothing, err := all(consumer.FetchNoWait(5))
	seen("nothing", len(nothing), err)
	_, err = all(consumer.Fetch(1, jetstream.FetchMaxWait(time.Second), jetstream.FetchHeartbeat(600*time.Millisecond)))
	seen("heartbeat", nil, err)
	info, err := consumer.Info(ctx)
	seen("info", info, err)
	for _, config := range []jetstream.OrderedConsumerConfig{
		{}, {FilterSubjects: []string{"s.1", "s.2"}}, {DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: []string{">"}},
		{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 8}, {HeadersOnly: true, FilterSubjects: []string{"s.0"}},
	} {
		ordered, err := stream.OrderedConsumer(ctx, config)
		must(err)
		found, err := all(ordered.Fetch(20, jetstream.FetchMaxWait(700*time.Millisecond)))
		seen("ordered", numbers(found), err)
	}
	ordered, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	must(err)
	iterator, err := ordered.Messages(jetstream.PullMaxMessages(4))
	must(err)
	var iterated []jetstream.Msg
	for range 12 {
		m, err := iterator.Next()
		must(err)
		iterated = append(iterated, m)
	}
	iterator.Stop()
	seen("iterated", numbers(iterated), nil)
	paused, err := stream.PauseConsumer(ctx, "D", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	seen("pause", paused, err)
	resumed, err := stream.ResumeConsumer(ctx, "D")
	seen("resume", resumed.Paused, err)
	grouped, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "G", PriorityPolicy: jetstream.PriorityPolicyOverflow, PriorityGroups: []string{"g"}})
	must(err)
	few, err := all(grouped.Fetch(2, jetstream.FetchMaxWait(500*time.Millisecond), jetstream.FetchMinPending(100), jetstream.FetchPriorityGroup("g")))
	seen("overflow without need", len(few), err)
	few, err = all(grouped.Fetch(2, jetstream.FetchMaxWait(time.Second), jetstream.FetchMinPending(5), jetstream.FetchPriorityGroup("g")))
	seen("overflow", numbers(few), err)
	seen("delete", nil, stream.DeleteConsumer(ctx, "D"))
	_, err = stream.Consumer(ctx, "D")
	seen("deleted", nil, err)
}

func legacy(ctx context.Context, nc *nats.Conn, _ jetstream.JetStream) {
	js, err := nc.JetStream(nats.MaxWait(10 * time.Second))
	must(err)
	added, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
	seen("add", added, err)
	for n := range 6 {
		ack, err := js.Publish(fmt.Sprintf("s.%d", n%2), fmt.Appendf(nil, "%d", n), nats.MsgId(fmt.Sprint(n/2)))
		seen("publish", ack, err)
	}
	sub, err := js.SubscribeSync("s.*", nats.Durable("D"), nats.ManualAck(), nats.AckExplicit())
	must(err)
	for range 3 {
		m, err := sub.NextMsg(10 * time.Second)
		must(err)
		meta, err := m.Metadata()
		must(err)
		seen("pushed", []any{m.Subject, string(m.Data), meta.Sequence, meta.NumPending}, m.AckSync())
	}
	info, err := sub.ConsumerInfo()
	seen("info", info, err)
	pull, err := js.PullSubscribe("s.1", "P")
	must(err)
	got, err := pull.Fetch(5, nats.MaxWait(time.Second))
	seen("pulled", len(got), err)
	_, err = js.PullSubscribe("t", "Q", nats.BindStream("S"))
	seen("foreign subject", nil, err)
	ordered, err := js.SubscribeSync("s.*", nats.OrderedConsumer())
	must(err)
	for range 3 {
		m, err := ordered.NextMsg(10 * time.Second)
		must(err)
		seen("ordered", string(m.Data), nil)
	}
	raw, err := js.GetMsg("S", 2)
	seen("get", []any{raw.Subject, string(raw.Data), raw.Sequence}, err)
	seen("delete", nil, js.DeleteStream("S"))
}

func buckets(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) {
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "B", History: 3, Description: "bucket"})
	must(err)
	entry := func(e jetstream.KeyValueEntry, err error) (any, error) {
		if err != nil || e == nil {
			return nil, err
		}
		return []any{e.Key(), string(e.Value()), e.Revision(), e.Delta(), e.Operation().String()}, nil
	}
	revision, err := kv.Create(ctx, "a", []byte("1"))
	seen("create", revision, err)
	_, err = kv.Create(ctx, "a", []byte("1"))
	seen("create again", nil, err)
	revision, err = kv.Update(ctx, "a", []byte("2"), 1)
	seen("update", revision, err)
	_, err = kv.Update(ctx, "a", []byte("2"), 1)
	seen("update wrong", nil, err)
	revision, err = kv.PutString(ctx, "b.c", "3")
	seen("put", revision, err)
	value, err := entry(kv.Get(ctx, "a"))
	seen("get", value, err)
	value, err = entry(kv.GetRevision(ctx, "a", 1))
	seen("get revision", value, err)
	value, err = entry(kv.GetRevision(ctx, "a", 3))
	seen("get foreign revision", value, err)
	seen("delete wrong", nil, kv.Delete(ctx, "a", jetstream.LastRevision(1)))
	seen("delete", nil, kv.Delete(ctx, "a"))
	value, err = entry(kv.Get(ctx, "a"))
	seen("get deleted", value, err)
	history, err := kv.History(ctx, "a")
	for _, one := range history {
		value, _ = entry(one, nil)
		seen("history", value, err)
	}
	for _, options := range [][]jetstream.WatchOpt{nil, {jetstream.IncludeHistory()}, {jetstream.UpdatesOnly()}, {jetstream.IgnoreDeletes()}, {jetstream.MetaOnly()}, {jetstream.ResumeFromRevision(3)}} {
		watcher, err := kv.Watch(ctx, ">", options...)
		must(err)
		_, err = kv.PutString(ctx, "later", "x")
		must(err)
		found := []any{}
		for update := range watcher.Updates() {
			if update == nil {
				continue
			}
			// How often `later` was written before is another scenario's.
			if update.Key() == "later" {
				if update.Delta() == 0 {
					break
				}
				continue
			}
			value, _ := entry(update, nil)
			found = append(found, value.([]any)[:3])
		}
		must(watcher.Stop())
		seen("watch", found, nil)
	}
	keys, err := kv.Keys(ctx)
	sort.Strings(keys)
	seen("keys", keys, err)
	seen("purge", nil, kv.Purge(ctx, "b.c"))
	seen("purge deletes", nil, kv.PurgeDeletes(ctx, jetstream.DeleteMarkersOlderThan(-1)))
	status, err := kv.Status(ctx)
	seen("status", []any{status.Bucket(), status.Values(), status.History(), status.TTL().String(), status.BackingStore(), status.IsCompressed()}, err)
	_, err = js.KeyValue(ctx, "NONE")
	seen("none", nil, err)
	limited, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "T", LimitMarkerTTL: time.Second})
	seen("limited", nil, err)
	if err == nil {
		_, err = limited.Create(ctx, "short", []byte("x"), jetstream.KeyTTL(time.Second))
		seen("create with ttl", nil, err)
		watcher, err := limited.Watch(ctx, "short", jetstream.UpdatesOnly())
		must(err)
		select {
		case update := <-watcher.Updates():
			value, _ = entry(update, nil)
			seen("expired", value, nil)
		case <-time.After(10 * time.Second):
			seen("expired", "never", nil)
		}
	}
	seen("drop", nil, js.DeleteKeyValue(ctx, "B"))
}

func objects(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) {
	store, err := js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "O", Description: "objects"})
	must(err)
	content := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	info, err := store.Put(ctx, jetstream.ObjectMeta{Name: "large", Headers: nats.Header{"A": {"b"}}}, bytes.NewReader(content))
	seen("put", []any{info.Name, info.Size, info.Chunks, info.Digest, info.Headers}, err)
	got, err := store.GetBytes(ctx, "large")
	seen("get", bytes.Equal(got, content), err)
	_, err = store.PutString(ctx, "small", "abc")
	seen("put small", nil, err)
	small, err := store.GetInfo(ctx, "small")
	must(err)
	_, err = store.AddLink(ctx, "link", small)
	seen("link", nil, err)
	text, err := store.GetString(ctx, "link")
	seen("get link", text, err)
	seen("update", nil, store.UpdateMeta(ctx, "small", jetstream.ObjectMeta{Name: "renamed"}))
	listed, err := store.List(ctx)
	names := []string{}
	for _, one := range listed {
		names = append(names, one.Name)
	}
	sort.Strings(names)
	seen("list", names, err)
	seen("delete", nil, store.Delete(ctx, "large"))
	_, err = store.GetBytes(ctx, "large")
	seen("get deleted", nil, err)
	seen("seal", nil, store.Seal(ctx))
	_, err = store.PutString(ctx, "more", "x")
	seen("put sealed", nil, err)
	status, err := store.Status(ctx)
	seen("status", []any{status.Bucket(), status.Sealed(), status.Description()}, err)
}

func services(ctx context.Context, nc *nats.Conn, _ jetstream.JetStream) {
	service, err := micro.AddService(nc, micro.Config{Name: "adder", Version: "1.0.0", Endpoint: &micro.EndpointConfig{
		Subject: "math.add", Handler: micro.HandlerFunc(func(request micro.Request) {
			if string(request.Data()) == "bad" {
				_ = request.Error("400", "not numbers", nil)
			} else {
				_ = request.Respond(append([]byte("got "), request.Data()...))
			}
		}),
	}})
	must(err)
	for _, data := range []string{"1 2", "bad"} {
		m, err := nc.Request("math.add", []byte(data), 5*time.Second)
		seen("request", []any{string(m.Data), m.Header}, err)
	}
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		m, err := nc.Request("$SRV."+verb+".adder", nil, 5*time.Second)
		must(err)
		var value map[string]any
		must(json.Unmarshal(m.Data, &value))
		keys := []string{}
		for key := range value {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		seen(verb, keys, nil)
	}
	must(service.Stop())
	_, err = nc.Request("math.add", nil, 5*time.Second)
	seen("stopped", nil, err)
}

func main() {
	parts := map[string]func(context.Context, *nats.Conn, jetstream.JetStream){
		"streams": streams, "consumers": consumers, "legacy": legacy, "buckets": buckets, "objects": objects, "services": services,
	}
	nc, err := nats.Connect(os.Args[1], nats.NoReconnect())
	must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	parts[os.Args[2]](ctx, nc, js)
}
