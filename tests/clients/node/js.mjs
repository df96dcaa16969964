// JetStream through the @nats-io packages; prints what it sees. Arguments: url, part.
import { connect, headers } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { startFastIngest } from "@nats-io/jetstream/internal";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";
import { Svcm } from "@nats-io/services";

const [url, part] = process.argv.slice(2);
// Left out: what no two runs have in common, and what a stream takes on the server's disk.
const VOLATILE = new Set(["created", "ts", "cluster", "bytes", "first_ts", "last_ts", "last_active", "time", "timestamp", "memory", "storage",
  "reserved_memory", "reserved_storage", "_nats.ver", "_nats.level", "mtime", "nuid", "pause_remaining", "type", "domain"]);

function plain(value) {
  if (value === undefined || value === null) return null;
  if (value instanceof Uint8Array) return value.length < 200 ? new TextDecoder().decode(value) : `${value.length} bytes`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object") {
    const found = {};
    for (const key of Object.keys(value).sort()) {
      if (!VOLATILE.has(key) && typeof value[key] !== "function" && value[key] !== undefined) found[key] = plain(value[key]);
    }
    return found;
  }
  return value;
}

function show(label, value) {
  console.log(`${label}: ${JSON.stringify(plain(value))}`);
}

async function attempt(label, call) {
  try {
    const value = await call();
    show(label, value);
    return value;
  } catch (error) {
    const api = typeof error.apiError === "function" ? error.apiError() : undefined;
    show(label, `error: ${error.name} ${error.message} ${error.code ?? ""} ${api ? JSON.stringify(plain(api)) : ""}`.trim());
    return undefined;
  }
}

async function all(iterator) {
  const found = [];
  for await (const one of iterator) found.push(one);
  return found;
}

const message = (m) => ({
  subject: m.subject, data: m.string(), stream: m.info.streamSequence, consumer: m.info.deliverySequence, pending: m.info.pending,
  delivered: m.info.deliveryCount, redelivered: m.redelivered, headers: m.headers ? [...m.headers].map(([key, values]) => [key, [...values]]) : [],
});

async function fill(js, jsm, count = 12, config = {}) {
  await jsm.streams.add({ name: "S", subjects: ["s.>"], ...config });
  for (let n = 0; n < count; n += 1) {
    const marked = headers();
    marked.set("N", `${n}`);
    await js.publish(`s.${n % 3}`, `${n}`, { headers: marked });
  }
}

const parts = {
  async streams(js, jsm) {
    await attempt("info", () => jsm.getAccountInfo().then((info) => ({ ...info, api: { errors: info.api.errors, total: info.api.total } })));
    await attempt("add", () => jsm.streams.add({ name: "A", subjects: ["a.*"], max_age: 3_600_000_000_000, description: "first", allow_direct: true }));
    await attempt("add different", () => jsm.streams.add({ name: "A", subjects: ["b"] }));
    await attempt("memory", () => jsm.streams.add({ name: "M", subjects: ["m"], storage: StorageType.Memory, retention: RetentionPolicy.Workqueue, discard: DiscardPolicy.New, max_msgs: 2 }));
    await attempt("update", () => jsm.streams.update("A", { subjects: ["a.*", "c"], max_msgs: 50 }));
    await attempt("publish", () => js.publish("a.x", "1", { msgID: "one" }));
    await attempt("publish again", () => js.publish("a.x", "1", { msgID: "one" }));
    await attempt("last sequence", () => js.publish("a.x", "2", { expect: { lastSequence: 1 } }));
    await attempt("wrong last sequence", () => js.publish("a.x", "2", { expect: { lastSequence: 1 } }));
    await attempt("wrong id", () => js.publish("a.x", "2", { expect: { lastMsgID: "none" } }));
    await attempt("wrong stream", () => js.publish("a.x", "2", { expect: { streamName: "B" } }));
    await attempt("subject sequence", () => js.publish("a.y", "2", { expect: { lastSubjectSequence: 0 } }));
    await attempt("wrong subject sequence", () => js.publish("a.y", "2", { expect: { lastSubjectSequence: 0 } }));
    await attempt("nobody", () => js.publish("nobody.takes", "2"));
    for (const n of [1, 2, 3]) await attempt(`full ${n}`, () => js.publish("m", `${n}`));
    await attempt("get", async () => { const m = await jsm.streams.getMessage("A", { seq: 1 }); return m && [m.subject, m.seq, m.string()]; });
    await attempt("get last", async () => { const m = await jsm.streams.getMessage("A", { last_by_subj: "a.y" }); return m && [m.subject, m.seq, m.string()]; });
    await attempt("get none", async () => jsm.streams.getMessage("A", { seq: 99 }));
    await attempt("direct", async () => { const m = await jsm.direct.getMessage("A", { seq: 2 }); return m && [m.subject, m.seq, m.string()]; });
    await attempt("direct none", async () => jsm.direct.getMessage("A", { seq: 99 }));
    await attempt("batch", async () => (await all(await jsm.direct.getBatch("A", { seq: 1, batch: 10 }))).map((m) => [m.subject, m.seq, m.string()]));
    await attempt("last for", async () => (await all(await jsm.direct.getLastMessagesFor("A", { multi_last: ["a.*"] }))).map((m) => [m.subject, m.seq]));
    await attempt("delete message", () => jsm.streams.deleteMessage("A", 1));
    await attempt("info", () => jsm.streams.info("A", { subjects_filter: ">", deleted_details: true }));
    await attempt("find", () => jsm.streams.find("c"));
    await attempt("names", async () => (await all(jsm.streams.names())).sort());
    await attempt("list", async () => (await all(jsm.streams.list())).map((one) => [one.config.name, one.state.messages]).sort());
    await attempt("purge", () => jsm.streams.purge("A", { filter: "a.x" }));
    await attempt("purge keep", () => jsm.streams.purge("A", { keep: 1 }));
    await attempt("delete", () => jsm.streams.delete("A"));
    await attempt("delete again", () => jsm.streams.delete("A"));
    await attempt("not there", () => jsm.streams.info("A"));
  },

  async consumers(js, jsm) {
    await fill(js, jsm);
    await attempt("add", () => jsm.consumers.add("S", { durable_name: "D", ack_policy: AckPolicy.Explicit, ack_wait: 30_000_000_000, max_deliver: 4 }));
    await attempt("update", () => jsm.consumers.update("S", "D", { description: "d", max_ack_pending: 100 }));
    await attempt("bad", () => jsm.consumers.add("S", { name: "B", filter_subject: "t" }));
    const consumer = await js.consumers.get("S", "D");
    const first = await all(await consumer.fetch({ max_messages: 3, expires: 5000 }));
    show("fetch", first.map(message));
    await attempt("double ack", () => first[0].ackAck());
    first[1].term("no more");
    first[2].nak();
    await attempt("barrier", () => jsm.consumers.info("S", "D").then(() => first[0].ackAck()));
    const next = await consumer.next({ expires: 5000 });
    show("next", message(next));
    next.working();
    next.nak(300);
    const later = await all(await consumer.fetch({ max_messages: 10, expires: 1500 }));
    show("later", later.map((m) => [m.info.streamSequence, m.info.deliveryCount]).sort((a, b) => a[0] - b[0]));
    for (const m of later) await m.ackAck();
    await attempt("left", () => jsm.consumers.info("S", "D").then((info) => [info.num_pending, info.num_ack_pending, info.ack_floor, info.num_redelivered]));
    await attempt("nothing", async () => consumer.next({ expires: 1000 }));
    await attempt("bytes", async () => {
      const ordered = await js.consumers.get("S", "D");
      return (await all(await ordered.fetch({ max_bytes: 1000, expires: 1000 }))).length;
    });
    for (const [label, config] of Object.entries({
      all: {}, last: { deliver_policy: DeliverPolicy.Last }, "last per subject": { deliver_policy: DeliverPolicy.LastPerSubject },
      start: { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: 9 }, filtered: { filter_subjects: ["s.0", "s.2"] }, headers: { headers_only: true },
    })) {
      const ordered = await js.consumers.get("S", config);
      const wanted = { all: 12, last: 1, "last per subject": 3, start: 4, filtered: 8, headers: 12 }[label];
      const seen = [];
      const messages = await ordered.consume({ max_messages: 5 });
      for await (const m of messages) {
        seen.push([m.info.streamSequence, m.subject, m.string(), m.info.pending]);
        if (seen.length === wanted) break;
      }
      show(`ordered ${label}`, seen);
    }
    await attempt("push", async () => {
      await jsm.consumers.add("S", { durable_name: "P", deliver_subject: "out", ack_policy: AckPolicy.None, idle_heartbeat: 1_000_000_000, flow_control: true });
      const pushed = await js.consumers.getPushConsumer("S", "P");
      const seen = [];
      const messages = await pushed.consume();
      for await (const m of messages) {
        seen.push(m.info.streamSequence);
        if (seen.length === 12) break;
      }
      return seen;
    });
    await attempt("names", async () => (await all(jsm.consumers.list("S"))).map((one) => one.name).filter((name) => name.length < 3).sort());
    await attempt("delete", () => jsm.consumers.delete("S", "D"));
    await attempt("deleted", () => jsm.consumers.info("S", "D"));
    await attempt("next of deleted", async () => consumer.next({ expires: 1000 }));
  },

  async pausing(js, jsm) {
    await fill(js, jsm, 2);
    await attempt("add", () => jsm.consumers.add("S", { durable_name: "D", ack_policy: AckPolicy.Explicit }));
    await attempt("pause", () => jsm.consumers.pause("S", "D", new Date("2100-01-01T00:00:00Z")).then((it) => it.paused));
    await attempt("paused", () => jsm.consumers.info("S", "D"));
    await attempt("resume", () => jsm.consumers.resume("S", "D").then((it) => it.paused));
    await attempt("overflow", () => jsm.consumers.add("S", { durable_name: "O", ack_policy: AckPolicy.Explicit, priority_groups: ["g"], priority_policy: "overflow" }));
    await attempt("pinned", () => jsm.consumers.add("S", { durable_name: "P", ack_policy: AckPolicy.Explicit, priority_groups: ["g"], priority_policy: "pinned_client", priority_timeout: 60_000_000_000 }));
    const pinned = await js.consumers.get("S", "P");
    await attempt("fetch", async () => (await all(await pinned.fetch({ max_messages: 2, expires: 2000, group: "g" }))).map((m) => m.info.streamSequence));
    await attempt("without group", async () => (await all(await pinned.fetch({ max_messages: 2, expires: 1000 }))).length);
    await attempt("unpin", () => jsm.consumers.unpin("S", "P", "g"));
  },

  async buckets(js, jsm, nc) {
    const kv = await new Kvm(nc).create("B", { history: 3, description: "bucket" });
    await attempt("put", () => kv.put("a", "1"));
    await attempt("create", () => kv.create("b.c", "2"));
    await attempt("create again", () => kv.create("b.c", "2"));
    await attempt("update", () => kv.update("a", "3", 1));
    await attempt("update wrong", () => kv.update("a", "3", 1));
    const entry = (e) => e && [e.key, e.string(), e.revision, e.operation, e.delta];
    await attempt("get", async () => entry(await kv.get("a")));
    await attempt("get revision", async () => entry(await kv.get("a", { revision: 1 })));
    await attempt("get none", async () => kv.get("none"));
    await attempt("delete", () => kv.delete("a"));
    await attempt("get deleted", async () => entry(await kv.get("a")));
    await attempt("create deleted", () => kv.create("a", "9"));
    await attempt("keys", async () => (await all(await kv.keys())).sort());
    await attempt("keys filtered", async () => (await all(await kv.keys("b.*"))).sort());
    await attempt("history", async () => (await all(await kv.history({ key: "a" }))).map(entry));
    for (const [label, options] of Object.entries({ all: {}, history: { include: "history" }, updates: { include: "updates" }, some: { key: "b.>" }, "no deletes": { ignoreDeletes: true } })) {
      const watcher = await kv.watch(options);
      await kv.put("b.later", "x");
      const seen = [];
      for await (const e of watcher) {
        seen.push([e.key, e.string(), e.operation, e.isUpdate]);
        if (e.key === "b.later" && e.isUpdate) break;
      }
      show(`watch ${label}`, seen);
    }
    await attempt("purge", () => kv.purge("a"));
    await attempt("purge deletes", () => kv.purgeDeletes(0));
    await attempt("status", async () => { const s = await kv.status(); return [s.bucket, s.values, s.history, s.ttl, s.replicas, s.description]; });
    await attempt("list", async () => (await all(new Kvm(nc).list())).map((s) => s.bucket));
    await attempt("destroy", () => kv.destroy());
  },

  async objects(js, jsm, nc) {
    const store = await new Objm(nc).create("O", { description: "objects" });
    const content = new Uint8Array(500_000).map((_, n) => n % 251);
    const source = (bytes) => new ReadableStream({ start(c) { c.enqueue(bytes); c.close(); } });
    const shown = (i) => i && [i.name, i.size, i.chunks, i.digest, i.deleted, i.description ?? ""];
    await attempt("put", async () => shown(await store.put({ name: "large", description: "l" }, source(content))));
    await attempt("put blob", async () => shown(await store.putBlob({ name: "small" }, new TextEncoder().encode("abc"))));
    await attempt("get", async () => { const got = await store.getBlob("large"); return got.length === content.length && got.every((b, n) => b === content[n]); });
    await attempt("get none", async () => store.getBlob("none"));
    await attempt("info", async () => shown(await store.info("large")));
    await attempt("list", async () => (await store.list()).map(shown).sort());
    await attempt("update", async () => shown(await store.update("small", { name: "renamed", description: "new" })));
    await attempt("link", async () => shown(await store.link("link", await store.info("renamed"))));
    await attempt("get link", async () => new TextDecoder().decode(await store.getBlob("link")));
    await attempt("delete", () => store.delete("large"));
    await attempt("deleted", async () => shown(await store.info("large")));
    await attempt("status", async () => { const s = await store.status(); return [s.bucket, s.description, s.sealed, s.replicas]; });
    await attempt("seal", async () => (await store.seal()).sealed);
    await attempt("put sealed", () => store.putBlob({ name: "x" }, new Uint8Array(1)));
    await attempt("destroy", () => store.destroy());
  },

  async fast(js, jsm, nc) {
    await jsm.streams.add({ name: "F", subjects: ["f.*"], allow_batched: true });
    const begin = (allowGaps, options = {}) => startFastIngest(nc, "f.first", "1", { allowGaps, ...options });
    const sum = (ack) => ({ ...ack, batch: typeof ack.batch });
    const batch = await begin(false, { ackInterval: 50 });
    let behind = 0;
    for (let n = 2; n <= 2000; n += 1) {
      const { batchSeq, ackSeq } = await batch.add(`f.${n % 7}`, `${n}`);
      behind = Math.max(behind, batchSeq - ackSeq);
    }
    show("never further behind than two acknowledgements", behind <= 100);
    await attempt("ping", () => batch.ping().then(({ batchSeq, ackSeq }) => [batchSeq, ackSeq > 1800]));
    await attempt("last", () => batch.last("f.last", "2001").then(sum));
    await attempt("after the end", () => batch.add("f.0", "no"));
    const second = await begin(false);
    await attempt("end", () => second.end().then(sum));
    const third = await begin(false);
    const over = third.done().catch((error) => show("over", error.message));
    await attempt("wrong last sequence", () => third.last("f.0", "x", { expect: { lastSequence: 1 } }).then(sum));
    await over;
    await jsm.streams.add({ name: "P", subjects: ["p"] });
    await attempt("not batched", () => startFastIngest(nc, "p", "x", { allowGaps: true }));
    show("state", await jsm.streams.info("F").then(({ state }) => state));
  },
  async services(js, jsm, nc) {
    const services = new Svcm(nc);
    const service = await services.add({ name: "adder", version: "1.0.0", description: "adds" });
    service.addEndpoint("add", { subject: "math.add", handler: (error, m) => {
      if (m.string() === "bad") m.respondError(400, "not numbers");
      else m.respond(`${m.string().split(" ").reduce((sum, one) => sum + Number(one), 0)}`);
    } });
    for (const data of ["1 2 3", "bad"]) {
      const m = await nc.request("math.add", data, { timeout: 5000 });
      show(`request ${data}`, [m.string(), m.headers?.get("Nats-Service-Error"), m.headers?.get("Nats-Service-Error-Code")]);
    }
    for (const verb of ["PING", "INFO", "STATS"]) {
      const m = await nc.request(`$SRV.${verb}.adder`, "", { timeout: 5000 });
      show(verb, Object.keys(m.json()).sort());
    }
    const client = services.client();
    show("client", (await all(await client.ping("adder"))).map((one) => [one.name, one.version]));
    await service.stop();
    await attempt("stopped", () => nc.request("math.add", "1", { timeout: 1000 }));
  },
};

const nc = await connect({ servers: url, reconnect: false, timeout: 10_000 });
await parts[part](jetstream(nc, { timeout: 10_000 }), await jetstreamManager(nc, { timeout: 10_000 }), nc);
await nc.close();
