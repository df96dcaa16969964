// Publishes, subscribes and requests with @nats-io/nats-core over a WebSocket; prints `OK`, or throws with the reason.
// Arguments: URL, user, password.
import assert from "node:assert/strict";
import { headers, nuid, wsconnect } from "@nats-io/nats-core";

const [url, user, pass] = process.argv.slice(2);
const connection = await wsconnect({ servers: url, timeout: 10_000, reconnect: false, user, pass });
const root = `ws.${nuid.next()}`;

const subscription = connection.subscribe(`${root}.>`, { max: 500 });
for (let i = 0; i < 500; i += 1) {
  connection.publish(`${root}.list.${i}`, `message ${i} ${"x".repeat(i * 31)}`);
}
await connection.flush();
let seen = 0;
for await (const message of subscription) {
  assert.equal(message.subject, `${root}.list.${seen}`);
  assert.equal(message.string(), `message ${seen} ${"x".repeat(seen * 31)}`);
  seen += 1;
}
assert.equal(seen, 500);

connection.subscribe(`${root}.echo`, { callback: (_error, message) => message.respond(message.data, { headers: message.headers }) });
const marked = headers();
marked.append("Marked", "yes");
const large = new Uint8Array(1_000_000).map((_, at) => at % 251);
const answer = await connection.request(`${root}.echo`, large, { timeout: 10_000, headers: marked });
assert.deepEqual(answer.data, large);
assert.equal(answer.headers.get("Marked"), "yes");

await assert.rejects(wsconnect({ servers: url, reconnect: false, user, pass: "wrong" }), /authorization violation/i);
await connection.drain();
assert.equal(await connection.closed(), undefined);
console.log("OK");
