// Publishes, subscribes and requests with @nats-io/transport-node; prints `OK`, or throws with the reason.
// Arguments: host, port, and user and password where the server wants them.
import assert from "node:assert/strict";
import { connect, headers, errors, nuid } from "@nats-io/transport-node";

const [host, port, user, pass] = process.argv.slice(2);
const login = user ? { user, pass } : {};
const connection = await connect({ servers: `${host}:${port}`, timeout: 10_000, reconnect: false, ...login });
const root = `node.${nuid.next()}`;

const subscription = connection.subscribe(`${root}.>`, { max: 500 });
for (let i = 0; i < 500; i += 1) {
  connection.publish(`${root}.list.${i}`, `message ${i}`);
}
await connection.flush();
let seen = 0;
for await (const message of subscription) {
  assert.equal(message.subject, `${root}.list.${seen}`);
  assert.equal(message.string(), `message ${seen}`);
  seen += 1;
}
assert.equal(seen, 500);

connection.subscribe(`${root}.echo`, {
  callback: (error, message) => {
    assert.equal(error, null);
    message.respond(message.data, { headers: message.headers });
  },
});
const marked = headers();
marked.append("Marked", "yes");
const answer = await connection.request(`${root}.echo`, "question", { timeout: 10_000, headers: marked });
assert.equal(answer.string(), "question");
assert.equal(answer.headers.get("Marked"), "yes");

const began = Date.now();
await assert.rejects(connection.request(`${root}.nobody`, "x", { timeout: 10_000 }), (error) =>
  error instanceof errors.RequestError && error.isNoResponders());
assert.ok(Date.now() - began < 5_000, "no responders is answered at once");

await connection.drain();
assert.equal(await connection.closed(), undefined);
console.log("OK");
